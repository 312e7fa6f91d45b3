include { quote } from '../../../functions/shell'

process PLACE_CELLS {
    tag "$meta.id"
    label 'process_low'
    // The sketch's components, twice while its lists are made, and one shard.
    memory { (1024.MB + 8.B * embedding.size() + 20.B * counts.size()) * 2 ** (task.attempt - 1) }
    container "${task.ext.container_image}"

    input:
    // terms may be none
    tuple val(meta), path(counts), path(cells), path(donors), path(model), path(terms), path(embedding), path(umap), path(clusters, stageAs: 'clusters_?')

    output:
    tuple val(meta), path('*_step-place_cells.parquet'), emit: cells
    path 'versions.json', emit: versions

    script:
    """
    # code: ${task.ext.code}
    # environment: ${task.ext.environment}
    exec 'place_cells.py' \\
        --counts '${counts}' \\
        --cells '${cells}' \\
        --donors '${donors}' \\
        --model '${model}' ${terms ? "--terms '${terms}'" : ''} \\
        --batch-column ${quote(params.batch_column)} \\
        --embedding '${embedding}' \\
        --umap '${umap}' \\
        --clusters ${clusters} \\
        --n-neighbors ${params.n_neighbors} \\
        --n-components ${params.n_neighbors_components} \\
        --seed ${params.seed} \\
        --threads ${task.cpus} \\
        --output 'dataset-${params.dataset}_${meta.id}_step-place_cells.parquet'
    """

    stub:
    """
    touch 'dataset-${params.dataset}_${meta.id}_step-place_cells.parquet'
    echo '{}' > versions.json
    """
}
