// From the good cells of all shards to variable genes, principal components, Harmony, neighbours, UMAP and clusters.

include { RANK_GENES     } from '../../../modules/local/rank_genes'
include { RANK_RESIDUALS } from '../../../modules/local/rank_residuals'
include { SELECT_GENES   } from '../../../modules/local/select_genes'
include { NORMALIZE      } from '../../../modules/local/normalize'
include { PCA            } from '../../../modules/local/pca'
include { HARMONY        } from '../../../modules/local/harmony'
include { NEIGHBORS      } from '../../../modules/local/neighbors'
include { UMAP           } from '../../../modules/local/umap'
include { CLUSTER        } from '../../../modules/local/cluster'
include { GENE_EXPRESSION } from '../../../modules/local/gene_expression'
include { PLOT_EMBEDDING } from '../../../modules/local/plot_embedding'
include { inOrder        } from '../../../functions/channels'
include { listOf; numbersOf; partsOf } from '../../../functions/fan_out'
include { publishedFolders } from '../../../functions/publishing'

workflow EMBEDDING {
    take:
    shards      // [ [id: 'shard-003'], counts.h5ad, cells.parquet ]
    cells       // [ [id: 'all'], cells.parquet ]
    donors      // [ [id: 'all'], donors.parquet ]

    main:
    // A method is a process of the same contract: what it takes and emits is the same for all values of the parameter.
    if (params.hvg_flavor == 'pearson_residuals') {
        RANK_RESIDUALS(shards)
        ranking = RANK_RESIDUALS.out
    }
    else {
        RANK_GENES(shards)
        ranking = RANK_GENES.out
    }
    SELECT_GENES(
        inOrder(ranking.ranks)
            .combine(inOrder(ranking.summary))
            .map { ranks, summaries -> [[id: 'all'], ranks, summaries] }
    )
    NORMALIZE(shards.combine(SELECT_GENES.out.genes.map { _meta, genes -> genes }))
    PCA(inOrder(NORMALIZE.out.counts).map { counts -> [[id: 'all']] + counts })
    // Components corrected for batches, or as they are: [ [id: 'all'], harmony.parquet or pca.parquet ]
    integrated = PCA.out.pca
    corrected  = channel.of([[]])
    shown      = PCA.out.published
    used       = ranking.versions.mix(PCA.out.versions)
    if (params.integration == 'harmony') {
        HARMONY(PCA.out.pca.join(cells).join(donors))
        integrated = HARMONY.out.harmony
        corrected  = HARMONY.out.harmony.map { _meta, table -> [table] }
        shown      = shown.mix(HARMONY.out.published)
        used       = used.mix(HARMONY.out.versions)
    }
    NEIGHBORS(integrated)
    UMAP(NEIGHBORS.out.graph.join(integrated))

    clusters = channel.empty()
    cluster_versions = channel.empty()
    if ('clusters' in partsOf(params)) {
        // One task a resolution: [ [id: 'all', resolution: '1.0'], graph.h5 ]
        CLUSTER(
            NEIGHBORS.out.graph
                .combine(channel.fromList(numbersOf(params.leiden_resolutions, 1)))
                .map { meta, graph, resolution -> [meta + [resolution: resolution], graph] }
        )
        clusters = CLUSTER.out.published
        cluster_versions = CLUSTER.out.versions
    }
    GENE_EXPRESSION(shards.filter { listOf(params.report_genes) })
    PLOT_EMBEDDING(
        cells.join(donors).join(PCA.out.pca).combine(corrected).join(UMAP.out.umap)
            .combine(publishedFolders(clusters))
            .combine(GENE_EXPRESSION.out.genes.map { _meta, table -> table }.toSortedList { one, other -> one.name <=> other.name }.map { tables -> [tables] })
    )

    emit:
    normalized = NORMALIZE.out.counts       // [ [id: 'shard-003'], counts of the chosen genes ]
    graph      = NEIGHBORS.out.graph        // [ [id: 'all'], graph.h5 ]
    // [ meta, [ published files ] ]
    published  = SELECT_GENES.out.published.mix(
        shown, NEIGHBORS.out.published, UMAP.out.published, clusters,
        PLOT_EMBEDDING.out.published
    )
    // versions.json files
    versions   = used.mix(
        SELECT_GENES.out.versions, NORMALIZE.out.versions, NEIGHBORS.out.versions, UMAP.out.versions,
        cluster_versions, GENE_EXPRESSION.out.versions, PLOT_EMBEDDING.out.versions
    )
}
