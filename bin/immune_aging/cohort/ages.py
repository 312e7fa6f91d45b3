"""Ages in years, from numbers or from the texts in which cohorts give them."""

import re
from typing import Any

import pandas as pd

# "45-year-old stage", "45-year-old human stage", "45-year-old", "45 years", "45 y", "45"
_YEARS = re.compile(
    r"(\d+(?:\.\d+)?)(?:[\s-]*(?:years?|yrs?|y)(?:[\s-]*old)?)?(?:\s+human)?(?:\s+stage)?", re.IGNORECASE
)
_MONTHS = re.compile(r"(\d+(?:\.\d+)?)[\s-]*months?[\s-]*old(?:\s+human)?(?:\s+stage)?", re.IGNORECASE)
OLDEST_YEARS = 130


def age_in_years(value: Any) -> float:
    """Age in years from a number or from development_stage text; NaN where none is given.

    >>> age_in_years("45-year-old human stage")
    45.0
    """
    if isinstance(value, str):
        text = value.strip()
        if match := _YEARS.fullmatch(text):
            years = float(match[1])
        elif match := _MONTHS.fullmatch(text):
            years = float(match[1]) / 12
        else:
            return float("nan")
    else:
        years = float("nan") if pd.isna(value) else float(value)
    return years if 0 <= years <= OLDEST_YEARS else float("nan")
