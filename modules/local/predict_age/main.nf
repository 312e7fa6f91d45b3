process PREDICT_AGE {
    tag "$meta.id $meta.model $meta.alpha"
    label 'process_low'
    memory { (768.MB + 80.B * counts.size()) * 2 ** (task.attempt - 1) }
    container "${task.ext.container}"

    input:
    tuple val(meta), path(counts)

    output:
    // The summary holds the metrics together with what they are of.
    tuple val(meta), path('published/cell_types/*/prediction/*/predict_age_summary.json'), emit: metrics
    tuple val(meta), path('published/cell_types/*/prediction/*/predictions.tsv'), emit: predictions
    tuple val(meta), path('published/cell_types/*/prediction/*/coefficients.tsv'), emit: coefficients
    tuple val(meta), path('published/**'), emit: published
    path 'versions.json', emit: versions

    script:
    def folder = "published/cell_types/${meta.id}/prediction/model-${meta.model}_alpha-${meta.alpha}"
    """
    # uses: cell_type_samples.py checkpoints.py command_line.py skipped.py
    # environment: ${task.ext.environment}
    predict_age.py \\
        --pseudobulk '${counts}' \\
        --id '${meta.id}' \\
        --model '${meta.model}' \\
        --alpha '${meta.alpha}' \\
        --seed ${params.seed} ${params.strict ? '--strict' : ''} \\
        --output '${folder}'
    """

    stub:
    def folder = "published/cell_types/${meta.id}/prediction/model-${meta.model}_alpha-${meta.alpha}"
    """
    mkdir -p '${folder}'
    touch '${folder}/predictions.tsv' '${folder}/metrics.tsv' '${folder}/coefficients.tsv'
    echo '{}' > '${folder}/predict_age_summary.json'
    echo '{}' > versions.json
    """
}
