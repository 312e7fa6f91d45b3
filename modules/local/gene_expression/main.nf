include { listOf } from '../../../functions/fan_out'
include { quote  } from '../../../functions/shell'

process GENE_EXPRESSION {
    tag "$meta.id"
    label 'process_low'
    memory { (768.MB + 20.B * shard.size()) * 2 ** (task.attempt - 1) }
    container "${task.ext.container_image}"

    input:
    tuple val(meta), path(shard), path(cells)

    output:
    tuple val(meta), path('*_step-expression_genes.parquet'), emit: genes
    path 'versions.json', emit: versions

    script:
    """
    # code: ${task.ext.code}
    # environment: ${task.ext.environment}
    exec 'gene_expression.py' \\
        --shard '${shard}' \\
        --cells '${cells}' \\
        --genes ${quote(listOf(params.report_genes).join(','))} \\
        --target-sum ${params.target_sum} \\
        --output 'dataset-${params.dataset}_${meta.id}_step-expression_genes.parquet'
    """

    stub:
    """
    touch 'dataset-${params.dataset}_${meta.id}_step-expression_genes.parquet'
    echo '{}' > versions.json
    """
}
