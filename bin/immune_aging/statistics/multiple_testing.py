"""Which results count as called: the level that every table and summary uses, and the adjustment for many tests."""

import numpy as np

ALPHA = 0.05  # false discovery rate of the calls


def adjusted_p_values(p_value: np.ndarray) -> np.ndarray:
    """Benjamini-Hochberg over the p values that are there; NaN stays NaN.

    References
    ----------
    Benjamini, Hochberg (1995), J. R. Stat. Soc. B 57:289.
    """
    from scipy.stats import false_discovery_control

    result = np.full(len(p_value), np.nan)
    known = np.isfinite(p_value)
    if known.any():
        result[known] = false_discovery_control(np.clip(p_value[known], 0, 1), method="bh")
    return result
