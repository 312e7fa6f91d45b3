process NORMALIZE {
    tag "$meta.id"
    label 'process_low'
    memory { (768.MB + 20.B * shard.size()) * 2 ** (task.attempt - 1) }
    container "${task.ext.container_image}"

    input:
    tuple val(meta), path(shard), path(cells), path(genes)

    output:
    tuple val(meta), path('*_step-normalize_counts.h5ad'), emit: counts
    path 'versions.json', emit: versions

    script:
    """
    # code: ${task.ext.code}
    # environment: ${task.ext.environment}
    exec 'normalize.py' \\
        --shard '${shard}' \\
        --cells '${cells}' \\
        --genes '${genes}' \\
        --target-sum ${params.target_sum} \\
        --output 'dataset-${params.dataset}_${meta.id}_step-normalize_counts.h5ad'
    """

    stub:
    """
    touch 'dataset-${params.dataset}_${meta.id}_step-normalize_counts.h5ad'
    echo '{}' > versions.json
    """
}
