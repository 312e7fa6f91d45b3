"""The methods paragraph: what was run with which parameters, in words ready to paste."""

from collections.abc import Collection, Mapping

from immune_aging.cohort.columns import NO_COLUMN
from immune_aging.cohort.filtering import COMMON, COMMON_FRACTION
from immune_aging.report.formats import shown
from immune_aging.statistics.formulas import DEFAULT_DESIGN, DEFAULT_WITHOUT_SEX

# `loaded`, `by_sample` and `told_apart_by` say whether donors had several samples.
# A part of the results, the sentence to write where it is there, and the works that it cites. Names in braces
# are parameters; a sentence that needs one the run does not have is left out.
SENTENCES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (
        "cohort/filtering.json",
        "{ageless}onors below percentile {donor_percentile} of the number of cells, cell "
        "types with "
        "{min_cells_per_type} cells in less than {common_share:%} of donors, and donors who lack one "
        "of the remaining cell types were left out.",
        (),
    ),
    (
        "cohort/filtering.json",
        "{ageless_and}onors below percentile {donor_percentile} of the number of cells were left out; "
        "{each_type} was analysed in the donors who have enough of its cells, so that the donors differ between cell "
        "types.",
        (),
    ),
    (
        "cohort/filtering.json",
        "Cell types with {min_cells_per_type} cells in less than {asked_share:%} of donors were not analysed.",
        (),
    ),
    (
        "cohort/filtering.json",
        "Cell types with {min_cells_per_type} cells in less than {share_of_table:%} of the table's donors, and donors "
        "who lack one of the remaining cell types, were left out.",
        (),
    ),
    (
        "qc/cells.parquet",
        "Cells with {min_genes} to {max_genes} genes, {min_counts} to {max_counts} counts, at most "
        "{max_pct_mito} % "
        "mitochondrial and {max_pct_hb} % hemoglobin counts were kept.",
        (),
    ),
    (
        "qc/cells.parquet",
        "Doublets were called in each {loaded} with Scrublet (expected rate {scrublet_rate}); {loaded}s of "
        "fewer than 100 cells were not scored.",
        ("scrublet",),
    ),
    (
        "qc/cells.parquet",
        "Doublets were those that the input's column {called_by} calls; cells without a call were kept.",
        (),
    ),
    ("qc/cells.parquet", "Doublets were {not_called}.", ()),
    (
        "qc/thresholds.tsv",
        "Instead of one value for all, donors had their own, which qc/thresholds.tsv lists: thresholds {qc_thresholds} "
        "(mad: {mad_cutoff} scaled median absolute deviations within {mad_group}, never beyond those above), expected "
        "doublets for each 1,000 cells {doublet_rate_per_1000}, from column {doublet_rate_column}.",
        ("scater",),
    ),
    (
        "embedding/genes.tsv",
        "The {n_top_genes} most variable genes were chosen on counts with donors as batches (seurat_v3, span "
        "{seurat_span}), and T and B cell "
        "receptor, mitochondrial and ribosomal genes were taken out by symbol.",
        ("seurat", "scanpy"),
    ),
    (
        "embedding/genes.tsv",
        "The {n_top_genes} genes whose analytic {residuals} vary most (overdispersion 100, clipped at the root of the "
        "number of cells) were chosen on counts with donors as batches, and T and B cell receptor, mitochondrial and "
        "ribosomal genes were taken out by symbol.",
        ("residuals", "scanpy"),
    ),
    (
        "embedding/pca.parquet",
        "Counts were scaled to {target_sum} per cell and log-transformed (log1p); {n_pcs} principal "
        "components were computed.",
        (),
    ),
    ("embedding/harmony.parquet", "They were corrected for {batch_column} with Harmony.", ("harmony",)),
    ("embedding/umap.parquet", "They were not corrected for {no} differences between batches.", ()),
    (
        "embedding/sketch.json",
        "What follows the principal components was computed on a sketch of {embedding_cells} cells, drawn by donor and "
        "cell type, and all other cells were placed by it, as Symphony maps cells into a reference.",
        ("symphony",),
    ),
    (
        "embedding/umap.parquet",
        "UMAP was computed from {n_neighbors} nearest neighbours on {n_neighbors_components} components "
        "({umap_epochs} epochs, minimal distance {umap_min_dist}).",
        ("umap",),
    ),
    (
        "clusters/",
        "Clusters were found with the Leiden algorithm at resolution {leiden_resolutions}.",
        ("leiden",),
    ),
    (
        "pseudobulk/samples.tsv",
        "Raw counts were summed by donor{by_sample} and cell type; samples of at least {min_cells_per_sample} cells, "
        "and of at least {min_depth_share:%} of the counts of their cell type's median sample, and cell types of at "
        "least {min_samples_per_type} such samples were used.",
        (),
    ),
    (
        "pseudobulk/samples.tsv",
        "Donors had several samples, told apart by {told_apart_by}; in the rules about donors{and_in_prediction} those "
        "of a donor were added up{so_that}.",
        (),
    ),
    (
        "/de.tsv",
        "Differential expression was tested in each cell type with {de_method} and the design {design}, "
        "numeric covariates scaled to mean 0 and SD 1 "
        "within the cell type; the tested term is {test_term}. Whether a batch entered, "
        "and which samples were left out as outliers, is said with each cell type. "
        "DESeq2 (PyDESeq2) and limma-voom were fitted side by side, and genes that both call at an adjusted "
        "p below 0.05 with the same sign are named robust.",
        ("deseq2", "pydeseq2", "voom"),
    ),
    (
        "sensitivity/sensitivity.tsv",
        "The tests were repeated with other quality control or designs ({sensitivity}), on the same metrics and "
        "doublet scores.",
        (),
    ),
    (
        "/gsea.tsv",
        "Gene sets ({gene_sets}) of {gene_set_min_size} to {gene_set_max_size} measured genes were tested against the "
        "other genes with camera on the voom fit, which estimates the correlation of each set's genes between donors "
        "and allows for it. Enrichment scores and leading edges are those of preranked enrichment on the statistic of "
        "{de_method} ({gsea_permutations} permutations of genes).",
        ("camera", "gsea", "gseapy"),
    ),
    (
        "/ora_up.tsv",
        "Over-representation among genes up and down (adjusted p at most 0.05) was tested apart, against the "
        "genes tested ({ora_backend}).",
        (),
    ),
    (
        "composition/composition.tsv",
        "Changes of the composition were tested on log-ratios of each cell type's cells to those of the cell types "
        "that keep still, with the design {design}, by moderated t tests, or by a mixed model (Kenward-Roger) of each "
        "cell type where the design has a random term.",
        ("propeller", "linda"),
    ),
    (
        "comparison/shared_ageing.tsv",
        "Effects of a gene were averaged over cell types by precision, with the correlation of errors between cell "
        "types of the same donors; a gene is named shared where the hypothesis that at most one cell type changes is "
        "rejected (adjusted p below 0.05).",
        ("correlated", "conjunction"),
    ),
    (
        "/predictions.tsv",
        "Age was predicted from log2 counts per million, each gene's pulled towards its mean in training by two "
        "counts{and_sex} with {prediction_models} (ridge penalties {ridge_alphas}, and a nested choice that leaves "
        "a fixed penalty of 3 only as far as training donors left out show an average of penalties to be better) in"
        " repeated 5-fold cross-validation with whole donors held out; everything learned from data was learned "
        "within the training folds. R2 compares with the mean age of the training donors. Intervals are 95 % "
        "percentile bootstrap intervals over donors; p values of ridge, and the correlation that permuted ages "
        "give, are from 1,000 permutations of the ages.",
        (),
    ),
    (
        "immune_age/immune_age.tsv",
        "Nested predictions of all cell types were weighed into one immune age a donor by non-negative least squares "
        "within training donors (stacking); age acceleration is its residual on true "
        "age{acceleration_tested}.",
        ("stacking",),
    ),
    ("", "The seed of all random steps was {seed}.", ()),
)

REFERENCES = {
    "residuals": "Lause J, Berens P, Kobak D. Analytic Pearson residuals for normalization of single-cell RNA-seq UMI "
    "data. Genome Biology 22:258 (2021). doi:10.1186/s13059-021-02451-7",
    "stacking": "Breiman L. Stacked regressions. Machine Learning 24:49-64 (1996). doi:10.1007/BF00117832",
    "scrublet": "Wolock SL, Lopez R, Klein AM. Scrublet. Cell Systems 8:281-291 (2019). doi:10.1016/j.cels.2018.11.005",
    "scater": "McCarthy DJ et al. Scater. Bioinformatics 33:1179-1186 (2017). doi:10.1093/bioinformatics/btw777",
    "seurat": "Stuart T et al. Comprehensive integration of single-cell data. Cell 177:1888-1902 (2019). "
    "doi:10.1016/j.cell.2019.05.031",
    "scanpy": "Wolf FA, Angerer P, Theis FJ. SCANPY. Genome Biology 19:15 (2018). doi:10.1186/s13059-017-1382-0",
    "harmony": "Korsunsky I et al. Harmony. Nature Methods 16:1289-1296 (2019). doi:10.1038/s41592-019-0619-0",
    "symphony": "Kang JB et al. Efficient and precise single-cell reference atlas mapping with Symphony. Nature "
    "Communications 12:5890 (2021). doi:10.1038/s41467-021-25957-x",
    "umap": "McInnes L, Healy J, Melville J. UMAP. arXiv:1802.03426 (2018)",
    "leiden": "Traag VA, Waltman L, van Eck NJ. From Louvain to Leiden. Scientific Reports 9:5233 (2019). "
    "doi:10.1038/s41598-019-41695-z",
    "deseq2": "Love MI, Huber W, Anders S. DESeq2. Genome Biology 15:550 (2014). doi:10.1186/s13059-014-0550-8",
    "pydeseq2": "Muzellec B et al. PyDESeq2. Bioinformatics 39:btad547 (2023). doi:10.1093/bioinformatics/btad547",
    "voom": "Law CW et al. voom. Genome Biology 15:R29 (2014). doi:10.1186/gb-2014-15-2-r29",
    "propeller": "Phipson B et al. propeller. Bioinformatics 38:4720-4726 (2022). doi:10.1093/bioinformatics/btac582",
    "linda": "Zhou H, He K, Chen J, Zhang X. LinDA. Genome Biology 23:95 (2022). doi:10.1186/s13059-022-02655-5",
    "correlated": "Lin DY, Sullivan PF. Meta-analysis of genome-wide association studies with overlapping subjects. "
    "Am J Hum Genet 85:862-872 (2009). doi:10.1016/j.ajhg.2009.11.001",
    "conjunction": "Benjamini Y, Heller R. Screening for partial conjunction hypotheses. Biometrics 64:1215-1222 "
    "(2008). doi:10.1111/j.1541-0420.2007.00984.x",
    "camera": "Wu D, Smyth GK. Camera: a competitive gene set test accounting for inter-gene correlation. Nucleic "
    "Acids Research 40:e133 (2012). doi:10.1093/nar/gks461",
    "gsea": "Subramanian A et al. Gene set enrichment analysis. PNAS 102:15545-15550 (2005). "
    "doi:10.1073/pnas.0506580102",
    "gseapy": "Fang Z, Liu X, Peltz G. GSEApy. Bioinformatics 39:btac757 (2023). doi:10.1093/bioinformatics/btac757",
}


class _Shown(str):
    """A value in a sentence; the format `%` shows a share as a percentage."""

    def __format__(self, spec: str) -> str:
        return f"{100 * float(self):g} %" if spec == "%" else str(self)


def words_of_donors(parameters: Mapping[str, object]) -> dict[str, _Shown]:
    """The words by which the sentences on the donors of a cell type are chosen, and their values."""
    share, table = parameters.get("min_donor_fraction"), bool(parameters.get("pseudobulk"))
    if parameters.get("donors", COMMON) == COMMON:
        common = COMMON_FRACTION if share is None else share
        return {"share_of_table" if table else "common_share": _Shown(common)}
    asked = {} if share is None else {"asked_share": _Shown(share)}
    return asked if table else asked | {"each_type": _Shown("each cell type")}


def words_of_methods(parameters: Mapping[str, object]) -> dict[str, _Shown]:
    """The words by which the sentences on doublets and on the methods of the embedding are chosen."""
    words = {}
    if parameters.get("doublet_column"):
        words["called_by"] = _Shown(parameters["doublet_column"])
    elif parameters.get("doublet_method") == "none":
        words["not_called"] = _Shown("not called")
    elif "expected_doublet_rate" in parameters:
        words["scrublet_rate"] = _Shown(shown(parameters["expected_doublet_rate"]))
    if parameters.get("hvg_flavor", "seurat_v3") != "seurat_v3":
        words["residuals"] = _Shown("Pearson residuals")
    elif "hvg_span" in parameters:
        words["seurat_span"] = _Shown(shown(parameters["hvg_span"]))
    if parameters.get("integration") == "none":
        words["no"] = _Shown("any")
    return words


def words_of_columns(parameters: Mapping[str, object], shown_values: Mapping[str, str]) -> dict[str, str]:
    """What sentences say differently where donors have several samples, no ages or no sexes.

    Parameters
    ----------
    shown_values
        The parameters as text.
    """
    several, has_ages = bool(parameters.get("sample_column")), parameters.get("age_column") != NO_COLUMN
    has_sexes = parameters.get("sex_column") != NO_COLUMN
    words = {
        "by_sample": ", sample" if several else "",
        "loaded": "sample" if several else "donor",
        "ageless": "Donors of unknown age, d" if has_ages else "D",
        "ageless_and": "Donors of unknown age and d" if has_ages else "D",
        "and_in_prediction": " and in the prediction of age" if has_ages else "",
        "so_that": ", so that folds, bootstraps and permutations were of donors" if has_ages else "",
        "and_sex": ", and sex" if has_sexes else ",",
    }
    if several:
        words["told_apart_by"] = shown_values["sample_column"]
    if "acceleration_columns" in shown_values:
        columns = shown_values["acceleration_columns"]
        if not has_sexes:
            columns = ", ".join(one.strip() for one in columns.split(",") if one.strip() != "sex")
        words["acceleration_tested"] = f", tested against {columns} with age in the model" if columns else ""
    if not has_sexes and str(parameters.get("design", "")).split() == DEFAULT_DESIGN.split():
        words["design"] = DEFAULT_WITHOUT_SEX
    return words


def methods(parameters: Mapping[str, object], available: Collection[str]) -> tuple[list[str], list[str]]:
    """Sentences on what was run, and the works they cite.

    Parameters
    ----------
    parameters
        Value of each parameter in effect.
    available
        Paths of the results that are there.
    """
    sentences, cited = [], []
    words = {
        name: _Shown(shown(value).rsplit("/", 1)[-1] if name == "gene_sets" else shown(value))
        for name, value in parameters.items()
    }
    words |= words_of_donors(parameters) | words_of_methods(parameters)
    words |= {name: _Shown(text) for name, text in words_of_columns(parameters, words).items()}
    for part, sentence, works in SENTENCES:
        if part and not any(part in path for path in available):
            continue
        try:
            sentences.append(sentence.format_map(words))
        except KeyError:
            continue
        cited += [work for work in works if work not in cited]
    return sentences, [REFERENCES[work] for work in cited]
