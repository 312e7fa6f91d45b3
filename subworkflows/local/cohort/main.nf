// From a path, a URL, a table of files or the simulator to shards of raw counts and what is known of donors and genes.

include { SIMULATE_COHORT } from '../../../modules/local/simulate_cohort'
include { FETCH_COHORT    } from '../../../modules/local/fetch_cohort'
include { PLAN_RUN        } from '../../../modules/local/plan_run'
include { CHECK_COHORT    } from '../../../modules/local/check_cohort'
include { FILTER_COHORT   } from '../../../modules/local/filter_cohort'
include { SPLIT_COHORT    } from '../../../modules/local/split_cohort'
include { SEVERAL_FILES   } from '../several_files'
include { filesById       } from '../../../functions/channels'
include { designsOf; partsOf; toReckon } from '../../../functions/fan_out'
include { sameCohort              } from '../../../functions/earlier_run'
include { byContent; downloadMarker; gmtFile; isAddress; isOneH5ad; localSource; tableOrNone } from '../../../functions/inputs'

workflow COHORT {
    main:
    published = channel.empty()
    versions  = channel.empty()
    one_h5ad  = !params.simulate && isOneH5ad(params.input)
    remote    = one_h5ad && isAddress(params.input)
    symbols   = byContent(channel.fromList(tableOrNone(params.gene_symbols))).map { table -> [table] }

    if (params.simulate) {
        SIMULATE_COHORT(channel.of([[id: 'all'], file("${projectDir}/assets/gene_sets/h.all.v7.5.1.symbols.gmt")]))
        source    = SIMULATE_COHORT.out.cohort.map { _meta, cohort -> localSource(cohort) }
        published = published.mix(SIMULATE_COHORT.out.published)
        versions  = versions.mix(SIMULATE_COHORT.out.versions)
    }
    else if (!one_h5ad) {
        SEVERAL_FILES(params.input, symbols)
        source   = SEVERAL_FILES.out.cohort.map { _meta, cohort -> localSource(cohort, 'all', '') }
        versions = versions.mix(SEVERAL_FILES.out.versions)
    }
    else if (remote) {
        source = channel.of([[id: 'all', expected: params.sha256], params.input, [], downloadMarker()])
    }
    else {
        source = channel.of(localSource(file(params.input, glob: false)))
    }

    // [ [id: 'all', sha256: '...'], /path/cohort.h5ad ]; a check alone does not read all of a local file
    if (params.check_only && !remote && !(one_h5ad && params.sha256)) {
        cohort = source.map { meta, _source, local_file, _marker -> [meta, local_file] }
    }
    else {
        FETCH_COHORT(source)
        cohort = FETCH_COHORT.out.fetched
            .combine(source.map { _meta, _source, local_file, _marker -> [local_file] })
            .map { _meta, fetched, local_file ->
                def found = new groovy.json.JsonSlurper().parse(fetched.toFile())
                [[id: 'all', sha256: found.sha256], local_file ?: file(found.location, glob: false)]
            }
        versions = versions.mix(FETCH_COHORT.out.versions)
    }

    if (params.start_from) {
        cohort = cohort.filter { meta, _file -> sameCohort(params, meta) }
    }

    donor_facts = byContent(channel.fromList(tableOrNone(params.donor_table))).map { table -> [table] }

    // Costs are reckoned for a check alone, so that one parameter more or less does not plan the run anew.
    to_reckon = params.check_only ? channel.of(toReckon(params)).collectFile(name: 'to_reckon.json') : channel.of([[]])
    PLAN_RUN(
        cohort
            .combine(symbols)
            .combine(donor_facts)
            .map { meta, file, table, facts -> [meta, 'cohort', file, table, facts, [], partsOf(params), designsOf(params)] }
            .combine(byContent(channel.fromList(gmtFile(params.gene_sets))).map { gene_sets -> [gene_sets] })
            .combine(to_reckon)
    )
    versions = versions.mix(PLAN_RUN.out.versions)

    check        = channel.empty()
    donors       = channel.empty()
    genes        = channel.empty()
    dropped      = channel.empty()
    shards       = channel.empty()
    cell_types   = channel.empty()
    donors_table = channel.empty()
    quality_rows = channel.empty()
    filtering    = channel.empty()
    if (!params.check_only) {
        // The plan is no input, so that another plan of the same cohort re-runs nothing; but it must be there.
        CHECK_COHORT(cohort.join(PLAN_RUN.out.plan).map { meta, file, _plan -> [meta, file] }.combine(symbols).combine(donor_facts))
        check  = CHECK_COHORT.out.check
        donors = CHECK_COHORT.out.donors.map { _meta, table -> [[id: 'all'], table] }
        FILTER_COHORT(CHECK_COHORT.out.cells.join(CHECK_COHORT.out.donors).map { _meta, cells, donors_file -> [[id: 'all'], cells, donors_file] })
        SPLIT_COHORT(
            cohort
                .join(CHECK_COHORT.out.check)
                .combine(FILTER_COHORT.out.cells.map { _meta, cells -> cells })
                .combine(CHECK_COHORT.out.genes.map { _meta, table -> table })
        )
        shards = SPLIT_COHORT.out.shards
            .flatMap { _meta, files, table -> filesById(files, table) }
            .map { id, shard -> [[id: id], shard] }
        genes        = CHECK_COHORT.out.genes.map { _meta, table -> [[id: 'all'], table] }
        dropped      = FILTER_COHORT.out.dropped
        cell_types   = FILTER_COHORT.out.cell_types
        donors_table = FILTER_COHORT.out.donors
        quality_rows = params.sample_column ? FILTER_COHORT.out.samples : FILTER_COHORT.out.donors
        filtering    = FILTER_COHORT.out.summary
        published    = published.mix(CHECK_COHORT.out.published, FILTER_COHORT.out.published, SPLIT_COHORT.out.published)
        versions     = versions.mix(CHECK_COHORT.out.versions, FILTER_COHORT.out.versions, SPLIT_COHORT.out.versions)
    }

    emit:
    plan = PLAN_RUN.out.plan        // [ [id: 'all', sha256: '...'], plan.json ]
    cohort                          // [ [id: 'all', sha256: '...'], cohort.h5ad ]
    check                           // [ [id: 'all', sha256: '...'], check.json ]
    shards                          // [ [id: 'shard-003'], counts.h5ad ]
    cell_types                      // [ [id: 'all'], cell types after the cohort filter ]
    donors                          // [ [id: 'all'], donors.parquet ]
    genes                           // [ [id: 'all'], genes.parquet ]
    dropped                         // [ [id: 'all'], cells that the cohort filter dropped ]
    donors_table                    // [ [id: 'all'], donors.tsv ]
    quality_rows                    // [ [id: 'all'], whatever quality control judges by itself: samples.tsv, or donors.tsv ]
    filtering                       // [ [id: 'all'], filtering.json ]
    published                       // [ meta, [ published files ] ]
    versions                        // versions.json files
}
