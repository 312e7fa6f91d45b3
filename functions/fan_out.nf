// What a run fans out over, as far as its parameters alone say: parts, resolutions, models, variants. Channels are built
// from this, and PLAN_RUN counts it (docs/decisions/0002-one-source-for-what-shapes-the-run.md).

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

// Whether a run starts from a table of samples: someone else's, or that of an earlier run of which no cells are given.
def fromSamples(given) {
    return given.pseudobulk || (given.start_from && !given.input && !given.simulate)
}

// The parts of the analysis that the run comes to, in their order; a table of samples has no cells, and the statistics
// need no embedding.
def partsOf(given) {
    def of_cells = "${given.skip_embedding}" == 'true' ? ['qc'] : ['qc', 'embedding', 'clusters']
    def parts = (fromSamples(given) ? [] : of_cells) + ['pseudobulk', 'statistics']
    return given.stop_after ? parts.take(parts.indexOf(given.stop_after) + 1) : parts
}

// Whether donors have ages: a cohort that is not about age has no column of them.
def hasAges(given) {
    return given.age_column != 'none'
}

// Donor columns that age acceleration is tested against; not sex, by default or not, where no donor's is known.
def accelerationColumns(asked, sex_column) {
    return listOf(asked).findAll { column -> column != 'sex' || sex_column != 'none' }
}

// The penalties of each prediction model, and the parameter that lists them: [ ridge: [parameter: 'ridge_alphas', alphas: ['0.1', ...]], ... ]
def penaltiesOf(given) {
    def own = [ridge: 'ridge_alphas', elastic_net: 'elastic_net_alphas', linear_svr: 'svr_alphas']
    return listOf(given.prediction_models).unique().collectEntries { model ->
        [model, [parameter: own[model], alphas: numbersOf(given[own[model]], 0)]]
    }
}

// Each prediction model with each penalty of its own list and with the nested choice: [ [model: 'ridge', alpha: '0.1'], ... ];
// none where donors have no ages.
def predictionFits(given) {
    return !hasAges(given) ? [] : penaltiesOf(given).collectMany { model, entry ->
        (entry.alphas + (given.nested_alphas ? ['nested'] : [])).collect { alpha -> [model: model, alpha: alpha] }
    }
}

// One variant of the sensitivity analysis, from text like 'strict: max_pct_mito=10 & min_genes=500': its id, what it
// changes, and whether it changes which cells there are.
def variantOf(text) {
    def named = text =~ /^([A-Za-z0-9][\w.-]*)\s*:\s*(\w+\s*=.*)$/
    def changes = named ? named[0][2] : text
    def settings = changes.tokenize('&').collectEntries { change ->
        def place = change.indexOf('=')
        [change.substring(0, place).trim(), change.substring(place + 1).trim()]
    }
    def id = (named ? named[0][1] : changes).toLowerCase().replaceAll('[^a-z0-9.]+', '_').replaceAll('^[_.]+|_+$', '')
    return [id: id, changes: changes, settings: settings, cells: settings.any { name, _value -> name != 'design' }]
}

// All variants of the sensitivity analysis.
def variantsOf(given) {
    return listOf(given.sensitivity).collect { text -> variantOf(text) }
}

// The design formulas of a run: its own, then those of its variants.
def designsOf(given) {
    return [given.design] + variantsOf(given).collect { variant -> variant.settings.design }.findAll { design -> design }
}

// What PLAN_RUN reckons the costs of a run from, as JSON: the values of all parameters, and what tasks are made for each of.
def toReckon(given) {
    def fan_out = [resolutions: numbersOf(given.leiden_resolutions, 1), fits: predictionFits(given), variants: variantsOf(given)]
    return groovy.json.JsonOutput.toJson([parameters: given, fan_out: fan_out])
}
