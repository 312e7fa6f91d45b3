// From a table of samples that someone else made to the same that CELLS gives.

include { CHECK_PSEUDOBULK             } from '../../../modules/local/check_pseudobulk'
include { PLAN_RUN                     } from '../../../modules/local/plan_run'
include { designsOf; partsOf; toReckon } from '../../../functions/fan_out'
include { byContent; gmtFile; linkable; tableOrNone } from '../../../functions/inputs'

workflow GIVEN_TABLE {
    take:
    given           // the h5ad of samples x genes

    main:
    CHECK_PSEUDOBULK(channel.of([[id: 'all'], linkable(given), tableOrNone(params.gene_symbols), tableOrNone(params.donor_table)]))
    // Costs are reckoned for a check alone, so that one parameter more or less does not plan the run anew.
    to_reckon = params.check_only ? channel.of(toReckon(params)).collectFile(name: 'to_reckon.json') : channel.of([[]])
    PLAN_RUN(
        CHECK_PSEUDOBULK.out.table
            .join(CHECK_PSEUDOBULK.out.check)
            .map { meta, table, check -> [meta, 'samples', table, [], [], check, partsOf(params), designsOf(params)] }
            .combine(byContent(channel.fromList(gmtFile(params.gene_sets))).map { gene_sets -> [gene_sets] })
            .combine(to_reckon)
    )

    emit:
    plan       = PLAN_RUN.out.plan                  // [ [id: 'all'], plan.json ]
    check      = CHECK_PSEUDOBULK.out.check         // [ [id: 'all'], check.json ]
    counts     = CHECK_PSEUDOBULK.out.counts        // [ [id: 'all'], [ counts.h5ad of each cell type ], files.tsv: whose is which ]
    samples    = CHECK_PSEUDOBULK.out.samples       // [ [id: 'all'], samples.tsv ]
    // Not before the plan is there: it says what is wrong with the parameters.
    cell_types = CHECK_PSEUDOBULK.out.cell_types.join(PLAN_RUN.out.plan).map { meta, table, _plan -> [meta, table] }  // [ [id: 'all'], cell_types.tsv ]
    table      = CHECK_PSEUDOBULK.out.table.join(PLAN_RUN.out.plan).map { meta, table, _plan -> [meta, table] }       // [ [id: 'all'], pseudobulk.h5ad ]
    published  = CHECK_PSEUDOBULK.out.published     // [ meta, [ published files ] ]
    versions   = CHECK_PSEUDOBULK.out.versions.mix(PLAN_RUN.out.versions)   // versions.json files
}
