process RANK_GENES {
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
    # scanpy leaves genes of the same variance in the order that NumPy's sorting has them on this processor
    unset NPY_DISABLE_CPU_FEATURES
    exec 'rank_genes.py' \\
        --shard '${shard}' \\
        --cells '${cells}' \\
        --span ${params.hvg_span} \\
        --threads ${task.cpus} \\
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
