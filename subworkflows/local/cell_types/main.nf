// The statistics of each cell type; which cell types there are is known only once the pseudobulk samples are.

include { FETCH_GENE_SETS         } from '../../../modules/local/fetch_gene_sets'
include { DIFFERENTIAL_EXPRESSION } from '../../../modules/local/differential_expression'
include { GSEA                    } from '../../../modules/local/gsea'
include { OVERREPRESENTATION      } from '../../../modules/local/overrepresentation'
include { COMPOSITION             } from '../../../modules/local/composition'
include { COMPARE_CELL_TYPES      } from '../../../modules/local/compare_cell_types'
include { PLOT_COMPARISON         } from '../../../modules/local/plot_comparison'
include { PREDICT_AGE             } from '../../../modules/local/predict_age'
include { SUMMARIZE_PREDICTIONS   } from '../../../modules/local/summarize_predictions'
include { PLOT_CELL_TYPE          } from '../../../modules/local/plot_cell_type'
include { downloadMarker; listOf; numbersOf; publishedFolder } from '../parameters'

// A GMT file is taken as it is; any other name is that of an Enrichr library, which is downloaded once.
def geneSets(source) {
    def gmt = file(source, glob: false)
    return gmt.exists() ? [[id: 'all'], '', gmt, []] : [[id: 'all'], source, [], downloadMarker()]
}

workflow CELL_TYPES {
    take:
    counts          // [ [id: 'all'], [ counts.h5ad a cell type ] ]
    all_samples     // [ [id: 'all'], pseudobulk.h5ad of all samples ]
    cell_types      // [ [id: 'all'], cell_types.tsv ]

    main:
    // [ [id: 'cd14_positive_monocyte', cell_type: 'CD14-positive monocyte', samples: 94], counts.h5ad ]
    described = cell_types
        .flatMap { _meta, table -> table.splitCsv(header: true, sep: '\t') }
        .map { row -> [row.id, [id: row.id, cell_type: row.cell_type, samples: row.n_samples as Integer]] }
    samples = counts
        .flatMap { _meta, files -> files }
        .map { file -> [(file.name =~ /^dataset-[^_]+_(.+)_step-/)[0][1], file] }
        .join(described)
        .map { _id, file, meta -> [meta, file] }

    FETCH_GENE_SETS(channel.of(geneSets(params.gene_sets)))
    gene_sets = FETCH_GENE_SETS.out.gene_sets.map { _meta, gmt -> gmt }.first()

    DIFFERENTIAL_EXPRESSION(samples)
    GSEA(DIFFERENTIAL_EXPRESSION.out.de.combine(gene_sets))
    OVERREPRESENTATION(DIFFERENTIAL_EXPRESSION.out.de.combine(gene_sets))

    COMPOSITION(all_samples.join(cell_types))
    COMPARE_CELL_TYPES(
        DIFFERENTIAL_EXPRESSION.out.published.mix(GSEA.out.published)
            .map { _meta, files -> publishedFolder(files) }
            .toSortedList()
            .filter { folders -> folders }
            .map { folders -> [[id: 'all'], folders] }
    )
    PLOT_COMPARISON(
        COMPOSITION.out.published.mix(COMPARE_CELL_TYPES.out.published)
            .map { _meta, files -> publishedFolder(files) }
            .toSortedList()
            .map { folders -> [[id: 'all'], folders] }
    )

    models = listOf(params.prediction_models)
    alphas = numbersOf(params.ridge_alphas, 0)
    // [ [id: ..., model: 'ridge', alpha: '0.1'], counts.h5ad ]
    PREDICT_AGE(
        samples
            .combine(channel.fromList(models))
            .combine(channel.fromList(alphas))
            .map { meta, file, model, alpha -> [meta + [model: model, alpha: alpha], file] }
    )
    SUMMARIZE_PREDICTIONS(PREDICT_AGE.out.metrics.toSortedList { one, other -> "${one[0]}" <=> "${other[0]}" }.map { rows -> [[id: 'all'], rows.collect { row -> row[1] }] })

    PLOT_CELL_TYPE(
        DIFFERENTIAL_EXPRESSION.out.published
            .mix(GSEA.out.published, OVERREPRESENTATION.out.published, PREDICT_AGE.out.published)
            .map { meta, files -> [meta.subMap('id', 'cell_type', 'samples'), publishedFolder(files)] }
            .groupTuple(size: 3 + models.size() * alphas.size(), sort: { folder -> folder.toString() })
    )

    emit:
    expression = DIFFERENTIAL_EXPRESSION.out.de.join(DIFFERENTIAL_EXPRESSION.out.summary)    // [ meta, de.tsv, de_summary.json ]
    published = DIFFERENTIAL_EXPRESSION.out.published.mix(
        GSEA.out.published, OVERREPRESENTATION.out.published, PREDICT_AGE.out.published,
        SUMMARIZE_PREDICTIONS.out.published, PLOT_CELL_TYPE.out.published, COMPOSITION.out.published,
        COMPARE_CELL_TYPES.out.published, PLOT_COMPARISON.out.published
    )
    versions = FETCH_GENE_SETS.out.versions.mix(
        DIFFERENTIAL_EXPRESSION.out.versions, GSEA.out.versions, OVERREPRESENTATION.out.versions,
        PREDICT_AGE.out.versions, SUMMARIZE_PREDICTIONS.out.versions, PLOT_CELL_TYPE.out.versions,
        COMPOSITION.out.versions, COMPARE_CELL_TYPES.out.versions, PLOT_COMPARISON.out.versions
    )
}
