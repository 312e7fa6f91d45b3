include { listOf } from '../../../functions/fan_out'
include { quote  } from '../../../functions/shell'

process PLOT_CELL_TYPE {
    tag "$meta.id"
    label 'process_single'
    container "${task.ext.container_image}"

    input:
    tuple val(meta), path(results, stageAs: 'results_?'), path(counts), path(gene_sets)

    output:
    tuple val(meta), path('published/**'), emit: published, optional: true
    path 'versions.json', emit: versions

    script:
    """
    # code: ${task.ext.code}
    # environment: ${task.ext.environment}
    exec 'plot_cell_type.py' \\
        --published ${results} \\
        --id '${meta.id}' \\
        --counts '${counts}' \\
        --gene-sets '${gene_sets}' \\
        --genes ${quote(listOf(params.report_genes).join(','))} \\
        --output 'published/cell_types/${meta.id}'
    """

    stub:
    """
    mkdir -p 'published/cell_types/${meta.id}/figures'
    touch 'published/cell_types/${meta.id}/figures/volcano.png'
    echo '{}' > versions.json
    """
}
