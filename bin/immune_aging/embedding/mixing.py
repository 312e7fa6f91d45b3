"""How well batches mix in an embedding: the local inverse Simpson index."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

N_CELLS = 4000  # the index compares all pairs: 5 s of CPU at 4,000 cells, a minute and a half at 20,000
PERPLEXITY = 30  # Korsunsky et al. (2019)
SEED = 0
TABLE = ("label", "embedding", "n_cells", "n_labels", "median", "q25", "q75")


def sampled(n: int, most: int = N_CELLS) -> np.ndarray:
    """Rows of `n` cells to measure, sorted: all, or `most` drawn at random from a fixed seed."""
    return np.arange(n) if n <= most else np.sort(np.random.default_rng(SEED).choice(n, most, replace=False))


def lisi(embedding: np.ndarray, labels: pd.Series) -> np.ndarray:
    """The effective number of labels among each cell's neighbours: 1 where all are alike.

    Parameters
    ----------
    embedding
        Cells x dimensions.
    labels
        Of each cell.

    References
    ----------
    Korsunsky et al. (2019), Nature Methods 16:1289.
    """
    from harmonypy import compute_lisi

    perplexity = min(PERPLEXITY, (len(labels) - 1) // 3)  # it looks at three times as many neighbours
    return compute_lisi(embedding, pd.DataFrame({"label": labels.astype(str).to_numpy()}), ["label"], perplexity)[:, 0]


def measure(embeddings: Mapping[str, np.ndarray], labels: Mapping[str, pd.Series]) -> pd.DataFrame:
    """LISI of every cell: columns label, embedding, lisi.

    Parameters
    ----------
    embeddings
        By name: cells x dimensions.
    labels
        By name: one of each cell.
    """
    return pd.concat(
        pd.DataFrame({"label": name, "embedding": when, "lisi": lisi(points, values)})
        for name, values in labels.items()
        for when, points in embeddings.items()
    ).reset_index(drop=True)


def summarize(measured: pd.DataFrame, labels: Mapping[str, pd.Series]) -> pd.DataFrame:
    """A row a label and embedding: numbers of cells and of labels, median and quartiles of LISI."""
    grouped = measured.groupby(["label", "embedding"], sort=False)["lisi"]
    table = grouped.agg(n_cells="size", median="median", q25=lambda x: x.quantile(0.25), q75=lambda x: x.quantile(0.75))
    table = table.reset_index()
    table.insert(3, "n_labels", [labels[name].nunique() for name in table["label"]])
    return table[list(TABLE)]
