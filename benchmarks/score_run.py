#!/usr/bin/env python3
"""Score a finished run against the truth of its cohort, in the form of `cohort/simulated/`.

The truth is a folder with `cells.parquet` (cell_id, is_doublet, is_low_quality, is_rbc), `age_effects.tsv` (cell_type,
gene_id, lfc_per_sd) and `gene_sets_planted.tsv` (cell_type, gene_set, direction). Parts that the run or the truth lacks
are not scored, and the last line says which.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from verdict import Verdict

ALPHA = 0.05
CALIBRATED_FROM_SAMPLES = 50
# One run's false discovery proportion varies more than its number of calls would have it: measured SD over cohorts.
SD_OF_ONE_RUN = 0.025
MIN_CALLS = 20  # fewer say nothing of a rate of 5 %
TRUTH = ("cells.parquet", "age_effects.tsv", "gene_sets_planted.tsv")


def read_table(path: Path) -> pd.DataFrame:
    """A .tsv in which only `NA` is missing."""
    text = dict.fromkeys(("gene_id", "symbol", "cell_type", "id", "gene_set"), str)
    return pd.read_csv(path, sep="\t", na_values=["NA"], keep_default_na=False, quoting=3, dtype=text)


def score_cells(cells: pd.DataFrame, truth: pd.DataFrame, name: str) -> Iterator[Verdict]:
    """Quality control: dying cells out, good cells kept, doublets told from others.

    Parameters
    ----------
    cells
        qc/cells.parquet: cell_id, doublet_score, is_doublet, kept.
    truth
        cell_id, is_doublet, is_low_quality, is_rbc; may hold more cells.
    name
        What stands before each target.
    """
    known = truth.set_index("cell_id").reindex(cells["cell_id"]).reset_index(drop=True)
    unknown = known["is_doublet"].isna()
    if unknown.any():
        yield Verdict(f"{name}: every cell is in the truth", f"{int(unknown.sum()):,} are not", False)
        return
    known = known[["is_doublet", "is_low_quality", "is_rbc"]].astype(bool)
    cells = cells.reset_index(drop=True)
    good = ~known.any(axis=1)
    dying = known["is_low_quality"]
    if dying.any():
        out = (~cells.loc[dying, "kept"].astype(bool)).mean()
        figure = f"{100 * out:.1f} % of {int(dying.sum()):,}"
        yield Verdict(f"{name}: dying cells out: >= 90 %", figure, bool(out >= 0.9))
    lost = (~cells.loc[good, "kept"].astype(bool)).mean()
    yield Verdict(f"{name}: good cells lost: <= 2 %", f"{100 * lost:.2f} % of {int(good.sum()):,}", bool(lost <= 0.02))
    yield from score_doublets(cells, known, name)


def score_doublets(cells: pd.DataFrame, known: pd.DataFrame, name: str) -> Iterator[Verdict]:
    """Scores on the cells that have one; calls on all doublets there are, of unscored donors too."""
    scored = cells["doublet_score"].notna() & ~known["is_low_quality"] & ~known["is_rbc"]
    if not scored.any() or known.loc[scored, "is_doublet"].nunique() < 2:
        return
    auroc = roc_auc_score(known.loc[scored, "is_doublet"], cells.loc[scored, "doublet_score"])
    yield Verdict(f"{name}: doublet AUROC: >= .96", f"{auroc:.3f}", bool(auroc >= 0.96))
    called, true = cells["is_doublet"].astype(bool), known["is_doublet"]
    precision = (called & true).sum() / max(called.sum(), 1)
    recall = (called & true).sum() / true.sum()
    figure = f"recall {recall:.2f}, precision {precision:.2f} ({int(called.sum()):,} calls)"
    met = bool(recall >= 0.6 and precision >= 0.85)
    yield Verdict(f"{name}: doublets called: recall >= .6 at precision >= .85", figure, met)


def limit_of(n_calls: int) -> float:
    """The largest false discovery proportion of one run that goes with a rate of 5 %: two standard errors above it."""
    return ALPHA + 2 * float(np.hypot(SD_OF_ONE_RUN, np.sqrt(ALPHA * (1 - ALPHA) / max(n_calls, 1))))


def rate_verdict(target: str, n_false: int, n_calls: int) -> Verdict:
    """Whether the false share of the calls goes with a rate of 5 %."""
    share, limit = n_false / max(n_calls, 1), limit_of(n_calls)
    return Verdict(f"{target} (here {limit:.3f})", f"{share:.3f} ({n_false} of {n_calls})", bool(share <= limit))


def score_expression(results: Path, effects: pd.DataFrame) -> Iterator[Verdict]:
    """Differential expression: false discoveries of the primary and of the robust calls, power, signs.

    Parameters
    ----------
    effects
        cell_type, gene_id, lfc_per_sd of the genes that truly age.
    """
    types = read_table(results / "cohort/cell_types.tsv")
    sums = {"primary": np.zeros(2, dtype=int), "robust": np.zeros(2, dtype=int)}
    right = signs = 0
    for row in types[types["kept"]].itertuples():
        path = results / f"cell_types/{row.id}/de.tsv"
        genes = read_table(path) if path.exists() else pd.DataFrame()
        if not len(genes):
            yield Verdict(f"DE, {row.cell_type}: tested", "no table of genes", False)
            continue
        own = effects[effects["cell_type"] == row.cell_type].set_index("gene_id")["lfc_per_sd"]
        own = own[own != 0]
        true = genes["gene_id"].isin(own.index)
        calls = {"primary": genes["padj"] < ALPHA, "robust": genes["robust"].astype(str) == "True"}
        for kind, called in calls.items():
            n_false, n_called = int((called & ~true).sum()), int(called.sum())
            sums[kind] += [n_false, n_called]
            calibrated = kind == "robust" or row.n_samples >= CALIBRATED_FROM_SAMPLES
            if calibrated and n_called >= MIN_CALLS:
                target = f"DE, {row.cell_type}, {kind}: FDR <= .05 + 2 SE"
                yield rate_verdict(target, n_false, n_called)
        found = genes[calls["primary"] & true]
        agree = np.sign(found["log2_fold_change"]) == np.sign(own.reindex(found["gene_id"]).to_numpy())
        right, signs = right + int(agree.sum()), signs + len(found)
        power = len(found) / max(int(true.sum()), 1)
        figure = f"power {power:.2f} ({len(found)} of {int(true.sum())} tested that age), robust {sums_of(calls, true)}"
        yield Verdict(f"DE, {row.cell_type}: genes that age are found", figure, bool(len(found) > 0 or not true.any()))
    for kind, (n_false, n_called) in sums.items():
        calibrated = kind == "robust" or types.loc[types["kept"], "n_samples"].min() >= CALIBRATED_FROM_SAMPLES
        if n_called and calibrated:
            yield rate_verdict(f"DE, all cell types, {kind}: FDR <= .05 + 2 SE", n_false, n_called)
    if signs:
        yield Verdict(
            "DE: signs of true calls right: >= 99 %", f"{100 * right / signs:.1f} %", bool(right / signs >= 0.99)
        )


def sums_of(calls: dict[str, pd.Series], true: pd.Series) -> str:
    """Power of the robust calls, as text."""
    return f"{(calls['robust'] & true).sum() / max(int(true.sum()), 1):.2f}"


def score_gene_sets(results: Path, planted: pd.DataFrame) -> Iterator[Verdict]:
    """Enrichment: every planted set found in its direction, and no more false ones than the nominal rate."""
    types = read_table(results / "cohort/cell_types.tsv")
    n_called = n_false = 0
    missed, n_planted = [], 0
    for row in types[types["kept"]].itertuples():
        path = results / f"cell_types/{row.id}/gsea.tsv"
        if not path.exists():
            continue
        sets = read_table(path).set_index("gene_set")
        called = sets[sets["q_value"] < ALPHA]
        own = planted[planted["cell_type"] == row.cell_type].set_index("gene_set")["direction"]
        n_planted += len(own)
        for name, direction in own.items():
            found = name in called.index and called.loc[name, "direction"] == direction
            missed += [] if found else [f"{name.removeprefix('HALLMARK_')} in {row.cell_type}"]
        n_called += len(called)
        n_false += int((~called.index.isin(own.index)).sum())
    figure = f"{n_planted - len(missed)} of {n_planted}" + (f"; not {', '.join(missed)}" if missed else "")
    yield Verdict("GSEA: every planted set found, in its direction", figure, not missed)
    if n_called:
        yield rate_verdict("GSEA: false sets among those called: <= .05 + 2 SE", n_false, n_called)


def score_prediction(results: Path) -> Iterator[Verdict]:
    """Age prediction: against the median age and against no skill, at each cell type's best model and penalty."""
    table = read_table(results / "prediction_summary.tsv")
    table = table[table["mae"].notna()]
    if not len(table):
        yield Verdict("prediction: done", "no model was fitted", False)
        return
    best = table.sort_values("mae").groupby("cell_type").first()
    first = best.sort_values("mae").iloc[0]
    figure = f"{first['mae']:.1f} years, median age {first['baseline_mae']:.1f}; R2 {first['r2']:.2f} ({first.name})"
    yield Verdict(
        "prediction, best cell type: error <= .8 x the median age's",
        figure,
        first["mae"] <= 0.8 * first["baseline_mae"],
    )
    better = (best["mae"] < best["baseline_mae"]).sum()
    figure = f"{better} of {len(best)}; R2 {best['r2'].min():.2f} to {best['r2'].max():.2f}"
    yield Verdict("prediction: error below the median age's in every cell type", figure, bool(better == len(best)))


def score_run(results: Path, truth: Path) -> Iterator[Verdict]:
    """All that can be scored of a finished run."""
    lacking = [str(truth / name) for name in TRUTH if not (truth / name).exists()]
    cells = results / "qc/cells.parquet"
    if cells.exists() and (truth / TRUTH[0]).exists():
        yield from score_cells(pd.read_parquet(cells), pd.read_parquet(truth / TRUTH[0]), "QC")
    else:
        lacking += [] if cells.exists() else [str(cells)]
    if (results / "cell_types").is_dir():
        if (truth / TRUTH[1]).exists():
            yield from score_expression(results, read_table(truth / TRUTH[1]))
        if (truth / TRUTH[2]).exists():
            yield from score_gene_sets(results, read_table(truth / TRUTH[2]))
    else:
        lacking.append(str(results / "cell_types"))
    if (results / "prediction_summary.tsv").exists():
        yield from score_prediction(results)
    else:
        lacking.append(str(results / "prediction_summary.tsv"))
    if lacking:
        yield Verdict("all parts are there to be scored", f"missing: {', '.join(lacking)}", False)
