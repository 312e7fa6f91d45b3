include { quote } from '../../../functions/shell'

process GATHER_COHORT {
    tag "$meta.id"
    // Not by the files' dates: meta carries their sha256, so that touched files re-run nothing here.
    cache 'lenient'
    label 'process_medium'
    // A block of counts, and the table of cells.
    memory { (3.GB + 1.B * ((parts.collect { part -> part.size() }.sum() * 0.3) as long)) * 2 ** (task.attempt - 1) }
    container "${task.ext.container_image}"

    input:
    // meta.sha256: of each of the parts, or none for a check alone; parts: in the order of files.json; gene_symbols may be
    // none
    tuple val(meta), path(files), path(parts, stageAs: 'part_?', arity: '1..*'), path(gene_symbols, stageAs: 'gene_symbols/*')

    output:
    tuple val(meta), path('*_step-gather_cohort.h5ad'), emit: cohort
    path 'versions.json', emit: versions

    script:
    """
    # code: ${task.ext.code}
    # environment: ${task.ext.environment}
    exec 'gather_cohort.py' \\
        --files '${files}' \\
        --parts ${parts} \\
        ${meta.sha256 ? "--digests ${meta.sha256.join(' ')}" : '--without-counts'} \\
        --genes ${params.genes} \\
        --counts-layer ${quote(params.counts_layer)} ${params.round_counts ? '--round-counts' : ''} \\
        --donor-column ${quote(params.donor_column)} \\
        --sample-column ${quote(params.sample_column ?: '')} \\
        --cell-type-column ${quote(params.cell_type_column)} \\
        --age-column ${quote(params.age_column)} \\
        --sex-column ${quote(params.sex_column)} \\
        ${gene_symbols ? "--gene-symbols ${quote(gene_symbols)}" : ''} \\
        --output 'dataset-${params.dataset}_${meta.id}_step-gather_cohort.h5ad'
    """

    stub:
    """
    touch 'dataset-${params.dataset}_${meta.id}_step-gather_cohort.h5ad'
    echo '{}' > versions.json
    """
}
