"""What columns say of where cells come from: copies of cells elsewhere, other species, several tissues or diseases."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from immune_aging.cohort.donors import factorized
from immune_aging.cohort.hostile_names import visible
from immune_aging.cohort.missing_text import means_missing
from immune_aging.task.listing import first_of

# CELLxGENE's: False for a cell that another dataset holds as well (chanzuckerberg/cellxgene-census#467, #468).
PRIMARY = "is_primary_data"
SPECIES_COLUMNS = ("organism", "species", "organism_ontology_term_id", "genus_species", "gem_classification")
# In lower case, "_" as blanks.
OTHER_SPECIES = frozenset(
    ("mus musculus", "mouse", "mice", "m. musculus", "mmusculus", "ncbitaxon:10090", "10090", "mm10", "mm39", "grcm38",
     "grcm39", "rattus norvegicus", "rat", "ncbitaxon:10116", "macaca mulatta", "macaca fascicularis", "macaque",
     "rhesus", "ncbitaxon:9544", "ncbitaxon:9541", "callithrix jacchus", "marmoset", "ncbitaxon:9483", "sus scrofa",
     "pig", "ncbitaxon:9823", "danio rerio", "zebrafish", "ncbitaxon:7955", "pan troglodytes", "chimpanzee",
     "gallus gallus", "chicken", "canis lupus familiaris", "dog", "oryctolagus cuniculus", "rabbit",
     "drosophila melanogaster")
)  # fmt: skip
# Columns in which donors of one cohort may differ in kind, by CELLxGENE's schema and by habit.
KINDS = (
    "disease", "diagnosis", "tissue", "tissue_general", "tissue_type", "organ", "assay", "technology", "platform",
    "chemistry", "suspension_type", "treatment",
)  # fmt: skip
MAX_LEVELS = 20  # a column of more is no column of kinds
MAX_LISTED = 4


def second_copies(obs: pd.DataFrame) -> list[str]:
    """A note on cells that are said to be copies of cells in another dataset."""
    if PRIMARY not in obs:
        return []
    texts = obs[PRIMARY].astype(object).map(lambda value: "" if pd.isna(value) else str(value).casefold())
    copies = texts.isin(("false", "f", "0", "0.0", "no"))
    if not copies.any():
        return []
    if copies.all():
        return [
            f"'{PRIMARY}' is False for all cells: each is in another dataset, too; analysed together with that one it "
            "would count twice"
        ]
    return [
        f"'{PRIMARY}' is False for {int(copies.sum())} of {len(obs)} cells: they are copies of cells of another "
        "dataset, and may be copies of cells of this file; leave them out if they are, for they count twice"
    ]


def other_species_of_cells(obs: pd.DataFrame) -> list[str]:
    """What is wrong with a cohort of which a column says that cells are of another species; a text per column."""
    problems = []
    for name in SPECIES_COLUMNS:
        if name not in obs:
            continue
        texts = obs[name].astype(object).map(lambda value: "" if pd.isna(value) else str(value))
        counted = texts.value_counts()
        foreign = [text for text in counted.index if text.strip().casefold().replace("_", " ") in OTHER_SPECIES]
        if foreign:
            listed = ", ".join(f"{visible(text)!r} ({counted[text]} cells)" for text in foreign)
            rest = f", {len(obs) - int(counted[foreign].sum())} are not" if len(foreign) < len(counted) else ""
            problems.append(
                f"column '{name}': {listed} is another species than human{rest}; give the human cells alone"
            )
    return problems


def mixed_kinds(obs: pd.DataFrame, columns: Mapping[str, str]) -> list[str]:
    """A note on columns in which donors differ in kind: diseases, tissues, assays.

    Columns that vary within donors are noted elsewhere (`donor_doubts.several_samples`).

    Parameters
    ----------
    columns
        Name of the column of each role.
    """
    donors = pd.factorize(obs[columns["donor"]])[0]
    said = []
    for name in KINDS:
        if name not in obs or name in columns.values():
            continue
        codes, values = factorized(obs[name])
        if not 1 < len(values) <= MAX_LEVELS:
            continue
        known = (donors >= 0) & (codes >= 0)
        pairs = pd.DataFrame({"donor": donors[known], "code": codes[known]}).drop_duplicates()
        if pairs["donor"].duplicated().any():
            continue
        n_donors = pairs["code"].value_counts()
        levels = [
            f"{visible(str(values[code]))!r} ({n_donors[code]})"
            for code in n_donors.index
            if not means_missing(str(np.asarray(values, dtype=object)[code]))
        ]
        if len(levels) > 1:
            said.append(f"'{name}': {first_of(levels, MAX_LISTED)}")
    if not said:
        return []
    return [
        f"donors differ in {'; '.join(said)} (number of donors) and are analysed together: name what is to be "
        "accounted for in --design, or give a file of one kind"
    ]
