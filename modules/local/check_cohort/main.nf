include { quote } from '../../../functions/shell'

process CHECK_COHORT {
    tag "$meta.id"
    // Not by the file's date: meta carries the sha256 of the cohort, so that a touched file re-runs nothing here.
    cache 'lenient'
    label 'process_low'
    memory { (1024.MB + 1.B * ((cohort.size() * 0.3) as long)) * 2 ** (task.attempt - 1) }
    container "${task.ext.container_image}"

    input:
    // gene_symbols and donor_table may be none
    tuple val(meta), path(cohort, stageAs: 'cohort.h5ad'), path(gene_symbols, stageAs: 'gene_symbols/*'), path(donor_table, stageAs: 'donor_table/*')

    output:
    tuple val(meta), path('*_step-check_cells.parquet'), emit: cells
    tuple val(meta), path('*_step-check_donors.parquet'), emit: donors
    tuple val(meta), path('*_step-check_genes.parquet'), emit: genes
    tuple val(meta), path('published/cohort/check.json'), emit: check
    tuple val(meta), path('published/**'), emit: published
    path 'versions.json', emit: versions

    script:
    """
    # code: ${task.ext.code}
    # environment: ${task.ext.environment}
    exec 'check_cohort.py' \\
        --cohort cohort.h5ad \\
        --sha256 '${meta.sha256 ?: ''}' \\
        --counts-layer ${quote(params.counts_layer)} \\
        --donor-column ${quote(params.donor_column)} \\
        --sample-column ${quote(params.sample_column ?: '')} \\
        --cell-type-column ${quote(params.cell_type_column)} \\
        --age-column ${quote(params.age_column)} \\
        --sex-column ${quote(params.sex_column)} \\
        --doublet-column ${quote(params.doublet_column ?: '')} \\
        --age-ranges ${params.age_ranges} ${params.round_counts ? '--round-counts' : ''} \\
        ${gene_symbols ? "--gene-symbols ${quote(gene_symbols)}" : ''} ${donor_table ? "--donor-table ${quote(donor_table)}" : ''} \\
        --output-cells 'dataset-${params.dataset}_${meta.id}_step-check_cells.parquet' \\
        --output-donors 'dataset-${params.dataset}_${meta.id}_step-check_donors.parquet' \\
        --output-genes 'dataset-${params.dataset}_${meta.id}_step-check_genes.parquet' \\
        --output-check published/cohort/check.json
    """

    stub:
    """
    mkdir -p published/cohort
    touch 'dataset-${params.dataset}_${meta.id}_step-check_cells.parquet' 'dataset-${params.dataset}_${meta.id}_step-check_donors.parquet' 'dataset-${params.dataset}_${meta.id}_step-check_genes.parquet'
    echo '{}' > published/cohort/check.json
    echo '{}' > versions.json
    """
}
