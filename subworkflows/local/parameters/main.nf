// The parameters: help and checks, both driven by nextflow_schema.json. Nothing here starts a task.

// All parameters of the schema, name -> description of it, with the title of its group.
def readSchema(schema_file) {
    def schema = new groovy.json.JsonSlurper().parse(schema_file.toFile())
    return schema['$defs'].values().collectMany { group ->
        group.properties.collect { name, entry -> [name, entry + [group: group.title]] }
    }.collectEntries()
}

// The elements of a list parameter: a JSON list, a comma-separated text or one value.
def listOf(value) {
    if (value == null) {
        return []
    }
    return (value instanceof List ? value : "${value}".tokenize(',')).collect { element -> "${element}".trim() }.findAll { element -> element }
}

// Numbers of a list parameter as text in one form: 1, 1.0 and 1.00 are the same number and the same folder.
def numbersOf(value, decimals) {
    return listOf(value).collect { element ->
        def plain = new BigDecimal(element).stripTrailingZeros()
        plain.setScale([plain.scale(), decimals].max()).toPlainString()
    }.unique()
}

// How many letters must change to make one word of the other (Levenshtein distance).
def distance(one, other) {
    def row = (0..other.size()).toList()
    one.eachWithIndex { letter, i ->
        def next = [i + 1]
        other.eachWithIndex { other_letter, j ->
            next << [next[j] + 1, row[j + 1] + 1, row[j] + (letter == other_letter ? 0 : 1)].min()
        }
        row = next
    }
    return row[-1]
}

// A name without what people get wrong most: case, hyphens and underscores.
def lettersOf(name) {
    return name.toLowerCase().replaceAll('[^a-z0-9]', '')
}

// The name nearest to a wrong one.
def nearest(wrong, names) {
    return names.min { name -> distance(lettersOf(wrong), lettersOf(name)) }
}

// The project's own image, if a task failed because its container engine did not find it; each says so in its own words.
def missingImage(message) {
    def found = (message ?: '') =~ /(?m)^.*(?:not known|No such|not found|no such|can't stat|Unable to find).*$/
    def name = found ? found[0] =~ /[\w.\/-]*immune-aging[:-][0-9a-f]{12}(?:\.sif)?/ : null
    return name ? name[0] : null
}

// What is wrong with one value, as text; null where nothing is.
def problemOf(name, value, entry) {
    def says = "--${name} ${value instanceof List ? value.join(',') : value}:"
    if (entry.items) {
        def problems = listOf(value).collect { element -> problemOf(name, element, entry.items + [name: name]) }
        return listOf(value) ? problems.find { problem -> problem } : "${says} the list is empty; give at least one value"
    }
    def text = value.toString()
    if (entry.type == 'boolean') {
        return text in ['true', 'false'] ? null : "${says} must be true or false"
    }
    if (entry.type in ['integer', 'number']) {
        def number = text.isBigDecimal() ? new BigDecimal(text) : null
        if (number == null || value instanceof Boolean) {
            return "${says} must be a${entry.type == 'integer' ? ' whole' : ''} number"
        }
        if (entry.type == 'integer' && number.stripTrailingZeros().scale() > 0) {
            return "${says} must be a whole number"
        }
        def bounds = [
            minimum: ['at least', { bound -> number < bound }],
            maximum: ['at most', { bound -> number > bound }],
            exclusiveMinimum: ['more than', { bound -> number <= bound }],
            exclusiveMaximum: ['less than', { bound -> number >= bound }],
        ]
        def broken = bounds.find { key, rule -> entry[key] != null && rule[1](entry[key]) }
        return broken ? "${says} must be ${broken.value[0]} ${entry[broken.key]}" : null
    }
    if (value instanceof Boolean) {
        return "--${name}: needs a value"
    }
    if (entry['enum'] && !(text in entry['enum'])) {
        return "${says} must be one of ${entry['enum'].join(', ')}; did you mean ${nearest(text, entry['enum'])}?"
    }
    if (entry.pattern && !(text ==~ entry.pattern)) {
        return "${says} must match ${entry.pattern} (${entry.description})"
    }
    return null
}

// One variant of the sensitivity analysis, from text like 'strict: max_pct_mito=10 & min_genes=500': its id and what it changes.
def variantOf(text) {
    def named = text =~ /^([A-Za-z0-9][\w.-]*)\s*:\s*(\w+\s*=.*)$/
    def changes = named ? named[0][2] : text
    def settings = changes.tokenize('&').collectEntries { change ->
        def place = change.indexOf('=')
        [change.substring(0, place).trim(), change.substring(place + 1).trim()]
    }
    def id = (named ? named[0][1] : changes).toLowerCase().replaceAll('[^a-z0-9.]+', '_').replaceAll('^[_.]+|_+$', '')
    return [id: id, changes: changes, settings: settings]
}

// What is wrong with the variants of the sensitivity analysis, each looked at as if it were the run.
def variantProblems(given, schema) {
    def variants = listOf(given.sensitivity).collect { text -> variantOf(text) }
    def own = [
        doublets: [type: 'string', 'enum': ['keep', 'drop']],
        max_doublet_score: [type: 'number', minimum: 0, maximum: 1],
    ]
    def rules = schema.subMap('min_genes', 'max_genes', 'min_counts', 'max_counts', 'max_pct_mito', 'max_pct_hb', 'mad_cutoff', 'design') + own
    def problems = variants.collectMany { variant ->
        variant.settings.collect { name, value ->
            def wrong = name in rules ? problemOf(name, value, rules[name])
                : "--${name}: cannot be varied; did you mean ${nearest(name, rules.keySet())}?"
            wrong ? "--sensitivity '${variant.changes}': ${wrong.substring(2)}" : null
        }
    }.findAll { problem -> problem }
    if (problems) {
        return problems
    }
    variants.each { variant ->
        def whole = given + variant.settings
        [['min_genes', 'max_genes'], ['min_counts', 'max_counts']].each { low, high ->
            if ((whole[low] as BigDecimal) > (whole[high] as BigDecimal)) {
                problems << "--sensitivity '${variant.changes}': ${low} ${whole[low]} is more than ${high} ${whole[high]}; no value fits both"
            }
        }
        if (!(given.test_term in whole.design.findAll(/[A-Za-z_.][\w.]*/))) {
            problems << "--sensitivity '${variant.changes}': the design lacks --test_term ${given.test_term}; name it there"
        }
        if (given.pseudobulk && variant.settings.any { name, _value -> name != 'design' }) {
            problems << "--sensitivity '${variant.changes}': needs cells, which --pseudobulk has not; vary only the design"
        }
    }
    def ids = variants.collect { variant -> variant.id }
    ids.unique(false).findAll { id -> ids.count(id) > 1 || id == 'base' }.each { id ->
        problems << "--sensitivity: the name '${id}' ${id == 'base' ? 'is that of the run itself' : 'stands there twice'}; give another, like 'strict: max_pct_mito=10'"
    }
    if (variants && given.stop_after) {
        problems << "--sensitivity: compares the statistics, before which --stop_after ${given.stop_after} ends; leave one out"
    }
    return problems
}

// The design formulas of a run: its own, then those of its variants.
def designsOf(given) {
    return [given.design] + listOf(given.sensitivity).collect { text -> variantOf(text).settings.design }.findAll { design -> design }
}

// Files of the user or the project, for tasks to which their content matters and not their path or date: one list of a
// copy of each, whose path follows from its content.
def byContent(files) {
    return files.collectFile(cache: 'deep') { file -> [file.name, file] }.toSortedList()
}

// The file of gene sets, or none where they are a library of Enrichr's.
def gmtFile(source) {
    def gmt = file(source, glob: false)
    return gmt.exists() ? [gmt] : []
}

// The files of published clocks: what is read of a folder, or one wheel.
def clockFiles(clocks) {
    return clocks.isDirectory() ? clocks.listFiles().findAll { found -> found.name ==~ /.*\.(csv|whl)|cell_types\.tsv/ } : [clocks]
}

// A path without links, . and .., of a file that may not be there yet.
def realPath(path) {
    def whole = file(path, glob: false).toAbsolutePath().normalize()
    return whole.exists() ? whole.toRealPath() : whole
}

// What is wrong with the places of input and results, given the input's path if it is on this machine.
def placeProblems(given, local_input) {
    def problems = []
    def outdir   = realPath(given.outdir)
    [input: local_input, pseudobulk: given.pseudobulk].findAll { _name, path -> path }.each { name, path ->
        if (path ==~ /(?s).*[\r\n].*/) {
            problems << "--${name} ${path.replaceAll(/[\r\n]+/, ' ')}: has a line break in its name; rename it"
            return
        }
        def source = realPath(path)
        def written = name == 'input' ? outdir.resolve("${given.dataset}.h5ad") : outdir.resolve('pseudobulk/pseudobulk.h5ad')
        if (!source.exists()) {
            problems << "--${name} ${path}: there is no such file; check the path"
        }
        else if (source.isDirectory()) {
            def zarr = ['.zgroup', '.zattrs', 'zarr.json'].any { part -> source.resolve(part).exists() }
            problems << "--${name} ${path}: is ${zarr ? 'a zarr store' : 'a folder'}, but an .h5ad file is needed; write one with ${zarr ? 'anndata.read_zarr(...).write_h5ad(...)' : 'write_h5ad'}"
        }
        else if (source == outdir) {
            problems << "--outdir ${given.outdir}: is the input itself; name a folder for the results"
        }
        else if (source == written) {
            problems << "--outdir ${given.outdir}: the run would write its own ${written.name} over --${name} ${path}; name another folder"
        }
    }
    if (!problems && outdir.exists() && !outdir.isDirectory()) {
        problems << "--outdir ${given.outdir}: is a file; name a folder for the results"
    }
    return problems
}

// Everything that is wrong with the parameters, one text each; an empty list where nothing is.
def problemsOf(given, schema) {
    def problems = given.keySet().findAll { name -> !(name in schema) && !(name.contains('-') && name.replaceAll(/-(.)/) { all -> all[1].toUpperCase() } in given) }
        .collect { name -> "--${name}: there is no such parameter; did you mean --${nearest(name, schema.keySet())}?" }
    problems += given.findAll { name, value -> name in schema && value != null && value != '' }
        .collect { name, value -> problemOf(name, value, schema[name]) }
        .findAll { problem -> problem }
    if (problems) {
        return problems
    }
    [['min_genes', 'max_genes'], ['min_counts', 'max_counts'], ['gene_set_min_size', 'gene_set_max_size']].each { low, high ->
        if ((given[low] as BigDecimal) > (given[high] as BigDecimal)) {
            problems << "--${low} ${given[low]}: is more than --${high} ${given[high]}; no value fits both"
        }
    }
    if (!(given.test_term in given.design.findAll(/[A-Za-z_.][\w.]*/))) {
        problems << "--test_term ${given.test_term}: is not in --design '${given.design}'; name one of its terms"
    }
    problems += variantProblems(given, schema)
    def sources = ['input', 'pseudobulk', 'simulate'].findAll { name -> given[name] }
    if (sources.size() != 1) {
        def found = sources ? "${sources.collect { name -> "--${name}" }.join(' and ')} are given" : 'nothing to analyse is given'
        problems << "--input: ${found}; give one of --input, --pseudobulk or -profile test"
    }
    if (given.pseudobulk && given.stop_after) {
        problems << "--stop_after ${given.stop_after}: has nothing to do with --pseudobulk, which starts after it; leave one out"
    }
    def local_input = given.input && !(given.input ==~ '[a-z]+://.*') ? given.input : null
    given.subMap('input', 'enrichr_url').each { name, address ->
        if ("${address}".startsWith('http://') && "${given.allow_http}" != 'true') {
            problems << "--${name} ${address}: only https:// is protected on the way; give such an address, or --allow_http true"
        }
    }
    if (given.pseudobulk && given.published_clocks) {
        problems << "--published_clocks ${given.published_clocks}: needs single cells, which --pseudobulk has not; leave it out"
    }
    if (given.published_clocks && !file(given.published_clocks, glob: false).exists()) {
        problems << "--published_clocks ${given.published_clocks}: there is no such file; check the path"
    }
    if (given.pseudobulk && given.export_h5ad.toString() == 'true') {
        problems << '--export_h5ad: needs cells, which --pseudobulk has not; leave it out'
    }
    problems += placeProblems(given, local_input)
    if (given.gene_sets.contains('/') && !file(given.gene_sets, glob: false).exists()) {
        problems << "--gene_sets ${given.gene_sets}: there is no such file; give a GMT file or the name of an Enrichr library"
    }
    return problems
}

// The file in which the engine keeps this run's trace until the run has the results folder; null once it is `trace.tsv`.
def ownTrace() {
    def path = file("${workflow.session.config.trace.file}", glob: false)
    return path.name.startsWith('.trace-') && path.exists() ? path : null
}

// Stop before any task, with one line and exit code 2; the trace of an earlier run, or of the one that goes on, stays.
def refuse(problem) {
    ownTrace()?.delete()
    exit(2, problem)
}

// Refuse the run unless all parameters are right.
def checkedParameters(given) {
    def problems = problemsOf(given, readSchema(file("${projectDir}/nextflow_schema.json")))
    if (problems) {
        refuse("${problems.join(' | ')}")
    }
    if (!workflow.containerEngine && !System.getenv('IMMUNE_AGING_ENVIRONMENT') && !workflow.stubRun) {
        refuse('no environment for the steps: run ./nextflow instead of nextflow, or choose a container with -profile podman')
    }
}

// Refuse the run where a script of the project imports what is not there: its tasks' identity would miss that code.
def checkedCode(missing) {
    if (missing) {
        refuse("${missing.collect { where -> "bin/${where}" }.join(', ')}: is imported, but is no file of the project; restore it or correct the import")
    }
}

// Whether the run goes as far as a part of the analysis.
def reaches(given, part) {
    def parts = ['qc', 'embedding', 'clusters', 'pseudobulk', 'statistics']
    return !given.stop_after || parts.indexOf(part) <= parts.indexOf(given.stop_after)
}

// Downloads go into a folder that outlives the run; this file stands for the folder, which changes by itself.
def downloadMarker() {
    def marker = file("${params.download_dir}/README.txt")
    if (!marker.exists()) {
        marker.parent.mkdirs()
        marker.text = 'Downloads of the immune-aging pipeline; may be deleted when no run needs them.\n'
    }
    return marker
}

// The folder that a task publishes from, given the files it published.
def publishedFolder(files) {
    def place = files instanceof List ? files[0] : files
    return place.name == 'published' ? place : publishedFolder(place.parent)
}

// Files of all shards in the order of the shards' ids, as one element.
def inOrder(files) {
    return files.toSortedList { one, other -> one[0].id <=> other[0].id }.map { rows -> [rows.collect { row -> row[1] }] }
}

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

// A vertex of the graph: its id, kind and name.
def vertexOf(vertex) {
    return vertex ? [vertex.id, vertex.type, vertex.label ?: ''] : ['', '', '']
}

// On one machine, which starts tasks in the order in which they become ready: a channel whose items wait until another
// has ended. They take nothing from it, and their tasks stay the same.
def after(earlier, items) {
    def here = workflow.session.config.process?.executor in [null, 'local']
    return here ? earlier.filter { false }.concat(items) : items
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

// A table of the tasks that made these files. Without FETCH_COHORT: an input that is read anew because of its date,
// and is the same, shall not make the report anew.
def taskCosts(files) {
    def header = ['process', 'tag', 'cpus', 'asked_bytes', 'peak_kib', 'milliseconds', 'cpu_percent'].join('\t')
    def rows = files.collect { file -> taskCost(file.parent) }.findAll { row -> row && !row.startsWith('FETCH_COHORT\t') }
    return ([header] + rows.sort()).join('\n') + '\n'
}

// The text of --help: every parameter by group, with type, default and range.
def helpText(schema) {
    def lines = ['Usage: ./nextflow run main.nf -resume --input COHORT.h5ad [--PARAMETER VALUE ...] [-params-file params.json] [-profile PROFILE]', '']
    schema.groupBy { _name, entry -> entry.group }.each { title, entries ->
        lines << title
        entries.each { name, entry ->
            def rule = entry.items ?: entry
            def type = entry.items ? "list of ${rule.type}s" : entry.type
            def notes = [type]
            notes += rule['enum'] ? [rule['enum'].join(' | ')] : []
            def low = rule.minimum != null ? ">= ${rule.minimum}" : rule.exclusiveMinimum != null ? "> ${rule.exclusiveMinimum}" : ''
            def high = rule.maximum != null ? "<= ${rule.maximum}" : rule.exclusiveMaximum != null ? "< ${rule.exclusiveMaximum}" : ''
            notes += [low, high].findAll { bound -> bound }
            notes += entry['default'] != null ? ["default ${entry['default']}"] : []
            lines << "  --${name.padRight(24)}${entry.description}"
            lines << "${' ' * 28}[${notes.join(', ')}]"
        }
        lines << ''
    }
    return lines.join('\n')
}
