"""Genes that not all files of a cohort measure: each tested among the samples that were measured for it.

Their samples are analysed as a cohort of their own, of all genes that these samples measure, and of its results those
of such genes are taken. So a gene's row is that of a run with these samples alone, and no other gene's row changes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from immune_aging.samples.cell_type_samples import CellTypeSamples
from immune_aging.statistics.joint_tests import JOINT
from immune_aging.statistics.multiple_testing import ALPHA, adjusted_p_values
from immune_aging.task.listing import first_of

IN_ALL_FILES, N_SAMPLES = "in_all_files", "n_samples"  # columns of de.tsv, there if and only if there are such genes
MIN_TOTAL = 15  # counts over all samples that edgeR's filterByExpr asks of a gene
# Each costs as much as the test of all other genes. Files of one origin differ in one or two ways; in more, they were
# filtered by expression each by itself.
MAX_SUBSETS = 10
MAX_REASONS = 3
EFFECTS = ("log2_fold_change", "lfc_se", "log2_fold_change_companion", "lfc_shrunken")  # per SD of the tested column


@dataclass(frozen=True)
class Subset:
    """Samples that were measured for the same further genes.

    Attributes
    ----------
    table
        These samples, with all genes that each of them was measured for.
    gene_ids
        The genes that these samples alone were measured for.
    n_countable
        How many of these may have enough counts to be tested.
    """

    table: CellTypeSamples
    gene_ids: pd.Index
    n_countable: int


def subsets(table: CellTypeSamples) -> list[Subset]:
    """The samples to test further genes in, those with most genes first.

    Genes that none of the samples was measured for are in none.
    """
    some = table.some_files
    assert some is not None, "the table has such genes"
    measured = ~np.isnan(some.counts)
    patterns, whose = np.unique(measured, axis=1, return_inverse=True)
    found = []
    for number in range(patterns.shape[1]):
        rows = patterns[:, number]
        if not rows.any():
            continue
        own = np.flatnonzero(whose.ravel() == number)
        also = np.flatnonzero(measured[rows].all(axis=0))
        symbols = pd.concat([table.symbols, some.symbols.iloc[also]])
        order = np.argsort(symbols.index)
        counts = np.hstack([table.counts[rows], some.counts[np.ix_(rows, also)].astype(np.int64)])[:, order]
        samples = CellTypeSamples(counts, table.samples[rows], symbols.iloc[order].rename_axis("gene_id"))
        n_countable = int((some.counts[np.ix_(rows, own)].sum(axis=0) >= MIN_TOTAL).sum())
        found.append(Subset(samples, some.symbols.index[own], n_countable))
    return sorted(found, key=lambda one: (-one.n_countable, one.gene_ids[0]))


def of_all_files(table: pd.DataFrame) -> pd.DataFrame:
    """The genes of a de.tsv that all files of the cohort measure: those that rest on the same samples."""
    return table[table[IN_ALL_FILES].astype(bool)].reset_index(drop=True) if IN_ALL_FILES in table else table


def rows_of(result: pd.DataFrame, genes: pd.Index, facts: Mapping, leading: Mapping) -> pd.DataFrame:
    """What the analysis of a subset says of its own genes, with effects in the unit of the other genes.

    Parameters
    ----------
    result
        As de.tsv or de_contrasts.tsv.
    facts, leading
        The summary of the subset, and that of all samples: a numeric term is scaled by its SD within the samples.
    """
    own = result[result["gene_id"].isin(genes)]
    sd, wanted = facts.get("test_term_sd"), leading.get("test_term_sd")
    scale = wanted / sd if sd and wanted and np.isfinite(sd) and np.isfinite(wanted) else 1.0
    scaled = {name: own[name] * scale for name in EFFECTS if name in own}
    return own.assign(**scaled, **{N_SAMPLES: facts["n_samples"], IN_ALL_FILES: False})


def joined(result: pd.DataFrame, further: Sequence[pd.DataFrame], *, n_samples: int) -> pd.DataFrame:
    """A contrast's table with the genes of some files among the others, by p.

    p values of these genes are adjusted among themselves: they rest on fewer samples, so that fewer of them are called,
    and neither family lends the other its calls.

    Parameters
    ----------
    result
        Of the genes of all files.
    further
        Of `rows_of`.

    References
    ----------
    Efron (2008), Annals of Applied Statistics 2:197, for false discovery rates of separate families.
    """
    result = result.assign(**{N_SAMPLES: n_samples, IN_ALL_FILES: True})
    if not sum(map(len, further)):
        return result
    own = pd.concat(further, ignore_index=True)
    for end in ("", "_companion"):
        own[f"padj{end}"] = adjusted_p_values(own[f"p_value{end}"].to_numpy(dtype=float))
    own["robust"] = (own["padj"] < ALPHA) & (own["padj_companion"] < ALPHA)
    if JOINT not in own:
        own["robust"] &= np.sign(own["log2_fold_change"]) == np.sign(own["log2_fold_change_companion"])
    columns = list(result.columns)
    both = pd.concat([result, own[columns]], ignore_index=True)
    return both.sort_values(["p_value", "gene_id"], kind="stable", ignore_index=True)


def facts_of(subset: Subset, facts: Mapping, rows: pd.DataFrame | None, reason: str) -> dict:
    """What the summary says of a subset: its samples, genes, how many were tested, by which design, or why none was."""
    return {
        "n_samples_in": len(subset.table.samples),
        "n_samples": facts.get("n_samples", len(subset.table.samples)),
        "n_genes": len(subset.gene_ids),
        "n_tested": 0 if rows is None else len(rows),
        "design": facts.get("design", ""),
        "reason": reason,
    }


def summary(said: Sequence[Mapping], *, n_genes: int) -> dict:
    """What the summary says of the genes of some files.

    Parameters
    ----------
    said
        Of `facts_of`.
    n_genes
        All such genes.
    """
    tested = [one for one in said if not one["reason"]]
    n_tested = sum(one["n_tested"] for one in tested)
    left_out: dict[str, int] = {}
    for one in said:
        if one["reason"]:
            left_out[one["reason"]] = left_out.get(one["reason"], 0) + one["n_genes"]
    nowhere = n_genes - sum(one["n_genes"] for one in said)
    if nowhere:
        left_out["no sample was measured for them"] = nowhere
    return {
        "n_genes": n_genes,
        "n_tested": n_tested,
        "n_low_count": sum(one["n_genes"] for one in tested) - n_tested,
        "left_out": left_out,
        "samples": list(said),
    }


def caution(said: Mapping, *, n_samples: int) -> str:
    """What a reader must know of the genes of some files.

    Parameters
    ----------
    said
        Of `summary`.
    n_samples
        That the other genes rest on.
    """
    parts, end = [], ""
    sizes = sorted(one["n_samples"] for one in said["samples"] if one["n_tested"])
    if sizes:
        among = f"{sizes[0]}" if sizes[0] == sizes[-1] else f"{sizes[0]} to {sizes[-1]}"
        parts.append(f"{said['n_tested']} are tested among the samples that measure them ({among} of {n_samples})")
        end = "; their padj is adjusted among themselves, and gene sets and comparisons leave them out"
    if said["n_low_count"]:
        parts.append(f"{said['n_low_count']} have too few counts")
    if said["left_out"]:
        reasons = [f"{n}: {reason}" for reason, n in said["left_out"].items()]
        parts.append(f"{sum(said['left_out'].values())} are not tested ({first_of(reasons, MAX_REASONS)})")
    return f"{said['n_genes']} genes are not measured in all files: {', '.join(parts)}{end}"


def numbers_with(facts: Mapping, said: Mapping, calls: Mapping) -> dict:
    """The numbers of the summary that count genes, of all genes."""
    return {
        "n_genes_in": facts["n_genes_in"] + said["n_genes"],
        "n_tested": facts["n_tested"] + said["n_tested"],
        "n_low_count": facts["n_low_count"] + said["n_low_count"],
        **calls,
    }


def without_further_genes(table: CellTypeSamples) -> CellTypeSamples:
    """The table with the genes of all files alone."""
    return replace(table, some_files=None)
