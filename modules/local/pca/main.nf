process PCA {
    tag "$meta.id"
    label 'process_medium'
    // The products of 3,000 genes, and one shard in 64 bits.
    memory { (1024.MB + 20.B * [counts].flatten().collect { file -> file.size() }.max()) * 2 ** (task.attempt - 1) }
    container "${task.ext.container_image}"

    input:
    tuple val(meta), path(counts)

    output:
    tuple val(meta), path('published/embedding/pca.parquet'), emit: pca
    tuple val(meta), path('published/**'), emit: published
    path 'versions.json', emit: versions

    script:
    """
    # code: ${task.ext.code}
    # environment: ${task.ext.environment}
    exec 'pca.py' \\
        --counts ${counts} \\
        --n-pcs ${params.n_pcs} \\
        --seed ${params.seed} \\
        --output published/embedding
    """

    stub:
    """
    mkdir -p published/embedding
    touch published/embedding/pca.parquet published/embedding/pca_loadings.parquet published/embedding/pca_variance.tsv
    echo '{}' > published/embedding/pca.json
    echo '{}' > versions.json
    """
}
