// Each donor's age by clocks that others published, from the cells or from a table of samples.

include { PUBLISHED_CLOCKS      } from '../../../modules/local/published_clocks'
include { byContent; clockFiles } from '../../../functions/inputs'

workflow CLOCKS {
    take:
    shards          // [ [id: 'shard-003'], counts.h5ad, cells.parquet ]; none where the run starts from a table of samples
    donors          // [ [id: 'all'], donors.parquet ]; none there, too
    table           // [ [id: 'all'], pseudobulk.h5ad ]; none where the run starts from cells
    check           // [ [id: 'all', ...], check.json ]

    main:
    clocks   = file(params.published_clocks, glob: false)
    of_cells = shards
        .toSortedList { one, other -> one[0].id <=> other[0].id }
        .map { rows -> [rows.collect { row -> row[1] }, rows.collect { row -> row[2] }] }
        .combine(donors)
        .map { counts, cells, meta, file -> [meta, counts, cells, file, []] }
    of_table = table.map { meta, file -> [meta, [], [], [], file] }
    PUBLISHED_CLOCKS(
        of_cells.mix(of_table)
            .map { meta, counts, cells, donors_file, samples -> [meta + [folder: clocks.isDirectory()], counts, cells, donors_file, samples] }
            .combine(check.map { _meta, file -> file })
            .combine(byContent(channel.fromList(clockFiles(clocks))).map { found -> [found] })
            .combine(byContent(channel.fromPath("${projectDir}/assets/clocks/*.tsv")).map { found -> [found] })
    )

    emit:
    published = PUBLISHED_CLOCKS.out.published  // [ meta, [ published files ] ]
    versions  = PUBLISHED_CLOCKS.out.versions   // versions.json files
}
