include { quote } from '../../../functions/shell'

process DIFFERENTIAL_EXPRESSION {
    tag "${meta.variant ? "$meta.variant $meta.id" : meta.id}"
    label 'process_low'
    memory { (768.MB + 80.B * counts.size()) * 2 ** (task.attempt - 1) }
    container "${task.ext.container_image}"

    input:
    tuple val(meta), path(counts)

    output:
    tuple val(meta), path("published/cell_types/${meta.id}/de.tsv"), emit: de
    tuple val(meta), path("published/cell_types/${meta.id}/de_summary.json"), emit: summary
    tuple val(meta), path("published/cell_types/${meta.id}/fits.h5"), optional: true, emit: fits
    tuple val(meta), path('published/**'), emit: published
    path 'versions.json', emit: versions

    script:
    """
    # code: ${task.ext.code}
    # environment: ${task.ext.environment}
    exec 'differential_expression.py' \\
        --pseudobulk '${counts}' \\
        --design ${quote(meta.design ?: params.design)} \\
        --test-term ${quote(params.test_term)} \\
        --contrast ${quote(params.contrast)} \\
        --by-column ${quote(meta.variant ? '' : params.by_column)} \\
        --age-spline ${meta.variant ? 0 : params.age_spline} \\
        --pool-column ${quote(params.pool_column)} \\
        --pool-effect '${params.pool_effect}' \\
        --method '${params.de_method}' ${params.drop_outlier_samples ? '' : '--keep-outliers'} \\
        --reference '${params.de_reference}' \\
        --cooks '${params.de_cooks}' ${params.de_shrink_lfc ? '--shrink' : ''} ${params.independent_filtering ? '' : '--no-independent-filtering'} \\
        --min-samples ${params.min_samples_per_type} ${params.strict && !meta.variant ? '--strict' : ''} \\
        ${meta.variant ? '' : "--fits 'published/cell_types/${meta.id}/fits.h5'"} \\
        --output 'published/cell_types/${meta.id}/de.tsv' \\
        --summary 'published/cell_types/${meta.id}/de_summary.json'
    """

    stub:
    """
    mkdir -p 'published/cell_types/${meta.id}'
    touch 'published/cell_types/${meta.id}/de.tsv' ${meta.variant ? '' : "'published/cell_types/${meta.id}/fits.h5'"}
    echo '{}' > 'published/cell_types/${meta.id}/de_summary.json'
    echo '{}' > versions.json
    """
}
