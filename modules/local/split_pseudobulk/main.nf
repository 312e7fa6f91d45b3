process SPLIT_PSEUDOBULK {
    tag "$meta.id"
    label 'process_low'
    memory { (768.MB + 20.B * pseudobulk.size()) * 2 ** (task.attempt - 1) }
    container "${task.ext.container_image}"

    input:
    tuple val(meta), path(pseudobulk), path(samples), path(cell_types)

    output:
    tuple val(meta), path('*_step-pseudobulk_counts.h5ad', arity: '0..*'), path('*_all_step-pseudobulk_files.tsv'), emit: counts
    path 'versions.json', emit: versions

    script:
    """
    # code: ${task.ext.code}
    # environment: ${task.ext.environment}
    exec 'split_pseudobulk.py' \\
        --pseudobulk '${pseudobulk}' \\
        --samples '${samples}' \\
        --cell-types '${cell_types}' \\
        --prefix 'dataset-${params.dataset}'
    """

    stub:
    """
    touch 'dataset-${params.dataset}_stub_step-pseudobulk_counts.h5ad'
    printf 'id\\tfile\\nstub\\tdataset-${params.dataset}_stub_step-pseudobulk_counts.h5ad\\n' > 'dataset-${params.dataset}_all_step-pseudobulk_files.tsv'
    echo '{}' > versions.json
    """
}
