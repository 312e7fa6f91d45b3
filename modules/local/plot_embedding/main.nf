process PLOT_EMBEDDING {
    tag "$meta.id"
    label 'process_low'
    container "${task.ext.container}"

    input:
    tuple val(meta), path(cells), path(donors), path(pca), path(umap), path(clusters, stageAs: 'clusters_?')

    output:
    tuple val(meta), path('published/**'), emit: published
    path 'versions.json', emit: versions

    script:
    """
    # uses: checkpoints.py command_line.py plotting.py
    # environment: ${task.ext.environment}
    plot_embedding.py \\
        --cells '${cells}' \\
        --donors '${donors}' \\
        --pca '${pca}' \\
        --umap '${umap}' \\
        --clusters ${clusters} \\
        --output published
    """

    stub:
    """
    mkdir -p published/embedding/figures
    touch published/embedding/figures/umap_cell_type.{png,pdf}
    echo '{}' > versions.json
    """
}
