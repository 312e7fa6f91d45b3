// From a samplesheet, or from one file that is no h5ad, to one h5ad with all cells.

include { LIST_FILES                 } from '../../../modules/local/list_files'
include { FETCH_COHORT as FETCH_FILE } from '../../../modules/local/fetch_cohort'
include { GATHER_COHORT              } from '../../../modules/local/gather_cohort'
include { byContent; downloadMarker; isAddress; isSheet; linkable; localSource } from '../../../functions/inputs'

workflow SEVERAL_FILES {
    take:
    given           // what --input says
    symbols         // [ [ table of symbols, or none ] ]

    main:
    sheet = isSheet(given) ? file(given, glob: false) : null
    LIST_FILES(channel.of([[id: 'all'], sheet ? sheet.toAbsolutePath().parent.toString() : given, sheet ? linkable(sheet) : []]))

    // [ [id: 'file-0003', expected: '...', ...], address, local file or none, marker or none ]
    sources = LIST_FILES.out.files.flatMap { _meta, listing ->
        new groovy.json.JsonSlurper().parse(listing.toFile()).files.collect { one ->
            def local_file = isAddress(one.source) ? null : file(one.source, glob: false)
            // FETCH_COHORT tells of a file that is not there.
            local_file?.exists() ? localSource(local_file, one.id, one.sha256) : [[id: one.id, expected: one.sha256], one.source, [], downloadMarker()]
        }
    }
    // A check alone does not read all of a local file.
    at_hand = sources.filter { meta, _source, local_file, _marker -> params.check_only && local_file && !meta.expected }
    FETCH_FILE(sources.filter { meta, _source, local_file, _marker -> !(params.check_only && local_file && !meta.expected) })
    parts = FETCH_FILE.out.fetched
        .map { meta, fetched -> [meta.id, new groovy.json.JsonSlurper().parse(fetched.toFile())] }
        .join(sources.map { meta, _source, local_file, _marker -> [meta.id, local_file] })
        .map { id, fetched, local_file -> [id, fetched.sha256, local_file ?: file(fetched.location, glob: false)] }
        .mix(at_hand.map { meta, _source, local_file, _marker -> [meta.id, meta.modified, local_file] })
        .toSortedList { one, other -> one[0] <=> other[0] }
        .map { rows ->
            // What tells the content: without it a check would not be made anew when a file is.
            def contents = rows.collect { row -> row[1] }
            [params.check_only ? [id: 'all', sha256: [], modified: contents] : [id: 'all', sha256: contents], rows.collect { row -> row[2] }]
        }
    GATHER_COHORT(
        parts
            .combine(byContent(LIST_FILES.out.files.map { _meta, listing -> listing }))
            .combine(symbols)
            .map { meta, files, listing, table -> [meta, listing, files, table] }
    )

    emit:
    cohort   = GATHER_COHORT.out.cohort     // [ [id: 'all', sha256: ['...', ...]], cohort.h5ad ]
    versions = LIST_FILES.out.versions.mix(FETCH_FILE.out.versions, GATHER_COHORT.out.versions)     // versions.json files
}
