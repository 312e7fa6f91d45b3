process SUMMARIZE_PREDICTIONS {
    tag "$meta.id"
    label 'process_single'
    container "${task.ext.container_image}"

    input:
    // Every fit's summary has the same name: each is staged into a folder of its own.
    tuple val(meta), path(summaries, stageAs: 'summaries/?/*')

    output:
    tuple val(meta), path('published/prediction_summary.tsv'), emit: summary
    tuple val(meta), path('published/**'), emit: published
    path 'versions.json', emit: versions

    script:
    """
    # code: ${task.ext.code}
    # environment: ${task.ext.environment}
    exec 'summarize_predictions.py' \\
        --summaries summaries \\
        --output published/prediction_summary.tsv
    """

    stub:
    """
    mkdir -p published
    touch published/prediction_summary.tsv
    echo '{}' > versions.json
    """
}
