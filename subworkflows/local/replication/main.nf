// This cohort's effects beside those of earlier runs on other cohorts (--compare_with).

include { COMPARE_COHORTS  } from '../../../modules/local/compare_cohorts'
include { otherCohorts     } from '../../../functions/other_cohorts'
include { publishedFolders } from '../../../functions/publishing'

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

    emit:
    published = COMPARE_COHORTS.out.published   // [ meta, [ published files ] ]
    versions  = COMPARE_COHORTS.out.versions    // versions.json files
}
