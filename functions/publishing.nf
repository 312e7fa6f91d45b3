// How results get into the results folder: each file whole or not at all, from one run at a time. The engine's publishDir
// copies in place, so that a run killed in the middle of it leaves a cut-off file, which -resume takes for a whole one.

// The folder that a task publishes from, given the files it published.
def publishedFolder(files) {
    def place = files instanceof List ? files[0] : files
    return place.name == 'published' ? place : publishedFolder(place.parent)
}

// The folders that all these tasks publish from, given [ meta, [ published files ] ] of each; sorted, as one element: [ [ folders ] ]
def publishedFolders(published) {
    return published.map { _meta, files -> publishedFolder(files) }.toSortedList().map { folders -> [folders] }
}

// The file in which the engine keeps this run's trace until the run has the results folder; null once it is `trace.tsv`.
def ownTrace() {
    def path = file("${workflow.session.config.trace.file}", glob: false)
    return path.name.startsWith('.trace-') && path.exists() ? path : null
}

// Stop before any task, with one line and exit code 2; the trace of an earlier run, or of the one that goes on, stays.
def refuse(problem) {
    ownTrace()?.delete()
    exit(2, problem)
}

// Take the results folder for this run; stop with one line where that is not possible.
def claimOutdir(outdir) {
    def place = file(outdir, glob: false)
    if (place.fileSystem != java.nio.file.FileSystems.default) {
        return
    }
    def lock = null
    try {
        def info = java.nio.file.Files.createDirectories(place.resolve('pipeline_info'))
        def claimed = java.nio.channels.FileChannel.open(info.resolve('.lock'), java.nio.file.StandardOpenOption.CREATE, java.nio.file.StandardOpenOption.WRITE)
        lock = claimed.tryLock()
        // The system gives it up when the engine ends, however that comes about; this holds it until then.
        workflow.session.onShutdown { claimed.close() }
    }
    catch (IOException cause) {
        refuse("--outdir ${outdir}: cannot be written (${cause}); give a folder that can")
    }
    if (!lock) {
        refuse("--outdir ${outdir}: another run is writing there; wait until it ends or give another folder")
    }
    def trace = ownTrace()
    if (trace) {
        java.nio.file.Files.move(trace, place.resolve('pipeline_info/trace.tsv'), java.nio.file.StandardCopyOption.ATOMIC_MOVE)
    }
}

// Whether a published file is there already; a copy keeps the date of the original, and is dated only when it is whole.
def isThere(source, target, mode) {
    def files = java.nio.file.Files
    if (!files.exists(target, java.nio.file.LinkOption.NOFOLLOW_LINKS) || mode in ['symlink', 'rellink'] || files.isSymbolicLink(target)) {
        return false
    }
    // Also where links were asked for: on another disk there are copies.
    return mode == 'link' && files.isSameFile(source, target)
        || files.size(target) == files.size(source) && files.getLastModifiedTime(target) == files.getLastModifiedTime(source)
}

// Make a hard link; false where there can be none, as on another disk (nextflow-io/nextflow#3286).
def isLinked(part, source) {
    try {
        java.nio.file.Files.createLink(part, source)
        return true
    }
    catch (java.nio.file.FileSystemException | UnsupportedOperationException cause) {
        log.debug("${source}: is copied, because it cannot be linked (${cause})")
        return false
    }
}

// Bring one file to its place: beside it under another name, then by renaming.
def publishFile(source, target, mode) {
    if (isThere(source, target, mode)) {
        return
    }
    def files = java.nio.file.Files
    files.createDirectories(target.parent)
    def part = target.resolveSibling(".${target.name}.part")
    files.deleteIfExists(part)
    try {
        if (mode == 'symlink') {
            files.createSymbolicLink(part, source)
        }
        else if (mode == 'rellink') {
            files.createSymbolicLink(part, target.parent.toRealPath().relativize(source.toRealPath()))
        }
        else if (mode != 'link' || !isLinked(part, source)) {
            files.copy(source, part, java.nio.file.StandardCopyOption.COPY_ATTRIBUTES)
        }
        files.move(part, target, java.nio.file.StandardCopyOption.REPLACE_EXISTING)
    }
    catch (IOException cause) {
        files.deleteIfExists(part)
        throw cause
    }
}

// What a task wrote below `published/` goes to the same path below the results folder.
def publish(sources, outdir, mode) {
    try {
        [sources].flatten().each { source ->
            publishFile(source, file(outdir, glob: false).resolve(publishedFolder(source).relativize(source).toString()), mode)
        }
    }
    catch (IOException cause) {
        // The engine says of an error in here only that there was one.
        def message = "--outdir ${outdir}: a result cannot be written (${cause}); make room or give another folder, and run again with -resume"
        log.error(message)
        error(message)
    }
}
