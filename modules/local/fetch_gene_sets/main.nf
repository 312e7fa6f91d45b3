include { quote } from '../../../functions/shell'

process FETCH_GENE_SETS {
    tag "$meta.id"
    // By content, not by path and date: what comes from the user or the project is small here.
    cache 'deep'
    label 'process_single'
    container "${task.ext.container_image}"

    input:
    // Either a GMT file, or the name of an Enrichr library and a file in the folder that keeps downloads; else [].
    tuple val(meta), val(library), path(gmt, stageAs: 'gene_sets/*'), path(download_marker, stageAs: 'marker')

    output:
    tuple val(meta), path("dataset-${params.dataset}_gene-sets.gmt"), emit: gene_sets
    tuple val(meta), path('gene_sets.json'), emit: summary
    path 'versions.json', emit: versions

    script:
    def source = gmt ? '--gmt gene_sets/*' : "--library ${quote(library)} --cache-dir \"\$(dirname \"\$(readlink -f marker)\")\" --enrichr-url '${params.enrichr_url}' ${params.allow_http ? '--allow-http' : ''}"
    """
    # code: ${task.ext.code}
    # environment: ${task.ext.environment}
    exec 'fetch_gene_sets.py' \\
        ${source} \\
        --output 'dataset-${params.dataset}_gene-sets.gmt' \\
        --summary gene_sets.json
    """

    stub:
    """
    touch 'dataset-${params.dataset}_gene-sets.gmt'
    echo '{}' > gene_sets.json
    echo '{}' > versions.json
    """
}
