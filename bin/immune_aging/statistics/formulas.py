"""Design formulas as people write them: any column name, one random term, and the terms that they consist of.

The library that evaluates formulas (formulaic) takes names for Python: a column called `C` hides its function `C()`,
and `my.cov` is read as an attribute. So each column gets a plain name before the library sees the formula, and its own
name back in everything that a person reads.
"""

import re
from dataclasses import dataclass

import pandas as pd

from immune_aging.cohort.donors import AS_GIVEN, OWN_COLUMNS, not_told
from immune_aging.task.command_line import BadInput

DEFAULT_DESIGN = "~ sex + age"
DEFAULT_WITHOUT_SEX = "~ age"
# Words of a formula for columns of the samples, whatever the cohort's own columns are called.
ALIASES = {"age": "age_years", "donor": "donor_id"}
TOKEN = re.compile(
    r"""(?P<quoted>`[^`]*`)|(?P<text>'[^']*'|"[^"]*")|(?P<number>\d[\w.]*)|(?P<name>[^\W\d][\w.]*)|(?P<other>.)""",
    re.DOTALL,
)
MODULES = ("np.", "contr.")  # whose names are functions, or codings that C() takes: C(arm, contr.sum)
LITERALS = ("True", "False", "None")
RANDOM_TERM = re.compile(r"\(\s*1\s*\|\s*(`[^`]+`|[^\W\d][\w.]*)\s*\)")
PLAIN_NAME = re.compile(r"column_(\d+)_")


@dataclass(frozen=True)
class Formula:
    """A design formula, taken apart.

    Attributes
    ----------
    text
        As it was written.
    fixed
        Without its random term.
    columns
        The columns that it names, in alphabetical order, as they are written there; those of the random term apart.
    random
        The column of its random term `(1 | COLUMN)`; '' where it has none.
    plain
        `fixed`, with the name `column_<place>_` for each of `columns`.
    """

    text: str
    fixed: str
    columns: tuple[str, ...]
    random: str
    plain: str

    def shown(self, text: object) -> str:
        """A text of the library, with the columns' own names."""
        return PLAIN_NAME.sub(lambda found: self.columns[int(found[1])], str(text))

    def plain_name(self, column: str) -> str:
        """What the library knows a column as."""
        return f"column_{self.columns.index(column)}_"

    def with_plain_names(self, values: pd.DataFrame) -> pd.DataFrame:
        """Values of the columns, under the names that the library knows them by."""
        return values.rename(columns={name: self.plain_name(name) for name in self.columns})


def is_default(formula: str, samples: pd.DataFrame) -> bool:
    """Whether this is the pipeline's own design for these samples rather than one that the user wrote."""
    known = [DEFAULT_DESIGN, DEFAULT_WITHOUT_SEX] if not_told(samples, "sex") else [DEFAULT_DESIGN]
    return formula.split() in [one.split() for one in known]


def quoted(column: str) -> str:
    """A column's name as a formula needs it."""
    return column if column.isidentifier() else f"`{column}`"


def _pieces(formula: str) -> list[tuple[str, bool]]:
    """The formula in pieces, each with whether it is the name of a column (then without its backticks)."""
    pieces = []
    for found in TOKEN.finditer(formula):
        text, rest = found.group(), formula[found.end() :].lstrip()
        called = rest.startswith("(")
        argument = rest.startswith("=") and not rest.startswith("==")
        if found.lastgroup == "quoted":
            pieces.append((text[1:-1], True))
        elif found.lastgroup == "name" and not (called or argument or text in LITERALS or text.startswith(MODULES)):
            pieces.append((text, True))
        else:
            pieces.append((text, False))
    return pieces


def split_random_term(formula: str) -> tuple[str, str]:
    """A formula without its random term, and that term's column ('' for none).

    Raises
    ------
    BadInput
        There are several, or one of another form than `(1 | COLUMN)`.
    """
    found = RANDOM_TERM.findall(formula)
    if len(found) > 1:
        raise BadInput(f"--design '{formula}': has {len(found)} random terms; only one can be fitted")
    fixed = re.sub(r"\+\s*" + RANDOM_TERM.pattern, "", formula)
    fixed = re.sub(r"~\s*" + RANDOM_TERM.pattern + r"\s*(\+|$)", lambda end: "~" if end[2] else "~ 1", fixed)
    if "|" in re.sub(r"`[^`]*`", "", fixed):
        raise BadInput(f"--design '{formula}': of random terms only '+ (1 | COLUMN)' can be fitted")
    return fixed.strip(), found[0].strip("`") if found else ""


def with_random_term(fixed: str, column: str) -> str:
    """A formula of fixed terms with a random term of a column; as it is where that is ''."""
    return f"{fixed} + (1 | {quoted(column)})" if column else fixed


def parse(formula: str) -> Formula:
    """Take a formula apart.

    Raises
    ------
    BadInput
        It cannot be parsed, has a response or no intercept, or a random term that cannot be fitted.
    """
    from formulaic import Formula as LibraryFormula

    if not formula.strip().startswith("~"):
        raise BadInput(f"--design '{formula}': must begin with '~', like '{DEFAULT_DESIGN}'")
    fixed, random = split_random_term(formula)
    pieces = _pieces(fixed)
    columns = tuple(sorted({name for name, is_column in pieces if is_column}))
    plain = "".join(f"column_{columns.index(text)}_" if is_column else text for text, is_column in pieces)
    parsed = Formula(formula, fixed, columns, random, plain)
    try:
        terms = [str(term) for term in LibraryFormula(plain)]
    except Exception as error:  # the parser raises many kinds, and marks the place with terminal colours
        reason = parsed.shown(re.sub(r"\x1b\[[0-9;]*m", "", str(error)).splitlines()[0])
        raise BadInput(f"--design '{formula}': not a formula ({reason}); write it like '{DEFAULT_DESIGN}'") from error
    if "1" not in terms:
        raise BadInput(f"--design '{formula}': has no intercept; leave out '0' or '- 1'")
    return parsed


def formula_columns(formula: str) -> list[str]:
    """Columns that a one-sided formula with an intercept names, that of its random term included; raises as `parse`."""
    parsed = parse(formula)
    return sorted({*parsed.columns, *([parsed.random] if parsed.random else [])})


def term_factors(formula: Formula, term: str) -> frozenset[str]:
    """The factors of one term, written as in the formula, under the library's names.

    Raises
    ------
    BadInput
        It is no term, or several.
    """
    from formulaic import Formula as LibraryFormula

    pieces = _pieces(term)
    if term in formula.columns:
        pieces = [(term, True)]  # any name, given without backticks
    known = {name: formula.plain_name(name) for name in formula.columns}
    plain = "".join(known.get(text, text) if is_column else text for text, is_column in pieces)
    try:
        found = [one for one in LibraryFormula(f"~ {plain}") if str(one) != "1"]
    except Exception as error:
        raise BadInput(f"--test_term '{term}': is no term of a formula") from error
    if len(found) != 1:
        terms = ", ".join(f"'{formula.shown(one)}'" for one in found)
        raise BadInput(f"--test_term '{term}': means {len(found)} terms ({terms}); name one")
    return frozenset(str(factor) for factor in found[0].factors)


def source_column(name: str, samples: pd.DataFrame) -> str:
    """The column of the samples that a name in a formula stands for: its own, or that of an alias.

    `age` means the donors' age, and so does the cohort's own column of ages, whatever it holds besides numbers of
    years. Where ages or sexes are not used (--age_column none), a column of the cohort that is called so means itself.
    """
    if name == "age":
        return name if not_told(samples, "age_years") else ALIASES[name]
    if name in AS_GIVEN and AS_GIVEN[name] in samples and not_told(samples, name):
        return AS_GIVEN[name]
    if name not in samples:
        return ALIASES.get(name, name)
    return ALIASES["age"] if holds_age_texts(samples, name) else name


def is_donor(name: str, samples: pd.DataFrame) -> bool:
    """Whether a name in a formula means the donor.

    `donor_id` does, `donor` where no column of its own is called so, and the column that the donors' names come from,
    which the samples keep under its own name.
    """
    source = source_column(name, samples)
    if source == "donor_id" or source not in samples or "donor_id" not in samples:
        return source == "donor_id"
    return bool((samples[source].astype(str) == samples["donor_id"].astype(str)).all())


def function_of_age(formula: str, samples: pd.DataFrame) -> str:
    """The first factor of a formula that is a function of age, as `I(age**2)` is; '' where age stands by itself."""
    from formulaic import Formula as LibraryFormula

    parsed = parse(formula)
    ages = {name for name in parsed.columns if source_column(name, samples) == "age_years"}
    factors = sorted({str(factor) for term in LibraryFormula(parsed.plain) for factor in term.factors})
    named = {one: {parsed.columns[int(number)] for number in PLAIN_NAME.findall(one)} for one in factors}
    found = [one for one, names in named.items() if names & ages and parsed.shown(one) not in ages]
    return parsed.shown(found[0]) if found else ""


def columns_of_term(test_term: str) -> tuple[str, ...]:
    """The columns that a term names, in alphabetical order; the term itself where it is no formula.

    >>> columns_of_term("sex:age"), columns_of_term("np.log(bmi)"), columns_of_term("my column")
    (('age', 'sex'), ('bmi',), ('my column',))
    """
    try:
        return parse(f"~ {test_term}").columns or (test_term,)
    except BadInput:  # a name that only backticks make one
        return (test_term,)


def drawn_column(test_term: str, samples: pd.DataFrame) -> str:
    """The column of the samples to draw results against: that of the tested term, age where several are in the term.

    '' where the samples have none of the term's columns.
    """
    sources = [source_column(name, samples) for name in columns_of_term(test_term)]
    there = [one for one in sources if one in samples]
    return ALIASES["age"] if ALIASES["age"] in there else there[0] if there else ""


def holds_age_texts(samples: pd.DataFrame, name: str) -> bool:
    """Whether a column is the one that the ages were read from."""
    if name in OWN_COLUMNS or "age_text" not in samples or not_told(samples, "age_years"):
        return False
    own, texts = samples[name], samples["age_text"]
    if pd.api.types.is_numeric_dtype(own):  # 45 is 45.0 where a value is missing
        own, texts = own.astype(float), pd.to_numeric(texts.astype(object), errors="coerce")
    alike = (own.astype(object) == texts.astype(object)) | (own.isna() & texts.isna())
    return bool(alike.all()) and bool(own.notna().any())
