"""Ages in years, from numbers or from the texts in which cohorts give them."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from immune_aging.task.listing import first_of

OLDEST_YEARS = 130
MONTHS, WEEKS, DAYS = 12, 365.25 / 7, 365.25  # of a year
MIDPOINT, DROP = "midpoint", "drop"  # of --age_ranges
MAX_LISTED = 5
_DECIMAL_COMMA = re.compile(r"\s*\d+,\d+\s*")


@dataclass(frozen=True)
class Age:
    """An age as it was read.

    Attributes
    ----------
    years
        In years; of an interval its midpoint, of one that is open its bound.
    low, high
        The youngest and the oldest age that the text means; infinite where it is open, `years` where it is exact.
    form
        How it was written, a key of `FORMS`; '' for a plain number of years.
    """

    years: float
    low: float
    high: float
    form: str

    @property
    def is_interval(self) -> bool:
        """Whether the age is known only within bounds."""
        return self.low != self.high


# What the notes call the forms that are more than a number of years.
FORMS = {
    "text": "text like '45-year-old'",
    "shorter": "months, weeks or days",
    "iso": "ISO 8601 durations like 'P45Y', or '45Y6M'",
    "range": "ranges",
    "decade": "decades",
    "open": "intervals with one bound",
}
_NUMBER = r"(\d+(?:[.,]\d+)?)"
_YEAR = r"(?:years?|yrs?\.?|y\.?\s?/?\s?o\.?|y|a|jahre?|ans?|años?)"
_OLD = r"(?:[\s-]*(?:old|of[\s-]age))?"
_STAGE = r"(?:\s+(?:human|adult|child|infant))*(?:\s+stage)?"
_YEARS = rf"(?:[\s-]*{_YEAR}{_OLD})"
_TO = r"\s*(?:-|to|\.\.|_|,|and|bis)\s*"
_ABOUT = r"(?:aged?[\s:]*|[~≈]\s*|(?:about|ca\.?|circa|approx\.?|approximately)\s+)?"
_ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth".split()
_TENS = "twenties thirties forties fifties sixties seventies eighties nineties".split()
_PARTS = {"month": MONTHS, "mo": MONTHS, "mth": MONTHS, "week": WEEKS, "wk": WEEKS, "day": DAYS}
_PART = rf"({'|'.join(_PARTS)})s?"
# Ages before birth are none of a donor of blood; the words stand in the names of HsapDv.
_BEFORE_BIRTH = re.compile(
    r"f(o)?etal|fetus|embryo|gestation|post[\s-]*(concep|fertili)|carnegie|lmp|prenatal|\b[gp]c?w\b"
)


def _number(text: str) -> float:
    return float(text.replace(",", "."))


def _exact(years: float, form: str) -> Age:
    return Age(years, years, years, form)


def _between(low: float, high: float, form: str) -> Age:
    return Age((low + high) / 2, low, high, form)


def _in_parts(match: re.Match) -> Age:
    return _exact(_number(match[1]) / _PARTS[match[2]], "shorter")


def _iso(match: re.Match) -> Age | None:
    values = [float(part.replace(",", ".")) if part else 0.0 for part in match.groups()]
    if not any(match.groups()):
        return None
    return _exact(sum(value / unit for value, unit in zip(values, (1, MONTHS, WEEKS, DAYS), strict=True)), "iso")


def _decade(n: int) -> Age:
    return _between(10 * (n - 1), 10 * n - 1, "decade")


_Reader = Callable[[re.Match], Age | None]
# Pattern of the whole text (in lower case, one kind of hyphen and of blank), and how it is read; the first counts.
_READERS: tuple[tuple[re.Pattern, _Reader], ...] = tuple(
    (re.compile(pattern), reader)
    for pattern, reader in (
        (_NUMBER, lambda m: _exact(_number(m[1]), "")),
        (rf"{_ABOUT}{_NUMBER}{_YEARS}?{_STAGE}", lambda m: _exact(_number(m[1]), "text")),
        (rf"{_NUMBER}[\s-]*{_PART}{_OLD}{_STAGE}", _in_parts),
        (
            rf"{_NUMBER}{_YEARS}[\s,-]*(?:and\s+)?{_NUMBER}[\s-]*(?:months?|mo?){_OLD}{_STAGE}",
            lambda m: _exact(_number(m[1]) + _number(m[2]) / MONTHS, "text"),
        ),
        # 40Y5M2D of SDRF; 18M alone may as well be a man of 18.
        (r"(\d+)y(?:\s?(\d+)m)?(?:\s?(\d+)w)?(?:\s?(\d+)d)?", _iso),
        (
            r"p(?:(\d+(?:[.,]\d+)?)y)?(?:(\d+(?:[.,]\d+)?)m)?(?:(\d+(?:[.,]\d+)?)w)?(?:(\d+(?:[.,]\d+)?)d)?(?:t.*)?",
            _iso,
        ),
        (
            rf"(?:aged?[\s:]*|between\s+)?[(\[]?{_NUMBER}{_YEARS}?{_TO}{_NUMBER}[)\]]?{_YEARS}?{_STAGE}",
            lambda m: _between(_number(m[1]), _number(m[2]), "range"),
        ),
        (
            rf"[(\[]?{_NUMBER}{_TO}{_NUMBER}[\s-]*{_PART}{_OLD}{_STAGE}",
            lambda m: _between(_number(m[1]) / _PARTS[m[3]], _number(m[2]) / _PARTS[m[3]], "range"),
        ),
        (rf"({'|'.join(_ORDINALS)})\s+decade{_STAGE}", lambda m: _decade(_ORDINALS.index(m[1]) + 1)),
        (rf"(\d\d?)(?:st|nd|rd|th)\s+decade{_STAGE}", lambda m: _decade(int(m[1]))),
        (r"(?:in\s+(?:the|their|her|his)\s+)?([1-9])0['’]?s", lambda m: _decade(int(m[1]) + 1)),
        (rf"(?:in\s+(?:the|their|her|his)\s+)?({'|'.join(_TENS)})", lambda m: _decade(_TENS.index(m[1]) + 3)),
        (
            rf"(?:>=?|≥|⩾|over|above|older\s+than|more\s+than|at\s+least|from)\s*{_NUMBER}{_YEARS}?{_STAGE}",
            lambda m: Age(_number(m[1]), _number(m[1]), np.inf, "open"),
        ),
        (
            rf"{_NUMBER}{_YEARS}?\s*(?:\+|plus|(?:and|or|&)\s*(?:over|older|above|more|up)){_YEARS}?{_OLD}{_STAGE}",
            lambda m: Age(_number(m[1]), _number(m[1]), np.inf, "open"),
        ),
        (
            rf"(?:<=?|≤|⩽|under[\s-]|below|younger\s+than|less\s+than|at\s+most|up\s+to)\s*{_NUMBER}{_YEARS}?{_STAGE}",
            lambda m: Age(_number(m[1]), -np.inf, _number(m[1]), "open"),
        ),
        (
            rf"{_NUMBER}{_YEARS}?\s*(?:and|or|&)\s*(?:under|younger|below|less){_YEARS}?{_OLD}{_STAGE}",
            lambda m: Age(_number(m[1]), -np.inf, _number(m[1]), "open"),
        ),
        (rf"centenarian{_STAGE}", lambda m: Age(100.0, 100.0, np.inf, "open")),
    )
)


def in_reach(age: Age) -> bool:
    """Whether a person can be so old."""
    bounds = [bound for bound in (age.low, age.high, age.years) if np.isfinite(bound)]
    return all(0 <= bound <= OLDEST_YEARS for bound in bounds) and not age.low > age.high


def _without_thousands(text: str, *, in_years: bool) -> str:
    """A text whose commas between thousands are left out: 16,425 days, but not 45,125 years; 1,948 may be a year.

    >>> _without_thousands("16,425 days", in_years=True), _without_thousands("45,125", in_years=True)
    ('16425 days', '45,125')
    """
    if in_years and not re.fullmatch(r"[12],\d{3}|.*\d,\d{3}[\s-]*(?:days?|weeks?|wks?|months?)\b.*", text):
        return text
    return re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)


def read_age(value: Any, *, per_year: float = 1) -> Age | None:
    """An age from a number or a text; None where none is given.

    Parameters
    ----------
    per_year
        How many of its unit a plain number has in a year, as `unit_of_column` finds it.

    >>> read_age("60-69 years").years
    64.5
    """
    if not isinstance(value, str):
        if pd.isna(value) or isinstance(value, bool | np.bool_):
            return None
        plain = _exact(float(value) / per_year, "")
        return plain if in_reach(plain) else None
    text = re.sub(r"[\u2010-\u2015\u2212]", "-", value.casefold())
    text = re.sub(r"(?<=[a-z])_|_(?=[a-z])", " ", text.strip().strip("\"'"))
    text = re.sub(r"\s+", " ", text)
    text = _without_thousands(text, in_years=per_year == 1)
    if _BEFORE_BIRTH.search(text):
        return None
    for pattern, reader in _READERS:
        if (match := pattern.fullmatch(text)) and (age := reader(match)):
            if age.form == "" and per_year != 1:
                age = _exact(age.years / per_year, "")
            return age if in_reach(age) else None
    return None


def age_in_years(value: Any, *, per_year: float = 1, age_ranges: str = MIDPOINT) -> float:
    """Age in years from a number or from text; NaN where none is given, or an interval that is not wanted.

    Parameters
    ----------
    age_ranges
        'midpoint' takes an interval's midpoint, or the bound of one that is open; 'drop' takes none.

    >>> age_in_years("45-year-old human stage")
    45.0
    """
    age = read_age(value, per_year=per_year)
    if age is None or (age.is_interval and age_ranges == DROP):
        return float("nan")
    return age.years


# What a column of plain numbers holds besides years, if its name says so.
_UNITS = ((r"month", MONTHS, "months"), (r"week", WEEKS, "weeks"), (r"(?<!birth)(?<!to)days?(_|\b|$)", DAYS, "days"))


def unit_of_column(name: str) -> tuple[float, str]:
    """How many of the unit that a column's name tells of make a year, and the unit; 1 and 'years' where it tells none.

    >>> unit_of_column("age_months")
    (12, 'months')
    """
    for pattern, per_year, unit in _UNITS:
        if re.search(pattern, name.casefold()) and "year" not in name.casefold():
            return per_year, unit
    return 1, "years"


def _examples(texts: Iterable[str]) -> str:
    return first_of([f"{text!r} ({n})" for text, n in Counter(texts).most_common()], MAX_LISTED, what="texts")


def age_notes(texts: Sequence[Any], *, column: str, age_ranges: str) -> list[str]:
    """What a person should know of how the ages of donors were read.

    Parameters
    ----------
    texts
        What the column holds, one per donor; missing ones are not given.
    column
        Its name.
    """
    per_year, unit = unit_of_column(column)
    read = [(str(text), read_age(text, per_year=per_year)) for text in texts if not pd.isna(text)]
    notes = []
    if unit != "years" and any(age is not None and age.form == "" for _, age in read):
        notes.append(f"--age_column {column}: its numbers are taken for {unit}, as its name says")
    commas = [text for text, age in read if age is not None and unit == "years" and _DECIMAL_COMMA.fullmatch(text)]
    if commas:
        years = read_age(commas[0])
        notes.append(
            f"--age_column {column}: {len(commas)} donors have a comma in their age, which is read as a decimal comma "
            f"({commas[0]!r} as {years.years if years else np.nan:g}); if it parts two ages, as of two visits, give one"
        )
    forms = {form: [text for text, age in read if age is not None and age.form == form] for form in FORMS}
    unusual = {
        form: found for form, found in forms.items() if found and form not in ("text", "range", "decade", "open")
    }
    for form, found in unusual.items():
        notes.append(
            f"--age_column {column}: {len(found)} donors have {FORMS[form]}, read as years: {_examples(found)}"
        )
    widths = [
        age.high - age.low for _, age in read if age is not None and np.isfinite(age.high - age.low) and age.is_interval
    ]
    inside, outside = [*forms["range"], *forms["decade"]], forms["open"]
    if age_ranges == DROP:
        if inside or outside:
            notes.append(
                f"--age_column {column}: {len(inside) + len(outside)} donors have an interval instead of an age and "
                f"are left out (--age_ranges drop): {_examples([*inside, *outside])}"
            )
        return notes
    if inside:
        notes.append(
            f"--age_column {column}: {len(inside)} donors have an interval of up to {max(widths):g} years instead of "
            f"an age; its midpoint is taken: {_examples(inside)} (--age_ranges drop leaves them out)"
        )
    if outside:
        notes.append(
            f"--age_column {column}: {len(outside)} donors have an open interval instead of an age; its bound is taken"
            f": {_examples(outside)} (--age_ranges drop leaves them out)"
        )
    return notes


def code_like(texts: Sequence[Any]) -> str:
    """What speaks for codes of categories where ages should be; '' where nothing does.

    A converter that loses the levels of a factor leaves their numbers (mojaveazure/seurat-disk#138): plain whole
    numbers from 0 or 1 on without a gap. By chance many donors of few ages fill every year as well; fewer than two
    donors a year hardly do.

    Parameters
    ----------
    texts
        What the column holds, one per donor, without missing ones.

    Returns
    -------
    'codes' where they can hardly be ages, 'perhaps' where they can.
    """
    numbers = [float(text) for text in texts if re.fullmatch(r"\d+(?:\.0)?", str(text))]
    if len(numbers) < len(texts) or not numbers:
        return ""
    distinct = sorted(set(numbers))
    if len(distinct) < 2 or distinct[0] > 1 or distinct != list(np.arange(distinct[0], distinct[0] + len(distinct))):
        return ""
    return "codes" if len(distinct) <= 5 or len(numbers) < 2 * len(distinct) else "perhaps"


# What texts that are no ages may be, by their form: each must fit all of them.
_OTHER_MEANINGS = (
    (r"(?:19|20)\d\d(?:\.0)?", "years of birth: give the age at sampling"),
    (
        r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}(?:[T ].*)?|\d{1,2}[-/.]\d{1,2}[-/.](?:\d{4}|\d\d)",
        "dates, perhaps of birth: give the age at sampling",
    ),
    (
        r"(?i:\d{1,2}[-. ](?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)\w*"
        r"|(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)\w*[-. ]\d{1,2})",
        "ranges like 10-14 that a spreadsheet has made dates of: write them anew as text",
    ),
    (r"\w+:\d{6,}", "ids of an ontology: name the column of the terms' names, in CELLxGENE's files development_stage"),
    (r"(?:1[3-9]\d|[2-9]\d\d|1[0-4]\d\d)(?:\.0)?", "months: call the column age_months"),
    (r"(?:[2-9]\d{3}|[1-4]\d{4})(?:\.0)?", "days: call the column age_days if they are days since birth"),
)


def other_meaning(texts: Sequence[Any]) -> str:
    """What texts that are no ages may be instead; '' where their form does not tell.

    >>> other_meaning(["1948", "1962.0"])
    'they look like years of birth: give the age at sampling'
    """
    found = (
        what for pattern, what in _OTHER_MEANINGS if texts and all(re.fullmatch(pattern, str(text)) for text in texts)
    )
    return next((f"they look like {what}" for what in found), "")


def no_age_problem(texts: Sequence[Any], *, column: str) -> str:
    """What to say where no donor's text is an age."""
    example = list(dict.fromkeys(map(str, texts)))[:3]
    hint = other_meaning(texts)
    return (
        f"--age_column {column}: no value is an age ({', '.join(map(repr, example))}); "
        + (f"{hint}; " if hint else "")
        + "it takes years as a number or text like '45-year-old stage'"
    )


# What questionnaires and registries write where they know no age.
_STAND_INS = (0.0, 77.0, 88.0, 99.0)
_FAR = 15  # years from everyone else
OLDEST_KNOWN = 122  # of a person


def stand_ins(years: Sequence[float]) -> list[float]:
    """Ages that may stand for an unknown one: 0, 77, 88 or 99 far from all others, or older than anyone has been.

    >>> stand_ins([0, 25, 60, 99, 99])
    [0.0, 99.0]
    """
    known = np.array([year for year in years if not pd.isna(year)], dtype=float)
    found: list[float] = []
    for year in np.unique(known):
        others = known[(known != year) & ~np.isin(known, found)]
        far = not len(others) or np.abs(others - year).min() >= _FAR
        if (year in _STAND_INS and far and len(others)) or year > OLDEST_KNOWN:
            found.append(float(year))
    return found


def note_stand_ins(years: Sequence[float], *, column: str) -> list[str]:
    """A note on ages that may stand for an unknown one.

    Parameters
    ----------
    years
        One per donor.
    column
        That they come from.
    """
    found = stand_ins(years)
    if not found:
        return []
    listed = ", ".join(f"{year:g} ({sum(one == year for one in years)} donors)" for year in found)
    return [
        f"--age_column {column}: {listed} is far from all other ages and is taken for years; if it stands for an "
        "unknown age, leave it empty"
    ]
