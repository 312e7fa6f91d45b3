"""The one form in which every benchmark says what was aimed at and what was found."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """A target, what was measured, and whether it was met."""

    target: str
    figure: str
    met: bool
