process PSEUDOBULK {
    tag "${meta.variant ? "$meta.variant $meta.id" : meta.id}"
    label 'process_low'
    memory { (768.MB + 20.B * shard.size()) * 2 ** (task.attempt - 1) }
    container "${task.ext.container_image}"

    input:
    tuple val(meta), path(shard), path(cells)

    output:
    tuple val(meta), path('*_step-pseudobulk_sums.h5ad'), emit: sums
    path 'versions.json', emit: versions

    script:
    """
    # code: ${task.ext.code}
    # environment: ${task.ext.environment}
    exec 'pseudobulk.py' \\
        --shard '${shard}' \\
        --cells '${cells}' \\
        --output 'dataset-${params.dataset}_${meta.id}_step-pseudobulk_sums.h5ad'
    """

    stub:
    """
    touch 'dataset-${params.dataset}_${meta.id}_step-pseudobulk_sums.h5ad'
    echo '{}' > versions.json
    """
}
