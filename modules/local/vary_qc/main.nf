process VARY_QC {
    tag "$meta.id"
    label 'process_low'
    memory { (768.MB + 40.B * [cells].flatten().sum { file -> file.size() }) * 2 ** (task.attempt - 1) }
    container "${task.ext.container_image}"

    input:
    tuple val(meta), val(shards), path(cells, stageAs: 'run/*'), path(cell_types), path(donors), path(thresholds)

    output:
    tuple val(meta), path('*_step-qc_cells.parquet', arity: '0..*'), path('*_step-vary_qc_files.tsv'), emit: cells
    tuple val(meta), path('*_step-vary_qc_cell_types.tsv'), emit: cell_types
    tuple val(meta), path('*_step-vary_qc_summary.json'), emit: summary
    path 'versions.json', emit: versions

    script:
    """
    # code: ${task.ext.code}
    # environment: ${task.ext.environment}
    exec 'vary_qc.py' \\
        --variant '${meta.id}' \\
        --changes ${meta.changes.collect { change -> "'${change}'" }.join(' ')} \\
        --cells ${cells} \\
        --shards ${shards.join(' ')} \\
        --cell-types '${cell_types}' \\
        --donors '${donors}' ${thresholds ? "--thresholds '${thresholds}'" : ''} \\
        --min-genes ${params.min_genes} \\
        --max-genes ${params.max_genes} \\
        --min-counts ${params.min_counts} \\
        --max-counts ${params.max_counts} \\
        --max-pct-mito ${params.max_pct_mito} \\
        --max-pct-hb ${params.max_pct_hb} \\
        --mad-group '${params.mad_group}' \\
        --min-cells-per-sample ${params.min_cells_per_sample} \\
        --min-depth-share ${params.min_depth_share} \\
        --min-samples-per-type ${params.min_samples_per_type} \\
        --output-files 'dataset-${params.dataset}_${meta.id}_step-vary_qc_files.tsv' \\
        --output-cell-types 'dataset-${params.dataset}_${meta.id}_step-vary_qc_cell_types.tsv' \\
        --output-summary 'dataset-${params.dataset}_${meta.id}_step-vary_qc_summary.json'
    """

    stub:
    """
    touch 'dataset-${params.dataset}_shard-000_step-qc_cells.parquet'
    printf 'id\\tfile\\nshard-000\\tdataset-${params.dataset}_shard-000_step-qc_cells.parquet\\n' > 'dataset-${params.dataset}_${meta.id}_step-vary_qc_files.tsv'
    touch 'dataset-${params.dataset}_${meta.id}_step-vary_qc_cell_types.tsv'
    echo '{}' > 'dataset-${params.dataset}_${meta.id}_step-vary_qc_summary.json'
    echo '{}' > versions.json
    """
}
