process COMPARE_CELL_TYPES {
    tag "$meta.id"
    label 'process_single'
    container "${task.ext.container_image}"

    input:
    tuple val(meta), path(results, stageAs: 'results_?')

    output:
    tuple val(meta), path('published/comparison/shared_ageing.tsv'), emit: shared_ageing
    tuple val(meta), path('published/comparison/gsea_nes.tsv'), emit: gsea_nes
    tuple val(meta), path('published/comparison/power.tsv'), emit: power
    tuple val(meta), path('published/comparison/comparison_summary.json'), emit: summary
    tuple val(meta), path('published/**'), emit: published
    path 'versions.json', emit: versions

    script:
    """
    # code: ${task.ext.code}
    # environment: ${task.ext.environment}
    exec 'compare_cell_types.py' \\
        --published ${results} ${params.strict ? '--strict' : ''} \\
        --output published/comparison
    """

    stub:
    """
    mkdir -p published/comparison
    touch published/comparison/shared_ageing.tsv published/comparison/gsea_nes.tsv published/comparison/power.tsv
    echo '{}' > published/comparison/comparison_summary.json
    echo '{}' > versions.json
    """
}
