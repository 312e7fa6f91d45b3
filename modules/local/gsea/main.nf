process GSEA {
    tag "$meta.id"
    label 'process_low'
    container "${task.ext.container_image}"

    input:
    tuple val(meta), path(de), path(fits), path(gene_sets)

    output:
    tuple val(meta), path("published/cell_types/${meta.id}/gsea.tsv"), emit: gsea
    tuple val(meta), path("published/cell_types/${meta.id}/gsea_summary.json"), emit: summary
    tuple val(meta), path('published/**'), emit: published
    path 'versions.json', emit: versions

    script:
    """
    # code: ${task.ext.code}
    # environment: ${task.ext.environment}
    exec 'gsea.py' \\
        --de '${de}' \\
        --fits '${fits}' \\
        --gene-sets '${gene_sets}' \\
        --min-size ${params.gene_set_min_size} \\
        --max-size ${params.gene_set_max_size} \\
        --permutations ${params.gsea_permutations} \\
        --seed ${params.seed} \\
        --threads ${task.cpus} ${params.strict ? '--strict' : ''} \\
        --output 'published/cell_types/${meta.id}/gsea.tsv' \\
        --summary 'published/cell_types/${meta.id}/gsea_summary.json'
    """

    stub:
    """
    mkdir -p 'published/cell_types/${meta.id}'
    touch 'published/cell_types/${meta.id}/gsea.tsv'
    echo '{}' > 'published/cell_types/${meta.id}/gsea_summary.json'
    echo '{}' > versions.json
    """
}
