"""Doubts about donors: one name for several people, one person under several names, several samples of a donor."""

import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from immune_aging.cohort.donors import factorized
from immune_aging.cohort.donors_of_files import SAME_AGE, numbered
from immune_aging.cohort.hostile_names import visible
from immune_aging.cohort.missing_text import means_missing
from immune_aging.cohort.persons import notes_on_persons
from immune_aging.cohort.spellings import note_spelt_alike, plain

# Words in names of columns that part a donor's cells into samples: a name is split at everything that is no letter.
SAMPLE_WORDS = frozenset(
    (
        "visit", "time", "timepoint", "timepoints", "day", "week", "library", "lib", "libraries", "sample", "samples",
        "lane", "pool", "pools", "batch", "batches", "run", "channel", "gem", "capture", "captures", "plate", "assay",
        "chemistry", "tissue", "organ", "compartment", "treatment", "stim", "stimulation", "stimulus", "condition",
        "timecourse", "disease", "sort", "sorting", "enrichment", "session", "collection", "experiment", "suspension",
        "well", "flowcell", "ident", "vaccination", "infection", "replicate", "hashtag", "multiplex", "source",
        "dataset", "study", "project", "series", "gse", "cohort", "site", "center", "centre", "hospital", "technology",
        "platform", "protocol",
    )
)  # fmt: skip
# Those of columns in which a demultiplexer numbers its donors anew.
POOL_WORDS = (
    "lane",
    "pool",
    "pools",
    "library",
    "lib",
    "capture",
    "channel",
    "gem",
    "run",
    "batch",
    "experiment",
    "ident",
)
# Those of columns that may name the person where the chosen column names samples.
PERSON_WORDS = frozenset(("donor", "subject", "patient", "participant", "individual", "person", "case"))
# How the name of a person goes on in the name of a sample.
_SAMPLE_ENDING = re.compile(
    r"[\s_.:-]*(?:(?:visit|day|week|month|year|time|timepoint|tp|pre|post|baseline|follow[\s_-]?up|rep|replicate|run|lane|lib|library)"
    r"[\s_.-]*\d*|[dvtwl]\d{1,3})$",
    re.IGNORECASE,
)
MAX_LEVELS = 20_000  # a column of more is of cells
MAX_LISTED = 3


def words_of(column: str) -> list[str]:
    """The words in a column's name, in lower case.

    >>> words_of("orig.ident"), words_of("libraryID")
    (['orig', 'ident'], ['library', 'id'])
    """
    return [word for word in re.split(r"[^a-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", column).lower()) if word]


def _codes(column: pd.Series) -> tuple[np.ndarray, np.ndarray] | None:
    """A column as numbers of its values (-1 where missing), and the values; None where it is no column of levels."""
    if pd.api.types.is_float_dtype(column.dtype):
        return None
    try:
        codes, values = factorized(column)
    except TypeError:  # values that cannot be compared
        return None
    return (codes, np.asarray(values, dtype=object)) if len(values) <= MAX_LEVELS else None


def column_that_tells_apart(obs: pd.DataFrame, columns: Mapping[str, str]) -> str:
    """A column of pools in which every name of a donor has one age and one sex; '' where there is none."""
    donors = pd.factorize(obs[columns["donor"]])[0]
    facts = [pd.factorize(obs[columns[role]])[0] for role in ("age", "sex") if columns.get(role) in obs]
    found = {}
    for name in obs.columns:
        words = words_of(str(name))
        rank = min((POOL_WORDS.index(word) for word in words if word in POOL_WORDS), default=None)
        levels = None if rank is None or name in columns.values() else _codes(obs[name])
        if levels is None:
            continue
        both = pd.DataFrame({"donor": donors, "pool": levels[0]} | {f"fact{i}": fact for i, fact in enumerate(facts)})
        one = both[["donor", "pool"]].drop_duplicates()
        if len(both.drop_duplicates()) == len(one):
            found[str(name)] = (rank, len(levels[1]))
    return min(found, key=lambda name: found[name]) if found else ""


def several_samples(obs: pd.DataFrame, columns: Mapping[str, str]) -> list[str]:
    """A note on columns that part the cells of a donor into visits, libraries, tissues, ..."""
    donors, names = pd.factorize(obs[columns["donor"]])
    parting, example = {}, ""
    for name in obs.columns:
        if name in columns.values() or not SAMPLE_WORDS & set(words_of(str(name))):
            continue
        levels = _codes(obs[name])
        if levels is None or len(levels[1]) < 2:
            continue
        known = (donors >= 0) & (levels[0] >= 0)
        pairs = np.unique(donors[known].astype(np.int64) * len(levels[1]) + levels[0][known])
        per_donor = np.bincount(pairs // len(levels[1]), minlength=len(names))
        if per_donor.max(initial=0) < 2 or np.median(per_donor[per_donor > 0]) > 50:
            continue
        parting[str(name)] = int((per_donor > 1).sum())
        if not example:
            donor = int(np.argmax(per_donor > 1))
            own = levels[1][pairs[pairs // len(levels[1]) == donor] % len(levels[1])]
            example = f"'{names[donor]}': {', '.join(repr(visible(str(value))) for value in own[:MAX_LISTED])}"
    if not parting:
        return []
    listed = ", ".join(f"'{visible(name)}' in {n}" for name, n in parting.items())
    hint = ", as the names that demultiplexers give each pool do" if numbered(map(str, names)) else ""
    return [
        f"columns vary within donors ({listed} of {len(names)} donors; {example}): a donor's cells of a type are "
        "summed over all of these; --sample_column keeps them apart, and where names of donors begin anew in each"
        f"{hint}, make names of both"
    ]


def name_key(name: str) -> str:
    """A name without what spellings of it differ by: case, blanks, separators, leading zeros, what looks alike."""
    text = re.sub(r"(?<!\d)0+(?=\d)", "", re.sub(r"^(\d+)\.0+$", r"\1", plain(name)))
    return re.sub(r"(?<=\d)[\s_.-]+(?=\d)", "-", re.sub(r"(?<!\d)[\s_.-]+|[\s_.-]+(?!\d)", "", text))


def _may_be_one(rows: pd.DataFrame) -> bool:
    """Whether what is known of donors does not speak against their being one person."""
    ages, sexes = rows["age_years"].dropna(), rows["sex"].dropna()
    return sexes.nunique() <= 1 and (len(ages) < 2 or float(ages.max() - ages.min()) <= 2)


def one_under_several_names(donors: pd.DataFrame) -> list[str]:
    """Notes on names of donors that may be one person's.

    Parameters
    ----------
    donors
        One row per donor: donor_id, age_years, sex.
    """
    by_stem = notes_on_persons(donors)
    donors = donors.drop_duplicates("donor_id")
    notes = []
    for key, what in (
        (name_key, "differ only by case, blanks, separators or leading zeros"),
        (lambda name: _SAMPLE_ENDING.sub("", name), "look like samples of one person"),
    )[: 1 if by_stem else 2]:
        groups = donors.groupby(donors["donor_id"].map(key), sort=True)
        found = [rows for name, rows in groups if name and len(rows) > 1 and _may_be_one(rows)]
        if found:
            listed = "; ".join(", ".join(map(repr, rows["donor_id"].head(MAX_LISTED))) for rows in found[:MAX_LISTED])
            more = f"; and {len(found) - MAX_LISTED} more" if len(found) > MAX_LISTED else ""
            notes.append(
                f"names of donors {what} ({listed}{more}) and are kept apart; if they are one person, give them one "
                "name, and tell the samples apart with --sample_column: samples of one person do not count as "
                "independent donors"
            )
    return notes + by_stem


def ages_apart(donors: pd.DataFrame) -> list[str]:
    """A note on donors whose samples are of ages that no one person's are.

    Parameters
    ----------
    donors
        One row per donor, or per sample of a donor: donor_id, age_years.
    """
    ages = donors.groupby("donor_id", sort=True)["age_years"].agg(["min", "max"])
    far = ages[ages["max"] - ages["min"] > SAME_AGE]
    if not len(far):
        return []
    name, low, high = next(far.itertuples(name=None))
    return [
        f"samples of {len(far)} of {len(ages)} donors are more than {SAME_AGE} years apart ('{visible(str(name))}': "
        f"{low:g} to {high:g} years): they may be several people whose names begin anew in each pool; make names of "
        "the pool and the donor if they are"
    ]


def person_column(obs: pd.DataFrame, columns: Mapping[str, str]) -> list[str]:
    """A note on a column that groups the donors into fewer people."""
    donors = pd.factorize(obs[columns["donor"]])[0]
    n_donors = len(set(donors[donors >= 0]))
    for name in obs.columns:
        if name in columns.values() or not PERSON_WORDS & set(words_of(str(name))):
            continue
        levels = _codes(obs[name])
        if levels is None:
            continue
        known = (donors >= 0) & (levels[0] >= 0)
        pairs = pd.DataFrame({"donor": donors[known], "person": levels[0][known]}).drop_duplicates()
        people = pairs["person"].nunique()
        if 1 < people < len(pairs) == n_donors:
            return [
                f"column '{visible(str(name))}' groups the {n_donors} donors of '{columns['donor']}' into {people}; if "
                f"these are the people, --donor_column {visible(str(name))} takes each of them once; "
                f"--sample_column {visible(columns['donor'])} then keeps the samples apart"
            ]
    return []


def donor_doubts(obs: pd.DataFrame, donors: pd.DataFrame, columns: Mapping[str, str]) -> list[str]:
    """Everything that is doubtful about the donors, a note each.

    Parameters
    ----------
    obs
        Cells, as `tidy_labels.tidied` gives them.
    donors
        One row per donor: donor_id, age_years, sex.
    columns
        Name of the column of each role.
    """
    parted = [] if "sample" in columns else [*person_column(obs, columns), *several_samples(obs, columns)]
    return [*one_under_several_names(donors), *ages_apart(donors), *parted]


def several_facts_remedy(obs: pd.DataFrame, columns: Mapping[str, str]) -> str:
    """What to do where a donor has several ages or sexes; '' where nothing in the table tells."""
    pool = column_that_tells_apart(obs, columns)
    if not pool:
        return ""
    return (
        f"each name has one age and one sex within '{visible(pool)}': if names of donors begin anew in each, make "
        "names of both columns"
    )


def text_levels(donors: pd.DataFrame, own: Sequence[str]) -> Iterator[tuple[str, pd.Series]]:
    """Columns of text that nobody named: how each is called in messages, and its levels with their numbers of donors.

    Parameters
    ----------
    donors
        One row per donor.
    own
        Columns that are not the user's.
    """
    for name in donors.columns.difference(list(own), sort=False):
        if isinstance(donors[name].dtype, np.dtype) and donors[name].dtype == object:
            yield visible(str(name)), donors[name].dropna().map(str).value_counts()


def missing_kept(donors: pd.DataFrame, own: Sequence[str]) -> list[str]:
    """A note on text that may mean missing and is a level, in columns of `text_levels`, which has the parameters."""
    found = []
    for name, levels in text_levels(donors, own):
        texts = [text for text in levels.index if means_missing(text)]
        if texts and len(levels) > 1:
            found.append(f"'{name}' ({', '.join(f'{visible(text)!r}: {levels[text]}' for text in texts)})")
    if not found:
        return []
    return [
        f"text that may mean a missing value is a level of its own in {', '.join(found)} (number of donors); leave it "
        "empty in the file if it means one"
    ]


def spelt_alike_elsewhere(donors: pd.DataFrame, own: Sequence[str]) -> list[str]:
    """A note per column of `text_levels`, which has the parameters, where levels are spelt alike."""
    notes = []
    for name, levels in text_levels(donors, own):
        if len(levels) < max(3, len(donors)):  # else they are names of donors
            notes += note_spelt_alike(sorted(levels.index), what=f"levels of '{name}'")
    return notes


def numbers_for_names(levels: Sequence[str]) -> bool:
    """Whether all of at least two names are whole numbers, as codes of a factor or clusters are."""
    return len(levels) > 1 and all(re.fullmatch(r"\d+(?:\.0)?", name) for name in levels)
