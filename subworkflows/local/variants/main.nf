// The sensitivity analysis: cells, samples and tests once more for each variant, no further back than it changes something.

include { VARY_QC                                      } from '../../../modules/local/vary_qc'
include { PSEUDOBULK as VARIED_PSEUDOBULK              } from '../../../modules/local/pseudobulk'
include { MERGE_PSEUDOBULK as VARIED_SAMPLES           } from '../../../modules/local/merge_pseudobulk'
include { DIFFERENTIAL_EXPRESSION as VARIED_EXPRESSION } from '../../../modules/local/differential_expression'
include { SENSITIVITY                                  } from '../../../modules/local/sensitivity'
include { filesById; idsInOrder; inOrder               } from '../../../functions/channels'
include { variantsOf                                   } from '../../../functions/fan_out'

// [id: 'strict', variant: 'strict', changes: ['max_pct_mito=10'], design: null]
def variantMeta(variant) {
    def changes = variant.settings.findAll { name, _value -> name != 'design' }.collect { name, value -> "${name}=${value}".toString() }
    return [id: variant.id, variant: variant.id, changes: changes, design: variant.settings.design]
}

workflow VARIANTS {
    take:
    shards          // [ [id: 'shard-003'], counts.h5ad, cells.parquet ]; none in a run from a pseudobulk table
    filtered_types  // [ [id: 'all'], cell types after the cohort filter ]
    thresholds      // [ [id: 'all'], each donor's own thresholds or none ]
    donors          // [ [id: 'all'], donors.parquet ]
    counts          // [ [id: 'all'], [ counts.h5ad of each cell type ], files.tsv: whose is which ]
    samples         // [ [id: 'all'], samples.tsv ]
    expression      // [ [id: 'b_cell', ...], de.tsv, de_summary.json ] of the run itself

    main:
    variants     = variantsOf(params)
    other_cells  = variants.findAll { variant -> variant.cells }
    other_design = variants.findAll { variant -> !variant.cells }

    VARY_QC(
        channel.fromList(other_cells.collect { variant -> variantMeta(variant) })
            .combine(idsInOrder(shards))
            .combine(inOrder(shards.map { meta, _counts, cells -> [meta, cells] }))
            .combine(filtered_types.map { _meta, types -> types })
            .combine(donors.map { _meta, table -> table })
            .combine(thresholds.map { _meta, table -> [table] })
    )
    // Only shards in which the variant leaves a cell: [ 'shard-003', [id: 'strict', ..., parts: 4], cells.parquet ]
    varied_cells = VARY_QC.out.cells.flatMap { meta, files, table ->
        filesById(files, table).collect { shard, file -> [shard, meta + [parts: files.size()], file] }
    }
    VARIED_PSEUDOBULK(
        shards
            .map { meta, counts_file, _cells -> [meta.id, counts_file] }
            .combine(varied_cells, by: 0)
            .map { id, counts_file, meta, cells -> [meta + [id: id], counts_file, cells] }
    )
    VARIED_SAMPLES(
        VARIED_PSEUDOBULK.out.sums
            .map { meta, sums -> [groupKey(meta.variant, meta.parts), sums] }
            .groupTuple(sort: { one, other -> one.name <=> other.name })
            .map { variant, sums -> [variant.toString(), sums] }
            .join(VARY_QC.out.cell_types.map { meta, types -> [meta.variant, meta, types] })
            .combine(donors.map { _meta, table -> table })
            .map { _variant, sums, meta, types, table -> [meta, sums, table, types] }
    )
    VARIED_EXPRESSION(
        VARIED_SAMPLES.out.counts
            .mix(channel.fromList(other_design.collect { variant -> variantMeta(variant) }).combine(counts.map { _meta, files, table -> [files, table] }))
            .flatMap { meta, files, table -> filesById(files, table).collect { id, file -> [meta + [id: id], file] } }
    )
    tested = expression
        .map { meta, table, summary -> ["base/${meta.id}".toString(), table, summary] }
        .mix(VARIED_EXPRESSION.out.de.join(VARIED_EXPRESSION.out.summary).map { meta, table, summary -> ["${meta.variant}/${meta.id}".toString(), table, summary] })
    SENSITIVITY(
        tested
            .toSortedList { one, other -> one[0] <=> other[0] }
            .filter { rows -> rows }
            .map { rows -> [[id: 'all'], rows.collect { row -> row[0] }, rows.collect { row -> row[1] }, rows.collect { row -> row[2] }] }
            .join(samples)
            .combine(VARY_QC.out.summary.map { _meta, summary -> summary }.toSortedList { one, other -> one.name <=> other.name }.map { files -> [files] }),
        channel.of(groovy.json.JsonOutput.toJson(variants.collect { variant -> variant.subMap('id', 'changes') })).collectFile(name: 'variants.json').first()
    )

    emit:
    published = SENSITIVITY.out.published   // [ meta, [ published files ] ]
    // versions.json files
    versions  = VARY_QC.out.versions.mix(
        VARIED_PSEUDOBULK.out.versions, VARIED_SAMPLES.out.versions, VARIED_EXPRESSION.out.versions, SENSITIVITY.out.versions
    )
}
