// Quality control of each shard, and the sums of its good cells by donor and cell type.

include { QC_CELLS         } from '../../../modules/local/qc_cells'
include { MERGE_QC         } from '../../../modules/local/merge_qc'
include { PSEUDOBULK       } from '../../../modules/local/pseudobulk'
include { MERGE_PSEUDOBULK } from '../../../modules/local/merge_pseudobulk'
include { PLOT_COHORT      } from '../../../modules/local/plot_cohort'
include { PLOT_QC          } from '../../../modules/local/plot_qc'
include { inOrder; reaches } from '../parameters'

workflow CELLS {
    take:
    shards          // [ [id: 'shard-003'], counts.h5ad ]
    cell_types      // [ [id: 'all'], cell types after the cohort filter ]
    donors          // [ [id: 'all'], donors.parquet ]
    donors_table    // [ [id: 'all'], donors.tsv ]
    filtering       // [ [id: 'all'], filtering.json ]

    main:
    QC_CELLS(shards)
    MERGE_QC(
        inOrder(QC_CELLS.out.cells)
            .combine(inOrder(QC_CELLS.out.summary))
            .combine(cell_types)
            .map { cells, summaries, meta, types -> [meta, cells, summaries, types] }
    )
    PLOT_COHORT(donors_table.join(MERGE_QC.out.cell_types).join(filtering))
    PLOT_QC(MERGE_QC.out.cells)
    published = MERGE_QC.out.published.mix(PLOT_COHORT.out.published, PLOT_QC.out.published)
    versions  = QC_CELLS.out.versions.mix(MERGE_QC.out.versions, PLOT_COHORT.out.versions, PLOT_QC.out.versions)

    good_shards = shards.join(QC_CELLS.out.cells)
    counts      = channel.empty()
    samples     = channel.empty()
    table       = channel.empty()
    if (reaches(params, 'pseudobulk')) {
        PSEUDOBULK(good_shards)
        MERGE_PSEUDOBULK(
            inOrder(PSEUDOBULK.out.sums)
                .combine(donors)
                .map { sums, meta, donors_file -> [meta, sums, donors_file] }
                .join(MERGE_QC.out.cell_types)
        )
        counts    = MERGE_PSEUDOBULK.out.counts
        samples   = MERGE_PSEUDOBULK.out.samples
        table     = MERGE_PSEUDOBULK.out.table
        published = published.mix(MERGE_PSEUDOBULK.out.published)
        versions  = versions.mix(PSEUDOBULK.out.versions, MERGE_PSEUDOBULK.out.versions)
    }

    emit:
    shards     = good_shards                // [ [id: 'shard-003'], counts.h5ad, cells.parquet ]
    cells      = MERGE_QC.out.cells         // [ [id: 'all'], cells.parquet ]
    cell_types = MERGE_QC.out.cell_types    // [ [id: 'all'], cell_types.tsv ]
    counts                                  // [ [id: 'all'], [ counts.h5ad a cell type ] ]
    samples                                 // [ [id: 'all'], samples.tsv ]
    table                                   // [ [id: 'all'], pseudobulk.h5ad ]
    published                               // [ meta, [ published files ] ]
    versions                                // versions.json files
}
