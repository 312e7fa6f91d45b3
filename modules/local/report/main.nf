process REPORT {
    tag "$meta.id"
    label 'process_low'
    cpus 2
    container "${task.ext.container_image}"

    input:
    tuple val(meta), path(results, stageAs: 'results_?')
    path(parameters, stageAs: 'params.json')
    path(step_versions, stageAs: 'versions_?.json')
    path(tasks, stageAs: 'tasks.tsv')
    path(assets, stageAs: 'template/*')
    path(made_from, stageAs: 'made_from.json')

    output:
    tuple val(meta), path('published/report.html'), emit: report
    tuple val(meta), path('published/**'), emit: published
    path 'versions.json', emit: versions

    script:
    """
    # code: ${task.ext.code}
    # environment: ${task.ext.environment}
    exec 'report.py' \\
        --published ${results} \\
        --parameters params.json \\
        --step-versions ${step_versions} \\
        --made-from made_from.json \\
        --tasks tasks.tsv \\
        --template template \\
        --pipeline-info published/pipeline_info \\
        --threads ${task.cpus} \\
        --output published/report.html
    """

    stub:
    """
    mkdir -p published
    touch published/report.html
    echo '{}' > versions.json
    """
}
