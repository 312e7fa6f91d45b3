process SELECT_GENES {
    tag "$meta.id"
    label 'process_low'
    memory { (768.MB + 20.B * [ranks].flatten().sum { file -> file.size() }) * 2 ** (task.attempt - 1) }
    container "${task.ext.container_image}"

    input:
    tuple val(meta), path(ranks), path(summaries)

    output:
    tuple val(meta), path('published/embedding/genes.tsv'), emit: genes
    tuple val(meta), path('published/**'), emit: published
    path 'versions.json', emit: versions

    script:
    """
    # code: ${task.ext.code}
    # environment: ${task.ext.environment}
    # scanpy leaves genes of the same variance in the order that NumPy's sorting has them on this processor
    unset NPY_DISABLE_CPU_FEATURES
    exec 'select_genes.py' \\
        --ranks ${ranks} \\
        --summaries ${summaries} \\
        --flavor ${params.hvg_flavor} \\
        --n-top-genes ${params.n_top_genes} \\
        --output published/embedding/genes.tsv \\
        --output-summary published/embedding/genes.json
    """

    stub:
    """
    mkdir -p published/embedding
    touch published/embedding/genes.tsv
    echo '{}' > published/embedding/genes.json
    echo '{}' > versions.json
    """
}
