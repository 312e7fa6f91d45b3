// The whole cohort as one h5ad: the counts of the input with what the run found out about cells and genes.

include { EXPORT_H5AD      } from '../../../modules/local/export_h5ad'
include { inOrder          } from '../../../functions/channels'
include { publishedFolders } from '../../../functions/publishing'

workflow EXPORT {
    take:
    cohort          // [ [id: 'all', sha256: '...'], cohort.h5ad ]
    check           // [ [id: 'all', sha256: '...'], check.json ]
    shards          // [ [id: 'shard-003'], counts.h5ad ]
    results         // [ meta, [ published files ] ] of cells and embedding
    donors          // [ [id: 'all'], donors.parquet ]
    genes           // [ [id: 'all'], genes.parquet ]
    dropped         // [ [id: 'all'], cells that the cohort filter dropped ]
    description     // params.json

    main:
    EXPORT_H5AD(
        cohort
            .join(check)
            .combine(inOrder(shards))
            .combine(publishedFolders(results))
            .combine(donors.map { _meta, table -> table })
            .combine(genes.map { _meta, table -> table })
            .combine(dropped.map { _meta, table -> table })
            .combine(description)
    )

    emit:
    published = EXPORT_H5AD.out.published   // [ meta, [ published files ] ]
    versions  = EXPORT_H5AD.out.versions    // versions.json files
}
