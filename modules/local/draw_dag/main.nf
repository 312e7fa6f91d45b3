process DRAW_DAG {
    tag "$meta.id"
    label 'process_single'
    container "${task.ext.container_image}"

    input:
    tuple val(meta), path(graph, stageAs: 'graph.tsv')

    output:
    tuple val(meta), path('published/**'), emit: published
    path 'versions.json', emit: versions

    script:
    """
    # code: ${task.ext.code}
    # environment: ${task.ext.environment}
    exec 'draw_dag.py' \\
        --graph graph.tsv \\
        --output published/pipeline_info/dag
    """

    stub:
    """
    mkdir -p published/pipeline_info
    touch published/pipeline_info/dag.png published/pipeline_info/dag.pdf published/pipeline_info/dag.mmd
    echo '{}' > versions.json
    """
}
