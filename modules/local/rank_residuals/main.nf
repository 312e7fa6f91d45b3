process RANK_RESIDUALS {
    tag "$meta.id"
    label 'process_low'
    memory { (768.MB + 20.B * shard.size()) * 2 ** (task.attempt - 1) }
    container "${task.ext.container_image}"

    input:
    tuple val(meta), path(shard), path(cells)

    output:
    tuple val(meta), path('*_step-rank_ranks.parquet'), emit: ranks
    tuple val(meta), path('*_step-rank_summary.json'), emit: summary
    path 'versions.json', emit: versions

    script:
    """
    # code: ${task.ext.code}
    # environment: ${task.ext.environment}
    exec 'rank_residuals.py' \\
        --shard '${shard}' \\
        --cells '${cells}' \\
        --output 'dataset-${params.dataset}_${meta.id}_step-rank_ranks.parquet' \\
        --output-summary 'dataset-${params.dataset}_${meta.id}_step-rank_summary.json'
    """

    stub:
    """
    touch 'dataset-${params.dataset}_${meta.id}_step-rank_ranks.parquet'
    echo '{}' > 'dataset-${params.dataset}_${meta.id}_step-rank_summary.json'
    echo '{}' > versions.json
    """
}
