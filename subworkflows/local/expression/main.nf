// Differential expression of each cell type, made or taken from an earlier run.

include { DIFFERENTIAL_EXPRESSION         } from '../../../modules/local/differential_expression'
include { TAKE_RESULTS as TAKE_EXPRESSION } from '../../../modules/local/take_results'
include { earlierRun; isTaken; ofCellType; toTake } from '../../../functions/earlier_run'
include { publishedFolder                 } from '../../../functions/publishing'

workflow EXPRESSION {
    take:
    samples         // [ [id: 'cd14_positive_monocyte', cell_type: 'CD14-positive monocyte', samples: 94], counts.h5ad ]

    main:
    if (isTaken(params, 'expression')) {
        earlier = earlierRun(params)
        // A cell type that the earlier run could not finish has nothing there.
        parted  = samples.branch { meta, _file ->
            there: ofCellType(earlier, 'expression', meta.id)
            anew: true
        }
        TAKE_EXPRESSION(parted.there.map { meta, _file -> toTake(earlier, meta, ['differential_expression'], ofCellType(earlier, 'expression', meta.id)) })
        DIFFERENTIAL_EXPRESSION(parted.anew)
        taken   = TAKE_EXPRESSION.out.published.map { meta, files -> [meta.subMap('id', 'cell_type', 'samples'), files] }
        found   = taken.map { meta, files -> [meta, publishedFolder(files).resolve("cell_types/${meta.id}")] }
        de      = DIFFERENTIAL_EXPRESSION.out.de.mix(found.map { meta, folder -> [meta, folder.resolve('de.tsv')] })
        summary = DIFFERENTIAL_EXPRESSION.out.summary.mix(found.map { meta, folder -> [meta, folder.resolve('de_summary.json')] })
        fits    = DIFFERENTIAL_EXPRESSION.out.fits.mix(found.map { meta, folder -> [meta, folder.resolve('fits.h5')] })
        published = DIFFERENTIAL_EXPRESSION.out.published.mix(taken)
        versions  = DIFFERENTIAL_EXPRESSION.out.versions.mix(TAKE_EXPRESSION.out.versions, TAKE_EXPRESSION.out.steps.flatten())
    }
    else {
        DIFFERENTIAL_EXPRESSION(samples)
        de        = DIFFERENTIAL_EXPRESSION.out.de
        summary   = DIFFERENTIAL_EXPRESSION.out.summary
        fits      = DIFFERENTIAL_EXPRESSION.out.fits
        published = DIFFERENTIAL_EXPRESSION.out.published
        versions  = DIFFERENTIAL_EXPRESSION.out.versions
    }

    emit:
    de              // [ [id: ..., cell_type: ..., samples: ...], de.tsv ]
    summary         // [ meta, de_summary.json ]
    fits            // [ meta, fits.h5 ]
    published       // [ meta, [ published files ] ]
    versions        // versions.json files
}
