// Where results come from: parameters, code, versions, the graph of the run, and what each task cost.

include { readSchema } from './parameters'
include { refuse     } from './publishing'

// All parameters in effect, each with its default, as JSON for the report.
def runDescription(given) {
    def schema = readSchema(file("${projectDir}/nextflow_schema.json"))
    def described = schema.collectEntries { name, entry ->
        // Without the folder of the project, so that a copy of it elsewhere describes the same run.
        def value = given[name] instanceof CharSequence ? "${given[name]}".replace("${projectDir}/", '') : given[name]
        [name, [value: value, 'default': entry['default'], group: entry.group, description: entry.description]]
    }
    return groovy.json.JsonOutput.prettyPrint(groovy.json.JsonOutput.toJson(described))
}

// Refuse the run where a script of the project imports what is not there: its tasks' identity would miss that code.
def checkedCode(missing) {
    if (missing) {
        refuse("${missing.collect { where -> "bin/${where}" }.join(', ')}: is imported, but is no file of the project; restore it or correct the import")
    }
}

// The project's own image, if a task failed because its container engine did not find it; each says so in its own words.
def missingImage(message) {
    def found = (message ?: '') =~ /(?m)^.*(?:not known|No such|not found|no such|can't stat|Unable to find).*$/
    def name = found ? found[0] =~ /[\w.\/-]*immune-aging[:-][0-9a-f]{12}(?:\.sif)?/ : null
    return name ? name[0] : null
}

// Say how to get the project's image where a task failed for want of it.
def explainMissingImage(run) {
    run.onError {
        def image = missingImage(run.errorMessage)
        if (image) {
            log.error("${image} is not there: build it with `make image`, on each machine that runs tasks or in a folder that all see")
        }
    }
}

// The versions that each step ran with, as one sorted list of files STEP.json. By content, so that a step that ran again
// with the same versions does not run the report again.
def stepVersions(versions) {
    return versions.map { file -> [new groovy.json.JsonSlurper().parse(file.toFile()).step ?: 'stub', file.text] }
        .toSortedList { one, other -> one.join(' ') <=> other.join(' ') }
        .flatMap { rows -> rows.unique { row -> row[0] } }
        .collectFile { step, text -> ["${step}.json", text] }
        .toSortedList()
}

// A vertex of the graph: its id, kind and name.
def vertexOf(vertex) {
    return vertex ? [vertex.id, vertex.type, vertex.label ?: ''] : ['', '', '']
}

// The engine's own graph of the run, an edge a line: from, its kind and name, to, its kind and name; without what only
// waits (`after`).
def runGraph(session) {
    def edges = session.dag.edges.findAll { edge -> !(edge.from?.label == 'filter' && edge.to?.label == 'concat') }
    // Sorted, because the engine keeps its edges in another order in every run.
    return edges.collect { edge -> (vertexOf(edge.from) + vertexOf(edge.to)).join('\t') }.sort().join('\n') + '\n'
}

// What one task asked for and used, from the engine's own records in its folder; empty where there are none.
def taskCost(folder) {
    def script = folder.resolve('.command.run')
    def record = folder.resolve('.command.trace')
    def asked  = script.exists() ? (script.text =~ /(?m)^ *# asked: (\d+) CPUs, (\d+) bytes$/) : null
    if (!asked || !record.exists()) {
        return ''
    }
    def name = (script.text =~ /(?m)^### name: '(?:.*:)?(\w+)(?: \((.*)\))?'$/)[0]
    def used = record.readLines().findAll { line -> line.contains('=') }.collectEntries { line -> line.split('=', 2).toList() }
    def percent = (used['%cpu'] ?: '0').toInteger() / 10
    return [name[1], name[2], asked[0][1], asked[0][2], used.peak_rss ?: 0, used.realtime ?: 0, percent].join('\t')
}

// A table of the tasks that made these files. Without those that fetch: an input that is read anew because of its date,
// and is the same, shall not make the report anew.
def taskCosts(files) {
    def header = ['process', 'tag', 'cpus', 'asked_bytes', 'peak_kib', 'milliseconds', 'cpu_percent'].join('\t')
    def rows = files.collect { file -> taskCost(file.parent) }.findAll { row -> row && !(row ==~ /(?s)FETCH_(COHORT|FILE)\t.*/) }
    return ([header] + rows.sort()).join('\n') + '\n'
}
