// From the results of an earlier run to the same that CELLS gives: --start_from.

include { TAKE_RESULTS     } from '../../../modules/local/take_results'
include { SPLIT_PSEUDOBULK } from '../../../modules/local/split_pseudobulk'
include { basis; earlierRun; stepsTaken; toTake } from '../../../functions/earlier_run'
include { publishedFolder } from '../../../functions/publishing'

workflow EARLIER_RUN {
    main:
    earlier = earlierRun(params)
    steps   = stepsTaken(params)
    TAKE_RESULTS(channel.of(toTake(earlier, [id: 'all'], steps, basis(params, earlier))))
    found   = TAKE_RESULTS.out.published.map { _meta, files -> publishedFolder(files) }
    samples = found.map { folder -> [[id: 'all'], folder.resolve('pseudobulk/samples.tsv')] }
    table   = found.map { folder -> [[id: 'all'], folder.resolve('pseudobulk/pseudobulk.h5ad')] }
    types   = found.map { folder -> [[id: 'all'], folder.resolve('cohort/cell_types.tsv')] }
    SPLIT_PSEUDOBULK(table.join(samples).join(types))

    emit:
    check      = found.map { folder -> [[id: 'all', sha256: earlier.made_from.cohort], folder.resolve('cohort/check.json')] }  // [ [id: 'all', sha256: '...'], check.json ]; not where cells are read
    cells      = found.map { folder -> [[id: 'all'], folder.resolve('qc/cells.parquet')] }     // [ [id: 'all'], cells.parquet ]
    summary    = found.map { folder -> [[id: 'all'], folder.resolve('qc/qc.json')] }           // [ [id: 'all'], qc.json ]
    cell_types = types                          // [ [id: 'all'], cell_types.tsv ]
    counts     = SPLIT_PSEUDOBULK.out.counts    // [ [id: 'all'], [ counts.h5ad of each cell type ], files.tsv: whose is which ]
    samples                                     // [ [id: 'all'], samples.tsv ]
    table                                       // [ [id: 'all'], pseudobulk.h5ad ]
    published  = TAKE_RESULTS.out.published     // [ meta, [ published files ] ]
    versions   = TAKE_RESULTS.out.versions.mix(TAKE_RESULTS.out.steps.flatten(), SPLIT_PSEUDOBULK.out.versions)     // versions.json files
}
