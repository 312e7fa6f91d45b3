"""How much results depend on choices of quality control and design."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from immune_aging.statistics.multiple_testing import ALPHA

BASE = "base"
COLUMNS = (
    "variant", "changes", "id", "cell_type", "status", "reason", "n_cells", "n_samples", "n_tested", "n_called",
    "n_called_base", "n_shared", "jaccard", "n_robust", "n_robust_base", "jaccard_robust", "sign_agreement",
    "correlation",
)  # fmt: skip
CELL_COLUMNS = (
    "variant", "n_cells", "n_kept_in_run", "n_kept", "n_lost", "n_gained", "n_gained_without_doublet_score",
)  # fmt: skip
GENE_COLUMNS = ("gene_id", "symbol", "base_mean", "log2_fold_change", "p_value", "padj", "padj_companion", "robust")
TEXT = {"gene_id": str, "symbol": str}


def jaccard(one: set, other: set) -> float:
    """Size of the intersection over that of the union; NaN where both are empty."""
    return len(one & other) / len(one | other) if one | other else np.nan


def compare(variant: pd.DataFrame, base: pd.DataFrame) -> dict[str, float]:
    """One cell type's table of genes under a variant against that of the run.

    Parameters
    ----------
    variant, base
        gene_id, log2_fold_change, padj, robust; one row per tested gene.

    Returns
    -------
    n_tested of the variant; n_called, n_called_base, n_shared, jaccard (padj below `ALPHA`); n_robust, n_robust_base,
    jaccard_robust; sign_agreement: share of the genes called by either, tested in both, whose effects have one sign;
    correlation: Pearson's of the effects of all genes tested in both. NaN where there is nothing to compare.
    """
    called, called_base = (set(table.loc[table["padj"] < ALPHA, "gene_id"]) for table in (variant, base))
    robust, robust_base = (set(table.loc[table["robust"].astype(bool), "gene_id"]) for table in (variant, base))
    effects = ("log2_fold_change", "log2_fold_change_base")
    both = variant[["gene_id", effects[0]]].merge(base[["gene_id", effects[0]]], on="gene_id", suffixes=("", "_base"))
    of_either = both[both["gene_id"].isin(called | called_base)]
    same = np.sign(of_either[effects[0]]) == np.sign(of_either[effects[1]])
    spread = len(both) > 2 and all(both[name].std() > 0 for name in effects)
    return {
        "n_tested": len(variant),
        "n_called": len(called),
        "n_called_base": len(called_base),
        "n_shared": len(called & called_base),
        "jaccard": jaccard(called, called_base),
        "n_robust": len(robust),
        "n_robust_base": len(robust_base),
        "jaccard_robust": jaccard(robust, robust_base),
        "sign_agreement": same.mean() if len(same) else np.nan,
        "correlation": np.corrcoef(both[effects[0]], both[effects[1]])[0, 1] if spread else np.nan,
    }


def base_sizes(samples: pd.DataFrame) -> dict[str, dict]:
    """Samples and cells that the run's statistics used, by cell type."""
    used = samples[samples["kept"]].groupby("cell_type", observed=True)["n_cells"]
    return {name: {"n_samples": len(sizes), "n_cells": sizes.sum(min_count=1)} for name, sizes in used}


def sensitivity_table(
    tables: dict[tuple[str, str], pd.DataFrame],
    summaries: dict[tuple[str, str], dict],
    variants: Sequence[dict],
    sizes: dict[str, dict],
    varied: dict[str, dict],
) -> pd.DataFrame:
    """Every variant against the run, one row per cell type that the run analysed or the variant would.

    Parameters
    ----------
    tables, summaries
        By variant and cell type id: genes, and what the step said of them.
    variants
        id and changes (text), in the order of the rows; the first is the run itself.
    sizes
        n_samples and n_cells of the run by cell type name.
    varied
        By variant that changes cells: the summary of VARY_QC.
    """
    rows = []
    base_ids = {identifier for variant, identifier in tables if variant == BASE}
    for variant in variants:
        name = variant["id"]
        told = varied.get(name, {}).get("cell_types", {})
        added = {identifier for identifier, entry in told.items() if entry["kept"]}
        for identifier in sorted(base_ids | added):
            summary = summaries.get((name, identifier), {})
            known = summaries.get((BASE, identifier), summary)
            cell_type = known.get("cell_type") or told.get(identifier, {}).get("cell_type", identifier)
            size = told.get(identifier, {}) if name in varied else sizes.get(cell_type, {})
            table, base = (tables.get((one, identifier)) for one in (name, BASE))
            done = table is not None and summary.get("status") == "done"
            missing = size.get("reason") or "no cells are left" if table is None else summary.get("reason", "")
            row = {
                "variant": name,
                "changes": variant["changes"],
                "id": identifier,
                "cell_type": cell_type,
                "status": "done" if done else "skipped",
                "reason": "" if done else missing,
                "n_cells": size.get("n_cells", np.nan),
                "n_samples": size.get("n_samples", np.nan),
            }
            if table is not None and done:
                nothing = table.iloc[:0]
                row |= compare(table, nothing if base is None else base)
            rows.append(row)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def gene_table(tables: dict[tuple[str, str], pd.DataFrame], variants: Sequence[dict]) -> pd.DataFrame:
    """Effects and p values of every gene, cell type and variant, in the order of the variants."""
    order = {variant["id"]: place for place, variant in enumerate(variants)}
    parts = [
        tables[label][list(GENE_COLUMNS)].assign(variant=label[0], id=label[1])
        for label in sorted(tables, key=lambda label: (order[label[0]], label[1]))
    ]
    return pd.concat(parts, ignore_index=True)[["variant", "id", *GENE_COLUMNS]]


def cell_table(varied: Mapping[str, dict]) -> pd.DataFrame:
    """cells.tsv: how many cells each variant keeps, loses and gains, one row per variant that changes cells."""
    rows = [
        {name: value for name, value in varied[variant].items() if name in CELL_COLUMNS} for variant in sorted(varied)
    ]
    return pd.DataFrame(rows, columns=list(CELL_COLUMNS))


def listed_variants(variants: Sequence[dict]) -> list[dict]:
    """The run itself, then the variants in their order."""
    return [{"id": BASE, "changes": "none: the run itself"}, *variants]
