process QC_THRESHOLDS {
    tag "$meta.id"
    label 'process_low'
    memory { (768.MB + 12.B * ([shards].flatten().collect { file -> file.size() }.max() ?: 0)) * 2 ** (task.attempt - 1) }
    container "${task.ext.container_image}"

    input:
    tuple val(meta), path(shards), path(donors), path(donors_table)

    output:
    tuple val(meta), path('*_step-qc_thresholds.parquet'), emit: thresholds
    tuple val(meta), path('published/**'), emit: published
    path 'versions.json', emit: versions

    script:
    """
    # code: ${task.ext.code}
    # environment: ${task.ext.environment}
    exec 'qc_thresholds.py' \\
        --shards ${shards} \\
        --donors '${donors}' \\
        --donors-table '${donors_table}' \\
        --mad-cutoff ${params.mad_cutoff} \\
        --mad-group '${params.mad_group}' \\
        --min-genes ${params.min_genes} \\
        --max-genes ${params.max_genes} \\
        --min-counts ${params.min_counts} \\
        --max-counts ${params.max_counts} \\
        --max-pct-mito ${params.max_pct_mito} \\
        --max-pct-hb ${params.max_pct_hb} \\
        --expected-doublet-rate ${params.expected_doublet_rate} \\
        ${params.doublet_rate_per_1000 == null ? '' : "--doublet-rate-per-1000 ${params.doublet_rate_per_1000}"} \\
        --doublet-rate-column '${params.doublet_rate_column ?: ''}' \\
        --output 'dataset-${params.dataset}_step-qc_thresholds.parquet' \\
        --output-table published/qc/thresholds.tsv
    """

    stub:
    """
    mkdir -p published/qc
    touch 'dataset-${params.dataset}_step-qc_thresholds.parquet' published/qc/thresholds.tsv
    echo '{}' > versions.json
    """
}
