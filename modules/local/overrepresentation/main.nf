process OVERREPRESENTATION {
    tag "$meta.id"
    label 'process_single'
    container "${task.ext.container_image}"

    input:
    tuple val(meta), path(de), path(gene_sets)

    output:
    tuple val(meta), path("published/cell_types/${meta.id}/ora_up.tsv"), path("published/cell_types/${meta.id}/ora_down.tsv"), emit: ora
    tuple val(meta), path("published/cell_types/${meta.id}/ora_summary.json"), emit: summary
    tuple val(meta), path('published/**'), emit: published
    path 'versions.json', emit: versions

    script:
    // The service and its library change the hash of the task only where they are used.
    def enrichr = params.ora_backend == 'enrichr' ? "--enrichr-url '${params.enrichr_url}'" : ''
    def named = enrichr && params.gene_sets ==~ /[A-Za-z0-9_.-]+/ ? "--enrichr-library '${params.gene_sets}'" : ''
    """
    # code: ${task.ext.code}
    # environment: ${task.ext.environment}
    exec 'overrepresentation.py' \\
        --de '${de}' \\
        --gene-sets '${gene_sets}' \\
        --backend '${params.ora_backend}' ${enrichr} ${named} \\
        --min-size ${params.gene_set_min_size} \\
        --max-size ${params.gene_set_max_size} ${params.strict ? '--strict' : ''} \\
        --output-up 'published/cell_types/${meta.id}/ora_up.tsv' \\
        --output-down 'published/cell_types/${meta.id}/ora_down.tsv' \\
        --summary 'published/cell_types/${meta.id}/ora_summary.json'
    """

    stub:
    """
    mkdir -p 'published/cell_types/${meta.id}'
    touch 'published/cell_types/${meta.id}/ora_up.tsv' 'published/cell_types/${meta.id}/ora_down.tsv'
    echo '{}' > 'published/cell_types/${meta.id}/ora_summary.json'
    echo '{}' > versions.json
    """
}
