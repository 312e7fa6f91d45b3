// The figures of the whole run: the cohort's donors and filters, its quality control, its samples.

include { PLOT_COHORT     } from '../../../modules/local/plot_cohort'
include { PLOT_QC         } from '../../../modules/local/plot_qc'
include { PLOT_PSEUDOBULK } from '../../../modules/local/plot_pseudobulk'
include { mixed           } from '../../../functions/channels'
include { partsOf         } from '../../../functions/fan_out'

workflow FIGURES {
    take:
    cohort          // [ [id: 'all'], donors.tsv, cell_types.tsv, filtering.json ]; none in a run from a table of samples
    cells           // [ [id: 'all'], cells.parquet, each donor's own thresholds or none ]; none there
    samples         // [ [id: 'all'], samples.tsv ]

    main:
    done = []
    if ('qc' in partsOf(params)) {
        PLOT_COHORT(cohort)
        PLOT_QC(cells)
        done << PLOT_COHORT.out
        done << PLOT_QC.out
    }
    if ('pseudobulk' in partsOf(params)) {
        PLOT_PSEUDOBULK(samples)
        done << PLOT_PSEUDOBULK.out
    }

    emit:
    published = mixed(done.collect { step -> step.published })  // [ meta, [ published files ] ]
    versions  = mixed(done.collect { step -> step.versions })   // versions.json files
}
