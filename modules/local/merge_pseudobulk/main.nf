process MERGE_PSEUDOBULK {
    tag "$meta.id"
    label 'process_low'
    memory { (768.MB + 20.B * [parts].flatten().sum { file -> file.size() }) * 2 ** (task.attempt - 1) }
    container "${task.ext.container_image}"

    input:
    tuple val(meta), path(parts), path(donors), path(cell_types)

    output:
    tuple val(meta), path('*_step-pseudobulk_counts.h5ad', arity: '0..*'), path('*_all_step-pseudobulk_files.tsv'), emit: counts
    tuple val(meta), path('published/pseudobulk/samples.tsv'), emit: samples
    tuple val(meta), path('published/pseudobulk/pseudobulk.h5ad'), emit: table
    tuple val(meta), path('published/**'), emit: published
    path 'versions.json', emit: versions

    script:
    """
    # code: ${task.ext.code}
    # environment: ${task.ext.environment}
    exec 'merge_pseudobulk.py' \\
        --parts ${parts} \\
        --donors '${donors}' \\
        --cell-types '${cell_types}' \\
        --min-cells-per-sample ${params.min_cells_per_sample} \\
        --min-depth-share ${params.min_depth_share} \\
        --prefix 'dataset-${params.dataset}' \\
        --output published
    """

    stub:
    """
    mkdir -p published/pseudobulk
    touch published/pseudobulk/samples.tsv published/pseudobulk/pseudobulk.h5ad
    touch 'dataset-${params.dataset}_stub_step-pseudobulk_counts.h5ad'
    printf 'id\\tfile\\nstub\\tdataset-${params.dataset}_stub_step-pseudobulk_counts.h5ad\\n' > 'dataset-${params.dataset}_all_step-pseudobulk_files.tsv'
    echo '{}' > versions.json
    """
}
