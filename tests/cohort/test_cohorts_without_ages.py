"""`--age_column none`, `--sex_column none`: nothing is lost or guessed for want of them, and what needs them is refused."""

import anndata
import numpy as np
import pandas as pd
import pytest

import check_pseudobulk
import plan_run
from condition_cohorts import COLUMNS, NO_AGE, paired_cohort
from immune_aging.cohort.export import own_columns
from immune_aging.figures.cohort import draw
from immune_aging.figures.embedding import draw_umaps
from immune_aging.task.checkpoints import read_h5ad, read_json, read_parquet, read_tsv, write_h5ad
from immune_aging.task.command_line import BadInput
from inputs.step_options import default_options
from prepared_cohorts import SMALL, prepared
from small_cohorts import small_cohort, write_cohort

PAIRED = ("--designs", "~ donor + condition", "--test-term", "condition")


@pytest.fixture(scope="module")
def paired(tmp_path_factory):
    return write_cohort(paired_cohort(donors=6, cells=6), tmp_path_factory.mktemp("paired") / "cohort.h5ad")


def planned(path, *options):
    """The plan of a cohort, or what is wrong."""
    output = path.with_name("plan.json")
    plan_run.main(
        [*default_options("plan_run"), "--cohort", str(path), *SMALL, "--donor-percentile", "0", *options,
         "--output", str(output), "--versions", str(path.with_name("v.json"))]
    )  # fmt: skip
    return read_json(output)


def test_a_cohort_of_conditions_is_planned_without_ages_and_says_what_is_left_out(paired):
    plan = planned(paired, *COLUMNS, *PAIRED)
    assert (plan["n_donors_kept"], plan["n_samples_of_donors"], plan["n_types"]) == (6, 12, 2)
    assert plan["n_cells_kept"] == plan["n_cells"]
    assert any(note.startswith("--age_column none: age prediction") for note in plan["notes"])
    assert any(note.startswith("--sex_column none: figures by sex") for note in plan["notes"])
    assert not any("no known age" in note for note in plan["notes"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "--age_column none: the question must be named"),
        (("--designs", "~ condition"), "--age_column none: the question must be named"),
        (("--designs", "~ sex + age", "--test-term", "age"), "--age_column none: the question must be named"),
        (("--designs", "~ age + condition", "--test-term", "condition"), "--design: 'age': is known of no donor, as with --age_column none"),
        (("--designs", "~ sex + condition", "--test-term", "condition"), "--design: 'sex': is known of no donor, as with --sex_column none"),
        ((*PAIRED, "--age-spline", "3"), "--age_spline 3: needs ages, which --age_column none leaves out"),
        ((*PAIRED, "--by-column", "sex"), "--by_column 'sex': is known of no donor"),
        ((*PAIRED, "--batch-column", "sex"), "--batch_column sex: is known of no donor"),
        ((*PAIRED, "--mad-group", "sex"), "--mad_group sex: is known of no donor"),
        (("--designs", "~ donor + condition", "~ age", "--test-term", "condition"), "--sensitivity: "),
    ],
)  # fmt: skip
def test_what_needs_ages_or_sexes_is_refused_by_name(paired, options, message):
    with pytest.raises(BadInput) as refused:
        planned(paired, *COLUMNS, *options)
    assert message in str(refused.value) and "\n" not in str(refused.value)


def test_without_sex_the_default_design_has_age_alone(tmp_path):
    cohort = small_cohort(donors=8, cells_per_type=6)
    del cohort.obs["sex"]
    path = write_cohort(cohort, tmp_path / "cohort.h5ad")
    plan = planned(path, "--sex-column", "none")
    assert plan["n_donors_kept"] == 8
    assert "no donor's sex is known: the default design has age alone" in plan["notes"]
    with pytest.raises(BadInput, match="--sex_column none, where the cohort does not tell it"):
        planned(path)


def test_a_column_called_age_or_sex_is_no_age_and_no_sex_but_may_stand_in_the_design(tmp_path):
    cohort = paired_cohort(donors=6, cells=6)
    donor = cohort.obs["patient"].str[1:].astype(int)
    cohort.obs["age"] = np.where(donor == 0, np.nan, 30.0 + donor)  # one is missing, and no donor is lost
    cohort.obs["sex"] = np.where(donor % 2 == 0, "a", "b")
    cohort.obs["age_years"] = 1.0 + donor % 3
    path = write_cohort(cohort, tmp_path / "cohort.h5ad")
    prepared(path, tmp_path, *COLUMNS)
    donors = read_parquet(tmp_path / "donors.parquet")
    assert donors[["age_years", "sex", "age_text"]].isna().all(axis=None)
    assert set(donors["sex_as_given"]) == {"a", "b"} and set(donors["age_years_as_given"]) == {1, 2, 3}
    assert donors["age"].isna().sum() == 2, "one donor's two samples"
    assert read_tsv(tmp_path / "donors.tsv")["kept"].all()
    plan = planned(path, *COLUMNS, "--designs", "~ sex + age_years + condition", "--test-term", "condition")
    assert plan["n_samples_of_donors"] == 12
    assert planned(path, *COLUMNS, "--designs", "~ age + condition", "--test-term", "age")


def table_of_samples(folder, **changes):
    """A pseudobulk table of the paired cohort's kind, some columns changed or removed (None)."""
    rng = np.random.default_rng(0)
    rows = [(f"P{p}", level, kind) for kind in ("T", "B") for p in range(6) for level in ("ctrl", "stim")]
    obs = pd.DataFrame(rows, columns=["donor_id", "condition", "cell_type"], index=[f"s{i}" for i in range(len(rows))])
    obs = obs.assign(n_cells=50, **{name: value for name, value in changes.items() if value is not None})
    var = pd.DataFrame(index=[f"GENE{i}" for i in range(40)])
    table = anndata.AnnData(X=rng.poisson(50, (len(rows), 40)).astype(np.float32), obs=obs, var=var)
    write_h5ad(table, folder / "table.h5ad")
    return folder / "table.h5ad"


@pytest.mark.parametrize("column", ["age", "age_years"])
def test_a_table_of_samples_needs_no_ages_either_and_takes_no_column_for_them(tmp_path, column):
    ages = np.repeat([np.nan, 40.0, 50.0], 8)
    path = table_of_samples(tmp_path, **{column: ages, "sex": ["x", ""] * 12})
    options = [*default_options("check_pseudobulk"), *NO_AGE, "--sample-column", "condition"]
    options += ["--min-samples-per-type", "4", "--prefix", str(tmp_path / "x"), "--output", str(tmp_path / "p")]
    check_pseudobulk.main(["--table", str(path), *options, "--versions", str(tmp_path / "v.json")])
    made = read_h5ad(tmp_path / "p/pseudobulk/pseudobulk.h5ad").obs
    assert len(made) == 24 and made["age_years"].isna().all() and made["sex"].isna().all()
    check = read_json(tmp_path / "p/cohort/check.json")
    assert check["notes"][0].startswith("--age_column none: ")
    assert read_tsv(tmp_path / "p/cohort/donors.tsv")["kept"].all()
    plan = plan_run.main(
        [*default_options("plan_run"), *NO_AGE, "--samples", str(tmp_path / "p/pseudobulk/pseudobulk.h5ad"), "--check",
         str(tmp_path / "p/cohort/check.json"), "--parts", "statistics", "--min-samples-per-type", "4", *PAIRED,
         "--output", str(tmp_path / "plan.json"), "--versions", str(tmp_path / "v.json")]
    )  # fmt: skip
    plan = read_json(tmp_path / "plan.json")
    assert plan["n_samples"] == 24 and any("--age_column none" in note for note in plan["notes"])


def test_figures_of_ages_and_sexes_are_drawn_where_there_are_any():
    cells = pd.DataFrame(
        {"cell_type": ["T", "B"] * 20, "donor_id": ["a", "b"] * 20, "n_counts": 9.0, "doublet_score": 0.1}
    )
    cells = cells.astype({"cell_type": "category", "donor_id": "category"})
    points = np.random.default_rng(0).normal(size=(40, 2))
    known = {"sex": ["f", "m"] * 20, "age_years": [30.0, np.nan] * 20}
    none = {"sex": pd.Series([None] * 40, dtype=object), "age_years": np.nan}
    names = [{name for name, _ in draw_umaps(points, cells.assign(**facts))} for facts in (known, none)]
    assert names[0] - names[1] == {"umap_sex", "umap_age"} and {"umap_donor", "umap_counts"} <= names[1]
    donors = pd.DataFrame(
        {"donor_id": list("abc"), "age_years": [30.0, 40.0, 50.0], "sex": list("fmf"), "n_cells": 9, "kept": True}
    )
    types = pd.DataFrame({"cell_type": ["T"], "n_cells": [9], "n_donors": [3], "kept": [True], "reason": [""]})
    drawn = dict(draw(donors.assign(sex=np.nan), types, cut=None))
    assert drawn["age_sex"].title == "Age" and "by sex" not in drawn["age_sex"].description
    assert "age_sex" not in {name for name, _ in draw(donors.assign(age_years=np.nan), types, cut=None)}


def test_the_export_has_no_column_of_ages_where_there_are_none():
    cells = pd.DataFrame({"cell_id": ["a", "b"], "donor_id": ["x", "y"], "cell_type": "T", "kept": True})
    donors = pd.DataFrame({"donor_id": ["x", "y"], "age_years": [40.0, np.nan]})
    assert own_columns(cells, donors, {}).columns.tolist() == ["kept", "age_years"]
    assert own_columns(cells, donors.assign(age_years=np.nan), {}).columns.tolist() == ["kept"]
