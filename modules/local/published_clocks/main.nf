process PUBLISHED_CLOCKS {
    tag "$meta.id"
    label 'process_low'
    memory { (1.GB + 12.B * [shards, table].flatten().collect { file -> file.size() }.max()) * 2 ** (task.attempt - 1) }
    container "${task.ext.container_image}"

    input:
    // meta.folder: whether the clocks are those of a folder or one wheel; shards, cells and donors, or a table of samples
    tuple val(meta), path(shards), path(cells), path(donors), path(table), path(check), path(clocks, stageAs: 'clocks/*'), path(known, stageAs: 'known/*')

    output:
    tuple val(meta), path('published/published_clocks/clock_ages.tsv'), emit: ages
    tuple val(meta), path('published/published_clocks/clock_metrics.tsv'), emit: metrics
    tuple val(meta), path('published/**'), emit: published
    path 'versions.json', emit: versions

    script:
    def counts = table ? "--table '${table}'" : "--shards ${shards} --cells ${cells} --donors '${donors}'"
    """
    # code: ${task.ext.code}
    # environment: ${task.ext.environment}
    exec 'published_clocks.py' \\
        ${counts} \\
        --check '${check}' \\
        --clocks '${meta.folder ? 'clocks' : clocks}' \\
        --cell-types known/cell_types.tsv \\
        --trained-on known/trained_on.tsv \\
        --cohorts known/cohorts.tsv \\
        --min-cells ${params.min_cells_per_sample} \\
        --output published/published_clocks
    """

    stub:
    """
    mkdir -p published/published_clocks
    touch published/published_clocks/clock_ages.tsv published/published_clocks/clock_metrics.tsv
    echo '{}' > published/published_clocks/clocks.json
    echo '{}' > versions.json
    """
}
