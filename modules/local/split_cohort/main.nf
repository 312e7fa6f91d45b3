process SPLIT_COHORT {
    tag "$meta.id"
    // Not by the file's date: meta carries the sha256 of the cohort, so that a touched file re-runs nothing here.
    cache 'lenient'
    label 'process_medium'
    // A block of the input, the table of cells, and one shard of some 2,000 values a cell.
    memory { (2.GB + 60.B * cells.size() + 40.KB * (params.cells_per_shard as int)) * 2 ** (task.attempt - 1) }
    container "${task.ext.container_image}"

    input:
    tuple val(meta), path(cohort, stageAs: 'cohort.h5ad'), path(check), path(cells), path(genes)

    output:
    tuple val(meta), path('*_shard-*_step-split_counts.h5ad', arity: '1..*'), path('*_all_step-split_files.tsv'), emit: shards
    tuple val(meta), path('published/cohort/genes.json'), emit: summary
    tuple val(meta), path('published/**'), emit: published
    path 'versions.json', emit: versions

    script:
    """
    # code: ${task.ext.code}
    # environment: ${task.ext.environment}
    exec 'split_cohort.py' \\
        --cohort cohort.h5ad \\
        --sha256 '${meta.sha256 ?: ''}' \\
        --check '${check}' \\
        --cells '${cells}' \\
        --genes '${genes}' \\
        --prefix 'dataset-${params.dataset}' \\
        --output-summary published/cohort/genes.json
    """

    stub:
    """
    mkdir -p published/cohort
    touch 'dataset-${params.dataset}_shard-000_step-split_counts.h5ad'
    printf 'id\\tfile\\nshard-000\\tdataset-${params.dataset}_shard-000_step-split_counts.h5ad\\n' > 'dataset-${params.dataset}_all_step-split_files.tsv'
    echo '{}' > published/cohort/genes.json
    echo '{}' > versions.json
    """
}
