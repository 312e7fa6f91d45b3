"""Labels of cells that are no cell type, by their words: doublets, debris, and what nobody could name.

Annotators number them (`Doublet_2`, `Unknown_1`) and join them to types (`T/B doublets`): a list of whole labels is too
short.
"""

import re
from collections.abc import Mapping

from immune_aging.task.listing import first_of

# Words and phrases in lower case. No label with one of these is a type, whatever stands beside it.
NO_TYPE = (
    "doublet", "doublets", "multiplet", "multiplets", "debris", "junk", "low quality", "lowquality", "lowqual",
    "low qual", "poor quality", "bad quality", "empty droplet", "empty droplets", "artifact", "artifacts", "artefact",
    "artefacts",
)  # fmt: skip
# No label of these is a type, alone or with numbers, `FILLERS` and letters that are none of `TYPES`; beside a type they
# say that the type is known and its subtype is not.
NOT_NAMED = frozenset(
    (
        "unknown", "unknowns", "unassigned", "unclassified", "unannotated", "unlabeled", "unlabelled", "unidentified",
        "unresolved", "ambiguous", "undefined", "undetermined", "uncertain",
    )
)  # fmt: skip
FILLERS = frozenset(
    ("cell", "cells", "type", "types", "celltype", "cluster", "clusters", "clust", "population", "group", "of")
)
TYPES = frozenset(("t", "b"))  # single letters: T and B cells
# Beside a word of `NO_TYPE` these turn its meaning round: 'Doublet-negative', 'T cells, doublets removed'.
NEGATIONS = frozenset(
    ("no", "non", "not", "without", "negative", "neg", "free", "removed", "filtered", "excluded", "singlet", "singlets")
)
# Words that are not clear enough to leave the cells out.
DOUBTFUL = frozenset(
    ("dead", "dying", "apoptotic", "contamination", "contaminated", "contaminating", "contaminants", "ambient")
)
MAX_LISTED = 5


def words_of_label(label: str) -> list[str]:
    """The words and numbers of a label in lower case.

    >>> words_of_label("LowQuality_T2"), words_of_label("T/B doublets")
    (['low', 'quality', 't', '2'], ['t', 'b', 'doublets'])
    """
    parted = re.sub(r"([a-z])([A-Z])", r"\1 \2", label)
    return re.findall(r"\d+|[^\W\d_]+", parted.casefold())


def is_no_type(label: str) -> bool:
    """Whether a label is no cell type by its words.

    >>> [is_no_type(label) for label in ("Doublet_2", "Unknown 1", "Unknown T cell", "double negative T")]
    [True, True, False, False]
    """
    words = words_of_label(label)
    if _has_no_type(words):
        return not NEGATIONS & set(words)
    named = [word for word in words if len(word) > 1 or word in TYPES]
    named = [word for word in named if not word.isdecimal() and word not in FILLERS]
    return bool(named) and set(named) <= NOT_NAMED


def _has_no_type(words: list[str]) -> bool:
    text = f" {' '.join(words)} "
    return any(f" {phrase} " in text for phrase in NO_TYPE)


def note_doubtful_types(n_cells: Mapping[str, int], *, unit: str = "cells") -> list[str]:
    """A note on labels that are kept although a word in them says that they may be no cell type.

    Parameters
    ----------
    n_cells
        Of each label, those that are no type left out.
    unit
        How the note calls the rows.
    """
    found = []
    for label, n in n_cells.items():
        words = words_of_label(label)
        if n and (_has_no_type(words) or (NOT_NAMED | DOUBTFUL) & set(words)):
            found.append(f"{label!r} ({n})")
    if not found:
        return []
    return [
        f"cell types that may be none by their names are kept ({first_of(found, MAX_LISTED)} {unit}); leave the label "
        "of such cells empty if they are"
    ]
