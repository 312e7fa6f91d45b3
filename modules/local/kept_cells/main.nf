process KEPT_CELLS {
    tag "$meta.id"
    label 'process_low'
    memory { (768.MB + 12.B * cells.size()) * 2 ** (task.attempt - 1) }
    container "${task.ext.container_image}"

    input:
    tuple val(meta), path(shard), path(cells)

    output:
    tuple val(meta), path('*_step-qc_cells.parquet'), emit: cells
    path 'versions.json', emit: versions

    script:
    """
    # code: ${task.ext.code}
    # environment: ${task.ext.environment}
    exec 'kept_cells.py' \\
        --shard '${shard}' \\
        --cells '${cells}' \\
        --output 'dataset-${params.dataset}_${meta.id}_step-qc_cells.parquet'
    """

    stub:
    """
    touch 'dataset-${params.dataset}_${meta.id}_step-qc_cells.parquet'
    echo '{}' > versions.json
    """
}
