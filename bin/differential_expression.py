#!/usr/bin/env python3
"""Which genes of one cell type change with age: PyDESeq2 and limma-voom side by side on pseudobulk counts.

In: the cell type's pseudobulk table (raw count sums, one sample a donor). Out: `de.tsv`, one row a tested
gene, and `de_summary.json`, which counts what was left out and why. One engine is the primary, the other its
companion: a gene is `robust` where both call it with the same sign. The calls of both hold their false
discovery rate at any number of samples, those of PyDESeq2 alone only from about 60 on.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from cell_type_samples import CellTypeSamples, read_samples
from checkpoints import write_json, write_tsv, write_versions
from command_line import BadInput, limit_threads, run
from designs import DEFAULT_DESIGN, Design, build_design
from skipped import CannotFit, write_skipped

METHODS = ("pydeseq2", "voom")
COLUMNS = (
    "gene_id", "symbol", "base_mean", "log2_fold_change", "lfc_se", "stat", "p_value", "padj",
    "lfc_per_decade", "log2_fold_change_companion", "p_value_companion", "padj_companion", "robust",
)  # fmt: skip
ALPHA = 0.05
# filterByExpr's own 10 costs 40 % of the true hits at 60 donors and gains nothing in false ones.
MIN_COUNT = 5
# Under this number PyDESeq2's false discovery rate was measured at .02 to .10, depending on the genes'
# variances.
CALIBRATED_FROM_SAMPLES = 60
# The median of ratios stands on the genes without a zero. With fewer than this, or half of a small table,
# all genes are used.
MIN_GENES_WITHOUT_ZERO = 100


def expressed_genes(counts: np.ndarray, design: pd.DataFrame) -> np.ndarray:
    """Genes with enough counts to test, by edgeR's filterByExpr with `MIN_COUNT`.

    Parameters
    ----------
    counts
        Samples x genes, raw.
    design
        Samples x coefficients.

    Returns
    -------
    Boolean mask of genes.

    References
    ----------
    Chen, Lun, Smyth (2016), F1000Research 5:1438.
    """
    from edgepython import filter_by_expr

    return filter_by_expr(counts.T.astype(float), design=design.to_numpy(), min_count=MIN_COUNT)


def size_factor_method(counts: np.ndarray) -> str:
    """DESeq2's median of ratios, or its variant for sparse tables where too few genes are without a zero."""
    needed = min(MIN_GENES_WITHOUT_ZERO, counts.shape[1] / 2)
    return "ratio" if (counts > 0).all(axis=0).sum() >= needed else "poscounts"


def fit_pydeseq2(counts: np.ndarray, design: pd.DataFrame, coefficient: str) -> pd.DataFrame:
    """DESeq2's negative binomial Wald test of one coefficient, in this process alone.

    Worker processes are not used: with eight on two cores their start and their BLAS threads took 94 % of the
    time.

    Returns
    -------
    Per gene: base_mean, log2_fold_change, lfc_se, stat, p_value, padj (NaN where independent filtering or
    Cook's distance leaves a gene out).

    References
    ----------
    Love, Huber, Anders (2014), Genome Biology 15:550; Muzellec et al. (2023), Bioinformatics 39:btad547.
    """
    from pydeseq2.dds import DeseqDataSet
    from pydeseq2.default_inference import DefaultInference
    from pydeseq2.ds import DeseqStats

    inference = DefaultInference(n_cpus=1)
    dataset = DeseqDataSet(
        counts=pd.DataFrame(counts, index=design.index, columns=[f"g{i}" for i in range(counts.shape[1])]),
        metadata=design[[]].copy(),
        design=design.copy(),
        size_factors_fit_type=size_factor_method(counts),
        inference=inference,
        quiet=True,
    )
    dataset.deseq2()
    contrast = (design.columns == coefficient).astype(float)
    result = DeseqStats(dataset, contrast=contrast, alpha=ALPHA, inference=inference, quiet=True)
    result.summary()
    names = ["base_mean", "log2_fold_change", "lfc_se", "stat", "p_value", "padj"]
    return result.results_df.set_axis(names, axis=1).reset_index(drop=True)


def fit_voom(counts: np.ndarray, design: pd.DataFrame, coefficient: str) -> pd.DataFrame:
    """Test one coefficient by limma's moderated t on voom-weighted log-CPM, with TMM library sizes.

    Returns
    -------
    The columns of `fit_pydeseq2`; base_mean is the mean count at the mean effective library size.

    References
    ----------
    Law, Chen, Shi, Smyth (2014), Genome Biology 15:R29; Robinson, Oshlack (2010), Genome Biology 11:R25;
    Phipson, Lee, Majewski, Alexander, Smyth (2016), Annals of Applied Statistics 10:946.
    """
    import pylimma
    from edgepython import calc_norm_factors, make_dgelist
    from scipy.stats import false_discovery_control

    genes_by_samples = counts.T.astype(float)
    tmm = calc_norm_factors(make_dgelist(genes_by_samples))["samples"]["norm.factors"].to_numpy()
    library = genes_by_samples.sum(axis=0) * tmm
    matrix = design.to_numpy()
    fit = pylimma.e_bayes(pylimma.lm_fit(pylimma.voom(genes_by_samples, matrix, lib_size=library), matrix), robust=True)
    column = list(design.columns).index(coefficient)
    p_value = fit["p_value"][:, column]
    return pd.DataFrame(
        {
            "base_mean": (counts / (library / library.mean())[:, None]).mean(axis=0),
            "log2_fold_change": fit["coefficients"][:, column],
            "lfc_se": fit["stdev_unscaled"][:, column] * np.sqrt(fit["s2_post"]),
            "stat": fit["t"][:, column],
            "p_value": p_value,
            "padj": false_discovery_control(p_value, method="bh"),
        }
    )


ENGINES = {"pydeseq2": fit_pydeseq2, "voom": fit_voom}


def refuse_empty_samples(counts: np.ndarray, samples: pd.Index, where: str) -> None:
    """Raise `CannotFit` where a sample has no counts: it has no size factor."""
    empty = samples[counts.sum(axis=1) == 0]
    if len(empty):
        raise CannotFit(f"sample '{empty[0]}' has no counts{where}")


def compare_genes(table: CellTypeSamples, design: Design, *, method: str = "pydeseq2") -> tuple[pd.DataFrame, dict]:
    """Test every gene with enough counts by both engines.

    Parameters
    ----------
    table
        One cell type's samples.
    design
        Of (some of) these samples.
    method
        The primary engine; the other is the companion.

    Returns
    -------
    de.tsv, sorted by p and gene id, and the numbers of the summary.

    Raises
    ------
    CannotFit
        Fewer than two genes have enough counts, or a sample has no counts in them.
    """
    counts = table.counts[table.samples.index.get_indexer(design.matrix.index)]
    refuse_empty_samples(counts, design.matrix.index, "")
    tested = expressed_genes(counts, design.matrix)
    if tested.sum() < 2:
        raise CannotFit(f"{int(tested.sum())} of {len(tested)} genes have enough counts to test")
    counts = counts[:, tested]
    refuse_empty_samples(counts, design.matrix.index, " in the tested genes")
    companion = next(name for name in METHODS if name != method)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", category=FutureWarning)
        warnings.simplefilter("ignore", category=DeprecationWarning)
        first = ENGINES[method](counts, design.matrix, design.coefficient)
        second = ENGINES[companion](counts, design.matrix, design.coefficient)
    result = first.assign(
        gene_id=table.gene_ids[tested],
        symbol=table.symbols.to_numpy()[tested],
        lfc_per_decade=first["log2_fold_change"] / design.sd * 10 if design.test_term == "age" else np.nan,
        log2_fold_change_companion=second["log2_fold_change"],
        p_value_companion=second["p_value"],
        padj_companion=second["padj"],
    )
    result["robust"] = (
        (result["padj"] < ALPHA)
        & (result["padj_companion"] < ALPHA)
        & (np.sign(result["log2_fold_change"]) == np.sign(result["log2_fold_change_companion"]))
    )
    result = result[list(COLUMNS)].sort_values(["p_value", "gene_id"], kind="stable", ignore_index=True)
    called = result["padj"] < ALPHA
    messages = sorted({" ".join(str(w.message).split()) for w in caught})
    numbers = {
        "method": method,
        "companion": companion,
        "size_factors": size_factor_method(counts),
        "n_samples": len(design.matrix),
        "n_genes_in": len(tested),
        "n_tested": int(tested.sum()),
        "n_low_count": int((~tested).sum()),
        "low_count_rule": f"edgeR filterByExpr with the design, min.count {MIN_COUNT}",
        "n_padj_missing": int(result["padj"].isna().sum()),
        "n_up": int((called & (result["log2_fold_change"] > 0)).sum()),
        "n_down": int((called & (result["log2_fold_change"] < 0)).sum()),
        "n_companion": int((result["padj_companion"] < ALPHA).sum()),
        "n_robust": int(result["robust"].sum()),
        "engine_messages": messages,
    }
    return result, numbers


def design_facts(design: Design) -> dict:
    """What the summary says of the design."""
    contrast = f"{design.level} against {design.reference}" if design.level else "per SD"
    return {
        "design": design.formula,
        "test_term": design.test_term,
        "contrast": contrast,
        "test_term_mean": design.mean,
        "test_term_sd": design.sd,
    }


def cautions(design: Design) -> list[str]:
    """What a reader must know of these samples before trusting the calls."""
    notes = list(design.notes)
    if len(design.matrix) < CALIBRATED_FROM_SAMPLES:
        notes.append(
            f"{len(design.matrix)} samples: under {CALIBRATED_FROM_SAMPLES} PyDESeq2's false discovery rate "
            "can reach twice its nominal level; rely on the robust calls"
        )
    return notes


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pseudobulk", required=True, help="the cell type's pseudobulk table (h5ad)")
    parser.add_argument("--design", default=DEFAULT_DESIGN, help="formula over donor columns (default: %(default)s)")
    parser.add_argument("--test-term", default="age", help="donor column to test (default: %(default)s)")
    parser.add_argument(
        "--method", default="pydeseq2", choices=METHODS, help="the primary engine (default: %(default)s)"
    )
    parser.add_argument("--min-samples", type=int, default=10, help="fewer samples are skipped (default: %(default)s)")
    parser.add_argument("--strict", action="store_true", help="a cell type that cannot be fitted is an error")
    parser.add_argument("--output", type=Path, required=True, help="de.tsv")
    parser.add_argument("--summary", type=Path, required=True, help="de_summary.json")
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)
    if args.min_samples < 4:
        raise BadInput(f"--min-samples {args.min_samples}: must be at least 4, or no variance can be estimated")

    table = read_samples(args.pseudobulk)
    facts = {"cell_type": table.cell_type, "n_samples_in": len(table.samples)}
    facts |= {"design": args.design, "test_term": args.test_term}
    try:
        design = build_design(
            table.samples, formula=args.design, test_term=args.test_term, min_samples=args.min_samples
        )
        facts |= design_facts(design)
        with limit_threads(1):  # a fit is many small problems: more BLAS threads cost time and change last digits
            result, numbers = compare_genes(table, design, method=args.method)
    except CannotFit as reason:
        write_skipped(str(reason), tables={args.output: COLUMNS}, summary=args.summary, strict=args.strict, facts=facts)
    else:
        write_tsv(result, args.output)
        write_json({"status": "done", "reason": "", **facts, **numbers, "warnings": cautions(design)}, args.summary)
    write_versions(
        "differential_expression",
        ["edgepython", "formulaic", "numpy", "pydeseq2", "pylimma", "scipy"],
        args.versions,
    )


if __name__ == "__main__":
    run(main)
