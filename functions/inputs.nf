// The files that a run starts from, and where downloads are kept.

// Files of the user or the project, for tasks to which their content matters and not their path or date: one list of a
// copy of each, whose path follows from its content.
def byContent(files) {
    return files.collectFile(cache: 'deep') { file -> [file.name, file] }.toSortedList()
}

// The file of gene sets, or none where they are a library of Enrichr's.
def gmtFile(source) {
    def gmt = file(source, glob: false)
    return gmt.exists() ? [gmt] : []
}

// A table that a parameter names (symbols of genes, facts about donors), or none.
def tableOrNone(source) {
    return source ? [file(source, glob: false)] : []
}

// The files of published clocks: what is read of a folder, or one wheel.
def clockFiles(clocks) {
    return clocks.isDirectory() ? clocks.listFiles().findAll { found -> found.name ==~ /.*\.(csv|whl)|cell_types\.tsv/ } : [clocks]
}

// Downloads go into a folder that outlives the run; this file stands for the folder, which changes by itself.
def downloadMarker() {
    def marker = file("${params.download_dir}/README.txt")
    if (!marker.exists()) {
        marker.parent.mkdirs()
        marker.text = 'Downloads of the immune-aging pipeline; may be deleted when no run needs them.\n'
    }
    return marker
}

// What FETCH_GENE_SETS needs: a GMT file is taken as it is; any other name is that of an Enrichr library, downloaded once.
def geneSets(source) {
    def gmt = gmtFile(source)
    return gmt ? [[id: 'all'], '', gmt[0], []] : [[id: 'all'], source, [], downloadMarker()]
}

// What FETCH_COHORT needs to know of a local file; its date and size tell it when to read the file anew.
def localSource(cohort) {
    return [[id: 'all', size: cohort.size(), modified: cohort.lastModified()], cohort.toString(), cohort, []]
}
