// The files that a run starts from, and where downloads are kept.

include { refuse } from './publishing'

// A path that can be laid into a task's folder: the engine leaves a '$' in it to the shell, which takes a letter, a digit
// or some signs after it for a variable, and follows symbolic links. Then a second name of the file in the work folder
// stands for it. Blanks, quotes and parentheses after a '$' are escaped by the engine, so that they need no second name.
def linkable(path) {
    if (!(path.toString() =~ /[$][\w{\[*@#?$-]/)) {
        return path
    }
    def whole = path.toAbsolutePath()
    def link  = workflow.workDir.resolve("links/${whole.toString().digest('SHA-256').take(16)}/${path.name.replace('$', '_')}")
    if (!link.exists() || !java.nio.file.Files.isSameFile(link, whole)) {
        link.parent.mkdirs()
        try {
            java.nio.file.Files.deleteIfExists(link)
            java.nio.file.Files.createLink(link, whole)
        }
        catch (IOException error) {
            refuse("${path}: has a '\$' in its path, which does not reach the tasks as it is (${error.class.simpleName}); rename it, or give the work folder on the same disk")
        }
    }
    return link
}

// Files of the user or the project, for tasks to which their content matters and not their path or date: one list of a
// copy of each, whose path follows from its content.
def byContent(files) {
    return files.collectFile(cache: 'deep') { file -> [file.name, file] }.toSortedList()
}

// The file of gene sets, or none where they are a library of Enrichr's.
def gmtFile(source) {
    def gmt = file(source, glob: false)
    return gmt.exists() ? [linkable(gmt)] : []
}

// A table that a parameter names (symbols of genes, facts about donors), or none.
def tableOrNone(source) {
    return source ? [linkable(file(source, glob: false))] : []
}

// The files of published clocks: what is read of a folder, or one wheel.
def clockFiles(clocks) {
    def files = clocks.isDirectory() ? clocks.listFiles().findAll { found -> found.name ==~ /.*\.(csv|whl)|cell_types\.tsv/ } : [clocks]
    return files.collect { found -> linkable(found) }
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

// Whether an input is an address and no path of this machine.
def isAddress(given) {
    return "${given}" ==~ '[A-Za-z][A-Za-z0-9+.-]*://.*' && !"${given}".startsWith('file://')
}

// Whether an input is a table of the files of a cohort, by the end of its name.
def isSheet(given) {
    return "${given}".toLowerCase() ==~ /(?s).*\.(csv|tsv|txt)/
}

// Whether an input is one h5ad, and neither a table of files nor a file or folder of another format.
def isOneH5ad(given) {
    def name = "${given}".replaceAll('[?#].*', '').toLowerCase()
    return !isSheet(given) && !(name ==~ /(?s).*\.(h5|zarr|zip|tar|tar\.gz|tgz|mtx|mtx\.gz)\/*/) && (isAddress(given) || !file(given, glob: false).isDirectory())
}

// A file, or all files in a folder.
def filesOf(path) {
    return path.isDirectory() ? path.listFiles().collectMany { inside -> filesOf(inside) } : [path]
}

// What FETCH_COHORT needs to know of a local file or folder; its date and size tell it when to read the file anew.
def localSource(given, id = 'all', expected = params.sha256) {
    def cohort = linkable(given)
    def files  = filesOf(cohort)
    def meta   = [id: id, size: files.sum { one -> one.size() } ?: 0, modified: files.collect { one -> one.lastModified() }.max() ?: 0, expected: expected]
    return [meta, cohort.toString(), cohort, []]
}
