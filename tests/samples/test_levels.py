"""All cell types of a cohort compare the same two levels, whichever levels each of them has."""

import anndata
import numpy as np
import pandas as pd
import pytest

from immune_aging.samples.cell_type_samples import read_samples
from immune_aging.samples.levels import MOST_LEVELS, cohort_levels
from immune_aging.samples.pseudobulk_table import write_pseudobulk
from immune_aging.statistics.designs import build_design
from immune_aging.task.skipped import CannotFit

TYPES = pd.DataFrame({"id": ["b", "t"], "cell_type": ["B cell", "T cell"], "kept": True, "reason": ""})
ARMS = ["1 healthy", "2 mild", "3 severe"] * 8
DOSES = [0.0, 1.0, 2.5] * 8


@pytest.fixture
def samples_of(tmp_path, monkeypatch):
    """What the statistics read of a cell type, of whose samples a mask leaves some out."""
    monkeypatch.chdir(tmp_path)

    def of(identifier: str, left_out: np.ndarray):
        n = len(ARMS)
        rng = np.random.default_rng(0)
        donors = pd.DataFrame(
            {"donor_id": [f"d{i:02d}" for i in range(n)], "age_years": rng.uniform(20, 90, n), "sex": ["f", "m"] * (n // 2),
             "n_cells": 50, "n_counts": range(900, 900 + n), "arm": ARMS, "dose": DOSES, "seen": [1.0, 0.0] * (n // 2)}
        )  # fmt: skip
        obs = pd.concat([donors.assign(cell_type=name) for name in TYPES["cell_type"]], ignore_index=True)
        obs.index = pd.Index([f"{i}|{d}" for i in "bt" for d in donors["donor_id"]], name="sample_id")
        var = pd.DataFrame({"symbol": ""}, index=pd.Index(["g1", "g2"], name="gene_id"))
        obs = obs[~np.concatenate([np.zeros(n, dtype=bool), left_out])]
        table = anndata.AnnData(X=rng.poisson(500, (len(obs), 2)).astype(np.int64), obs=obs, var=var)
        write_pseudobulk(table, TYPES, min_cells=1, min_depth_share=0.0, folder=tmp_path / "p", prefix="x")
        return read_samples(tmp_path / f"x_{identifier}_step-pseudobulk_counts.h5ad")

    return of


def leading(table, formula: str, term: str, contrast: str = "") -> str:
    design = build_design(
        table.samples, formula=formula, test_term=term, contrast=contrast, cohort_levels=table.cohort_levels
    )
    return design.contrasts[0].name


@pytest.mark.parametrize(
    ("formula", "term", "lacking", "expected"),
    [
        ("~ arm", "arm", "1 healthy", "cannot compare '2 mild' with '1 healthy'.*none has the 'arm' '1 healthy'"),
        ("~ arm", "arm", "2 mild", "none has the 'arm' '2 mild'"),
        ("~ arm", "arm", "3 severe", "2 mild against 1 healthy"),
        ("~ C(arm, Treatment('3 severe'))", "C(arm, Treatment('3 severe'))", "1 healthy", "none has the 'arm' '1 healthy'"),
        ("~ C(arm, Treatment('3 severe'))", "C(arm, Treatment('3 severe'))", "3 severe", "the reference level that it names"),
        ("~ C(arm, Treatment('3 severe'))", "C(arm, Treatment('3 severe'))", "2 mild", "1 healthy against 3 severe"),
        ("~ C(arm, contr.SAS)", "C(arm, contr.SAS)", "3 severe", "none has the 'arm' '3 severe'"),
        ("~ C(dose)", "C(dose)", "1 healthy", "cannot compare '1' with '0'"),
        ("~ C(dose)", "C(dose)", "3 severe", "1 against 0"),
        ("~ arm * age", "arm:age", "2 mild", "cannot compare all levels of 'arm'"),
        ("~ dose", "dose", "3 severe", "per SD"),
        ("~ seen", "seen", "3 severe", "1 against 0"),
        ("~ sex + age", "sex", "3 severe", "m against f"),
        ("~ arm + age", "age", "1 healthy", "per SD"),
    ],
)  # fmt: skip
def test_a_cell_type_that_lacks_a_level_answers_the_same_question_or_none(samples_of, formula, term, lacking, expected):
    table = samples_of("t", np.array(ARMS) == lacking)
    try:
        found = leading(table, formula, term)
    except CannotFit as reason:
        found = str(reason)
    assert pd.Series([found]).str.contains(expected, regex=True).all(), found


def test_two_other_levels_are_compared_where_they_are_named(samples_of):
    table = samples_of("t", np.array(ARMS) == "1 healthy")
    assert leading(table, "~ arm", "arm", "3 severe vs 2 mild") == "3 severe against 2 mild"
    assert table.cohort_levels["arm"] == sorted(set(ARMS))
    assert not {"n_cells", "n_counts", "cell_type"} & set(table.cohort_levels), "what cell types differ in"


def test_levels_are_text_in_order_without_what_is_missing():
    samples = pd.DataFrame(
        {
            "run": [10.0, 2.0, np.nan], "flag": [True, False, True], "name": pd.Series(["b", "", None], dtype=object),
            "site": ["b", "a", "b"], "one": 1,
        }
    )  # fmt: skip
    assert cohort_levels(samples) == {"run": ["2", "10"], "flag": ["False", "True"], "site": ["a", "b"]}
    many = pd.DataFrame({"many": range(MOST_LEVELS + 1), "few": [*range(MOST_LEVELS), 0]})
    assert list(cohort_levels(many)) == ["few"]
