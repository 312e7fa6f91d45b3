include { quote } from '../../../functions/shell'

process COMPARE_COHORTS {
    tag "$meta.id"
    // Not by the folders' dates: the digests are those of the lists of their files, with which the step compares them.
    cache 'lenient'
    label 'process_single'
    container "${task.ext.container_image}"

    input:
    // others, shown, digests: results folder of each other cohort, its name for messages, the digest of the list of its files
    tuple val(meta), path(results, stageAs: 'results_?'), path(samples), path(others, stageAs: 'cohort_?'), val(shown), val(digests)

    output:
    tuple val(meta), path('published/replication/effects.tsv'), emit: effects
    tuple val(meta), path('published/replication/discoveries.tsv'), emit: discoveries
    tuple val(meta), path('published/replication/rates.tsv'), emit: rates
    tuple val(meta), path('published/replication/concordance.tsv'), emit: concordance
    tuple val(meta), path('published/replication/shared_donors.tsv'), emit: shared_donors
    tuple val(meta), path('published/replication/replication_summary.json'), emit: summary
    tuple val(meta), path('published/**'), emit: published
    path 'versions.json', emit: versions

    script:
    """
    # code: ${task.ext.code}
    # environment: ${task.ext.environment}
    # compared: ${digests.join(' ')}
    exec 'compare_cohorts.py' \\
        --published ${results} \\
        --samples ${samples} \\
        --others ${others} \\
        --shown ${shown.collect { name -> quote(name) }.join(' ')} ${params.strict ? '--strict' : ''} \\
        --output published/replication
    """

    stub:
    """
    mkdir -p published/replication
    touch published/replication/effects.tsv published/replication/discoveries.tsv published/replication/rates.tsv
    touch published/replication/concordance.tsv published/replication/shared_donors.tsv
    echo '{}' > published/replication/replication_summary.json
    echo '{}' > versions.json
    """
}
