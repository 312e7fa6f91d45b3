process PREDICT_AGE {
    tag "$meta.id $meta.model $meta.alpha"
    label 'process_low'
    memory { (768.MB + 80.B * counts.size()) * 2 ** (task.attempt - 1) }
    container "${task.ext.container_image}"

    input:
    tuple val(meta), path(counts), path(samples)

    output:
    // The summary holds the metrics together with what they are of.
    tuple val(meta), path('published/cell_types/*/prediction/*/predict_age_summary.json'), emit: metrics
    tuple val(meta), path('published/cell_types/*/prediction/*/predictions.tsv'), emit: predictions
    tuple val(meta), path('published/cell_types/*/prediction/*/coefficients.tsv'), emit: coefficients
    // Of fits with the nested choice that were not skipped: what IMMUNE_AGE puts together.
    tuple val(meta), path('*_step-predict_age_inner.parquet'), optional: true, emit: inner
    tuple val(meta), path('published/**'), emit: published
    path 'versions.json', emit: versions

    script:
    def folder = "published/cell_types/${meta.id}/prediction/model-${meta.model}_alpha-${meta.alpha}"
    """
    # code: ${task.ext.code}
    # environment: ${task.ext.environment}
    exec 'predict_age.py' train \\
        --pseudobulk '${counts}' \\
        --samples '${samples}' \\
        --id '${meta.id}' \\
        --model '${meta.model}' \\
        --alpha '${meta.alpha}' \\
        --refit-permutations ${params.refit_permutations} \\
        --seed ${params.seed} ${params.strict ? '--strict' : ''} \\
        --inner 'dataset-${params.dataset}_${meta.id}_model-${meta.model}_step-predict_age_inner.parquet' \\
        --output '${folder}'
    """

    stub:
    def folder = "published/cell_types/${meta.id}/prediction/model-${meta.model}_alpha-${meta.alpha}"
    """
    mkdir -p '${folder}'
    touch '${folder}/predictions.tsv' '${folder}/metrics.tsv' '${folder}/coefficients.tsv'
    echo '{}' > '${folder}/predict_age_summary.json'
    echo '{}' > '${folder}/model.json'
    echo '{}' > versions.json
    """
}
