"""What columns say of where cells come from is noted, or refused (cell_origins)."""

import numpy as np
import pandas as pd
import pytest

from immune_aging.cohort.cell_origins import mixed_kinds, other_species_of_cells, second_copies

COLUMNS = {"donor": "donor", "cell_type": "type"}


def cells(**columns):
    return pd.DataFrame({"donor": list("aabbcc"), "type": "T"} | columns)


@pytest.mark.parametrize("values", [[True, False] * 3, ["True", "False"] * 3, ["TRUE", "FALSE"] * 3, [1, 0] * 3, pd.Categorical([True, False] * 3)])  # fmt: skip
def test_copies_of_cells_of_another_dataset_are_counted(values):
    """chanzuckerberg/cellxgene-census#467, #468, #798"""
    (note,) = second_copies(cells(is_primary_data=values))
    assert "False for 3 of 6 cells" in note and "count twice" in note


def test_copies_are_told_where_all_are_and_nothing_is_where_none_is():
    assert "False for all cells" in second_copies(cells(is_primary_data=False))[0]
    assert second_copies(cells(is_primary_data=True)) == second_copies(cells()) == []
    assert second_copies(cells(is_primary_data=[None] * 6)) == []


@pytest.mark.parametrize("name", ["organism", "species", "gem_classification"])
@pytest.mark.parametrize("text", ["Mus musculus", "mouse", "mm10", "NCBITaxon:10090", "Macaca_mulatta"])
def test_cells_of_another_species_are_refused_with_their_number(name, text):
    (problem,) = other_species_of_cells(cells(**{name: ["Homo sapiens"] * 4 + [text] * 2}))
    assert f"'{text}' (2 cells) is another species than human, 4 are not" in problem
    assert "are not" not in other_species_of_cells(cells(**{name: text}))[0]


@pytest.mark.parametrize(
    "text", ["Homo sapiens", "human", "NCBITaxon:9606", "GRCh38", "Multiplet", "", np.nan, "of the lab"]
)
def test_human_cells_and_what_is_no_known_species_are_not(text):
    assert other_species_of_cells(cells(organism=text)) == []


def test_kinds_of_donors_are_one_note_with_their_numbers():
    """chanzuckerberg/single-cell-curation#285 (normal beside diseased), nf-core/differentialabundance#670"""
    table = cells(disease=list("nnnncc"), assay=["10x"] * 4 + ["Smart-seq2"] * 2, tissue="blood")
    (note,) = mixed_kinds(table, COLUMNS)
    assert "'disease': 'n' (2), 'c' (1); 'assay': '10x' (2), 'Smart-seq2' (1) (number of donors)" in note


@pytest.mark.parametrize(
    "columns",
    [
        {"disease": "normal"},
        {"disease": list("ncncnc")},  # within donors: noted with the columns that part them
        {"disease": ["normal"] * 4 + ["unknown"] * 2},
        {"disease": ["normal"] * 4 + [None] * 2},
        {"colour": list("nnnncc")},
    ],
)
def test_one_kind_is_no_mixture(columns):
    assert mixed_kinds(cells(**columns), COLUMNS) == []


def test_a_column_that_is_used_is_not_noted():
    assert mixed_kinds(cells(tissue=list("nnnncc")), COLUMNS | {"sample": "tissue"}) == []
