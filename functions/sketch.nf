// What differs where the embedding of a large cohort is computed on a sketch: meta.sketch of what is made of it.

// How many cells quality control kept, by its qc.json.
def keptCells(summary) {
    return (new groovy.json.JsonSlurper().parse(summary.toFile()).cells?.kept ?: 0) as long
}

// Notes on the sketch for the terminal, from its summary.
def saidOfSketch(summary) {
    return new groovy.json.JsonSlurper().parse(summary.toFile()).notes.collect { note -> "Note: ${note}" }
}

// Items of all cells: those of the embedding where these are no sketch's, else those that were merged from placed cells.
def ofAllCells(embedded, merged) {
    return embedded.filter { meta, _file -> !meta.sketch }.mix(merged)
}
