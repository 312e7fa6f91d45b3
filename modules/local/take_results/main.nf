include { quote } from '../../../functions/shell'

process TAKE_RESULTS {
    tag "$meta.id"
    // Not by the folder's date: what is taken of it carries its sha256.
    cache 'lenient'
    label 'process_single'
    container "${task.ext.container_image}"

    input:
    // files: [ path in the folder, sha256 ] of each; meta.steps: those that made them
    tuple val(meta), path(earlier, stageAs: 'earlier'), val(files)

    output:
    tuple val(meta), path('published/**'), emit: published
    path 'steps/*.json', emit: steps, optional: true
    path 'versions.json', emit: versions

    script:
    """
    # code: ${task.ext.code}
    # environment: ${task.ext.environment}
    exec 'take_results.py' \\
        --earlier earlier \\
        --shown ${quote(params.start_from)} \\
        --take ${files.collect { name, sha256 -> quote("${sha256} ${name}") }.join(' ')} \\
        --steps ${meta.steps.join(' ')} \\
        --output published \\
        --step-versions steps
    """

    stub:
    """
    mkdir -p steps
    for name in ${files.collect { name, _sha256 -> quote(name) }.join(' ')}; do
        mkdir -p "published/\$(dirname "\$name")"
        cp "earlier/\$name" "published/\$name"
    done
    echo '{}' > versions.json
    """
}
