process UMAP {
    tag "$meta.id"
    label 'process_medium'
    memory { (1024.MB + 10.B * graph.size()) * 2 ** (task.attempt - 1) }
    cpus { params.umap_deterministic ? 1 : 8 }
    container "${task.ext.container_image}"

    input:
    tuple val(meta), path(graph), path(harmony)

    output:
    tuple val(meta), path('published/embedding/umap.parquet'), emit: umap
    tuple val(meta), path('published/**'), emit: published
    path 'versions.json', emit: versions

    script:
    """
    # code: ${task.ext.code}
    # environment: ${task.ext.environment}
    exec 'umap_layout.py' \\
        --graph '${graph}' \\
        --embedding '${harmony}' \\
        --epochs ${params.umap_epochs} \\
        --min-dist ${params.umap_min_dist} \\
        --seed ${params.seed} \\
        --threads ${task.cpus} \\
        --output published/embedding/umap.parquet
    """

    stub:
    """
    mkdir -p published/embedding
    touch published/embedding/umap.parquet
    echo '{}' > versions.json
    """
}
