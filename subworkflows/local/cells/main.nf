// Quality control of each shard, and the sums of its good cells by donor and cell type; or both of an earlier run.

include { QC_THRESHOLDS    } from '../../../modules/local/qc_thresholds'
include { QC_CELLS         } from '../../../modules/local/qc_cells'
include { MERGE_QC         } from '../../../modules/local/merge_qc'
include { PSEUDOBULK       } from '../../../modules/local/pseudobulk'
include { MERGE_PSEUDOBULK } from '../../../modules/local/merge_pseudobulk'
include { KEPT_CELLS       } from '../../../modules/local/kept_cells'
include { EARLIER_RUN      } from '../earlier_run'
include { inOrder          } from '../../../functions/channels'
include { partsOf          } from '../../../functions/fan_out'

workflow CELLS {
    take:
    shards          // [ [id: 'shard-003'], counts.h5ad ]
    cell_types      // [ [id: 'all'], cell types after the cohort filter ]
    donors          // [ [id: 'all'], donors.parquet ]
    donors_table    // [ [id: 'all'], donors.tsv, or samples.tsv where donors have several samples ]

    main:
    // Each donor's own bounds and doublet rate, where asked for: [ [id: 'all'], thresholds.parquet or none ]
    mad = params.qc_thresholds == 'mad'
    if (mad || params.doublet_rate_per_1000 != null || params.doublet_rate_column) {
        QC_THRESHOLDS(
            (mad ? inOrder(shards) : channel.of([[]]))
                .combine(donors.join(donors_table))
                .map { all_shards, meta, donors_file, table -> [meta, all_shards, donors_file, table] }
        )
        thresholds          = QC_THRESHOLDS.out.thresholds
        threshold_published = QC_THRESHOLDS.out.published
        threshold_versions  = QC_THRESHOLDS.out.versions
    }
    else {
        thresholds          = channel.of([[id: 'all'], []])
        threshold_published = channel.empty()
        threshold_versions  = channel.empty()
    }
    if (params.start_from) {
        EARLIER_RUN()
        KEPT_CELLS(shards.combine(EARLIER_RUN.out.cells.map { _meta, table -> table }))
        good_shards = shards.join(KEPT_CELLS.out.cells)
        judged      = EARLIER_RUN.out
        summed      = EARLIER_RUN.out
        published   = threshold_published.mix(EARLIER_RUN.out.published)
        versions    = threshold_versions.mix(EARLIER_RUN.out.versions, KEPT_CELLS.out.versions)
    }
    else {
        QC_CELLS(shards.combine(thresholds.map { _meta, table -> [table] }))
        MERGE_QC(
            inOrder(QC_CELLS.out.cells)
                .combine(inOrder(QC_CELLS.out.summary))
                .combine(cell_types)
                .map { cells, summaries, meta, types -> [meta, cells, summaries, types] }
        )
        good_shards = shards.join(QC_CELLS.out.cells)
        judged      = MERGE_QC.out
        summed      = [counts: channel.empty(), samples: channel.empty(), table: channel.empty()]
        published   = threshold_published.mix(MERGE_QC.out.published)
        versions    = threshold_versions.mix(QC_CELLS.out.versions, MERGE_QC.out.versions)
    }
    if ('pseudobulk' in partsOf(params) && !params.start_from) {
        PSEUDOBULK(good_shards)
        MERGE_PSEUDOBULK(
            inOrder(PSEUDOBULK.out.sums)
                .combine(donors)
                .map { sums, meta, donors_file -> [meta, sums, donors_file] }
                .join(MERGE_QC.out.cell_types)
        )
        summed    = MERGE_PSEUDOBULK.out
        published = published.mix(MERGE_PSEUDOBULK.out.published)
        versions  = versions.mix(PSEUDOBULK.out.versions, MERGE_PSEUDOBULK.out.versions)
    }

    emit:
    shards     = good_shards                // [ [id: 'shard-003'], counts.h5ad, cells.parquet ]
    cells      = judged.cells               // [ [id: 'all'], cells.parquet ]
    summary    = judged.summary             // [ [id: 'all'], qc.json ]
    cell_types = judged.cell_types          // [ [id: 'all'], cell_types.tsv ]
    thresholds                              // [ [id: 'all'], each donor's own thresholds or none ]
    counts     = summed.counts              // [ [id: 'all'], [ counts.h5ad of each cell type ], files.tsv: whose is which ]
    samples    = summed.samples             // [ [id: 'all'], samples.tsv ]
    table      = summed.table               // [ [id: 'all'], pseudobulk.h5ad ]
    published                               // [ meta, [ published files ] ]
    versions                                // versions.json files
}
