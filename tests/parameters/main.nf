// Prints, for each set of parameters in a JSON file, what is wrong with it: tests/test_parameters.py reads it back.
include { numbersOf; partsOf; predictionFits; variantsOf } from '../../functions/fan_out'
include { helpText; problemsOf; readSchema } from '../../functions/parameters'

workflow {
    def root = file("${projectDir}/../..")
    def schema = readSchema(root.resolve('nextflow_schema.json'))
    def cases = new groovy.json.JsonSlurper().parse(file(params.cases).toFile())
    def found = cases.sets.collect { set -> problemsOf(cases.defaults + set, schema) }
    def numbers = cases.numbers.collect { value -> numbersOf(value, 1) }
    def fan_outs = cases.fan_outs.collect { set ->
        def given = cases.defaults + set
        [parts: partsOf(given), fits: predictionFits(given), variants: variantsOf(given)]
    }
    file(params.found).text = groovy.json.JsonOutput.toJson([problems: found, numbers: numbers, fan_outs: fan_outs, help: helpText(schema)])
}
