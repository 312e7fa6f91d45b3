process SIMULATE_COHORT {
    tag "$meta.id"
    // By content, not by path and date: what comes from the user or the project is small here.
    cache 'deep'
    label 'process_low'
    container "${task.ext.container_image}"

    input:
    tuple val(meta), path(gene_sets)

    output:
    tuple val(meta), path('dataset-*_step-simulate_cohort.h5ad'), emit: cohort
    path 'published/cohort/simulated/*', emit: truth
    tuple val(meta), path('published/**'), emit: published
    path 'versions.json', emit: versions

    script:
    """
    # code: ${task.ext.code}
    # environment: ${task.ext.environment}
    exec 'simulate_cohort.py' \\
        --preset '${params.simulate}' \\
        --seed ${params.seed} \\
        --gene-sets '${gene_sets}' \\
        --threads ${task.cpus} \\
        --output 'dataset-${params.dataset}_step-simulate_cohort.h5ad' \\
        --truth published/cohort/simulated
    """

    stub:
    """
    mkdir -p published/cohort/simulated
    touch 'dataset-${params.dataset}_step-simulate_cohort.h5ad' published/cohort/simulated/cells.parquet
    touch published/cohort/simulated/age_effects.tsv published/cohort/simulated/gene_sets_planted.tsv
    echo '{}' > versions.json
    """
}
