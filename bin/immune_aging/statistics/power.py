"""Which effects a cell type had the power to find."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from immune_aging.statistics.multiple_testing import ALPHA

POWER = (
    "id", "cell_type", "n_samples", "expression", "n_genes", "mean_count", "lfc_se", "smallest_lfc",
    "smallest_lfc_low", "smallest_lfc_high", "smallest_lfc_per_decade", "p_threshold",
)  # fmt: skip
POWER_AIM = 0.8
CHANGING_SHARE = 0.05  # of the genes tested: what the power table takes to change with age
EXPRESSION = ("low", "middle", "high")


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
    """power.tsv: four rows per cell type, the cell type of smallest effect first.

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
