process NEIGHBORS {
    tag "$meta.id"
    label 'process_high'
    memory { (1024.MB + 18.B * harmony.size()) * 2 ** (task.attempt - 1) }
    container "${task.ext.container_image}"

    input:
    tuple val(meta), path(harmony)

    output:
    tuple val(meta), path('*_step-neighbors_graph.h5'), emit: graph
    tuple val(meta), path('published/**'), emit: published
    path 'versions.json', emit: versions

    script:
    """
    # code: ${task.ext.code}
    # environment: ${task.ext.environment}
    exec 'neighbors.py' \\
        --embedding '${harmony}' \\
        --n-neighbors ${params.n_neighbors} \\
        --n-components ${params.n_neighbors_components} \\
        --seed ${params.seed} \\
        --threads ${task.cpus} \\
        --output 'dataset-${params.dataset}_${meta.id}_step-neighbors_graph.h5' \\
        --output-summary published/embedding/neighbors.json
    """

    stub:
    """
    mkdir -p published/embedding
    touch 'dataset-${params.dataset}_${meta.id}_step-neighbors_graph.h5'
    echo '{}' > published/embedding/neighbors.json
    echo '{}' > versions.json
    """
}
