process PLOT_COMPARISON {
    tag "$meta.id"
    label 'process_single'
    container "${task.ext.container_image}"

    input:
    tuple val(meta), path(results, stageAs: 'results_?')

    output:
    tuple val(meta), path('published/**'), emit: published, optional: true
    path 'versions.json', emit: versions

    script:
    """
    # code: ${task.ext.code}
    # environment: ${task.ext.environment}
    exec 'plot_comparison.py' \\
        --published ${results} \\
        --output published
    """

    stub:
    """
    mkdir -p published/composition/figures published/comparison/figures
    touch published/composition/figures/{effects,proportions}.{png,pdf}
    touch published/comparison/figures/{nes,shared_genes,power}.{png,pdf}
    echo '{}' > versions.json
    """
}
