"""Cohorts that are not about age: patients before and after a treatment, without ages or sexes; and their results.

Each of ten patients gave a sample under either condition. The planted genes are higher in the second, and so is the
share of the first cell type.
"""

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
from scipy import sparse

import compare_cell_types
import composition
import differential_expression
import gsea
import overrepresentation
import plot_cell_type
import plot_cohort
import plot_comparison
import plot_pseudobulk
from engine import ROOT
from immune_aging.statistics.gene_sets import read_gmt
from inputs.step_options import default_options
from sampled_cohorts import to_samples

GENE_SETS = ROOT / "assets/gene_sets/h.all.v7.5.1.symbols.gmt"
PLANTED_SET = "HALLMARK_INTERFERON_ALPHA_RESPONSE"
NO_AGE = ("--age-column", "none", "--sex-column", "none")
COLUMNS = (*NO_AGE, "--donor-column", "patient", "--sample-column", "library")
QUESTION = {"--design": "~ donor + condition", "--test-term": "condition"}
LEVELS = ("ctrl", "stim")


def paired_cohort(*, donors: int = 10, cells: int = 14, effect: float = 2.0, seed: int = 0) -> anndata.AnnData:
    """Cells with obs patient, library, condition, cell_type; `effect` is the log2 fold change of the planted genes."""
    rng = np.random.default_rng(seed)
    sets = read_gmt(GENE_SETS)
    planted = sets[PLANTED_SET][:30]
    names = ["HYPOXIA", "ADIPOGENESIS", "G2M_CHECKPOINT", "MYC_TARGETS_V1"]
    others = [gene for name in names for gene in sets[f"HALLMARK_{name}"][:40]]
    genes = list(dict.fromkeys([*planted, *others]))
    rate = rng.gamma(2.0, 2.0, len(genes))
    of_donor = rng.normal(0, 0.15, (donors, len(genes)))
    rows, labels = [], []
    for donor in range(donors):
        for level in LEVELS:
            for cell_type in ("T cell", "B cell, naive/memory"):
                more = 8 if (level, cell_type) == ("stim", "T cell") else 0
                n_cells = cells + more + int(rng.integers(0, 4))
                up = effect * (level == "stim") * np.isin(genes, planted)
                sample = rng.normal(0, 0.1, len(genes))
                mean = rate * np.exp(of_donor[donor] + sample) * 2**up
                rows.append(rng.poisson(np.tile(mean, (n_cells, 1))))
                labels += [(f"P{donor:02d}", f"P{donor:02d}-{level}", level, cell_type)] * n_cells
    obs = pd.DataFrame(labels, columns=["patient", "library", "condition", "cell_type"])
    obs.index = [f"cell-{i:05d}" for i in range(len(obs))]
    var = pd.DataFrame(index=pd.Index(genes))
    return anndata.AnnData(X=sparse.csr_matrix(np.vstack(rows).astype(np.float32)), obs=obs, var=var)


def options_of(step: str) -> list[str]:
    """The options of a step under default parameters, the question of these cohorts and few samples."""
    own = default_options(step)
    changed = {option: value for option, value in QUESTION.items() if option in own}
    if "--min-samples" in own:
        changed["--min-samples"] = "4"
    return [*own, *(part for pair in changed.items() for part in pair)]


def add_statistics(folder: Path) -> Path:
    """Everything that a run publishes of the samples in a folder of `to_samples`, figures included, but no embedding.

    Returns
    -------
    The published tree.
    """
    tree, versions = folder / "p", ["--versions", str(folder / "v.json")]
    sets = ["--gene-sets", str(GENE_SETS)]
    for counts in sorted(folder.glob("x_*_step-pseudobulk_counts.h5ad")):
        name = counts.name.removeprefix("x_").removesuffix("_step-pseudobulk_counts.h5ad")
        own = tree / "cell_types" / name
        de, fits = str(own / "de.tsv"), str(folder / f"{name}_fits.h5")
        differential_expression.main(
            [*options_of("differential_expression"), "--pseudobulk", str(counts), "--output", de, "--fits", fits,
             "--summary", str(own / "de_summary.json"), *versions]
        )  # fmt: skip
        gsea.main(
            [*options_of("gsea"), "--de", de, "--fits", fits, *sets, "--permutations", "100", "--output",
             str(own / "gsea.tsv"), "--summary", str(own / "gsea_summary.json"), *versions]
        )  # fmt: skip
        overrepresentation.main(
            [*options_of("overrepresentation"), "--de", de, *sets, "--output-up", str(own / "ora_up.tsv"),
             "--output-down", str(own / "ora_down.tsv"), "--summary", str(own / "ora_summary.json"), *versions]
        )  # fmt: skip
        plot_cell_type.main(
            ["--published", str(tree), "--id", name, "--counts", str(counts), *sets, "--genes", "", "--output",
             str(own), *versions]
        )  # fmt: skip
    types = str(tree / "cohort/cell_types.tsv")
    composition.main(
        [*options_of("composition"), "--pseudobulk", str(tree / "pseudobulk/pseudobulk.h5ad"), "--cell-types", types,
         "--output", str(tree / "composition"), *versions]
    )  # fmt: skip
    compare_cell_types.main(["--published", str(tree), "--output", str(tree / "comparison"), *versions])
    plot_comparison.main(["--published", str(tree), "--output", str(tree), *versions])
    plot_cohort.main(
        ["--donors", str(tree / "cohort/donors.tsv"), "--cell-types", types, "--filtering",
         str(tree / "cohort/filtering.json"), "--output", str(tree / "cohort/figures"), *versions]
    )  # fmt: skip
    plot_pseudobulk.main(
        ["--samples", str(tree / "pseudobulk/samples.tsv"), "--min-cells-per-sample", "3", "--output",
         str(tree / "pseudobulk/figures"), *versions]
    )  # fmt: skip
    return tree


def condition_results(folder: Path) -> Path:
    """The results of a paired cohort, from its file on; returns the published tree."""
    to_samples(paired_cohort(), folder, *COLUMNS)
    tree = add_statistics(folder)
    (tree / "cohort/check.json").write_bytes((folder / "check.json").read_bytes())
    return tree
