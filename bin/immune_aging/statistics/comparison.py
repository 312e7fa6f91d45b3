"""What ageing has in common between cell types."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from immune_aging.results import Results
from immune_aging.statistics.joint_tests import why_no_direction
from immune_aging.statistics.meta_analysis import by_expression, normal_errors
from immune_aging.statistics.multiple_testing import ALPHA
from immune_aging.statistics.power import CHANGING_SHARE, POWER_AIM, power_table
from immune_aging.statistics.some_files import of_all_files
from immune_aging.task.command_line import BadInput

SHARED = (
    "gene_id",
    "symbol",
    "pattern",
    "n_cell_types",
    "n_up",
    "n_down",
    "log2_fold_change",
    "lfc_se",
    "stat",
    "p_value",
    "padj",
    "lfc_per_decade",
    "sign_concordance",
    "i_squared",
    "heterogeneity_p_value",
    "heterogeneity_padj",
    "p_value_shared",
    "padj_shared",
    "cell_types_up",
    "cell_types_down",
)  # fmt: skip  then lfc_ID of each cell type
SETS = ("gene_set", "n_cell_types", "n_up", "n_down", "mean_nes")  # then nes_ID and q_ID of each cell type
DE_COLUMNS = ("gene_id", "symbol", "base_mean", "log2_fold_change", "lfc_se", "stat", "p_value", "padj", "robust")
PATTERNS = ("shared", "opposed", "specific", "unclear", "none")


def measured(results: Results) -> tuple[dict[str, pd.DataFrame], dict[str, dict], dict[str, str]]:
    """Differential expression of each cell type by id: its table, its summary, and the names of those without one.

    Returns
    -------
    de.tsv by id; de_summary.json by id; by id of each cell type without a result, the reason.
    """
    tables, summaries, left_out = {}, {}, {}
    for identifier in results.cell_type_ids:
        name = f"cell_types/{identifier}/de.tsv"
        if name not in results:
            continue
        table = results.table(name, DE_COLUMNS)
        table = None if table is None else of_all_files(table)
        summary = results.summary(f"cell_types/{identifier}/de_summary.json")
        if table is None:
            left_out[identifier] = summary.get("reason") or "no gene was tested"
        elif no_direction := why_no_direction(table):
            left_out[identifier] = no_direction
        else:
            tables[identifier], summaries[identifier] = table, summary
    return tables, summaries, left_out


def side_by_side(tables: Mapping[str, pd.DataFrame], column: str, factor: Mapping[str, float]) -> pd.DataFrame:
    """One column of every table as genes x cell types, each times its factor; NaN where a gene was not tested."""
    columns = {name: table.set_index("gene_id")[column] * factor.get(name, 1.0) for name, table in tables.items()}
    return pd.DataFrame(columns).sort_index()


def patterns(table: pd.DataFrame) -> np.ndarray:
    """How each gene ages over the cell types, by the first rule that holds.

    `opposed`: robustly up in one cell type and down in another. `shared`: that at most one cell type changes is
    rejected (`padj_shared`). `specific`: robustly called in one cell type, and the cell types differ
    (`heterogeneity_padj`). `unclear`: called or a mean effect, and none of these. `none`: neither.

    Parameters
    ----------
    table
        n_up, n_down, padj, padj_shared, heterogeneity_padj.
    """
    called = table["n_up"] + table["n_down"]
    rules = [
        (table["n_up"] > 0) & (table["n_down"] > 0),
        table["padj_shared"] < ALPHA,
        (called == 1) & (table["heterogeneity_padj"] < ALPHA),
        (called > 0) | (table["padj"] < ALPHA),
    ]
    return np.select(rules, ["opposed", "shared", "specific", "unclear"], "none")


def shared_ageing(
    tables: Mapping[str, pd.DataFrame], sds: Mapping[str, float]
) -> tuple[pd.DataFrame, list[pd.DataFrame], float]:
    """Put the effects of each gene over the cell types together.

    Parameters
    ----------
    tables
        de.tsv by id.
    sds
        SD of the tested column in each cell type, NaN for a categorical one: effects are brought to one SD, the
        median.

    Returns
    -------
    shared_ageing.tsv without lfc_per_decade; the correlation of errors, ids x ids, of each stratum of expression;
    the common SD.
    """
    known = {name: sd for name, sd in sds.items() if np.isfinite(sd)}
    common = float(np.median(list(known.values()))) if known else np.nan
    factor = {name: common / sd for name, sd in known.items()}
    effect = side_by_side(tables, "log2_fold_change", factor)
    se = normal_errors(effect, side_by_side(tables, "p_value", {}), side_by_side(tables, "lfc_se", factor))
    table, correlations = by_expression(effect, se, side_by_side(tables, "base_mean", {}))
    for way, sign in (("up", 1), ("down", -1)):
        called = pd.DataFrame(
            {
                name: one.set_index("gene_id")["robust"]
                & (np.sign(one.set_index("gene_id")["log2_fold_change"]) == sign)
                for name, one in tables.items()
            }
        )
        called = called.reindex(table.index).eq(True)
        table[f"n_{way}"] = called.sum(axis=1)
        table[f"cell_types_{way}"] = [";".join(called.columns[row]) for row in called.to_numpy()]
    symbols = pd.concat([one.set_index("gene_id")["symbol"] for one in tables.values()])
    table["symbol"] = symbols[~symbols.index.duplicated()].reindex(table.index)
    table["pattern"] = patterns(table)
    ids = list(effect.columns)
    table = table.join(effect.add_prefix("lfc_"))
    frames = [pd.DataFrame(correlation, index=ids, columns=ids) for correlation in correlations]
    return table.rename_axis("gene_id").reset_index(), frames, common


def enrichment_matrix(results: Results) -> pd.DataFrame:
    """gsea_nes.tsv: one row per set; NES and q of each cell type, NaN where the set was not tested there.

    Sets are counted by their test's q and direction; the mean NES describes.
    """
    scores, chances, ways = {}, {}, {}
    for identifier in results.cell_type_ids:
        table = results.table(f"cell_types/{identifier}/gsea.tsv", ["gene_set", "nes", "direction", "q_value"])
        if table is not None:
            own = table.set_index("gene_set")
            scores[identifier], chances[identifier], ways[identifier] = own["nes"], own["q_value"], own["direction"]
    nes, q, way = pd.DataFrame(scores), pd.DataFrame(chances), pd.DataFrame(ways)
    called = q < ALPHA
    table = pd.DataFrame(
        {
            "n_cell_types": nes.notna().sum(axis=1),
            "n_up": (called & (way == "up")).sum(axis=1),
            "n_down": (called & (way == "down")).sum(axis=1),
            "mean_nes": nes.mean(axis=1),
        }
    )
    table = pd.concat([table, nes.add_prefix("nes_"), q.add_prefix("q_")], axis=1).rename_axis("gene_set").reset_index()
    table["n_called"] = -(table["n_up"] + table["n_down"])
    order = table.sort_values(["n_called", "gene_set"], kind="stable", ignore_index=True)
    order = order.drop(columns="n_called")
    return order if len(order) else order.reindex(columns=list(SETS))


@dataclass(frozen=True)
class Comparison:
    """What the cell types have in common.

    Attributes
    ----------
    power
        power.tsv.
    sets
        gsea_nes.tsv.
    shared
        shared_ageing.tsv. None where fewer than two cell types have tested genes.
    facts
        The summary, except `status` and `reason`.
    reason
        Why there is no `shared`; '' where there is.
    """

    power: pd.DataFrame
    sets: pd.DataFrame
    shared: pd.DataFrame | None
    facts: dict
    reason: str = ""


def is_slope_of_age(summary: Mapping[str, object]) -> bool:
    """Whether a cell type's effects are per SD of the donors' age, given its de_summary.json."""
    return summary.get("unit", summary.get("test_term")) == "age" and summary.get("contrast", "per SD") == "per SD"


def compare_cell_types(results: Results, *, source: str | Path) -> Comparison:
    """Put the published results of the cell types side by side.

    Parameters
    ----------
    results
        What DIFFERENTIAL_EXPRESSION and GSEA published of all cell types.
    source
        Where they are from, for the message of an error.

    Raises
    ------
    BadInput
        None of them is a de.tsv.
    """
    tables, summaries, left_out = measured(results)
    if not tables and not left_out:
        raise BadInput(f"--published {source}: holds no de.tsv; give what DIFFERENTIAL_EXPRESSION publishes")
    names = {name: str(summary.get("cell_type", name)) for name, summary in summaries.items()}
    sds = {name: float(summary.get("test_term_sd") or np.nan) for name, summary in summaries.items()}
    samples = {name: int(summary.get("n_samples", 0)) for name, summary in summaries.items()}
    by_age = all(is_slope_of_age(summary) for summary in summaries.values())
    first = next(iter(summaries.values()), {})
    power = power_table(tables, names, samples, sds if by_age else dict.fromkeys(sds, np.nan))
    sets = enrichment_matrix(results)
    facts = {
        "test_term": first.get("test_term", ""),
        "contrast": first.get("contrast", ""),
        **({"unit": first["unit"]} if first.get("unit", "") not in ("", first.get("test_term")) else {}),
        "cell_types": names,
        "left_out": left_out,
        "rule_power": f"adjusted p < {ALPHA}, {POWER_AIM:.0%} power, {CHANGING_SHARE:.0%} of the genes changing",
        "n_gene_sets": len(sets),
    }
    if len(tables) < 2:
        reason = f"{len(tables)} cell type with tested genes; two are needed to compare"
        return Comparison(power, sets, None, facts, reason)
    table, correlations, common = shared_ageing(tables, sds)
    table["lfc_per_decade"] = table["log2_fold_change"] / common * 10 if by_age else np.nan
    order = table.sort_values(["p_value", "gene_id"], kind="stable", ignore_index=True)
    facts |= {
        "n_genes": len(table),
        "patterns": {name: int((table["pattern"] == name).sum()) for name in PATTERNS},
        "common_sd": common,
        "error_correlation": [
            {name: row.round(2).to_dict() for name, row in correlation.iterrows()} for correlation in correlations
        ],
    }
    return Comparison(power, sets, order[[*SHARED, *(f"lfc_{name}" for name in tables)]], facts)
