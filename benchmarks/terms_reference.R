# What R says of tested terms: emmeans of a linear model, DESeq2's likelihood ratio, lmerTest of repeated samples.
#
# Usage: Rscript terms_reference.R FOLDER
# FOLDER holds donors.tsv (y, age, sex, site, bmi, run, visit), counts.tsv (genes x samples, no header) and samples.tsv
# (donor, sex, age, visit). emmeans.tsv, likelihood_ratio.tsv, duplicate_correlation.tsv and mixed_model.tsv are written
# beside them.
suppressPackageStartupMessages({
  library(DESeq2)
  library(edgeR)
  library(emmeans)
  library(limma)
  library(lmerTest)
})
folder <- commandArgs(TRUE)[1]
path <- function(name) file.path(folder, name)
write <- function(table, name) {
  numbers <- sapply(table, is.numeric)
  table[numbers] <- lapply(table[numbers], signif, 9)
  write.table(table, path(name), sep = "\t", quote = FALSE, row.names = FALSE, na = "NaN")
}

# Effects at the reference grid, in the unit of the column; of a factor each level against the first.
# emtrends takes a forward difference: over its usual step, the slope of a square would be off by .3 %.
donors <- read.delim(path("donors.tsv"))
of_slope <- function(formula, over = ~1, column = "age") {
  suppressMessages(emtrends(lm(formula, donors), over, var = column, delta.var = 1e-5))
}
of_levels <- function(formula, over) suppressMessages(emmeans(lm(formula, donors), over))
against_first <- function(grid) contrast(grid, "trt.vs.ctrl", adjust = "none")
asked <- list(
  list("~ sex + age", "age", of_slope(y ~ sex + age)),
  list("~ sex * age", "age", of_slope(y ~ sex * age)),
  list("~ sex * site * age", "age", of_slope(y ~ sex * site * age)),
  list("~ sex + age + I(age**2)", "age", of_slope(y ~ sex + age + I(age^2))),
  list("~ sex * age + sex * I(age**2)", "age", of_slope(y ~ sex * age + sex * I(age^2))),
  list("~ age * bmi + sex", "age", of_slope(y ~ age * bmi + sex)),
  list("~ sex * age", "sex", against_first(of_levels(y ~ sex * age, ~sex))),
  list("~ sex * bmi + site * sex + age", "sex", against_first(of_levels(y ~ sex * bmi + site * sex + age, ~sex))),
  list("~ site * sex + site * bmi + age", "site", against_first(of_levels(y ~ site * sex + site * bmi + age, ~site))),
  list("~ C(run) * sex + age", "C(run)", against_first(of_levels(y ~ factor(run) * sex + age, ~run))),
  list("~ sex * age", "sex:age", against_first(of_slope(y ~ sex * age, ~sex))),
  list("~ sex * age * site", "sex:age", against_first(of_slope(y ~ sex * age * site, ~sex)))
)
write(do.call(rbind, lapply(asked, function(one) {
  found <- as.data.frame(one[[3]])
  effect <- found[[if ("estimate" %in% names(found)) "estimate" else "age.trend"]]
  data.frame(formula = one[[1]], term = one[[2]], effect = effect, se = found$SE, df = found$df)
})), "emmeans.tsv")

# A curve of age against none, tested in counts.
samples <- read.delim(path("samples.tsv"))
counts <- matrix(scan(path("counts.tsv"), what = integer(), quiet = TRUE), ncol = nrow(samples), byrow = TRUE)
first <- samples$visit == "v0"
data <- DESeqDataSetFromMatrix(counts[, first], samples[first, ], ~ sex + poly(age, 3))
data <- suppressWarnings(DESeq(data, test = "LRT", reduced = ~sex, quiet = TRUE))
ratio <- results(data, alpha = 0.05)
write(data.frame(stat = ratio$stat, p_value = ratio$pvalue, padj = ratio$padj), "likelihood_ratio.tsv")

# Repeated samples: the donor's correlation by limma, and a mixed model of each gene on the same weighted expression.
design <- model.matrix(~ sex + age + visit, samples)
normalised <- calcNormFactors(DGEList(counts))
weighted <- voom(normalised, design)
rho <- duplicateCorrelation(weighted, design, block = samples$donor)$consensus.correlation
weighted <- voom(normalised, design, block = samples$donor, correlation = rho)
rho <- duplicateCorrelation(weighted, design, block = samples$donor)$consensus.correlation
fit <- eBayes(lmFit(weighted, design, block = samples$donor, correlation = rho), robust = TRUE)
write(do.call(rbind, lapply(c("age", "visitv1"), function(term) {
  p <- fit$p.value[, term]
  data.frame(term = term, log2_fold_change = fit$coefficients[, term], stat = fit$t[, term], p_value = p,
             padj = p.adjust(p, "BH"), correlation = rho)
})), "duplicate_correlation.tsv")
write(do.call(rbind, lapply(seq_len(nrow(counts)), function(gene) {
  rows <- transform(samples, expression = weighted$E[gene, ], precision = weighted$weights[gene, ])
  model <- suppressMessages(lmer(expression ~ sex + age + visit + (1 | donor), rows, weights = precision))
  found <- coef(summary(model, ddf = "Satterthwaite"))[c("age", "visitv1"), ]
  data.frame(gene = gene, term = rownames(found), effect = found[, "Estimate"], stat = found[, "t value"],
             df = found[, "df"], p_value = found[, "Pr(>|t|)"])
})), "mixed_model.tsv")
versions <- sapply(c("DESeq2", "limma", "emmeans", "lme4", "lmerTest"), function(name) as.character(packageVersion(name)))
cat(R.version$major, ".", R.version$minor, " ", paste(names(versions), versions), "\n", sep = " ")
