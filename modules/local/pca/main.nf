process PCA {
    tag "$meta.id"
    label 'process_medium'
    // The products of 3,000 genes, and one shard in 64 bits.
    memory { (1024.MB + 20.B * [counts].flatten().collect { file -> file.size() }.max()) * 2 ** (task.attempt - 1) }
    container "${task.ext.container_image}"

    input:
    // sketch: the cells that the embedding is computed on, where these are not all, else none
    tuple val(meta), path(counts), path(sketch)

    output:
    tuple val(meta), path("${sketch ? "dataset-${params.dataset}_${meta.id}_step-pca_cells" : 'published/embedding/pca'}.parquet"), emit: pca
    tuple val(meta), path('*_step-pca_model.parquet'), optional: true, emit: model
    tuple val(meta), path('published/**'), emit: published
    path 'versions.json', emit: versions

    script:
    def stem = "dataset-${params.dataset}_${meta.id}_step-pca"
    """
    # code: ${task.ext.code}
    # environment: ${task.ext.environment}
    exec 'pca.py' \\
        --counts ${counts} \\
        --n-pcs ${params.n_pcs} \\
        --seed ${params.seed} \\
        ${sketch ? "--sketch '${sketch}' --output-model '${stem}_model.parquet' --output-cells '${stem}_cells.parquet'" : ''} \\
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
