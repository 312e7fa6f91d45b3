"""Several spellings of one value: the sexes, and levels that differ by case, blanks or what looks alike alone."""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence

import pandas as pd

MALE, FEMALE = "male", "female"
# In lower case. English, what genotypes and PATO call them, and the languages of cohorts that share their tables.
SEXES = {
    MALE: (
        "male", "m", "m.", "males", "man", "men", "boy", "xy", "46,xy", "46xy", "pato:0000384", "♂",
        "male (m)", "m (male)", "masculine", "männlich", "maennlich", "mann", "homme", "masculin", "hombre",
        "masculino", "varón", "varon", "maschio", "mannelijk", "男", "男性",
    ),
    FEMALE: (
        "female", "f", "f.", "females", "woman", "women", "girl", "xx", "46,xx", "46xx", "pato:0000383", "♀",
        "female (f)", "f (female)", "feminine", "weiblich", "w", "frau", "femme", "féminin", "feminin", "mujer",
        "femenino", "feminino", "femmina", "vrouw", "vrouwelijk", "女", "女性",
    ),
}  # fmt: skip
_SEX_OF = {spelling: sex for sex, spellings in SEXES.items() for spelling in spellings}
# Beside one of these 'm' is no man: hombre / mujer, homme / femme.
_NO_MAN = {"h"}
MAX_LISTED = 5


def letters_and_digits(name: str) -> str:
    """Letters and digits of a name, in lower case.

    >>> letters_and_digits("nCount_RNA")
    'ncountrna'
    """
    return "".join(c for c in name.casefold() if c.isalnum())


def _without_case(text: str) -> str:
    return re.sub(r"\s+", " ", text.strip()).casefold()


def plain(text: str) -> str:
    """A text without what spellings of one value differ by: case, blanks, and letters and hyphens that look alike."""
    return _without_case(re.sub(r"[\u2010-\u2015\u2212\u00ad]", "-", unicodedata.normalize("NFKC", text)))


def spelt_alike(levels: Sequence[str]) -> list[list[str]]:
    """Groups of levels that `plain` makes one, each sorted; levels that are alone are left out."""
    groups: dict[str, list[str]] = {}
    for level in sorted(levels):
        groups.setdefault(plain(level), []).append(level)
    return [group for group in groups.values() if len(group) > 1]


def note_spelt_alike(levels: Sequence[str], *, what: str) -> list[str]:
    """A note on levels that are kept apart although only case, blanks or letters that look alike tell them apart."""
    groups = spelt_alike(levels)
    if not groups:
        return []
    listed = "; ".join(", ".join(map(repr, group)) for group in groups[:MAX_LISTED])
    more = f"; and {len(groups) - MAX_LISTED} more groups" if len(groups) > MAX_LISTED else ""
    by_case = all(len(set(map(_without_case, group))) == 1 for group in groups)
    by = "case or blanks" if by_case else "case, blanks, or letters and hyphens that look alike"
    return [f"{what} that differ only by {by} are kept apart ({listed}{more}); give them one spelling if they are one"]


def sexes_read(levels: Mapping[str, int]) -> dict[str, str]:
    """What each level of a column of sexes is read as: 'male', 'female', or a value of its own.

    Parameters
    ----------
    levels
        Number of cells of each level. Of other values that are alike but for case and blanks the most frequent spelling
        stands for all.
    """
    by_plain: dict[str, Counter] = {}
    for level, n_cells in levels.items():
        by_plain.setdefault(plain(level), Counter())[level] += n_cells
    known = _SEX_OF if not _NO_MAN & set(by_plain) else {"female": FEMALE, "male": MALE}
    read: dict[str, str] = {}
    for spelling, group in by_plain.items():
        stands = known.get(spelling) or min(group, key=lambda level: (-group[level], level)).strip()
        read |= dict.fromkeys(group, stands)
    return read


def with_one_spelling_per_sex(labels: pd.Series, *, column: str) -> tuple[pd.Series, list[str]]:
    """A categorical column of sexes with one level per sex; and notes on what was read as what, and on what is neither.

    Parameters
    ----------
    column
        Its name, for the notes.
    """
    read = sexes_read(labels.value_counts().to_dict())
    changed = {level: sex for level, sex in sorted(read.items()) if level != sex}
    notes = []
    if changed:
        listed = ", ".join(f"{level!r} as {sex!r}" for level, sex in changed.items())
        notes.append(f"column '{column}': {listed} is read")
    others = sorted({sex for level, sex in read.items() if (labels == level).any()} - {MALE, FEMALE})
    if others:
        shown = ", ".join(map(repr, others[:MAX_LISTED])) + (", ..." if len(others) > MAX_LISTED else "")
        notes.append(f"column '{column}': {shown} is neither male nor female and stays a value of its own")
    return relabelled(labels, read), notes


def relabelled(labels: pd.Series, names: Mapping[str, str]) -> pd.Series:
    """A categorical column with other names of its levels; levels that get one name become one, sorted."""
    new = [names[level] for level in labels.cat.categories]
    levels = sorted(set(new))
    place = pd.Series([levels.index(name) for name in new] + [-1], dtype="int64")  # the last for a missing value
    codes = place.to_numpy()[labels.cat.codes.to_numpy()]
    return pd.Series(pd.Categorical.from_codes(codes, levels), index=labels.index, name=labels.name)
