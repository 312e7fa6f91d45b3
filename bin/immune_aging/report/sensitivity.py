"""What the report says of the sensitivity analysis: one row per variant, over all cell types."""

import pandas as pd

from immune_aging.results import Results


def sensitivity_content(results: Results) -> list[dict]:
    """One row per variant: cells kept, genes called and shared over cell types, their medians; none where not run."""
    table = results.table("sensitivity/sensitivity.tsv", ["variant", "status", "n_called", "jaccard", "correlation"])
    if table is None:
        return []
    cells = results.table("sensitivity/cells.tsv", ["variant", "n_kept", "n_kept_in_run"])
    kept = {} if cells is None else cells.set_index("variant")["n_kept"].to_dict()
    in_run = None if cells is None else int(cells["n_kept_in_run"].iloc[0])
    rows = []
    for variant, own in table.groupby("variant", sort=False):
        done = own[own["status"] == "done"]
        either = done["n_called"].sum() + done["n_called_base"].sum() - done["n_shared"].sum()
        rows.append(
            {
                "variant": variant,
                "changes": own["changes"].iloc[0],
                "n_cells": kept.get(variant, in_run),
                "n_types": len(done),
                "n_called": done["n_called"].sum(),
                "n_shared": done["n_shared"].sum(),
                "overlap": done["n_shared"].sum() / either if either else None,
                "sign_agreement": _median(done["sign_agreement"]),
                "correlation": _median(done["correlation"]),
                "skipped": [f"{row.cell_type}: {row.reason}" for row in own[own["status"] != "done"].itertuples()],
            }
        )
    return rows


def _median(values: pd.Series) -> float | None:
    known = values.dropna()
    return float(known.median()) if len(known) else None
