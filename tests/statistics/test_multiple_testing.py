"""The adjustment for many tests."""

import numpy as np

from immune_aging.statistics.multiple_testing import ALPHA, adjusted_p_values


def test_adjusting_skips_what_is_missing():
    np.testing.assert_allclose(adjusted_p_values(np.array([0.01, np.nan, 0.04])), [0.02, np.nan, 0.04])
    assert np.isnan(adjusted_p_values(np.array([np.nan]))).all()


def test_calls_have_one_level():
    assert ALPHA == 0.05
