include { quote } from '../../../functions/shell'

process HARMONY {
    tag "$meta.id"
    label 'process_medium'
    memory { (1024.MB + (meta.sketch ? 20.B : 14.B) * pca.size()) * 2 ** (task.attempt - 1) }
    container "${task.ext.container_image}"

    input:
    // meta.sketch: whether the cells are a sketch, by which the cohort's others will be corrected
    tuple val(meta), path(pca), path(cells), path(donors)

    output:
    tuple val(meta), path("${meta.sketch ? "dataset-${params.dataset}_${meta.id}_step-harmony_cells" : 'published/embedding/harmony'}.parquet"), emit: harmony
    tuple val(meta), path('*_step-harmony_terms.h5'), optional: true, emit: terms
    tuple val(meta), path('published/**'), emit: published
    path 'versions.json', emit: versions

    script:
    def stem = "dataset-${params.dataset}_${meta.id}_step-harmony"
    """
    # code: ${task.ext.code}
    # environment: ${task.ext.environment}
    exec 'harmony.py' \\
        --pca '${pca}' \\
        --cells '${cells}' \\
        --donors '${donors}' \\
        --batch-column ${quote(params.batch_column)} \\
        --seed ${params.seed} \\
        --threads ${task.cpus} ${meta.sketch ? "--output-terms '${stem}_terms.h5'" : ''} \\
        --output '${meta.sketch ? "${stem}_cells" : 'published/embedding/harmony'}.parquet' \\
        --output-summary published/embedding/harmony.json
    """

    stub:
    """
    mkdir -p published/embedding
    touch published/embedding/harmony.parquet
    echo '{}' > published/embedding/harmony.json
    echo '{}' > versions.json
    """
}
