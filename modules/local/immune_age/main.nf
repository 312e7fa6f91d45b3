include { accelerationColumns } from '../../../functions/fan_out'
include { quote               } from '../../../functions/shell'

process IMMUNE_AGE {
    tag "$meta.id"
    label 'process_single'
    memory { 1.GB * 2 ** (task.attempt - 1) }
    container "${task.ext.container_image}"

    input:
    tuple val(meta), path(fits, stageAs: 'fits/*'), path(tables, stageAs: 'tables/*')

    output:
    tuple val(meta), path('published/immune_age/immune_age.tsv'), emit: immune_age
    tuple val(meta), path('published/immune_age/age_acceleration_tests.tsv'), emit: tests
    tuple val(meta), path('published/**'), emit: published
    path 'versions.json', emit: versions

    script:
    """
    # code: ${task.ext.code}
    # environment: ${task.ext.environment}
    exec 'immune_age.py' \\
        --fits ${fits} \\
        --tables ${tables} \\
        --analysed-donors ${params.donors} \\
        --columns ${quote(accelerationColumns(params.acceleration_columns, params.sex_column).join(','))} \\
        --seed ${params.seed} ${params.strict && params.nested_alphas ? '--strict' : ''} \\
        --output published/immune_age
    """

    stub:
    """
    mkdir -p published/immune_age
    touch published/immune_age/immune_age.tsv published/immune_age/immune_age_metrics.tsv
    touch published/immune_age/immune_age_weights.tsv published/immune_age/age_acceleration_tests.tsv
    echo '{}' > published/immune_age/immune_age_summary.json
    echo '{}' > versions.json
    """
}
