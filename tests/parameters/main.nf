// Prints, for each set of parameters in a JSON file, what is wrong with it: tests/test_parameters.py reads it back.
include { helpText; numbersOf; problemsOf; readSchema } from '../../subworkflows/local/parameters'

workflow {
    def root = file("${projectDir}/../..")
    def schema = readSchema(root.resolve('nextflow_schema.json'))
    def cases = new groovy.json.JsonSlurper().parse(file(params.cases).toFile())
    def found = cases.sets.collect { set -> problemsOf(cases.defaults + set, schema) }
    def numbers = cases.numbers.collect { value -> numbersOf(value, 1) }
    file(params.found).text = groovy.json.JsonOutput.toJson([problems: found, numbers: numbers, help: helpText(schema)])
}
