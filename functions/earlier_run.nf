// What the results folder of an earlier run says of itself, and what of it fits this run: --start_from
// (docs/decisions/0027-start-from-published-results.md). Each parameter belongs to the steps whose modules name it.

include { fromSamples; listOf; predictionFits; variantsOf } from './fan_out'
include { linkable } from './inputs'

// Parameters that the steps of cells and samples name, but that change none of their results: where the cohort lies (its
// sha256 is compared), what the run only plans with, and what files in the work folder are called.
def withoutEffect() {
    return ['input', 'simulate', 'sha256', 'allow_http', 'check_only', 'gene_sets', 'dataset', 'start_from']
}

// Parameters that name a file which changes results: its content is compared, not its path.
def contentsOf(given) {
    return given.subMap('gene_symbols', 'donor_table').findAll { _name, path -> path }.collectEntries { name, path ->
        def source = file(path, glob: false)
        [name, source.exists() ? java.security.MessageDigest.getInstance('SHA-256').digest(source.bytes).encodeHex().toString() : '']
    }
}

// Digests of this run's steps, by name: of the script with all that it imports, and of the command that runs it.
def codeOf(steps) {
    def code = workflow.session.config.process.ext.project.code
    def commands = files("${projectDir}/modules/local/*/main.nf").collectEntries { module ->
        def block = (module.text =~ /(?s)\n    script:\n(.*?)\n    stub:\n/)[0][1]
        [(block =~ /exec '(\w+)\.py'/)[0][1], block]
    }
    return steps.collectEntries { step -> [step, "${code[step]} ${commands[step]}".toString().digest('SHA-256').take(12)] }
}

// What a later run needs to know of this one, as JSON: its version, its inputs by their content, its steps by their code,
// what it took from an earlier one.
def madeFrom(given, sha256, steps) {
    // What fetches is left out: it hands on what it found, whatever its code.
    def of_results = steps.findAll { step -> !step.startsWith('fetch_') }.sort()
    return groovy.json.JsonOutput.prettyPrint(groovy.json.JsonOutput.toJson([
        pipeline: workflow.manifest.version, environment: workflow.session.config.process.ext.environment, cohort: sha256 ?: '',
        inputs: contentsOf(given), code: codeOf(of_results), taken: saidOfTaken(given)
    ]))
}

// A results folder: its parameters (name -> value), what it was made from, and its files (path -> [bytes, sha256]).
def earlierRun(given) {
    def folder = file(given.start_from, glob: false)
    def info   = folder.resolve('pipeline_info')
    def slurper = new groovy.json.JsonSlurper()
    return [
        folder: folder,
        parameters: slurper.parse(info.resolve('params.json').toFile()).collectEntries { name, entry -> [name, entry.value] },
        made_from: slurper.parse(info.resolve('made_from.json').toFile()),
        files: info.resolve('files.tsv').readLines().drop(1).collectEntries { line ->
            def (name, bytes, sha256) = line.tokenize('\t')
            [name, [bytes: bytes as Long, sha256: sha256]]
        },
    ]
}

// The texts that say which parameters a part of the results depends on: of its modules, and of what joins them.
def textsOf(part) {
    def joined = [cells: ['cohort', 'several_files', 'cells', 'figures'], embedding: ['embedding']][part] ?: []
    def texts  = joined.collect { name -> file("${projectDir}/subworkflows/local/${name}/main.nf").text }
    def named  = [expression: ['differential_expression'], predictions: ['predict_age', 'immune_age', 'summarize_predictions']][part]
    // Those that plan, fetch or simulate give no result that is taken without its content being compared.
    def modules = named ?: texts.collectMany { text -> text.findAll(/modules\/local\/(\w+)'/) { _all, name -> name } }.unique() - ['plan_run', 'fetch_cohort', 'list_files', 'simulate_cohort']
    return [joined: texts, modules: modules.collect { name -> file("${projectDir}/modules/local/${name}/main.nf").text }]
}

// The scripts of the steps that make a part of the results.
def stepsOf(part) {
    return textsOf(part).modules.collectMany { text -> text.findAll(/exec '(\w+)\.py'/) { _all, step -> step } }.unique()
}

// The steps whose files a run takes before its statistics, and which it does not run itself.
def stepsTaken(given) {
    return fromSamples(given) ? (stepsOf('cells') + stepsOf('embedding')).unique() - ['plot_pseudobulk'] : ['qc_cells', 'merge_qc', 'pseudobulk', 'merge_pseudobulk']
}

// A value as text in which the same setting is the same: 20 and 20.0, [1, 2] and '1,2', nothing and ''.
def settingOf(value) {
    return listOf(value).collect { element -> element.isBigDecimal() ? new BigDecimal(element).stripTrailingZeros().toPlainString() : element }.join(',')
}

// What differs between this run and an earlier one in what a part of the results depends on: [ [what, says], ... ], where
// `what` is the parameter with its old value, to go back to.
def differences(given, earlier, part) {
    def texts    = textsOf(part)
    def contents = contentsOf(given)
    def named    = (texts.joined + texts.modules).collectMany { text -> text.findAll(/\bparams\.(\w+)/) { _all, name -> name } }.unique().sort() - withoutEffect()
    def changed  = named.findAll { name ->
        name in contents || name in earlier.made_from.inputs ? contents[name] != earlier.made_from.inputs[name]
            : settingOf(given[name]) != settingOf(earlier.parameters[name])
    }.collect { name ->
        def before = earlier.parameters[name]
        def other  = settingOf(given[name]) == settingOf(before) ? 'the same name with another content' : before == null || before == '' ? 'nothing' : settingOf(before)
        [what: before == null || before == '' || other.startsWith('the same') ? "the old --${name}" : "--${name} ${other}",
            says: "--${name} ${settingOf(given[name]) ?: "''"}: the results in ${given.start_from} were made with ${other}"]
    }
    def fits = part == 'predictions' && predictionFits(given) != predictionFits(earlier.parameters)
        ? [[what: 'the old penalties', says: "--prediction_models or its penalties: the results in ${given.start_from} were made with others"]] : []
    def code = codeOf(stepsOf(part)).findAll { step, digest -> earlier.made_from.code[step] && earlier.made_from.code[step] != digest }.keySet()
    def environment = earlier.made_from.environment != workflow.session.config.process.ext.environment
    def version = "version ${earlier.made_from.pipeline} of the pipeline, this is ${workflow.manifest.version}"
    return changed + fits +
        (code ? [[what: 'that code', says: "--start_from ${given.start_from}: its step ${code.sort()[0]}${code.size() > 1 ? " and ${code.size() - 1} more" : ''} had other code (${version})"]] : []) +
        (environment ? [[what: 'that environment', says: "--start_from ${given.start_from}: was made with other versions of packages (${version})"]] : [])
}

// The paths in an earlier run's results that this one takes before its statistics.
def basis(given, earlier) {
    // The run from cells makes the tables of the cohort and the thresholds anew, from the same cohort.
    def of_cells = ['cohort/cell_types.tsv', 'qc/cells.parquet', 'qc/summary.tsv', 'qc/rules.tsv', 'qc/rule_combinations.tsv', 'qc/doublets.tsv', 'qc/qc.json']
    def folders  = ['cohort/', 'qc/'] + ("${given.skip_embedding}" == 'true' ? [] : ['embedding/', 'clusters/'])
    return earlier.files.keySet().findAll { name ->
        name in ['pseudobulk/pseudobulk.h5ad', 'pseudobulk/samples.tsv'] || (fromSamples(given) ? folders.any { folder -> name.startsWith(folder) } : name in of_cells)
    }
}

// The paths of one cell type's results of differential expression, or of its predictions; none where it has not all of them.
def ofCellType(earlier, part, id) {
    def pattern = [expression: "cell_types/${id}/(?:de(?:_\\w+)?\\.tsv|de_summary\\.json|fits\\.h5)", predictions: "cell_types/${id}/prediction/.*"][part]
    def names   = earlier.files.keySet().findAll { name -> name ==~ pattern }
    return part == 'predictions' || names.containsAll(['de.tsv', 'de_summary.json', 'fits.h5'].collect { name -> "cell_types/${id}/${name}".toString() }) ? names : []
}

// Ids of the cell types that an earlier run analysed.
def analysedTypes(earlier) {
    return earlier.folder.resolve('cohort/cell_types.tsv').splitCsv(header: true, sep: '\t').findAll { row -> row.kept == 'True' }.collect { row -> row.id }
}

// Why a part of an earlier run's statistics is made anew; null where it is taken.
def whyAnew(given, part) {
    def earlier = earlierRun(given)
    def other   = differences(given, earlier, part)
    if (other) {
        return other[0].says
    }
    def n_fits  = predictionFits(given).size()
    def whole   = part == 'expression' || analysedTypes(earlier).every { id ->
        ofCellType(earlier, part, id).count { name -> name.endsWith('/predict_age_summary.json') } == n_fits
    }
    return whole ? null : "the results in ${given.start_from} do not have all of them"
}

// Whether a part of the statistics is taken from an earlier run: 'expression' or 'predictions'.
def isTaken(given, part) {
    return given.start_from && (part != 'predictions' || predictionFits(given)) && !whyAnew(given, part)
}

// The paths of the predictions that belong to no single cell type.
def predictionsOfAll(earlier) {
    return earlier.files.keySet().findAll { name -> name == 'prediction_summary.tsv' || name.startsWith('immune_age/') }
}

// Refuse a cohort that is not the one an earlier run's results were made from: before anything of it is published.
def sameCohort(given, meta) {
    def expected = given.start_from && meta.sha256 ? earlierRun(given).made_from.cohort : meta.sha256
    if (meta.sha256 != expected) {
        error("--input ${given.input}: is not the cohort that the results in ${given.start_from} were made from (its sha256 is ${meta.sha256.take(12)}, theirs ${expected.take(12) ?: 'not known'}); give that cohort, or leave out --start_from")
    }
    return true
}

// What TAKE_RESULTS needs: [ meta, the folder, [ [ path, sha256 ], ... ] ]
def toTake(earlier, meta, steps, names) {
    return [meta + [steps: steps], linkable(earlier.folder.toAbsolutePath()), names.sort().collect { name -> [name, earlier.files[name].sha256] }]
}

// What a run takes from an earlier one and what it makes anew, a sentence each, for the log and the report.
def saidOfTaken(given) {
    if (!given.start_from) {
        return []
    }
    def of_cells = fromSamples(given) ? ['the cohort', 'quality control'] + ("${given.skip_embedding}" == 'true' ? [] : ['embedding']) : ['quality control', 'doublets']
    def stages   = [expression: 'differential expression'] + (predictionFits(given) ? [predictions: 'predictions of age'] : [:])
    def why      = stages.collectEntries { part, _name -> [part, whyAnew(given, part)] }
    def taken    = of_cells + ['pseudobulk sums'] + stages.findAll { part, _name -> !why[part] }.values()
    def anew     = stages.findAll { part, _name -> why[part] }.collect { part, name -> "${name} (${why[part]})" } + ['enrichment', 'composition', 'comparison', 'figures of cell types']
    return ["Goes on from the results in ${given.start_from}: takes ${taken.join(', ')} from them; makes anew ${anew.join(', ')}.".toString()]
}

// Everything that speaks against going on from a results folder, one text each.
def earlierProblems(given) {
    if (!given.start_from) {
        return []
    }
    def says = "--start_from ${given.start_from}:"
    if (given.pseudobulk) {
        return ["${says} has nothing to do with --pseudobulk, which is a start of its own; leave one out"]
    }
    def folder = file(given.start_from, glob: false)
    def absent = ['params.json', 'made_from.json', 'versions.json', 'files.tsv'].find { name -> !folder.resolve("pipeline_info/${name}").exists() }
    if (absent) {
        return ["${says} ${folder.exists() ? "has no pipeline_info/${absent}, which a run of this version writes at its end" : 'there is no such folder'}; give the results of a whole run by this version"]
    }
    def earlier = null
    try {
        earlier = earlierRun(given)
    }
    catch (Exception cause) {
        return ["${says} its pipeline_info cannot be read (${cause.class.simpleName}); restore it, or leave out --start_from"]
    }
    def needed = ['pseudobulk/pseudobulk.h5ad', 'pseudobulk/samples.tsv', 'cohort/cell_types.tsv', 'qc/cells.parquet'].find { name -> !(name in earlier.files) }
    if (needed) {
        return ["${says} its run published no ${needed}; give the results of a run from cells that came as far as pseudobulk"]
    }
    def problems = differences(given, earlier, 'cells').collect { other -> "${other.says}, and these steps are not repeated; leave out --start_from, or go back to ${other.what}" }
    if (fromSamples(given)) {
        problems += problemsWithoutCells(given, earlier)
    }
    problems += absentFiles(given, earlier, basis(given, earlier))
    if (problems) {
        return problems
    }
    def taken = ['expression', 'predictions'].findAll { part -> isTaken(given, part) }
    def names = analysedTypes(earlier).collectMany { id -> taken.collectMany { part -> ofCellType(earlier, part, id) } }
    return absentFiles(given, earlier, names + ('predictions' in taken ? predictionsOfAll(earlier) : []))
}

// Files that are to be taken and are missing or have another size, one text each. TAKE_RESULTS compares their digests.
def absentFiles(given, earlier, names) {
    def says = "--start_from ${given.start_from}:"
    return names.collect { name ->
        def there = earlier.folder.resolve(name)
        !there.exists() ? "${says} ${name} is not there; restore it, or leave out --start_from"
            : there.size() != earlier.files[name].bytes ? "${says} ${name} is not as it was published (${there.size()} bytes, were ${earlier.files[name].bytes}); restore it, or leave out --start_from" : null
    }.findAll { problem -> problem }
}

// What needs cells, where a run has only the earlier one's results and no --input.
def problemsWithoutCells(given, earlier) {
    def remedy = 'give --input as well'
    def problems = []
    if (given.published_clocks) {
        problems << "--published_clocks: needs cells, which --start_from alone has not; ${remedy}, or leave it out"
    }
    if (variantsOf(given).any { variant -> variant.cells }) {
        problems << "--sensitivity: a variant needs cells, which --start_from alone has not; ${remedy}, or vary only the design"
    }
    if ("${given.export_h5ad}" == 'true') {
        problems << "--export_h5ad: needs cells, which --start_from alone has not; ${remedy}, or leave it out"
    }
    if (given.stop_after) {
        problems << "--stop_after ${given.stop_after}: ends before the statistics, which are all that --start_from alone repeats; ${remedy}, or leave it out"
    }
    if ("${given.skip_embedding}" != 'true') {
        problems += 'embedding/umap.parquet' in earlier.files
            ? differences(given, earlier, 'embedding').collect { other -> "${other.says}, and an embedding needs cells; ${remedy}, or --skip_embedding, or go back to ${other.what}" }
            : ["--start_from ${given.start_from}: has no embedding, which needs cells; ${remedy}, or --skip_embedding"]
    }
    return problems
}
