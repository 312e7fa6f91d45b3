// From the good cells of all shards to variable genes, principal components, Harmony, neighbours, UMAP and clusters. Of
// more cells than `embedding_cells` all from Harmony on is computed on a sketch, and all cells are placed by it.

include { RANK_GENES     } from '../../../modules/local/rank_genes'
include { RANK_RESIDUALS } from '../../../modules/local/rank_residuals'
include { SELECT_GENES   } from '../../../modules/local/select_genes'
include { NORMALIZE      } from '../../../modules/local/normalize'
include { SKETCH_CELLS   } from '../../../modules/local/sketch_cells'
include { PCA            } from '../../../modules/local/pca'
include { HARMONY        } from '../../../modules/local/harmony'
include { BATCH_SUMS     } from '../../../modules/local/batch_sums'
include { FIT_BATCHES    } from '../../../modules/local/fit_batches'
include { NEIGHBORS      } from '../../../modules/local/neighbors'
include { UMAP           } from '../../../modules/local/umap'
include { CLUSTER        } from '../../../modules/local/cluster'
include { PLACE_CELLS    } from '../../../modules/local/place_cells'
include { MERGE_PLACED   } from '../../../modules/local/merge_placed'
include { GENE_EXPRESSION } from '../../../modules/local/gene_expression'
include { PLOT_EMBEDDING } from '../../../modules/local/plot_embedding'
include { inOrder        } from '../../../functions/channels'
include { listOf; numbersOf; partsOf } from '../../../functions/fan_out'
include { keptCells; ofAllCells; saidOfSketch } from '../../../functions/sketch'
include { publishedFolders } from '../../../functions/publishing'

workflow EMBEDDING {
    take:
    shards      // [ [id: 'shard-003'], counts.h5ad, cells.parquet ]
    counted     // [ [id: 'all'], cells.parquet, qc.json ]
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
    // The cells that are embedded, [ [id: 'all'], table ]: all, or with meta.sketch those that were drawn.
    cells = counted.map { meta, table, _summary -> [meta, table] }
    sized = counted.branch { _meta, _table, summary ->
        large: keptCells(summary) > (params.embedding_cells as long)
        whole: true
    }
    SKETCH_CELLS(sized.large.map { meta, table, _summary -> [meta, table] })
    SKETCH_CELLS.out.published.flatMap { _meta, summary -> saidOfSketch(summary) }.view()
    embedded = sized.whole.map { meta, table, _summary -> [meta, table] }
        .mix(SKETCH_CELLS.out.cells.map { meta, table -> [meta + [sketch: true], table] })
    PCA(
        inOrder(NORMALIZE.out.counts).combine(embedded)
            .map { counts, meta, table -> [meta, counts, meta.sketch ? table : []] }
    )
    // What places cells by a sketch reads of each shard: [ [id: 'shard-003'], counts, cells.parquet, donors.parquet ]
    donors_file = donors.map { _meta, table -> table }
    placeable   = NORMALIZE.out.counts.join(shards.map { meta, _counts, table -> [meta, table] }).combine(donors_file)
    // Components corrected for batches, or as they are: [ meta, harmony.parquet or pca.parquet ]
    integrated = PCA.out.pca
    terms      = channel.of([[]])
    shown      = PCA.out.published
    used       = ranking.versions.mix(PCA.out.versions)
    if (params.integration == 'harmony') {
        HARMONY(PCA.out.pca.join(embedded).combine(donors_file))
        // Of a sketch only the clusters are Harmony's own: how far batches are shifted in each, all cells tell.
        BATCH_SUMS(placeable.combine(PCA.out.model.join(HARMONY.out.terms).map { _meta, model, of_sketch -> [model, of_sketch] }))
        FIT_BATCHES(
            PCA.out.pca.join(embedded).combine(donors_file).join(HARMONY.out.terms).combine(inOrder(BATCH_SUMS.out.sums))
        )
        integrated = ofAllCells(HARMONY.out.harmony, FIT_BATCHES.out.harmony)
        terms      = FIT_BATCHES.out.terms.map { _meta, file -> [file] }
        shown      = shown.mix(HARMONY.out.published)
        used       = used.mix(HARMONY.out.versions, BATCH_SUMS.out.versions, FIT_BATCHES.out.versions)
    }
    NEIGHBORS(integrated)
    UMAP(NEIGHBORS.out.graph.join(integrated))

    clusters = channel.empty()
    cluster_versions = channel.empty()
    if ('clusters' in partsOf(params)) {
        // One task a resolution: [ meta + [resolution: '1.0'], graph.h5 ]
        CLUSTER(
            NEIGHBORS.out.graph
                .combine(channel.fromList(numbersOf(params.leiden_resolutions, 1)))
                .map { meta, graph, resolution -> [meta + [resolution: resolution], graph] }
        )
        clusters = CLUSTER.out.published
        cluster_versions = CLUSTER.out.versions
    }
    // Of a sketch: every shard's cells placed by it, and their tables, which take the place of the sketch's own.
    sketch = PCA.out.model.combine(terms).join(integrated).join(UMAP.out.umap).combine(publishedFolders(clusters))
    PLACE_CELLS(
        placeable
            .combine(sketch.map { _meta, model, its_terms, table, umap, folders -> [model, its_terms, table, umap, folders] })
    )
    MERGE_PLACED(
        inOrder(PLACE_CELLS.out.cells).combine(publishedFolders(clusters))
            .filter { placed, _folders -> placed }
            .map { placed, folders -> [[id: 'all'], placed, folders] }
    )
    pca       = ofAllCells(PCA.out.pca, MERGE_PLACED.out.pca)
    umap      = ofAllCells(UMAP.out.umap, MERGE_PLACED.out.umap)
    corrected = params.integration == 'harmony'
        ? ofAllCells(HARMONY.out.harmony, MERGE_PLACED.out.harmony).map { _meta, table -> [table] }
        : channel.of([[]])
    of_cells  = ofAllCells(clusters, MERGE_PLACED.out.published)
    GENE_EXPRESSION(shards.filter { listOf(params.report_genes) })
    PLOT_EMBEDDING(
        cells.join(donors).join(pca).combine(corrected).join(umap)
            .combine(publishedFolders(of_cells))
            .combine(GENE_EXPRESSION.out.genes.map { _meta, table -> table }.toSortedList { one, other -> one.name <=> other.name }.map { tables -> [tables] })
    )

    emit:
    normalized = NORMALIZE.out.counts       // [ [id: 'shard-003'], counts of the chosen genes ]
    graph      = NEIGHBORS.out.graph        // [ [id: 'all'], graph.h5 ]
    // [ meta, [ published files ] ]
    published  = SELECT_GENES.out.published.mix(
        shown, NEIGHBORS.out.published, UMAP.out.published.mix(clusters).filter { meta, _files -> !meta.sketch },
        SKETCH_CELLS.out.published, MERGE_PLACED.out.published, PLOT_EMBEDDING.out.published
    )
    // versions.json files
    versions   = used.mix(
        SELECT_GENES.out.versions, NORMALIZE.out.versions, NEIGHBORS.out.versions, UMAP.out.versions,
        cluster_versions, SKETCH_CELLS.out.versions, PLACE_CELLS.out.versions, MERGE_PLACED.out.versions,
        GENE_EXPRESSION.out.versions, PLOT_EMBEDDING.out.versions
    )
}
