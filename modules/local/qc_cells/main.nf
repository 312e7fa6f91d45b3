process QC_CELLS {
    tag "$meta.id"
    label 'process_low'
    memory { (768.MB + 12.B * shard.size()) * 2 ** (task.attempt - 1) }
    container "${task.ext.container_image}"

    input:
    tuple val(meta), path(shard), path(thresholds)

    output:
    tuple val(meta), path('*_step-qc_cells.parquet'), emit: cells
    tuple val(meta), path('*_step-qc_summary.json'), emit: summary
    path 'versions.json', emit: versions

    script:
    """
    # code: ${task.ext.code}
    # environment: ${task.ext.environment}
    exec 'qc_cells.py' \\
        --shard '${shard}' ${thresholds ? "--thresholds '${thresholds}'" : ''} \\
        --min-genes ${params.min_genes} \\
        --max-genes ${params.max_genes} \\
        --min-counts ${params.min_counts} \\
        --max-counts ${params.max_counts} \\
        --max-pct-mito ${params.max_pct_mito} \\
        --max-pct-hb ${params.max_pct_hb} \\
        --doublet-method ${params.doublet_column ? 'column' : params.doublet_method} \\
        --analysed-donors ${params.donors} \\
        --expected-doublet-rate ${params.expected_doublet_rate} \\
        --seed ${params.seed} \\
        --output 'dataset-${params.dataset}_${meta.id}_step-qc_cells.parquet' \\
        --output-summary 'dataset-${params.dataset}_${meta.id}_step-qc_summary.json'
    """

    stub:
    """
    touch 'dataset-${params.dataset}_${meta.id}_step-qc_cells.parquet'
    echo '{}' > 'dataset-${params.dataset}_${meta.id}_step-qc_summary.json'
    echo '{}' > versions.json
    """
}
