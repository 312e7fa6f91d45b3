include { quote } from '../../../functions/shell'

process BATCH_SUMS {
    tag "$meta.id"
    label 'process_low'
    memory { (1024.MB + 8.B * terms.size() + 20.B * counts.size()) * 2 ** (task.attempt - 1) }
    container "${task.ext.container_image}"

    input:
    tuple val(meta), path(counts), path(cells), path(donors), path(model), path(terms)

    output:
    tuple val(meta), path('*_step-batch_sums.h5'), emit: sums
    path 'versions.json', emit: versions

    script:
    """
    # code: ${task.ext.code}
    # environment: ${task.ext.environment}
    exec 'batch_sums.py' \\
        --counts '${counts}' \\
        --cells '${cells}' \\
        --donors '${donors}' \\
        --model '${model}' \\
        --terms '${terms}' \\
        --batch-column ${quote(params.batch_column)} \\
        --output 'dataset-${params.dataset}_${meta.id}_step-batch_sums.h5'
    """

    stub:
    """
    touch 'dataset-${params.dataset}_${meta.id}_step-batch_sums.h5'
    echo '{}' > versions.json
    """
}
