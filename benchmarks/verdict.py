"""The one form in which every benchmark says what was aimed at and what was found."""

from collections.abc import Iterable
from dataclasses import dataclass

TABLE_HEAD = "| target | measured | |\n| --- | --- | --- |"


@dataclass(frozen=True)
class Verdict:
    """A target, what was measured, and whether it was met."""

    target: str
    figure: str
    met: bool


def as_row(verdict: Verdict) -> str:
    """A verdict as a row of a Markdown table."""
    target, figure = (text.replace("|", "\\|") for text in (verdict.target, verdict.figure))
    return f"| {target} | {figure} | {'pass' if verdict.met else 'FAIL'} |"


def print_table(verdicts: Iterable[Verdict]) -> int:
    """Print each verdict as it comes; the exit code: 0 if all were met."""
    print(TABLE_HEAD, flush=True)
    met = True
    for verdict in verdicts:
        print(as_row(verdict), flush=True)
        met = met and verdict.met
    return 0 if met else 1
