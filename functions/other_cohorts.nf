// The results folders of other cohorts that a run is compared with: --compare_with. What they hold is checked before any
// task; COMPARE_COHORTS compares each file that it reads with the digest under which it was published.

include { listOf; partsOf } from './fan_out'
include { linkable        } from './inputs'

// What a run of this version publishes, and what a comparison needs of it.
def listed() {
    return 'pipeline_info/files.tsv'
}

// What COMPARE_COHORTS needs: [ [ folders ], [ the same as the user named them ], [ digests of the lists of their files ] ]
def otherCohorts(given) {
    def named   = listOf(given.compare_with)
    def folders = named.collect { name -> file(name, glob: false) }
    return [folders.collect { folder -> linkable(folder.toAbsolutePath()) }, named, folders.collect { folder -> folder.resolve(listed()).text.digest('SHA-256') }]
}

// Why one folder cannot be compared with; null where it can.
def problemOfCohort(given, name) {
    def says   = "--compare_with ${name}:"
    def folder = file(name, glob: false)
    if (!folder.isDirectory()) {
        return "${says} there is no such folder; give the results folder of a run on another cohort"
    }
    def outdir = file(given.outdir, glob: false)
    if (outdir.exists() && folder.toRealPath() == outdir.toRealPath()) {
        return "${says} is the --outdir of this run; give the results of another cohort"
    }
    def absent = [listed(), 'pipeline_info/made_from.json'].find { path -> !folder.resolve(path).exists() }
    if (absent) {
        return "${says} has no ${absent}, which a run of this version writes at its end; give the results of a whole run"
    }
    try {
        def version = new groovy.json.JsonSlurper().parse(folder.resolve('pipeline_info/made_from.json').toFile()).pipeline
        if (version != workflow.manifest.version) {
            return "${says} was made with version ${version} of the pipeline, this is ${workflow.manifest.version}; analyse that cohort again with this version, for which --pseudobulk ${name}/pseudobulk/pseudobulk.h5ad is enough"
        }
        def files  = folder.resolve(listed()).readLines().drop(1).collect { line -> line.tokenize('\t')[0] }
        def needed = [['differential expression', ~/cell_types\/[^\/]+\/de\.tsv/], ['samples', ~/pseudobulk\/samples\.tsv/]].find { _what, pattern -> !files.any { path -> path ==~ pattern } }
        return needed ? "${says} its run published no ${needed[0]}; give the results of a run that came to its statistics" : null
    }
    catch (Exception cause) {
        return "${says} its pipeline_info cannot be read (${cause.class.simpleName}); restore it, or leave these results out"
    }
}

// Everything that speaks against the comparison, one text each.
def comparisonProblems(given) {
    def named = listOf(given.compare_with)
    if (!named) {
        return []
    }
    def problems = named.collect { name -> problemOfCohort(given, name) }.findAll { problem -> problem }
    if (!problems) {
        def twice = named.groupBy { name -> file(name, glob: false).toRealPath() }.values().find { names -> names.size() > 1 }
        problems += twice ? ["--compare_with ${twice[1]}: is given twice; give each cohort once"] : []
    }
    if (!('statistics' in partsOf(given))) {
        problems << "--compare_with: compares statistics, before which --stop_after ${given.stop_after} ends; leave out one of them"
    }
    return problems
}
