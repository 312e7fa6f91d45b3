"""A pseudobulk table that the user gives instead of cells."""

import pandas as pd

from immune_aging.task.checkpoints import unique_slugs


def cell_type_table(samples: pd.DataFrame, *, min_cells: int, min_samples: int) -> pd.DataFrame:
    """The table of cell types of a pseudobulk table; kept are those with at least `min_samples` usable samples.

    Parameters
    ----------
    samples
        donor_id, cell_type, n_cells (NaN where unknown: such a sample is usable).
    """
    rows = []
    for name, identifier in sorted(unique_slugs(samples["cell_type"]).items(), key=lambda item: item[1]):
        own = samples[samples["cell_type"] == name]
        n_samples = int((~(own["n_cells"] < min_cells)).sum())
        kept = n_samples >= min_samples
        rows.append(
            {
                "id": identifier,
                "cell_type": name,
                "n_cells": own["n_cells"].sum(min_count=1),
                "n_donors": own["donor_id"].nunique(),
                "n_samples": n_samples,
                "kept": kept,
                "reason": "" if kept else f"{n_samples} samples, fewer than {min_samples}",
            }
        )
    return pd.DataFrame(rows)
