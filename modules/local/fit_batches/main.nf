include { quote } from '../../../functions/shell'

process FIT_BATCHES {
    tag "$meta.id"
    label 'process_low'
    memory { (1024.MB + 8.B * pca.size() + 12.B * terms.size()) * 2 ** (task.attempt - 1) }
    container "${task.ext.container_image}"

    input:
    tuple val(meta), path(pca), path(cells), path(donors), path(terms), path(sums)

    output:
    tuple val(meta), path('*_step-fit_batches_cells.parquet'), emit: harmony
    tuple val(meta), path('*_step-fit_batches_terms.h5'), emit: terms
    path 'versions.json', emit: versions

    script:
    """
    # code: ${task.ext.code}
    # environment: ${task.ext.environment}
    exec 'fit_batches.py' \\
        --sums ${sums} \\
        --terms '${terms}' \\
        --pca '${pca}' \\
        --cells '${cells}' \\
        --donors '${donors}' \\
        --batch-column ${quote(params.batch_column)} \\
        --output 'dataset-${params.dataset}_${meta.id}_step-fit_batches_cells.parquet' \\
        --output-terms 'dataset-${params.dataset}_${meta.id}_step-fit_batches_terms.h5'
    """

    stub:
    """
    touch 'dataset-${params.dataset}_${meta.id}_step-fit_batches_cells.parquet' 'dataset-${params.dataset}_${meta.id}_step-fit_batches_terms.h5'
    echo '{}' > versions.json
    """
}
