process PLOT_CELL_TYPE {
    tag "$meta.id"
    label 'process_single'
    container "${task.ext.container}"

    input:
    tuple val(meta), path(results, stageAs: 'results_?')

    output:
    tuple val(meta), path('published/**'), emit: published, optional: true
    path 'versions.json', emit: versions

    script:
    """
    # uses: checkpoints.py command_line.py plotting.py published_tree.py
    # environment: ${task.ext.environment}
    plot_cell_type.py \\
        --published ${results} \\
        --id '${meta.id}' \\
        --output 'published/cell_types/${meta.id}/figures'
    """

    stub:
    """
    mkdir -p 'published/cell_types/${meta.id}/figures'
    touch 'published/cell_types/${meta.id}/figures/volcano.png'
    echo '{}' > versions.json
    """
}
