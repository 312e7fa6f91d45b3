include { quote } from '../../../functions/shell'

process LIST_FILES {
    tag "$meta.id"
    label 'process_single'
    container "${task.ext.container_image}"

    input:
    // source: the folder that paths of the sheet start from, or the one file of a cohort without a sheet
    tuple val(meta), val(source), path(sheet, stageAs: 'sheet/*')

    output:
    tuple val(meta), path('files.json'), emit: files
    path 'versions.json', emit: versions

    script:
    """
    # code: ${task.ext.code}
    # environment: ${task.ext.environment}
    exec 'list_files.py' \\
        --source ${quote(source)} ${sheet ? "--sheet ${quote(sheet)}" : ''} \\
        --sha256 '${params.sha256 ?: ''}' \\
        --output files.json
    """

    stub:
    """
    echo '{"files": [{"id": "file-0000", "name": "a.h5ad", "source": "https://example.org/a.h5ad", "sha256": ""}]}' > files.json
    echo '{}' > versions.json
    """
}
