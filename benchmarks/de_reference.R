# Differential expression of many tables by R's DESeq2, limma and edgeR, as their manuals write it.
#
# Usage: Rscript de_reference.R FOLDER ENGINE[,ENGINE...]
# Each folder in FOLDER holds counts.tsv (genes x samples, no header), design.tsv (samples x coefficients, with header),
# coefficient.txt (a column's number) and, for limma_random, block.txt. ENGINE.tsv is written beside them:
# log2 fold change, statistic, p value, adjusted p value, one row per gene.
suppressPackageStartupMessages({
  library(DESeq2)
  library(limma)
  library(edgeR)
})

deseq2 <- function(counts, design, coefficient, block, size_factors) {
  data <- DESeqDataSetFromMatrix(counts, data.frame(row.names = seq_len(ncol(counts))), ~1)
  data <- estimateSizeFactors(data, type = size_factors)
  data <- DESeq(data, full = design, betaPrior = FALSE, quiet = TRUE, modelMatrixType = "standard")
  contrast <- as.numeric(seq_len(ncol(design)) == coefficient)
  result <- results(data, contrast = contrast, alpha = 0.05)
  data.frame(result$log2FoldChange, result$stat, result$pvalue, result$padj)
}

from_limma <- function(fit, coefficient) {
  p <- fit$p.value[, coefficient]
  data.frame(fit$coefficients[, coefficient], fit$t[, coefficient], p, p.adjust(p, "BH"))
}

limma_voom <- function(counts, design, coefficient, block, size_factors) {
  counts <- calcNormFactors(DGEList(counts))
  from_limma(eBayes(lmFit(voom(counts, design), design), robust = TRUE), coefficient)
}

limma_random <- function(counts, design, coefficient, block, size_factors) {
  counts <- calcNormFactors(DGEList(counts))
  first <- voom(counts, design)
  rho <- duplicateCorrelation(first, design, block = block)$consensus.correlation
  second <- voom(counts, design, block = block, correlation = rho)
  rho <- duplicateCorrelation(second, design, block = block)$consensus.correlation
  from_limma(eBayes(lmFit(second, design, block = block, correlation = rho), robust = TRUE), coefficient)
}

edger <- function(counts, design, coefficient, block, size_factors) {
  counts <- estimateDisp(calcNormFactors(DGEList(counts)), design, robust = TRUE)
  test <- glmQLFTest(glmQLFit(counts, design, robust = TRUE), coef = coefficient)
  p <- test$table$PValue
  data.frame(test$table$logFC, test$table$F, p, p.adjust(p, "BH"))
}

arguments <- commandArgs(TRUE)
for (folder in list.dirs(arguments[1], recursive = FALSE)) {
  path <- function(name) file.path(folder, name)
  design <- as.matrix(read.delim(path("design.tsv"), check.names = FALSE))
  counts <- matrix(scan(path("counts.tsv"), what = integer(), quiet = TRUE), ncol = nrow(design), byrow = TRUE)
  size_factors <- readLines(path("size_factors.txt"))
  coefficient <- as.integer(readLines(path("coefficient.txt")))
  block <- if (file.exists(path("block.txt"))) factor(readLines(path("block.txt")))
  for (engine in strsplit(arguments[2], ",")[[1]]) {
    if (engine == "limma_random" && is.null(block)) next
    begin <- proc.time()[1]
    result <- suppressWarnings(get(engine)(counts, design, coefficient, block, size_factors))
    colnames(result) <- c("log2_fold_change", "stat", "p_value", "padj")
    write.table(result, path(paste0(engine, ".tsv")), sep = "\t", quote = FALSE, row.names = FALSE, na = "NaN")
    cat(proc.time()[1] - begin, file = path(paste0(engine, ".seconds")))
  }
}
versions <- sapply(c("DESeq2", "limma", "edgeR"), function(name) as.character(packageVersion(name)))
cat(R.version$major, ".", R.version$minor, " ", paste(names(versions), versions), "\n", sep = " ")
