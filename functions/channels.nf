// How items of channels are put in order, told apart and made to wait.

// Items, [ [id: ...], file ], in the order of their ids, as one element: [ [ files ] ]
def inOrder(items) {
    return items.toSortedList { one, other -> one[0].id <=> other[0].id }.map { rows -> [rows.collect { row -> row[1] }] }
}

// The ids of items, [ [id: ...], ... ], in the order that `inOrder` gives their files, as one element: [ [ ids ] ]
def idsInOrder(items) {
    return items.toSortedList { one, other -> one[0].id <=> other[0].id }.map { rows -> [rows.collect { row -> row[0].id }] }
}

// A step's files by id, from the table (id, file) that the step wrote beside them: [ [ 'shard-003', counts.h5ad ], ... ]
def filesById(files, table) {
    def by_name = files.collectEntries { file -> [file.name, file] }
    return table.splitCsv(header: true, sep: '\t').collect { row -> [row.id, by_name[row.file]] }
}

// On one machine, which starts tasks in the order in which they become ready: a channel whose items wait until another
// has ended. They take nothing from it, and their tasks stay the same.
def after(earlier, items) {
    def here = workflow.session.config.process?.executor in [null, 'local']
    return here ? earlier.filter { false }.concat(items) : items
}

// All of these channels, at least one, as one.
def mixed(channels) {
    return channels.tail().inject(channels.head()) { all, one -> all.mix(one) }
}
