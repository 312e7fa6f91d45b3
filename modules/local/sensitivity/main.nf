process SENSITIVITY {
    tag "$meta.id"
    label 'process_low'
    memory { (1.GB + 10.B * [tables].flatten().sum { file -> file.size() }) * 2 ** (task.attempt - 1) }
    container "${task.ext.container_image}"

    input:
    tuple val(meta), val(labels), path(tables, stageAs: 'de_?.tsv'), path(summaries, stageAs: 'de_?.json'), path(samples), path(varied)
    path variants

    output:
    tuple val(meta), path('published/**'), emit: published
    path 'versions.json', emit: versions

    script:
    """
    # code: ${task.ext.code}
    # environment: ${task.ext.environment}
    exec 'sensitivity.py' \\
        --labels ${labels.join(' ')} \\
        --tables ${tables} \\
        --summaries ${summaries} \\
        --samples '${samples}' \\
        --variants '${variants}' ${varied ? "--varied ${varied}" : ''} \\
        --output published/sensitivity
    """

    stub:
    """
    mkdir -p published/sensitivity/figures
    touch published/sensitivity/{sensitivity,cells}.tsv published/sensitivity/genes.parquet published/sensitivity/figures/sensitivity.{png,pdf}
    echo '{}' > versions.json
    """
}
