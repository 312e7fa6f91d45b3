"""How many cells each rule of quality control took, and how doublets were called."""

import pandas as pd

from immune_aging.cells.qc_rules import BOUNDS, RULES
from immune_aging.cohort.donors import sample_key
from immune_aging.task.checkpoints import SAMPLE_OF_DONOR
from immune_aging.task.command_line import BadInput


def losses(cells: pd.DataFrame) -> pd.DataFrame:
    """Cells that each rule removes: by itself alone, and at all. Each cell counts once in `alone` or in 'several'."""
    broken = cells["reason"].str.split("; ")
    n_broken = broken.map(len).where(cells["reason"] != "", 0)
    rows = [
        {
            "rule": rule,
            "cells": int(cells["reason"].str.contains(rule, regex=False).sum()),
            "alone": int(((cells["reason"] == rule) & (n_broken == 1)).sum()),
        }
        for rule in RULES
    ]
    several = int((n_broken > 1).sum())
    rows += [
        {"rule": "several rules", "cells": several, "alone": several},
        {"rule": "kept", "cells": int(cells["kept"].sum()), "alone": int(cells["kept"].sum())},
        {"rule": "all", "cells": len(cells), "alone": len(cells)},
    ]
    return pd.DataFrame(rows)


def require_kept_cells(cells: pd.DataFrame) -> None:
    """Raise `BadInput` if no cell is left, with the rule that took the most."""
    if cells["kept"].any():
        return
    table = losses(cells).query("rule not in ('kept', 'all')").sort_values("cells")
    worst = table.iloc[-1]
    raise BadInput(
        f"quality control: none of {len(cells)} cells is left; {worst['cells']} had {worst['rule']}; "
        "set the thresholds (--min_genes, --min_counts, ...) to suit this cohort"
    )


def doublet_table(cells: pd.DataFrame, summaries: list[dict]) -> pd.DataFrame:
    """One row per donor: donor_id, n_cells, n_scored, n_doublets, how they were called, expected_rate.

    Where donors have samples, one row per sample, with sample_of_donor.

    Parameters
    ----------
    summaries
        `shard_summary` of all shards.
    """
    key = sample_key(cells)
    how = by_key([summary["donors"] for summary in summaries])
    rates = by_key([summary.get("expected_doublet_rates", {}) for summary in summaries])
    table = cells.groupby(key).agg(
        n_cells=("kept", "size"), n_scored=("doublet_score", "count"), n_doublets=("is_doublet", "sum")
    )
    return table.assign(how=table.index.map(how), expected_rate=table.index.map(rates)).reset_index()


def by_key(named: list[dict]) -> dict:
    """What the shards say by donor, or by donor and then sample, as one dictionary by donor, or by (donor, sample)."""
    joined = {donor: value for one in named for donor, value in one.items()}
    nested = {donor: value for donor, value in joined.items() if isinstance(value, dict)}
    flat = {donor: value for donor, value in joined.items() if donor not in nested}
    return flat | {(donor, sample): value for donor, of in nested.items() for sample, value in of.items()}


def qc_summary(lost: pd.DataFrame, doublets: pd.DataFrame, summaries: list[dict]) -> dict:
    """What qc.json says: cells that came in, were lost by each rule alone and are kept; and notes.

    Parameters
    ----------
    lost
        Of `losses`.
    doublets
        Of `doublet_table`.
    """
    alone = lost.set_index("rule")["alone"]
    by_rule = alone.drop(["kept", "all"])
    notes = list(dict.fromkeys(note for one in summaries for note in one["notes"]))
    unscored = doublets["how"].str.startswith("not scored")
    if unscored.any():
        what = "samples" if SAMPLE_OF_DONOR in doublets else "donors"
        notes.append(
            f"{int(unscored.sum())} of {len(doublets)} {what} were not scored for doublets: see qc/doublets.tsv"
        )
    return {
        "cells": {"input": int(alone["all"]), "lost": by_rule[by_rule > 0].to_dict(), "kept": int(alone["kept"])},
        "notes": notes,
    }


def bounds_in_force(summaries: list[dict]) -> dict[str, tuple[float, float]]:
    """The lowest and the highest value of each bound over the donors of all shards; empty where none was told."""
    told = [summary["thresholds"] for summary in summaries if summary.get("thresholds")]
    return {name: (min(t[name][0] for t in told), max(t[name][1] for t in told)) for name in BOUNDS} if told else {}


def rule_table(cells: pd.DataFrame, bounds: dict[str, tuple[float, float]]) -> pd.DataFrame:
    """What each rule removes by itself, only by itself, and all together.

    Returns
    -------
    rule; threshold (text, a range where donors have their own); alone: cells that the rule would remove if it were
    the only one; only: cells that no other rule removes; with_others; percent of all cells. The last row, `any rule`,
    is all of them together.
    """
    counts = cells["reason"].value_counts()
    broken = {reason: reason.split("; ") for reason in counts.index if reason}

    def row(rule: str, threshold: str, alone: int, only: int) -> dict:
        share = 100 * alone / max(len(cells), 1)
        return {"rule": rule, "threshold": threshold, "alone": alone, "only": only, "with_others": alone - only,
                "percent": share}  # fmt: skip

    rows = []
    for rule, name in zip(RULES, [*BOUNDS, None], strict=True):
        low, high = bounds.get(name, (None, None)) if name else (None, None)
        sign = "" if not name or low is None else "< " if name.startswith("min") else "> "
        unit = " %" if name and "pct" in name else ""
        text = "" if low is None else f"{sign}{low:g}{unit}" if low == high else f"{sign}{low:g} to {high:g}{unit}"
        alone = sum(int(counts[reason]) for reason, rules in broken.items() if rule in rules)
        rows.append(row(rule, text if name else "doublet score", alone, int(counts.get(rule, 0))))
    n_any = int(counts.drop("", errors="ignore").sum())
    return pd.DataFrame([*rows, row("any rule", "", n_any, sum(r["only"] for r in rows))])


def combination_table(cells: pd.DataFrame) -> pd.DataFrame:
    """How many cells broke exactly which rules, the largest combination first; every cell is in one row."""
    counts = cells["reason"].value_counts().rename_axis("rules").reset_index(name="cells")
    counts["n_rules"] = [len(rules.split("; ")) if rules else 0 for rules in counts["rules"]]
    counts["rules"] = counts["rules"].replace("", "none")
    return counts.sort_values(["n_rules", "cells", "rules"], ascending=[True, False, True], ignore_index=True)
