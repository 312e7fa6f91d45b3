include { quote } from '../../../functions/shell'

process CHECK_PSEUDOBULK {
    tag "$meta.id"
    // By content, not by path and date: a table of samples is small beside its cells.
    cache 'deep'
    label 'process_low'
    container "${task.ext.container_image}"

    input:
    // gene_symbols and donor_table may be none
    tuple val(meta), path(table, stageAs: 'table/*'), path(gene_symbols, stageAs: 'gene_symbols/*'), path(donor_table, stageAs: 'donor_table/*')

    output:
    tuple val(meta), path('*_step-pseudobulk_counts.h5ad', arity: '1..*'), path('*_all_step-pseudobulk_files.tsv'), emit: counts
    tuple val(meta), path('published/cohort/cell_types.tsv'), emit: cell_types
    tuple val(meta), path('published/cohort/donors.tsv'), emit: donors
    tuple val(meta), path('published/cohort/check.json'), emit: check
    tuple val(meta), path('published/pseudobulk/samples.tsv'), emit: samples
    tuple val(meta), path('published/pseudobulk/pseudobulk.h5ad'), emit: table
    tuple val(meta), path('published/**'), emit: published
    path 'versions.json', emit: versions

    script:
    """
    # code: ${task.ext.code}
    # environment: ${task.ext.environment}
    exec 'check_pseudobulk.py' \\
        --table ${quote(table)} \\
        --counts-layer ${quote(params.counts_layer)} \\
        --donor-column ${quote(params.donor_column)} \\
        --sample-column ${quote(params.sample_column ?: '')} \\
        --cell-type-column ${quote(params.cell_type_column)} \\
        --age-column ${quote(params.age_column)} \\
        --sex-column ${quote(params.sex_column)} \\
        --age-ranges ${params.age_ranges} ${params.round_counts ? '--round-counts' : ''} \\
        ${gene_symbols ? "--gene-symbols ${quote(gene_symbols)}" : ''} ${donor_table ? "--donor-table ${quote(donor_table)}" : ''} \\
        --analysed-donors ${params.donors} ${params.min_donor_fraction == null ? '' : "--min-donor-fraction ${params.min_donor_fraction}"} \\
        --min-cells-per-type ${params.min_cells_per_type} \\
        --min-cells-per-sample ${params.min_cells_per_sample} \\
        --min-depth-share ${params.min_depth_share} \\
        --min-samples-per-type ${params.min_samples_per_type} \\
        --prefix 'dataset-${params.dataset}' \\
        --output published
    """

    stub:
    """
    mkdir -p published/pseudobulk published/cohort
    touch published/pseudobulk/samples.tsv published/pseudobulk/pseudobulk.h5ad published/cohort/donors.tsv
    printf 'id\\tcell_type\\tn_samples\\nstub\\tstub\\t1\\n' > published/cohort/cell_types.tsv
    touch 'dataset-${params.dataset}_stub_step-pseudobulk_counts.h5ad'
    printf 'id\\tfile\\nstub\\tdataset-${params.dataset}_stub_step-pseudobulk_counts.h5ad\\n' > 'dataset-${params.dataset}_all_step-pseudobulk_files.tsv'
    echo '{}' > published/cohort/check.json
    echo '{}' > versions.json
    """
}
