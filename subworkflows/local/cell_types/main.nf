// The statistics of each cell type; which cell types there are is known only once the pseudobulk samples are.

include { FETCH_GENE_SETS         } from '../../../modules/local/fetch_gene_sets'
include { DIFFERENTIAL_EXPRESSION } from '../../../modules/local/differential_expression'
include { GSEA                    } from '../../../modules/local/gsea'
include { OVERREPRESENTATION      } from '../../../modules/local/overrepresentation'
include { COMPOSITION             } from '../../../modules/local/composition'
include { COMPARE_CELL_TYPES      } from '../../../modules/local/compare_cell_types'
include { PLOT_COMPARISON         } from '../../../modules/local/plot_comparison'
include { PREDICT_AGE             } from '../../../modules/local/predict_age'
include { IMMUNE_AGE              } from '../../../modules/local/immune_age'
include { SUMMARIZE_PREDICTIONS   } from '../../../modules/local/summarize_predictions'
include { PLOT_CELL_TYPE          } from '../../../modules/local/plot_cell_type'
include { after; filesById        } from '../../../functions/channels'
include { predictionFits          } from '../../../functions/fan_out'
include { geneSets                } from '../../../functions/inputs'
include { publishedFolder; publishedFolders } from '../../../functions/publishing'

workflow CELL_TYPES {
    take:
    counts          // [ [id: 'all'], [ counts.h5ad of each cell type ], files.tsv: whose is which ]
    all_samples     // [ [id: 'all'], pseudobulk.h5ad of all samples ]
    cell_types      // [ [id: 'all'], cell_types.tsv ]
    sample_list     // [ [id: 'all'], samples.tsv ]

    main:
    // [ [id: 'cd14_positive_monocyte', cell_type: 'CD14-positive monocyte', samples: 94], counts.h5ad ]
    described = cell_types
        .flatMap { _meta, table -> table.splitCsv(header: true, sep: '\t') }
        .map { row -> [row.id, [id: row.id, cell_type: row.cell_type, samples: row.n_samples as Integer]] }
    samples = counts
        .flatMap { _meta, files, table -> filesById(files, table) }
        .join(described)
        .map { _id, file, meta -> [meta, file] }

    FETCH_GENE_SETS(channel.of(geneSets(params.gene_sets)))
    gene_sets = FETCH_GENE_SETS.out.gene_sets.map { _meta, gmt -> gmt }.first()

    DIFFERENTIAL_EXPRESSION(samples)
    GSEA(DIFFERENTIAL_EXPRESSION.out.de.join(DIFFERENTIAL_EXPRESSION.out.fits).combine(gene_sets))
    library = params.ora_backend == 'enrichr' ? geneSets(params.gene_sets)[1] : ''
    OVERREPRESENTATION(DIFFERENTIAL_EXPRESSION.out.de.combine(gene_sets).map { meta, de, gmt -> [meta, de, gmt, library] })

    COMPOSITION(all_samples.join(cell_types))
    COMPARE_CELL_TYPES(
        publishedFolders(DIFFERENTIAL_EXPRESSION.out.published.mix(GSEA.out.published))
            .filter { folders -> folders[0] }
            .map { folders -> [[id: 'all']] + folders }
    )
    PLOT_COMPARISON(
        publishedFolders(COMPOSITION.out.published.mix(COMPARE_CELL_TYPES.out.published))
            .map { folders -> [[id: 'all']] + folders }
    )

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

    results = DIFFERENTIAL_EXPRESSION.out.published
        .mix(GSEA.out.published, OVERREPRESENTATION.out.published, PREDICT_AGE.out.published)
        .map { meta, files -> [meta.subMap('id', 'cell_type', 'samples'), publishedFolder(files)] }
        .groupTuple(size: 3 + fits.size(), remainder: true, sort: { folder -> folder.toString() })
        .join(samples)
        .combine(gene_sets)
    // The comparison has a figure to follow, which would come when all others are drawn.
    PLOT_CELL_TYPE(after(COMPARE_CELL_TYPES.out.published, results))

    emit:
    expression = DIFFERENTIAL_EXPRESSION.out.de.join(DIFFERENTIAL_EXPRESSION.out.summary)    // [ meta, de.tsv, de_summary.json ]
    // [ meta, [ published files ] ]
    published = DIFFERENTIAL_EXPRESSION.out.published.mix(
        GSEA.out.published, OVERREPRESENTATION.out.published, PREDICT_AGE.out.published,
        SUMMARIZE_PREDICTIONS.out.published, PLOT_CELL_TYPE.out.published, IMMUNE_AGE.out.published,
        COMPOSITION.out.published, COMPARE_CELL_TYPES.out.published, PLOT_COMPARISON.out.published
    )
    // versions.json files
    versions = FETCH_GENE_SETS.out.versions.mix(
        DIFFERENTIAL_EXPRESSION.out.versions, GSEA.out.versions, OVERREPRESENTATION.out.versions,
        PREDICT_AGE.out.versions, SUMMARIZE_PREDICTIONS.out.versions, PLOT_CELL_TYPE.out.versions,
        IMMUNE_AGE.out.versions, COMPOSITION.out.versions, COMPARE_CELL_TYPES.out.versions,
        PLOT_COMPARISON.out.versions
    )
}
