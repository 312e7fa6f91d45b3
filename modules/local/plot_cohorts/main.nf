process PLOT_COHORTS {
    tag "$meta.id"
    label 'process_single'
    container "${task.ext.container_image}"

    input:
    tuple val(meta), path(results, stageAs: 'results')

    output:
    tuple val(meta), path('published/**'), emit: published, optional: true
    path 'versions.json', emit: versions

    script:
    """
    # code: ${task.ext.code}
    # environment: ${task.ext.environment}
    exec 'plot_cohorts.py' \\
        --published results \\
        --output published/replication/figures
    """

    stub:
    """
    mkdir -p published/replication/figures
    (cd published/replication/figures && touch effects_other.png effects_other.pdf)
    echo '{}' > versions.json
    """
}
