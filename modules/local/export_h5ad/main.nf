process EXPORT_H5AD {
    tag "$meta.id"
    // Not by the cohort's date: meta carries its sha256.
    cache 'lenient'
    label 'process_medium'
    container "${task.ext.container_image}"

    input:
    tuple val(meta), path(cohort, stageAs: 'cohort.h5ad'), path(check), path(shards), path(published, stageAs: 'published_*'), path(donors), path(genes), path(dropped), path(params_json)

    output:
    tuple val(meta), path('published/*.h5ad'), emit: h5ad
    tuple val(meta), path('published/**'), emit: published
    path 'versions.json', emit: versions

    script:
    """
    # code: ${task.ext.code}
    # environment: ${task.ext.environment}
    exec 'export_h5ad.py' \\
        --cohort cohort.h5ad \\
        --sha256 '${meta.sha256 ?: ''}' \\
        --check '${check}' \\
        --shards ${shards} \\
        --published ${published} \\
        --donors '${donors}' \\
        --genes '${genes}' \\
        --dropped '${dropped}' \\
        --params '${params_json}' \\
        --cells '${params.export_cells}' ${params.export_normalized ? "--target-sum ${params.target_sum}" : ''} \\
        --pipeline-version '${workflow.manifest.version}' \\
        --output 'published/${params.dataset}.h5ad'
    """

    stub:
    """
    mkdir -p published
    touch 'published/${params.dataset}.h5ad'
    echo '{}' > versions.json
    """
}
