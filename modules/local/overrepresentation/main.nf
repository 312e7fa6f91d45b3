process OVERREPRESENTATION {
    tag "$meta.id"
    label 'process_single'
    container "${task.ext.container_image}"

    input:
    // library: the name of Enrichr's library, '' where the sets are a file or the test is done here
    tuple val(meta), path(de), path(gene_sets), val(library)

    output:
    tuple val(meta), path("published/cell_types/${meta.id}/ora_up.tsv"), path("published/cell_types/${meta.id}/ora_down.tsv"), emit: ora
    tuple val(meta), path("published/cell_types/${meta.id}/ora_summary.json"), emit: summary
    tuple val(meta), path('published/**'), emit: published
    path 'versions.json', emit: versions

    script:
    // The service changes the hash of the task only where it is used; a path in params.gene_sets would, in each clone.
    def enrichr = params.ora_backend == 'enrichr' ? "--enrichr-url '${params.enrichr_url}'" : ''
    def named = library ? "--enrichr-library '${library}'" : ''
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
