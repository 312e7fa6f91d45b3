process SKETCH_CELLS {
    tag "$meta.id"
    label 'process_low'
    // Three numbers and the order of each cell; in the file a cell takes some 40 bytes.
    memory { (1024.MB + 3.B * cells.size()) * 2 ** (task.attempt - 1) }
    container "${task.ext.container_image}"

    input:
    tuple val(meta), path(cells)

    output:
    tuple val(meta), path('*_step-sketch_cells.parquet'), emit: cells
    tuple val(meta), path('published/**'), emit: published
    path 'versions.json', emit: versions

    script:
    """
    # code: ${task.ext.code}
    # environment: ${task.ext.environment}
    exec 'sketch_cells.py' \\
        --cells '${cells}' \\
        --embedding-cells ${params.embedding_cells} \\
        --seed ${params.seed} \\
        --output 'dataset-${params.dataset}_${meta.id}_step-sketch_cells.parquet' \\
        --output-summary published/embedding/sketch.json
    """

    stub:
    """
    mkdir -p published/embedding
    touch 'dataset-${params.dataset}_${meta.id}_step-sketch_cells.parquet'
    echo '{"notes": []}' > published/embedding/sketch.json
    echo '{}' > versions.json
    """
}
