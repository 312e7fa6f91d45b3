include { quote } from '../../../functions/shell'

process PLOT_EMBEDDING {
    tag "$meta.id"
    label 'process_low'
    container "${task.ext.container_image}"

    input:
    // harmony may be none
    tuple val(meta), path(cells), path(donors), path(pca), path(harmony), path(umap), path(clusters, stageAs: 'clusters_?'), path(genes)

    output:
    tuple val(meta), path('published/**'), emit: published
    path 'versions.json', emit: versions

    script:
    """
    # code: ${task.ext.code}
    # environment: ${task.ext.environment}
    exec 'plot_embedding.py' \\
        --cells '${cells}' \\
        --donors '${donors}' \\
        --pca '${pca}' ${harmony ? "--harmony '${harmony}'" : ''} \\
        --batch-column ${quote(params.batch_column)} \\
        --umap '${umap}' \\
        --genes ${genes} \\
        --clusters ${clusters} \\
        --output published
    """

    stub:
    """
    mkdir -p published/embedding/figures
    touch published/embedding/figures/umap_cell_type.{png,pdf} published/embedding/umap_sample.tsv
    echo '{}' > versions.json
    """
}
