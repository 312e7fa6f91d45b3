#!/usr/bin/env nextflow
// How gene expression changes with age in each immune cell type of a large single-cell cohort.

include { after; byContent; checkedCode; checkedParameters; clockFiles; designsOf; gmtFile; helpText; inOrder; missingImage; publishedFolder; readSchema; reaches; runDescription; runGraph; taskCosts } from './subworkflows/local/parameters'
include { claimOutdir; publish } from './subworkflows/local/publish'
include { COHORT          } from './subworkflows/local/cohort'
include { CELLS           } from './subworkflows/local/cells'
include { EMBEDDING       } from './subworkflows/local/embedding'
include { CELL_TYPES      } from './subworkflows/local/cell_types'
include { VARIANTS        } from './subworkflows/local/variants'
include { PLAN_RUN        } from './modules/local/plan_run'
include { CHECK_PSEUDOBULK } from './modules/local/check_pseudobulk'
include { PLOT_COHORT     } from './modules/local/plot_cohort'
include { PLOT_QC         } from './modules/local/plot_qc'
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
    checkedCode(workflow.session.config.process.ext.project.missing)
    def run = workflow // which the handler does not see
    workflow.onError {
        def image = missingImage(run.errorMessage)
        if (image) {
            log.error("${image} is not there: build it with `make image`, on each machine that runs tasks or in a folder that all see")
        }
    }
    claimOutdir(params.outdir)
    description = channel.of(runDescription(params)).collectFile(name: 'params.json').first()

    // Every task's results, [ meta, [ published files ] ], and every list of versions, that the report gathers.
    published = channel.empty()
    versions  = channel.empty()
    last      = channel.empty() // results that the report does not show
    normalized = channel.empty()

    if (params.pseudobulk) {
        CHECK_PSEUDOBULK(channel.of([[id: 'all'], file(params.pseudobulk, checkIfExists: true)]))
        samples    = CHECK_PSEUDOBULK.out.samples
        table      = CHECK_PSEUDOBULK.out.table
        counts     = CHECK_PSEUDOBULK.out.counts
        PLAN_RUN(
            table
                .map { meta, file -> [meta, 'samples', file, designsOf(params)] }
                .combine(byContent(channel.fromList(gmtFile(params.gene_sets))).map { gene_sets -> [gene_sets] })
                .combine(params.check_only ? description : channel.of([[]]))
        )
        plan       = PLAN_RUN.out.plan
        // Not before the plan is there: it says what is wrong with the parameters.
        cell_types = CHECK_PSEUDOBULK.out.cell_types.join(plan).map { meta, file, _plan -> [meta, file] }
        // No cells: the variants of the sensitivity analysis can only change the design.
        (shards, filtered_types, thresholds, donors) = [channel.empty(), channel.empty(), channel.empty(), channel.empty()]
        published  = published.mix(CHECK_PSEUDOBULK.out.published)
        versions   = versions.mix(CHECK_PSEUDOBULK.out.versions, PLAN_RUN.out.versions)
    }
    else {
        COHORT(description)
        plan      = COHORT.out.plan
        published = published.mix(COHORT.out.published)
        versions  = versions.mix(COHORT.out.versions)
    }

    if (params.check_only) {
        plan.view { _meta, file -> new groovy.json.JsonSlurper().parse(file.toFile()).text.join('\n') }
    }
    if (!params.pseudobulk && !params.check_only) {
        CELLS(COHORT.out.shards, COHORT.out.cell_types, COHORT.out.donors, COHORT.out.donors_table)
        samples    = CELLS.out.samples
        table      = CELLS.out.table
        counts     = CELLS.out.counts
        cell_types = CELLS.out.cell_types
        (shards, filtered_types, thresholds, donors) = [CELLS.out.shards, COHORT.out.cell_types, CELLS.out.thresholds, COHORT.out.donors]
        published  = published.mix(CELLS.out.published)
        versions   = versions.mix(CELLS.out.versions)

        if (reaches(params, 'embedding')) {
            EMBEDDING(CELLS.out.shards, CELLS.out.cells, COHORT.out.donors)
            // The way to the UMAP is the longest, so figures and statistics let it pass: these then share the machine
            // with the serial UMAP, those with PCA and Harmony, instead of coming before them.
            cell_types = after(EMBEDDING.out.graph, cell_types)
            normalized = EMBEDDING.out.normalized
            published  = published.mix(EMBEDDING.out.published)
            versions   = versions.mix(EMBEDDING.out.versions)
        }
        PLOT_COHORT(after(normalized, COHORT.out.donors_table.join(CELLS.out.cell_types).join(COHORT.out.filtering)))
        PLOT_QC(after(normalized, CELLS.out.cells.join(CELLS.out.thresholds)))
        published = published.mix(PLOT_COHORT.out.published, PLOT_QC.out.published)
        versions  = versions.mix(PLOT_COHORT.out.versions, PLOT_QC.out.versions)
        if (params.published_clocks && reaches(params, 'statistics')) {
            clocks = file(params.published_clocks, glob: false)
            PUBLISHED_CLOCKS(
                CELLS.out.shards.toSortedList { one, other -> one[0].id <=> other[0].id }
                    .map { rows -> [[id: 'all', folder: clocks.isDirectory()], rows.collect { row -> row[1] }, rows.collect { row -> row[2] }] }
                    .combine(COHORT.out.donors.map { _meta, table_of_donors -> table_of_donors })
                    .combine(byContent(channel.fromList(clockFiles(clocks))).map { found -> [found] })
                    .combine(byContent(channel.of(file("${projectDir}/assets/clocks/cell_types.tsv", glob: false))))
            )
            published = published.mix(PUBLISHED_CLOCKS.out.published)
            versions  = versions.mix(PUBLISHED_CLOCKS.out.versions)
        }
        if (params.export_h5ad) {
            results = CELLS.out.published.mix(reaches(params, 'embedding') ? EMBEDDING.out.published : channel.empty())
            EXPORT_H5AD(
                COHORT.out.cohort
                    .join(COHORT.out.check)
                    .combine(inOrder(COHORT.out.shards))
                    .combine(results.map { _meta, files -> publishedFolder(files) }.toSortedList().map { folders -> [folders] })
                    .combine(COHORT.out.donors.map { _meta, donors_file -> donors_file })
                    .combine(COHORT.out.genes.map { _meta, genes_file -> genes_file })
                    .combine(COHORT.out.dropped.map { _meta, dropped_file -> dropped_file })
                    .combine(description)
            )
            last     = last.mix(EXPORT_H5AD.out.published)
            versions = versions.mix(EXPORT_H5AD.out.versions)
        }
    }

    if (reaches(params, 'pseudobulk') && !params.check_only) {
        PLOT_PSEUDOBULK(after(normalized, samples))
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
        DRAW_DAG(plan.map { _meta, _file -> runGraph(workflow.session) }.collectFile(name: 'dag.tsv').map { graph -> [[id: 'all'], graph] })
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
            byContent(channel.fromPath("${projectDir}/assets/report/*")),
        )
        last = last.mix(REPORT.out.published)
    }
    published.mix(last).subscribe { _meta, files -> publish(files, params.outdir, params.publish_mode) }
}
