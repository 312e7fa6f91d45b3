"""Messages name the first of many and count the rest."""

import pytest

from immune_aging.task.listing import first_of


@pytest.mark.parametrize(
    ("texts", "most", "what", "said"),
    [
        ([], 3, "", ""),
        (["a"], 3, "files", "a"),
        (["a", "b", "c"], 3, "", "a, b, c"),
        (["a", "b", "c", "d", "e"], 3, "", "a, b, c and 2 more"),
        (["a", "b"], 1, "files", "a and 1 more files"),
    ],
)
def test_the_first_are_named_and_the_rest_counted(texts, most, what, said):
    assert first_of(texts, most, what=what) == said
