// This cohort's effects beside those of earlier runs on other cohorts (--compare_with).

include { COMPARE_COHORTS  } from '../../../modules/local/compare_cohorts'
include { PLOT_COHORTS     } from '../../../modules/local/plot_cohorts'
include { otherCohorts     } from '../../../functions/other_cohorts'
include { publishedFolder; publishedFolders } from '../../../functions/publishing'

workflow REPLICATION {
    take:
    expression      // [ meta, [ published files ] ] of DIFFERENTIAL_EXPRESSION
    sample_list     // [ [id: 'all'], samples.tsv ]

    main:
    COMPARE_COHORTS(
        publishedFolders(expression)
            .filter { folders -> folders[0] }
            .combine(sample_list)
            .map { folders, meta, samples -> [meta, folders, samples] + otherCohorts(params) }
    )
    PLOT_COHORTS(COMPARE_COHORTS.out.published.map { meta, files -> [meta, publishedFolder(files)] })

    emit:
    published = COMPARE_COHORTS.out.published.mix(PLOT_COHORTS.out.published)   // [ meta, [ published files ] ]
    versions  = COMPARE_COHORTS.out.versions.mix(PLOT_COHORTS.out.versions)     // versions.json files
}
