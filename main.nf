#!/usr/bin/env nextflow
// How gene expression changes with age in each immune cell type of a large single-cell cohort.

include { after; mixed         } from './functions/channels'
include { fromSamples; hasAges; partsOf } from './functions/fan_out'
include { helpText; readSchema } from './functions/parameters'
include { runDescription       } from './functions/provenance'
include { publish              } from './functions/publishing'
include { saidOfPlan; start    } from './functions/start'
include { COHORT      } from './subworkflows/local/cohort'
include { GIVEN_TABLE } from './subworkflows/local/given_table'
include { CELLS       } from './subworkflows/local/cells'
include { EMBEDDING   } from './subworkflows/local/embedding'
include { FIGURES     } from './subworkflows/local/figures'
include { CELL_TYPES  } from './subworkflows/local/cell_types'
include { CLOCKS      } from './subworkflows/local/clocks'
include { VARIANTS    } from './subworkflows/local/variants'
include { SUMMARY     } from './subworkflows/local/summary'
include { EXPORT      } from './subworkflows/local/export'

workflow {
    if (params.help) {
        return println(helpText(readSchema(file("${projectDir}/nextflow_schema.json"))))
    }
    start(params, workflow)
    description = channel.of(runDescription(params)).collectFile(name: 'params.json').first()
    // A run starts from a cohort of cells, or from a table of samples that was made before. First of all it is planned.
    if (fromSamples(params)) {
        GIVEN_TABLE()
    }
    else {
        COHORT()
    }
    input = fromSamples(params) ? GIVEN_TABLE.out : COHORT.out
    parts = params.check_only ? [] : partsOf(params)
    done  = [input] // The subworkflows that ran. Each emits what it published, [ meta, [ files ] ], and its versions.json files.
    last  = []      // Those whose results the report does not show.
    input.plan.flatMap { _meta, file -> saidOfPlan(file, params.check_only) }.view()
    if ('qc' in parts) {
        CELLS(COHORT.out.shards, COHORT.out.cell_types, COHORT.out.donors, COHORT.out.quality_rows)
        done << CELLS.out
    }
    if ('embedding' in parts) {
        EMBEDDING(CELLS.out.shards, CELLS.out.cells.join(CELLS.out.summary), COHORT.out.donors)
        done << EMBEDDING.out
    }
    if (params.export_h5ad && 'qc' in parts) {
        EXPORT(COHORT.out.cohort, COHORT.out.check, COHORT.out.shards, mixed(done.drop(1).collect { part -> part.published }),
            COHORT.out.donors, COHORT.out.genes, COHORT.out.dropped, description)
        last << EXPORT.out
    }
    // The way to the UMAP is the longest: figures wait until PCA can run beside them, statistics until the UMAP can.
    none = channel.empty()
    (normalized, graph) = 'embedding' in parts ? [EMBEDDING.out.normalized, EMBEDDING.out.graph] : [none, none]
    if (parts) {
        samples  = fromSamples(params) ? GIVEN_TABLE.out : CELLS.out
        filtered = 'qc' in parts ? COHORT.out.donors_table.join(CELLS.out.cell_types).join(COHORT.out.filtering) : none
        judged   = 'qc' in parts ? CELLS.out.cells.join(CELLS.out.thresholds) : none
        FIGURES(after(normalized, filtered), after(normalized, judged), after(normalized, samples.samples))
        done << FIGURES.out
    }
    if ('statistics' in parts) {
        CELL_TYPES(samples.counts, samples.table, after(graph, samples.cell_types), samples.samples)
        done << CELL_TYPES.out
    }
    (shards, types, thresholds, donors) = 'qc' in parts ? [CELLS.out.shards, COHORT.out.cell_types, CELLS.out.thresholds, COHORT.out.donors] : [none] * 4
    if (params.published_clocks && hasAges(params) && 'statistics' in parts) {
        CLOCKS(shards, donors, 'qc' in parts ? none : samples.table, input.check)
        done << CLOCKS.out
    }
    if (params.sensitivity && 'statistics' in parts) {
        VARIANTS(shards, types, thresholds, donors, samples.counts, samples.samples, CELL_TYPES.out.expression)
        done << VARIANTS.out
    }
    if (parts) {
        SUMMARY(input.plan, description, mixed(done.collect { part -> part.published }), mixed((done + last).collect { part -> part.versions }))
        last << SUMMARY.out
    }
    mixed((done + last).collect { part -> part.published }).subscribe { _meta, files -> publish(files, params.outdir, params.publish_mode) }
}
