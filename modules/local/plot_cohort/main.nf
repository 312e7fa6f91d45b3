process PLOT_COHORT {
    tag "$meta.id"
    label 'process_single'
    container "${task.ext.container_image}"

    input:
    tuple val(meta), path(donors), path(cell_types), path(filtering)

    output:
    tuple val(meta), path('published/**'), emit: published
    path 'versions.json', emit: versions

    script:
    """
    # code: ${task.ext.code}
    # environment: ${task.ext.environment}
    exec 'plot_cohort.py' \\
        --donors '${donors}' \\
        --cell-types '${cell_types}' \\
        --filtering '${filtering}' \\
        --output published/cohort/figures
    """

    stub:
    """
    mkdir -p published/cohort/figures
    touch published/cohort/figures/{cells_per_donor,age_sex,cell_types}.{png,pdf}
    echo '{}' > versions.json
    """
}
