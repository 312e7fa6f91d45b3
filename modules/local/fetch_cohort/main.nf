include { quote } from '../../../functions/shell'

process FETCH_COHORT {
    tag "$meta.id"
    // Not by the file's date: meta carries its date and size, and the folder of downloads changes by itself. It also
    // carries the expected sha256, if there is one.
    cache 'lenient'
    label 'process_single'
    container "${task.ext.container_image}"

    input:
    tuple val(meta), val(source), path(local_file, stageAs: 'cohort.h5ad'), path(download_marker, stageAs: 'marker')

    output:
    tuple val(meta), path('fetched.json'), emit: fetched
    path 'versions.json', emit: versions

    script:
    """
    # code: ${task.ext.code}
    # environment: ${task.ext.environment}
    exec 'fetch_cohort.py' \\
        --source ${quote(local_file ? 'cohort.h5ad' : source)} \\
        --sha256 '${meta.expected ?: ''}' ${params.allow_http ? '--allow-http' : ''} \\
        --download-dir "\$(dirname "\$(readlink -f marker)")" \\
        --output fetched.json
    """

    stub:
    """
    echo '{}' > fetched.json
    echo '{}' > versions.json
    """
}
