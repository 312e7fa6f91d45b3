// What the run did, for a reader: the graph of its steps, and the report of all results.

include { DRAW_DAG                          } from '../../../modules/local/draw_dag'
include { REPORT                            } from '../../../modules/local/report'
include { madeFrom                          } from '../../../functions/earlier_run'
include { runGraph; stepVersions; taskCosts } from '../../../functions/provenance'
include { byContent                         } from '../../../functions/inputs'
include { publishedFolders                  } from '../../../functions/publishing'

workflow SUMMARY {
    take:
    plan            // [ [id: 'all', ...], plan.json ]
    description     // params.json
    results         // [ meta, [ published files ] ] of every step that the report shows
    versions        // versions.json of every step

    main:
    DRAW_DAG(plan.map { _meta, _file -> runGraph(workflow.session) }.collectFile(name: 'dag.tsv').map { graph -> [[id: 'all'], graph] })
    // Collected once: of two collections of the same texts the engine puts each where the other may be the next time.
    step_versions = stepVersions(versions)
    REPORT(
        publishedFolders(results.mix(DRAW_DAG.out.published)).map { folders -> [[id: 'all']] + folders },
        description,
        step_versions,
        versions.toList().map { files -> taskCosts(files) }.collectFile(name: 'tasks.tsv'),
        byContent(channel.fromPath("${projectDir}/assets/report/*")),
        plan.combine(step_versions.map { files -> [files.collect { file -> file.baseName }] })
            .map { meta, _plan, steps -> madeFrom(params, meta.sha256, steps) }
            .collectFile(name: 'made_from.json'),
    )

    emit:
    published = REPORT.out.published.mix(DRAW_DAG.out.published)    // [ meta, [ published files ] ]
}
