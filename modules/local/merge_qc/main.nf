process MERGE_QC {
    tag "$meta.id"
    label 'process_low'
    memory { (768.MB + 25.B * [cells].flatten().sum { file -> file.size() }) * 2 ** (task.attempt - 1) }
    container "${task.ext.container_image}"

    input:
    tuple val(meta), path(cells), path(summaries), path(cell_types)

    output:
    tuple val(meta), path('published/qc/cells.parquet'), emit: cells
    tuple val(meta), path('published/cohort/cell_types.tsv'), emit: cell_types
    tuple val(meta), path('published/qc/qc.json'), emit: summary
    tuple val(meta), path('published/**'), emit: published
    path 'versions.json', emit: versions

    script:
    """
    # code: ${task.ext.code}
    # environment: ${task.ext.environment}
    exec 'merge_qc.py' \\
        --cells ${cells} \\
        --summaries ${summaries} \\
        --cell-types '${cell_types}' \\
        --min-cells-per-sample ${params.min_cells_per_sample} \\
        --min-depth-share ${params.min_depth_share} \\
        --min-samples-per-type ${params.min_samples_per_type} \\
        --output published
    """

    stub:
    """
    mkdir -p published/qc published/cohort
    touch published/qc/cells.parquet published/qc/summary.tsv published/qc/rules.tsv
    printf 'id\\tcell_type\\tn_samples\\nstub\\tstub\\t1\\n' > published/cohort/cell_types.tsv
    echo '{"cells": {"kept": 1}}' > published/qc/qc.json
    echo '{}' > versions.json
    """
}
