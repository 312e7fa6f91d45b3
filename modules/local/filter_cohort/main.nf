process FILTER_COHORT {
    tag "$meta.id"
    label 'process_low'
    memory { (1024.MB + 100.B * cells.size()) * 2 ** (task.attempt - 1) }
    container "${task.ext.container_image}"

    input:
    tuple val(meta), path(cells), path(donors)

    output:
    tuple val(meta), path('*_step-filter_cells.parquet'), emit: cells
    tuple val(meta), path('*_step-filter_dropped.parquet'), emit: dropped
    tuple val(meta), path('*_step-filter_types.parquet'), emit: cell_types
    tuple val(meta), path('published/cohort/donors.tsv'), emit: donors
    tuple val(meta), path('published/cohort/samples.tsv'), emit: samples, optional: true // where --sample_column is given
    tuple val(meta), path('published/cohort/filtering.json'), emit: summary
    tuple val(meta), path('published/**'), emit: published
    path 'versions.json', emit: versions

    script:
    """
    # code: ${task.ext.code}
    # environment: ${task.ext.environment}
    exec 'filter_cohort.py' \\
        --cells '${cells}' \\
        --donors '${donors}' \\
        --analysed-donors ${params.donors} ${params.min_donor_fraction == null ? '' : "--min-donor-fraction ${params.min_donor_fraction}"} \\
        --donor-percentile ${params.donor_percentile} \\
        --min-cells-per-type ${params.min_cells_per_type} \\
        --cells-per-shard ${params.cells_per_shard} \\
        --output-cells 'dataset-${params.dataset}_${meta.id}_step-filter_cells.parquet' \\
        --output-dropped 'dataset-${params.dataset}_${meta.id}_step-filter_dropped.parquet' \\
        --output-cell-types 'dataset-${params.dataset}_${meta.id}_step-filter_types.parquet' \\
        --output-donors published/cohort/donors.tsv \\
        --output-summary published/cohort/filtering.json
    """

    stub:
    """
    mkdir -p published/cohort
    touch 'dataset-${params.dataset}_${meta.id}_step-filter_cells.parquet' 'dataset-${params.dataset}_${meta.id}_step-filter_dropped.parquet' 'dataset-${params.dataset}_${meta.id}_step-filter_types.parquet' published/cohort/donors.tsv ${params.sample_column ? 'published/cohort/samples.tsv' : ''}
    echo '{}' > published/cohort/filtering.json
    echo '{}' > versions.json
    """
}
