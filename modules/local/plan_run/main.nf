include { accelerationColumns } from '../../../functions/fan_out'
include { quote               } from '../../../functions/shell'

process PLAN_RUN {
    tag "$meta.id"
    // Not by the file's date: meta carries the sha256 of the cohort, so that a touched file re-runs nothing here.
    cache 'lenient'
    label 'process_low'
    memory { (1024.MB + 1.B * ((cohort.size() * 0.3) as long)) * 2 ** (task.attempt - 1) }
    container "${task.ext.container_image}"

    input:
    // kind: cohort or samples; designs: of the run and its variants; gene_symbols and donor_table (of a cohort alone), check (of samples
    // alone), gene_sets and to_reckon may be none
    tuple val(meta), val(kind), path(cohort, stageAs: 'cohort.h5ad'), path(gene_symbols, stageAs: 'gene_symbols/*'), path(donor_table, stageAs: 'donor_table/*'), path(check), val(parts), val(designs), path(gene_sets, stageAs: 'gene_sets/*'), path(to_reckon)

    output:
    tuple val(meta), path('plan.json'), emit: plan
    path 'versions.json', emit: versions

    script:
    """
    # code: ${task.ext.code}
    # environment: ${task.ext.environment}
    exec 'plan_run.py' \\
        --${kind} cohort.h5ad ${check ? "--check ${check}" : ''} \\
        --counts-layer ${quote(params.counts_layer)} \\
        --donor-column ${quote(params.donor_column)} \\
        --sample-column ${quote(params.sample_column ?: '')} \\
        --cell-type-column ${quote(params.cell_type_column)} \\
        --age-column ${quote(params.age_column)} \\
        --sex-column ${quote(params.sex_column)} \\
        --doublet-column ${quote(params.doublet_column ?: '')} \\
        --age-ranges ${params.age_ranges} ${params.round_counts ? '--round-counts' : ''} \\
        --analysed-donors ${params.donors} ${params.min_donor_fraction == null ? '' : "--min-donor-fraction ${params.min_donor_fraction}"} \\
        --donor-percentile ${params.donor_percentile} \\
        --min-cells-per-type ${params.min_cells_per_type} \\
        --cells-per-shard ${params.cells_per_shard} \\
        --parts ${parts.join(' ')} \\
        --mad-group ${quote(params.qc_thresholds == 'mad' ? params.mad_group : '')} \\
        --doublet-rate-column ${quote(params.doublet_rate_column ?: '')} \\
        --batch-column ${quote(params.integration == 'none' ? 'donor_id' : params.batch_column)} \\
        --min-cells-per-sample ${params.min_cells_per_sample} \\
        --min-depth-share ${params.min_depth_share} \\
        --min-samples-per-type ${params.min_samples_per_type} \\
        --designs ${designs.collect { design -> quote(design) }.join(' ')} \\
        --test-term ${quote(params.test_term)} \\
        --by-column ${quote(params.by_column)} \\
        --age-spline ${params.age_spline} \\
        --contrast ${quote(params.contrast)} \\
        --pool-column ${quote(params.pool_column)} \\
        --acceleration-columns ${quote(accelerationColumns(params.acceleration_columns, params.sex_column).join(','))} \\
        --gene-set-min-size ${params.gene_set_min_size} \\
        --gene-set-max-size ${params.gene_set_max_size} \\
        ${gene_symbols ? "--gene-symbols ${quote(gene_symbols)}" : ''} ${donor_table ? "--donor-table ${quote(donor_table)}" : ''} \\
        ${gene_sets ? "--gene-sets ${quote(gene_sets)}" : ''} ${to_reckon ? "--to-reckon ${to_reckon}" : ''} \\
        --output plan.json
    """

    stub:
    """
    echo '{"text": []}' > plan.json
    echo '{}' > versions.json
    """
}
