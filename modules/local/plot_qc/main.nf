process PLOT_QC {
    tag "$meta.id"
    label 'process_low'
    memory { (768.MB + 40.B * cells.size()) * 2 ** (task.attempt - 1) }
    container "${task.ext.container_image}"

    input:
    tuple val(meta), path(cells), path(thresholds)

    output:
    tuple val(meta), path('published/**'), emit: published
    path 'versions.json', emit: versions

    script:
    """
    # code: ${task.ext.code}
    # environment: ${task.ext.environment}
    exec 'plot_qc.py' \\
        --cells '${cells}' ${thresholds ? "--thresholds '${thresholds}'" : ''} \\
        --min-genes ${params.min_genes} \\
        --max-genes ${params.max_genes} \\
        --min-counts ${params.min_counts} \\
        --max-counts ${params.max_counts} \\
        --max-pct-mito ${params.max_pct_mito} \\
        --max-pct-hb ${params.max_pct_hb} \\
        --output published/qc/figures
    """

    stub:
    """
    mkdir -p published/qc/figures
    touch published/qc/figures/{violins,counts_and_genes,cells_lost}.{png,pdf}
    echo '{}' > versions.json
    """
}
