process CLUSTER {
    tag "resolution $meta.resolution"
    label 'process_medium'
    memory { (1024.MB + 15.B * graph.size()) * 2 ** (task.attempt - 1) }
    container "${task.ext.container_image}"

    input:
    tuple val(meta), path(graph)

    output:
    tuple val(meta), path('published/clusters/resolution-*/clusters.parquet'), emit: clusters
    tuple val(meta), path('published/**'), emit: published
    path 'versions.json', emit: versions

    script:
    """
    # code: ${task.ext.code}
    # environment: ${task.ext.environment}
    exec 'cluster.py' \\
        --graph '${graph}' \\
        --resolution ${meta.resolution} \\
        --seed ${params.seed} \\
        --output published/clusters
    """

    stub:
    """
    mkdir -p 'published/clusters/resolution-${meta.resolution}'
    touch 'published/clusters/resolution-${meta.resolution}/clusters.parquet'
    echo '{}' > versions.json
    """
}
