// The parameters: help and checks, both driven by nextflow_schema.json. Nothing here starts a task.

include { earlierProblems    } from './earlier_run'
include { fromSamples; hasAges; listOf; partsOf; penaltiesOf; variantsOf } from './fan_out'
include { isAddress; isSheet } from './inputs'
include { comparisonProblems } from './other_cohorts'
include { refuse             } from './publishing'

// All parameters of the schema, name -> description of it, with the title of its group.
def readSchema(schema_file) {
    def schema = new groovy.json.JsonSlurper().parse(schema_file.toFile())
    return schema['$defs'].values().collectMany { group ->
        group.properties.collect { name, entry -> [name, entry + [group: group.title]] }
    }.collectEntries()
}

// A name without what people get wrong most: case, hyphens and underscores.
def lettersOf(name) {
    return name.toLowerCase().replaceAll('[^a-z0-9]', '')
}

// The name nearest to a wrong one, by the distance with which Groovy itself says "possible solutions".
def nearest(wrong, names) {
    return names.min { name ->
        org.codehaus.groovy.runtime.MethodRankHelper.damerauLevenshteinDistance(lettersOf(wrong).toList().toArray(), lettersOf(name).toList().toArray())
    }
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

// What is wrong with the variants of the sensitivity analysis, each looked at as if it were the run.
def variantProblems(given, schema) {
    def variants = variantsOf(given)
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
        if ('max_doublet_score' in variant.settings && (given.doublet_column || given.doublet_method == 'none')) {
            problems << "--sensitivity '${variant.changes}': needs Scrublet's scores, which a run with --doublet_${given.doublet_column ? 'column' : 'method none'} has not; leave out one of them"
        }
        if (given.pseudobulk && variant.cells) {
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

// Models of age that would have no fit at all: a parameters file can set a list of penalties to null.
def penaltyProblems(given) {
    if (given.nested_alphas.toString() == 'true' || !hasAges(given) || !('statistics' in partsOf(given))) {
        return []
    }
    return penaltiesOf(given).findAll { _model, entry -> !entry.alphas }.collect { model, entry ->
        "--${entry.parameter}: has no penalty and --nested_alphas is false, so ${model} is not fitted at all; give penalties, or leave ${model} out of --prediction_models"
    }
}

// What is wrong with the question of a run whose donors have no ages, which the default question is about.
def questionProblems(given) {
    if (hasAges(given) || !('statistics' in partsOf(given))) {
        return []
    }
    def asks_age = given.test_term == 'age' && !(given.design ==~ /(?s).*\bage\b.*/)
    if (given.design.tokenize() != ['~', 'sex', '+', 'age'] && !asks_age) {
        return []
    }
    return ["--age_column none: the question must be named, because the default one is about age; give --design and --test_term, like --design '~ donor + condition' --test_term condition"]
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
        else if (source.isDirectory() && name == 'pseudobulk') {
            problems << "--${name} ${path}: is a folder, but an .h5ad file is needed; write one with write_h5ad"
        }
        else if (source.isDirectory() && outdir.startsWith(source)) {
            problems << "--outdir ${given.outdir}: lies in the folder of --${name} ${path}; name a folder for the results elsewhere"
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
    problems += variantProblems(given, schema)
    problems += penaltyProblems(given)
    problems += questionProblems(given)
    def sources = ['input', 'pseudobulk', 'simulate'].findAll { name -> given[name] }
    if (sources.size() != 1 && !(given.start_from && !sources)) {
        def found = sources ? "${sources.collect { name -> "--${name}" }.join(' and ')} are given" : 'nothing to analyse is given'
        problems << "--input: ${found}; give one of --input, --pseudobulk, --start_from or -profile test"
    }
    if (given.pseudobulk && given.stop_after) {
        problems << "--stop_after ${given.stop_after}: has nothing to do with --pseudobulk, which starts after it; leave one out"
    }
    if (given.stop_after && !fromSamples(given) && !(given.stop_after in partsOf(given))) {
        problems << "--stop_after ${given.stop_after}: is left out by --skip_embedding; leave out one of them, or stop after qc or pseudobulk"
    }
    def local_input = given.input && !(given.input ==~ '[a-z]+://.*') ? given.input : null
    if (given.input && isAddress(given.input) && isSheet(given.input)) {
        problems << "--input ${given.input}: is a table of files at an address; download it and give its path"
    }
    given.subMap('input', 'enrichr_url').each { name, address ->
        if ("${address}".startsWith('http://') && "${given.allow_http}" != 'true') {
            problems << "--${name} ${address}: only https:// is protected on the way; give such an address, or --allow_http true"
        }
    }
    if (given.published_clocks && !file(given.published_clocks, glob: false).exists()) {
        problems << "--published_clocks ${given.published_clocks}: there is no such file; check the path"
    }
    if (given.pseudobulk && given.export_h5ad.toString() == 'true') {
        problems << '--export_h5ad: needs cells, which --pseudobulk has not; leave it out'
    }
    problems += placeProblems(given, local_input)
    given.subMap('gene_symbols', 'donor_table').findAll { _name, path -> path && !file(path, glob: false).exists() }.each { name, path ->
        problems << "--${name} ${path}: there is no such file; check the path"
    }
    if (given.gene_sets.contains('/') && !file(given.gene_sets, glob: false).exists()) {
        problems << "--gene_sets ${given.gene_sets}: there is no such file; give a GMT file or the name of an Enrichr library"
    }
    problems += comparisonProblems(given)
    return problems ?: earlierProblems(given)
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
