#!/usr/bin/env nextflow
// How gene expression changes with age in each immune cell type of a large single-cell cohort.

include { checkedParameters; helpText; inOrder; publishedFolder; readSchema; reaches; runDescription; runGraph; taskCosts } from './subworkflows/local/parameters'
include { claimOutdir; publish } from './subworkflows/local/publish'
include { COHORT          } from './subworkflows/local/cohort'
include { CELLS           } from './subworkflows/local/cells'
include { EMBEDDING       } from './subworkflows/local/embedding'
include { CELL_TYPES      } from './subworkflows/local/cell_types'
include { VARIANTS        } from './subworkflows/local/variants'
include { CHECK_PSEUDOBULK } from './modules/local/check_pseudobulk'
include { PLOT_PSEUDOBULK } from './modules/local/plot_pseudobulk'
include { PUBLISHED_CLOCKS } from './modules/local/published_clocks'
include { EXPORT_H5AD     } from './modules/local/export_h5ad'
include { DRAW_DAG        } from './modules/local/draw_dag'
include { REPORT          } from './modules/local/report'

workflow {
    main:
    if (params.help) {
        println helpText(readSchema(file("${projectDir}/nextflow_schema.json")))
        return
    }
    checkedParameters(params)
    claimOutdir(params.outdir)
    description = channel.of(runDescription(params)).collectFile(name: 'params.json').first()

    // Every task's results, [ meta, [ published files ] ], and every list of versions, that the report gathers.
    published = channel.empty()
    versions  = channel.empty()
    last      = channel.empty() // results that the report does not show

    if (params.pseudobulk) {
        CHECK_PSEUDOBULK(channel.of([[id: 'all'], file(params.pseudobulk, checkIfExists: true)]))
        samples    = CHECK_PSEUDOBULK.out.samples
        table      = CHECK_PSEUDOBULK.out.table
        counts     = CHECK_PSEUDOBULK.out.counts
        cell_types = CHECK_PSEUDOBULK.out.cell_types
        // No cells: the variants of the sensitivity analysis can only change the design.
        (shards, filtered_types, thresholds, donors) = [channel.empty(), channel.empty(), channel.empty(), channel.empty()]
        published  = published.mix(CHECK_PSEUDOBULK.out.published)
        versions   = versions.mix(CHECK_PSEUDOBULK.out.versions)
    }
    else {
        COHORT()
        published = published.mix(COHORT.out.published)
        versions  = versions.mix(COHORT.out.versions)
    }

    if (!params.pseudobulk && params.check_only) {
        COHORT.out.check.view { _meta, check ->
            def found = new groovy.json.JsonSlurper().parse(check.toFile())
            "The cohort can be analysed: ${found.n_cells} cells and ${found.n_genes} genes (counts in ${found.counts_layer}), " +
                "${found.n_donors} donors, ${found.n_cell_types} cell types." + found.notes.collect { note -> " Note: ${note}." }.join()
        }
    }
    if (!params.pseudobulk && !params.check_only) {
        CELLS(COHORT.out.shards, COHORT.out.cell_types, COHORT.out.donors, COHORT.out.donors_table, COHORT.out.filtering)
        samples    = CELLS.out.samples
        table      = CELLS.out.table
        counts     = CELLS.out.counts
        cell_types = CELLS.out.cell_types
        (shards, filtered_types, thresholds, donors) = [CELLS.out.shards, COHORT.out.cell_types, CELLS.out.thresholds, COHORT.out.donors]
        published  = published.mix(CELLS.out.published)
        versions   = versions.mix(CELLS.out.versions)

        if (reaches(params, 'embedding')) {
            EMBEDDING(CELLS.out.shards, CELLS.out.cells, COHORT.out.donors)
            published = published.mix(EMBEDDING.out.published)
            versions  = versions.mix(EMBEDDING.out.versions)
        }
        if (params.published_clocks && reaches(params, 'statistics')) {
            PUBLISHED_CLOCKS(
                CELLS.out.shards.toSortedList { one, other -> one[0].id <=> other[0].id }
                    .map { rows -> [[id: 'all'], rows.collect { row -> row[1] }, rows.collect { row -> row[2] }] }
                    .combine(COHORT.out.donors.map { _meta, table_of_donors -> table_of_donors })
                    .map { inputs -> inputs + [file(params.published_clocks, checkIfExists: true), file("${projectDir}/assets/clocks/cell_types.tsv")] }
            )
            published = published.mix(PUBLISHED_CLOCKS.out.published)
            versions  = versions.mix(PUBLISHED_CLOCKS.out.versions)
        }
        if (params.export_h5ad) {
            results = CELLS.out.published.mix(reaches(params, 'embedding') ? EMBEDDING.out.published : channel.empty())
            EXPORT_H5AD(
                inOrder(COHORT.out.shards)
                    .combine(results.map { _meta, files -> publishedFolder(files) }.toSortedList().map { folders -> [folders] })
                    .combine(COHORT.out.donors)
                    .combine(description)
                    .map { all_shards, folders, meta, table_of_donors, parameters -> [meta, all_shards, folders, table_of_donors, parameters] }
            )
            last     = last.mix(EXPORT_H5AD.out.published)
            versions = versions.mix(EXPORT_H5AD.out.versions)
        }
    }

    if (reaches(params, 'pseudobulk') && !params.check_only) {
        PLOT_PSEUDOBULK(samples)
        published = published.mix(PLOT_PSEUDOBULK.out.published)
        versions  = versions.mix(PLOT_PSEUDOBULK.out.versions)
    }
    if (reaches(params, 'statistics') && !params.check_only) {
        CELL_TYPES(counts, table, cell_types, samples)
        published = published.mix(CELL_TYPES.out.published)
        versions  = versions.mix(CELL_TYPES.out.versions)
        if (params.sensitivity) {
            VARIANTS(shards, filtered_types, thresholds, donors, counts, samples, CELL_TYPES.out.expression)
            published = published.mix(VARIANTS.out.published)
            versions  = versions.mix(VARIANTS.out.versions)
        }
    }

    if (!params.check_only) {
        DRAW_DAG(published.toList().map { _folders -> runGraph(workflow.session) }.collectFile(name: 'dag.tsv').map { graph -> [[id: 'all'], graph] })
        published = published.mix(DRAW_DAG.out.published)
        REPORT(
            published.map { _meta, files -> publishedFolder(files) }.toSortedList().map { folders -> [[id: 'all'], folders] },
            description,
            // By content, so that a step that ran again with the same versions does not run the report again.
            versions.map { file -> [(file.text =~ /"step": "(\w+)"/).collect { match -> match[1] }.join(), file.text] }
                .unique()
                .collectFile { step, text -> ["${step ?: 'stub'}.json", text] }
                .toSortedList(),
            versions.toList().map { files -> taskCosts(files) }.collectFile(name: 'tasks.tsv'),
            channel.fromPath("${projectDir}/assets/report/*").toSortedList(),
        )
        last = last.mix(REPORT.out.published)
    }
    published.mix(last).subscribe { _meta, files -> publish(files, params.outdir, params.publish_mode) }
}
