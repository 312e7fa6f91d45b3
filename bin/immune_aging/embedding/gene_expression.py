"""Expression of single genes that the user asks for."""

import numpy as np
import pandas as pd


def asked(gene_ids: np.ndarray, symbols: np.ndarray, genes: list[str]) -> dict[str, int]:
    """Place of each gene asked for, by symbol or id, under the name that it is shown by.

    Its symbol, or its id where it has none or another gene asked for has the same.
    """
    places = np.flatnonzero(np.isin(gene_ids, genes) | np.isin(symbols, genes))
    names = pd.Series(symbols[places], dtype=object)
    unclear = names.duplicated(keep=False) | (names == "")
    return dict(zip(names.where(~unclear, gene_ids[places]), places.tolist(), strict=True))
