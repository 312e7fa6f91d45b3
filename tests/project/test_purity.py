"""No public function changes its arguments: the guard stands around all of them in every test, and it bites."""

import numpy as np
import pandas as pd
import pytest

from purity import guarded, public_functions


def test_every_public_function_is_guarded():
    functions = public_functions()
    assert len(functions) > 100
    assert all(hasattr(function, "is_guarded") for function in functions.values())


def spoil_array(values):
    values[0] = 99


def spoil_table(table, *, column):
    table[column] = 0


def spoil_list(names):
    names.sort()


def keep(values, names):
    return values + 1, sorted(names)


def test_the_guard_finds_a_changed_argument():
    with pytest.raises(AssertionError, match="spoil_array changed 'values'"):
        guarded(spoil_array)(np.arange(3))
    with pytest.raises(AssertionError, match="spoil_table changed 'table'"):
        guarded(spoil_table)(pd.DataFrame({"a": [1]}), column="b")
    with pytest.raises(AssertionError, match="spoil_list changed 'names'"):
        guarded(spoil_list)(["b", "a"])


def test_the_guard_lets_pure_functions_pass():
    values, names = guarded(keep)(np.arange(3), ["b", "a"])
    assert values.tolist() == [1, 2, 3] and names == ["a", "b"]
