process PLOT_PSEUDOBULK {
    tag "$meta.id"
    label 'process_single'
    container "${task.ext.container_image}"

    input:
    tuple val(meta), path(samples)

    output:
    tuple val(meta), path('published/**'), emit: published
    path 'versions.json', emit: versions

    script:
    """
    # code: ${task.ext.code}
    # environment: ${task.ext.environment}
    exec 'plot_pseudobulk.py' \\
        --samples '${samples}' \\
        --min-cells-per-sample ${params.min_cells_per_sample} \\
        --output published/pseudobulk/figures
    """

    stub:
    """
    mkdir -p published/pseudobulk/figures
    touch published/pseudobulk/figures/sample_sizes.{png,pdf}
    echo '{}' > versions.json
    """
}
