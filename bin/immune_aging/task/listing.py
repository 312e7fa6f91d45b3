"""The first of many texts, for messages that must stay short."""

from collections.abc import Sequence


def first_of(texts: Sequence[str], most: int, *, what: str = "") -> str:
    """The first `most` texts, and how many more there are.

    Parameters
    ----------
    what
        The word for what is counted, after 'more'.

    >>> first_of(["a", "b", "c"], 2), first_of(["a", "b", "c"], 2, what="files"), first_of(["a"], 2)
    ('a, b and 1 more', 'a, b and 1 more files', 'a')
    """
    shown, n_more = ", ".join(texts[:most]), len(texts) - most
    return shown if n_more <= 0 else f"{shown} and {n_more} more{f' {what}' if what else ''}"
