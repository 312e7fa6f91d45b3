#!/usr/bin/env python3
"""What the cell types have in common: genes and gene sets that age alike, and what each cell type could have shown.

In: the published trees of DIFFERENTIAL_EXPRESSION and GSEA. Out: `shared_ageing.tsv`, one row a gene that at least
two cell types were tested for; `gsea_nes.tsv`, gene sets x cell types; `power.tsv`, the smallest effect that each
cell type would show; and a summary.
"""

import argparse
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from checkpoints import write_json, write_tsv, write_versions
from command_line import BadInput, limit_threads, run
from meta_analysis import by_expression, normal_errors
from published_tree import merge_trees, summary_of, table_of
from skipped import write_skipped

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
POWER = (
    "id", "cell_type", "n_samples", "expression", "n_genes", "mean_count", "lfc_se", "smallest_lfc",
    "smallest_lfc_low", "smallest_lfc_high", "smallest_lfc_per_decade", "p_threshold",
)  # fmt: skip
SETS = ("gene_set", "n_cell_types", "n_up", "n_down", "mean_nes")  # then nes_ID and q_ID of each cell type
DE_COLUMNS = ("gene_id", "symbol", "base_mean", "log2_fold_change", "lfc_se", "stat", "p_value", "padj", "robust")
ALPHA = 0.05
POWER_AIM = 0.8
CHANGING_SHARE = 0.05  # of the genes tested: what the power table takes to change with age
EXPRESSION = ("low", "middle", "high")
PATTERNS = ("shared", "opposed", "specific", "unclear", "none")


def measured(files: Mapping[str, Path]) -> tuple[dict[str, pd.DataFrame], dict[str, dict], dict[str, str]]:
    """Differential expression of each cell type by id: its table, its summary, and the names of those without one.

    Returns
    -------
    de.tsv by id; de_summary.json by id; by id of each cell type without a result, the reason.
    """
    tables, summaries, left_out = {}, {}, {}
    for name in sorted(files):
        found = re.fullmatch(r"(cell_types/([^/]+))/de\.tsv", name)
        if not found:
            continue
        folder, identifier = found.groups()
        table = table_of(files, name, DE_COLUMNS)
        summary = summary_of(files, f"{folder}/de_summary.json")
        if table is None:
            left_out[identifier] = summary.get("reason") or "no gene was tested"
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


def p_threshold(*, alpha: float = ALPHA, changing: float = CHANGING_SHARE, power: float = POWER_AIM) -> float:
    """The p value up to which Benjamini-Hochberg calls genes if this share of them changes and is found so often.

    Solves t = alpha x (share called at t), where changing genes are called with `power` and the others at t.
    """
    return alpha * changing * power / (1 - alpha * (1 - changing))


def detectable(se: np.ndarray, *, threshold: float, power: float = POWER_AIM) -> np.ndarray:
    """The effect that a two-sided test at `threshold` finds with `power`, from its standard error."""
    from scipy.stats import norm

    return np.asarray(se) * (norm.isf(threshold / 2) + norm.ppf(power))


def power_rows(table: pd.DataFrame) -> list[dict]:
    """For all tested genes and for each third by mean count: the effect that the gene of median error would show.

    Parameters
    ----------
    table
        de.tsv.
    """
    threshold = p_threshold()
    genes = table[table["lfc_se"].notna() & (table["lfc_se"] > 0)].sort_values(["base_mean", "gene_id"])
    thirds = np.array_split(np.arange(len(genes)), len(EXPRESSION))
    rows = []
    for name, place in [("all", np.arange(len(genes))), *zip(EXPRESSION, thirds, strict=True)]:
        own = genes.iloc[place]
        if own.empty:
            continue
        low, middle, high = np.quantile(own["lfc_se"], [0.1, 0.5, 0.9])
        rows.append(
            {
                "expression": name,
                "n_genes": len(own),
                "mean_count": own["base_mean"].median(),
                "lfc_se": middle,
                "smallest_lfc": detectable(middle, threshold=threshold),
                "smallest_lfc_low": detectable(low, threshold=threshold),
                "smallest_lfc_high": detectable(high, threshold=threshold),
                "p_threshold": threshold,
            }
        )
    return rows


def power_table(
    tables: Mapping[str, pd.DataFrame], names: Mapping[str, str], samples: Mapping[str, int], sds: Mapping[str, float]
) -> pd.DataFrame:
    """power.tsv: four rows a cell type, the cell type of smallest effect first.

    Parameters
    ----------
    tables, names, samples, sds
        de.tsv, name, number of samples and SD of age (NaN: no effect per decade) by id.
    """
    rows = [
        {"id": name, "cell_type": names[name], "n_samples": samples[name], **row}
        | {"smallest_lfc_per_decade": row["smallest_lfc"] / sds[name] * 10}
        for name, table in tables.items()
        for row in power_rows(table)
    ]
    result = pd.DataFrame(rows, columns=list(POWER))
    overall = result[result["expression"] == "all"].set_index("id")["smallest_lfc"]
    order = result.assign(overall=result["id"].map(overall)).sort_values(["overall", "id"], kind="stable")
    return order[list(POWER)].reset_index(drop=True)


def enrichment_matrix(files: Mapping[str, Path]) -> pd.DataFrame:
    """gsea_nes.tsv: one row a set; NES and q of each cell type, NaN where the set was not tested there."""
    scores, chances = {}, {}
    for name in sorted(files):
        found = re.fullmatch(r"cell_types/([^/]+)/gsea\.tsv", name)
        if found and (table := table_of(files, name, ["gene_set", "nes", "q_value"])) is not None:
            identifier = found[1]
            scores[identifier] = table.set_index("gene_set")["nes"]
            chances[identifier] = table.set_index("gene_set")["q_value"]
    nes, q = pd.DataFrame(scores), pd.DataFrame(chances)
    called = q < ALPHA
    table = pd.DataFrame(
        {
            "n_cell_types": nes.notna().sum(axis=1),
            "n_up": (called & (nes > 0)).sum(axis=1),
            "n_down": (called & (nes < 0)).sum(axis=1),
            "mean_nes": nes.mean(axis=1),
        }
    )
    table = pd.concat([table, nes.add_prefix("nes_"), q.add_prefix("q_")], axis=1).rename_axis("gene_set").reset_index()
    table["n_called"] = -(table["n_up"] + table["n_down"])
    order = table.sort_values(["n_called", "gene_set"], kind="stable", ignore_index=True)
    return order.drop(columns="n_called")


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--published", type=Path, nargs="+", required=True, help="published trees of all cell types")
    parser.add_argument("--strict", action="store_true", help="fewer than two cell types with a result are an error")
    parser.add_argument("--output", type=Path, required=True, help="folder for the tables and the summary")
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    files = merge_trees(args.published)
    tables, summaries, left_out = measured(files)
    if not tables and not left_out:
        raise BadInput(f"--published {args.published[0]}: holds no de.tsv; give what DIFFERENTIAL_EXPRESSION publishes")
    names = {name: str(summary.get("cell_type", name)) for name, summary in summaries.items()}
    sds = {name: float(summary.get("test_term_sd") or np.nan) for name, summary in summaries.items()}
    samples = {name: int(summary.get("n_samples", 0)) for name, summary in summaries.items()}
    by_age = all(summary.get("test_term") == "age" for summary in summaries.values())
    first = next(iter(summaries.values()), {})
    facts = {
        "test_term": first.get("test_term", ""),
        "contrast": first.get("contrast", ""),
        "cell_types": names,
        "left_out": left_out,
        "rule_power": f"adjusted p < {ALPHA}, {POWER_AIM:.0%} power, {CHANGING_SHARE:.0%} of the genes changing",
    }
    decade = sds if by_age else dict.fromkeys(sds, np.nan)
    write_tsv(power_table(tables, names, samples, decade), args.output / "power.tsv")
    sets = enrichment_matrix(files)
    write_tsv(sets.reindex(columns=list(sets.columns) if len(sets) else list(SETS)), args.output / "gsea_nes.tsv")
    facts |= {"n_gene_sets": len(sets)}

    summary = args.output / "comparison_summary.json"
    path = args.output / "shared_ageing.tsv"
    with limit_threads(1):
        if len(tables) < 2:
            reason = f"{len(tables)} cell type with tested genes; two are needed to compare"
            write_skipped(reason, tables={path: SHARED}, summary=summary, strict=args.strict, facts=facts)
        else:
            table, correlations, common = shared_ageing(tables, sds)
            table["lfc_per_decade"] = table["log2_fold_change"] / common * 10 if by_age else np.nan
            order = table.sort_values(["p_value", "gene_id"], kind="stable", ignore_index=True)
            write_tsv(order[[*SHARED, *(f"lfc_{name}" for name in tables)]], path)
            facts |= {
                "n_genes": len(table),
                "patterns": {name: int((table["pattern"] == name).sum()) for name in PATTERNS},
                "common_sd": common,
                "error_correlation": [
                    {name: row.round(2).to_dict() for name, row in correlation.iterrows()}
                    for correlation in correlations
                ],
            }
            write_json({"status": "done", "reason": "", **facts}, summary)
    write_versions("compare_cell_types", ["numpy", "pandas", "scipy"], args.versions)


if __name__ == "__main__":
    run(main)
