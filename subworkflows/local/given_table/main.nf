// From a table of samples, which someone else made or an earlier run of which no cells are given, to the same that CELLS gives.

include { CHECK_PSEUDOBULK             } from '../../../modules/local/check_pseudobulk'
include { PLAN_RUN                     } from '../../../modules/local/plan_run'
include { EARLIER_RUN                  } from '../earlier_run'
include { designsOf; partsOf; toReckon } from '../../../functions/fan_out'
include { byContent; gmtFile; linkable; tableOrNone } from '../../../functions/inputs'

workflow GIVEN_TABLE {
    main:
    if (params.start_from) {
        EARLIER_RUN()
        given = EARLIER_RUN.out
    }
    else {
        CHECK_PSEUDOBULK(channel.of([[id: 'all'], linkable(file(params.pseudobulk, glob: false)), tableOrNone(params.gene_symbols), tableOrNone(params.donor_table)]))
        given = CHECK_PSEUDOBULK.out
    }
    // Costs are reckoned for a check alone, so that one parameter more or less does not plan the run anew.
    to_reckon = params.check_only ? channel.of(toReckon(params)).collectFile(name: 'to_reckon.json') : channel.of([[]])
    PLAN_RUN(
        given.check
            .combine(given.table.map { _meta, table -> table })
            .map { meta, check, table -> [meta, 'samples', table, [], [], check, partsOf(params), designsOf(params)] }
            .combine(byContent(channel.fromList(gmtFile(params.gene_sets))).map { gene_sets -> [gene_sets] })
            .combine(to_reckon)
    )
    // Not before the plan is there: it says what is wrong with the parameters.
    planned = PLAN_RUN.out.plan.map { _meta, plan -> [[id: 'all'], plan] }

    emit:
    plan       = PLAN_RUN.out.plan                  // [ [id: 'all', ...], plan.json ]
    check      = given.check                        // [ [id: 'all', ...], check.json ]
    counts     = given.counts                       // [ [id: 'all'], [ counts.h5ad of each cell type ], files.tsv: whose is which ]
    samples    = given.samples                      // [ [id: 'all'], samples.tsv ]
    cell_types = given.cell_types.join(planned).map { meta, table, _plan -> [meta, table] }    // [ [id: 'all'], cell_types.tsv ]
    table      = given.table.join(planned).map { meta, table, _plan -> [meta, table] }         // [ [id: 'all'], pseudobulk.h5ad ]
    published  = given.published                    // [ meta, [ published files ] ]
    versions   = given.versions.mix(PLAN_RUN.out.versions)      // versions.json files
}
