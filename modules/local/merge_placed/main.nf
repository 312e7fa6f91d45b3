process MERGE_PLACED {
    tag "$meta.id"
    label 'process_low'
    // One shard's table at a time; a value takes about as much in memory as in the file.
    memory { (768.MB + 8.B * [placed].flatten().collect { file -> file.size() }.max()) * 2 ** (task.attempt - 1) }
    container "${task.ext.container_image}"

    input:
    tuple val(meta), path(placed), path(clusters, stageAs: 'clusters_?')

    output:
    tuple val(meta), path('published/embedding/pca.parquet'), emit: pca
    tuple val(meta), path('published/embedding/harmony.parquet'), optional: true, emit: harmony
    tuple val(meta), path('published/embedding/umap.parquet'), emit: umap
    tuple val(meta), path('published/**'), emit: published
    path 'versions.json', emit: versions

    script:
    """
    # code: ${task.ext.code}
    # environment: ${task.ext.environment}
    exec 'merge_placed.py' \\
        --placed ${placed} \\
        --clusters ${clusters} \\
        --output published
    """

    stub:
    """
    mkdir -p published/embedding
    touch published/embedding/pca.parquet published/embedding/harmony.parquet published/embedding/umap.parquet
    echo '{}' > versions.json
    """
}
