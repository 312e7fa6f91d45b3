include { quote } from '../../../functions/shell'

process COMPOSITION {
    tag "$meta.id"
    label 'process_single'
    container "${task.ext.container_image}"

    input:
    tuple val(meta), path(pseudobulk), path(cell_types)

    output:
    tuple val(meta), path('published/composition/composition.tsv'), emit: composition
    tuple val(meta), path('published/composition/proportions.tsv'), emit: proportions
    tuple val(meta), path('published/composition/composition_summary.json'), emit: summary
    tuple val(meta), path('published/**'), emit: published
    path 'versions.json', emit: versions

    script:
    """
    # code: ${task.ext.code}
    # environment: ${task.ext.environment}
    exec 'composition.py' \\
        --pseudobulk '${pseudobulk}' \\
        --cell-types '${cell_types}' \\
        --design ${quote(params.design)} \\
        --test-term ${quote(params.test_term)} \\
        --contrast ${quote(params.contrast)} \\
        --min-samples ${params.min_samples_per_type} ${params.strict ? '--strict' : ''} \\
        --output published/composition
    """

    stub:
    """
    mkdir -p published/composition
    touch published/composition/composition.tsv published/composition/proportions.tsv
    echo '{}' > published/composition/composition_summary.json
    echo '{}' > versions.json
    """
}
