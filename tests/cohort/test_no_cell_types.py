"""Labels that are no cell type are told by their words; what is doubtful is kept and noted."""

import re

import pandas as pd
import pytest

from immune_aging.cohort.missing_text import means_missing
from immune_aging.cohort.no_cell_types import note_doubtful_types
from immune_aging.cohort.tidy_labels import tidied

COLUMNS = {"donor": "donor", "cell_type": "type", "age": "age", "sex": "sex"}


@pytest.mark.parametrize(
    "label",
    [
        "Doublet_2", "Doublets", "T/B doublets", "T cell doublet", "doublet?", "Putative Doublets", "Multiplet 1",
        "T-B_multiplets", "PlateletDoublet", "Low quality T", "low-quality", "LowQuality_3", "T (low quality)",
        "Debris", "cell debris", "Unknown_1", "unknown 12", "Unknown A", "Cluster 5 unknown", "unassigned_3",
        "Unassigned cells", "unknown cell type", "Unclassified.2", "ambiguous", "UNDEFINED", "Empty droplets", "junk",
        "Artifact", "pruned", "Not assigned", "No_label",
    ],
)  # fmt: skip
def test_labels_of_no_cell_type_are_missing(label):
    assert means_missing(label, what="cell type")


TYPES = [
    "double negative T", "Double-negative T cell", "double-positive", "DNT", "dnT", "DN T", "DP", "NK", "B", "T",
    "CD4-positive, alpha-beta T cell", "NKT-like", "CD16-negative", "Negative", "other T", "Other", "gdT", "1", "c12",
    "MAIT", "ILC", "Platelet", "Prolif. T", "quality-controlled T", "unswitched memory B cell", "intermediate monocyte",
    "type I interferon T cell", "cluster 5", "Doubleton",
]  # fmt: skip


@pytest.mark.parametrize("label", TYPES)
def test_names_of_types_stay_without_a_note(label):
    assert not means_missing(label, what="cell type")
    assert note_doubtful_types({label: 5}) == []


DOUBTFUL = ["Unknown T cell", "Unassigned T", "Doublet-negative", "non-doublet T", "T cells (doublets removed)", "dying T", "RBC contamination", "T_unclassified_2", "unknown B"]  # fmt: skip


@pytest.mark.parametrize("label", DOUBTFUL)
def test_doubtful_labels_stay_and_are_noted_with_their_cells(label):
    assert not means_missing(label, what="cell type")
    (note,) = note_doubtful_types({"T": 9, label: 5, "dead": 0})
    assert f"{label!r} (5) cells" in note and "dead" not in note


def test_other_columns_are_not_read_so():
    for what in ("", "age", "sex", "sample", "donor"):
        assert not means_missing("Unknown_1", what=what) and not means_missing("Low quality T", what=what)


def test_a_cohort_leaves_such_cells_out_and_says_how_many():
    labels = ["T cell", "Doublet_2", "Unknown T cell", "unassigned_3"] * 2
    obs = pd.DataFrame({"donor": list("abababab"), "type": labels, "age": 30, "sex": "male"})
    found, notes = tidied(obs, COLUMNS)
    assert found["type"].cat.categories.tolist() == ["T cell", "Unknown T cell"]
    assert found["type"].isna().tolist() == [False, True, False, True] * 2
    assert any(re.search(r"4 cells with cell type .*'Doublet_2' \(2\)", note) for note in notes)
    assert any(
        "cell types that may be none by their names are kept ('Unknown T cell' (2) cells)" in note for note in notes
    )
