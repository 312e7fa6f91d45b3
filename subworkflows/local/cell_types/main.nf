// The statistics of each cell type; which cell types there are is known only once the pseudobulk samples are.

include { FETCH_GENE_SETS         } from '../../../modules/local/fetch_gene_sets'
include { GSEA                    } from '../../../modules/local/gsea'
include { OVERREPRESENTATION      } from '../../../modules/local/overrepresentation'
include { COMPOSITION             } from '../../../modules/local/composition'
include { COMPARE_CELL_TYPES      } from '../../../modules/local/compare_cell_types'
include { PLOT_COMPARISON         } from '../../../modules/local/plot_comparison'
include { PLOT_CELL_TYPE          } from '../../../modules/local/plot_cell_type'
include { EXPRESSION              } from '../expression'
include { PREDICTIONS             } from '../predictions'
include { REPLICATION             } from '../replication'
include { after; filesById; mixed } from '../../../functions/channels'
include { predictionFits          } from '../../../functions/fan_out'
include { isTaken                 } from '../../../functions/earlier_run'
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

    EXPRESSION(samples)
    GSEA(EXPRESSION.out.de.join(EXPRESSION.out.fits).combine(gene_sets))
    library = params.ora_backend == 'enrichr' ? geneSets(params.gene_sets)[1] : ''
    OVERREPRESENTATION(EXPRESSION.out.de.combine(gene_sets).map { meta, de, gmt -> [meta, de, gmt, library] })

    COMPOSITION(all_samples.join(cell_types))
    COMPARE_CELL_TYPES(
        publishedFolders(EXPRESSION.out.published.mix(GSEA.out.published))
            .filter { folders -> folders[0] }
            .map { folders -> [[id: 'all']] + folders }
    )
    PLOT_COMPARISON(
        publishedFolders(COMPOSITION.out.published.mix(COMPARE_CELL_TYPES.out.published))
            .map { folders -> [[id: 'all']] + folders }
    )

    others = []     // what compares this cohort with others
    if (params.compare_with) {
        REPLICATION(EXPRESSION.out.published, sample_list)
        others << REPLICATION.out
    }

    PREDICTIONS(samples, counts, sample_list)
    n_predictions = isTaken(params, 'predictions') ? 1 : predictionFits(params).size()     // folders of each cell type

    results = EXPRESSION.out.published
        .mix(GSEA.out.published, OVERREPRESENTATION.out.published, PREDICTIONS.out.of_types)
        .map { meta, files -> [meta.subMap('id', 'cell_type', 'samples'), publishedFolder(files)] }
        .groupTuple(size: 3 + n_predictions, remainder: true, sort: { folder -> folder.toString() })
        .join(samples)
        .combine(gene_sets)
    // The comparison has a figure to follow, which would come when all others are drawn.
    PLOT_CELL_TYPE(after(COMPARE_CELL_TYPES.out.published, results))

    emit:
    expression = EXPRESSION.out.de.join(EXPRESSION.out.summary)    // [ meta, de.tsv, de_summary.json ]
    // [ meta, [ published files ] ]
    published = mixed([EXPRESSION.out.published.mix(
        GSEA.out.published, OVERREPRESENTATION.out.published, PREDICTIONS.out.of_types,
        PREDICTIONS.out.of_all, PLOT_CELL_TYPE.out.published,
        COMPOSITION.out.published, COMPARE_CELL_TYPES.out.published, PLOT_COMPARISON.out.published
    )] + others.collect { part -> part.published })
    // versions.json files
    versions = mixed([FETCH_GENE_SETS.out.versions.mix(
        EXPRESSION.out.versions, GSEA.out.versions, OVERREPRESENTATION.out.versions,
        PREDICTIONS.out.versions, PLOT_CELL_TYPE.out.versions,
        COMPOSITION.out.versions, COMPARE_CELL_TYPES.out.versions,
        PLOT_COMPARISON.out.versions
    )] + others.collect { part -> part.versions })
}
