// Predictions of age by each model and penalty, and what follows from all of them; made or taken from an earlier run.

include { PREDICT_AGE                      } from '../../../modules/local/predict_age'
include { IMMUNE_AGE                       } from '../../../modules/local/immune_age'
include { SUMMARIZE_PREDICTIONS            } from '../../../modules/local/summarize_predictions'
include { TAKE_RESULTS as TAKE_PREDICTIONS } from '../../../modules/local/take_results'
include { TAKE_RESULTS as TAKE_IMMUNE_AGE  } from '../../../modules/local/take_results'
include { earlierRun; isTaken; ofCellType; predictionsOfAll; toTake } from '../../../functions/earlier_run'
include { predictionFits                   } from '../../../functions/fan_out'

workflow PREDICTIONS {
    take:
    samples         // [ [id: 'cd14_positive_monocyte', cell_type: 'CD14-positive monocyte', samples: 94], counts.h5ad ]
    counts          // [ [id: 'all'], [ counts.h5ad of each cell type ], files.tsv: whose is which ]
    sample_list     // [ [id: 'all'], samples.tsv ]

    main:
    if (isTaken(params, 'predictions')) {
        earlier = earlierRun(params)
        TAKE_PREDICTIONS(samples.map { meta, _file -> toTake(earlier, meta, ['predict_age'], ofCellType(earlier, 'predictions', meta.id)) })
        TAKE_IMMUNE_AGE(channel.of(toTake(earlier, [id: 'all'], ['immune_age', 'summarize_predictions'], predictionsOfAll(earlier))))
        of_types = TAKE_PREDICTIONS.out.published
        of_all   = TAKE_IMMUNE_AGE.out.published
        versions = TAKE_PREDICTIONS.out.versions.mix(TAKE_PREDICTIONS.out.steps.flatten(), TAKE_IMMUNE_AGE.out.versions, TAKE_IMMUNE_AGE.out.steps.flatten())
    }
    else {
        fits = predictionFits(params)   // none where donors have no ages
        // [ [id: ..., model: 'ridge', alpha: '0.1'], counts.h5ad, samples.tsv ]
        PREDICT_AGE(
            samples
                .combine(channel.fromList(fits))
                .combine(sample_list.map { _meta, list -> list })
                .map { meta, file, fit, list -> [meta + fit, file, list] }
        )
        IMMUNE_AGE(
            PREDICT_AGE.out.inner.map { _meta, file -> file }.toSortedList { one, other -> one.name <=> other.name }.map { files -> [files] }
                .combine(counts)
                .filter { _files, _meta, tables, _table -> fits && tables }
                .map { files, meta, tables, _table -> [meta, files, tables] }
        )
        SUMMARIZE_PREDICTIONS(
            PREDICT_AGE.out.metrics
                .toSortedList { one, other -> "${one[0]}" <=> "${other[0]}" }
                .filter { fits }
                .map { rows -> [[id: 'all'], rows.collect { row -> row[1] }] }
        )
        of_types = PREDICT_AGE.out.published
        of_all   = IMMUNE_AGE.out.published.mix(SUMMARIZE_PREDICTIONS.out.published)
        versions = PREDICT_AGE.out.versions.mix(IMMUNE_AGE.out.versions, SUMMARIZE_PREDICTIONS.out.versions)
    }

    emit:
    of_types        // [ [id: ..., ...], [ published files ] ]: all of a cell type at once where they are taken, else of each fit
    of_all          // [ [id: 'all'], [ published files ] ]
    versions        // versions.json files
}
