"""Which samples of another cohort a model is applied to, and what is said of them."""

import numpy as np
import pandas as pd
import pytest

from immune_aging.prediction.age_model_file import PortableModel
from immune_aging.prediction.application import (
    application_facts,
    gene_symbols,
    rows_of_cell_type,
    whole_counts,
)
from immune_aging.task.command_line import BadInput

MODEL = PortableModel({"cell_type": "B cell", "model": "ridge"}, pd.DataFrame(), pd.DataFrame(), 50.0)


def test_a_table_of_one_cell_type_is_taken_whole_and_one_of_several_by_name():
    one = pd.DataFrame({"cell_type": ["T cell", "T cell"]})
    several = pd.DataFrame({"cell_type": ["T cell", "B cell"]})
    assert rows_of_cell_type(one, MODEL, None, "x").all()
    assert rows_of_cell_type(several, MODEL, None, "x").tolist() == [False, True]
    assert rows_of_cell_type(several, MODEL, "T cell", "x").tolist() == [True, False]
    with pytest.raises(BadInput, match="no sample of cell type 'NK cell'"):
        rows_of_cell_type(several, MODEL, "NK cell", "x")


def test_fractions_and_a_table_without_counts_are_no_counts():
    assert whole_counts(np.array([[1, 2], [0, 0]]), "x").dtype == float, "one sample without counts is left out later"
    with pytest.raises(BadInput, match="no counts"):
        whole_counts(np.array([[0.5, 2], [3, 4]]), "x")
    with pytest.raises(BadInput, match="none of the 2 samples has any counts"):
        whole_counts(np.zeros((2, 2)), "x")


def test_missing_symbols_are_empty():
    assert gene_symbols(pd.DataFrame(index=["g"])).tolist() == [""]
    assert gene_symbols(pd.DataFrame({"symbol": [None, "A"]}, index=["g", "h"])).tolist() == ["", "A"]


def test_the_error_is_given_where_ages_are_known():
    rows = pd.DataFrame({"predicted": [50.0, 60.0, 70.0], "age_years": [52.0, np.nan, 66.0]})
    assert application_facts(MODEL, rows)["mae"] == pytest.approx(3.0)
    assert "mae" not in application_facts(MODEL, rows.assign(age_years=np.nan))
