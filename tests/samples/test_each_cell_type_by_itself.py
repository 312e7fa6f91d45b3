"""Each cell type is analysed in the donors that have enough of it, and changes nothing in the others."""

import numpy as np
import pandas as pd
import pytest

import composition
import predict_age
from de_step import run_step
from immune_aging.task.checkpoints import read_h5ad, read_json, read_parquet, read_tsv
from inputs.step_options import default_options
from sampled_cohorts import to_samples
from small_cohorts import small_cohort

RARE = {"D00": 8, "D01": 8, "D02": 8, "D03": 8, "D04": 8, "D05": 2}


@pytest.fixture(scope="module")
def cohort():
    """Twelve donors of two frequent cell types; six of them have cells of a rare one, one of these only two."""
    whole = small_cohort(donors=12, cells_per_type=60, genes=300, types=("T cell", "B cell", "rare"))
    donors, types = whole.obs["donor_id"].astype(str), whole.obs["cell_type"].astype(str)
    place = whole.obs.groupby([donors, types]).cumcount()
    return whole[((types != "rare") | (place < donors.map(RARE).fillna(0))).to_numpy()].copy()


@pytest.fixture(scope="module")
def analysed(cohort, tmp_path_factory):
    """The cohort with its rare cell type analysed, and with a share of donors asked for that leaves it out."""
    folder = tmp_path_factory.mktemp("each")
    with_rare = to_samples(cohort, folder / "with")
    return with_rare, to_samples(cohort, folder / "without", rules=["--min-donor-fraction", "0.6"])


def types_of(folder):
    return read_tsv(folder / "p/cohort/cell_types.tsv").set_index("id")


def test_a_rare_cell_type_is_analysed_in_the_donors_that_have_enough_of_it_and_takes_no_donor_away(analysed):
    with_rare, without = analysed
    assert types_of(with_rare)["kept"].to_dict() == {"b_cell": True, "rare": True, "t_cell": True}
    own = read_h5ad(with_rare / "x_rare_step-pseudobulk_counts.h5ad").obs
    assert own["donor_id"].astype(str).tolist() == ["D00", "D01", "D02", "D03", "D04"]
    assert len(read_h5ad(with_rare / "x_t_cell_step-pseudobulk_counts.h5ad").obs) == 12
    samples = read_tsv(with_rare / "p/pseudobulk/samples.tsv").set_index("sample_id")
    assert samples.loc["rare|D05", "reason"] == "fewer than 3 cells"
    assert types_of(without).loc["rare", "reason"] == "3 cells in only 5 of 12 donors"
    assert read_json(without / "p/cohort/filtering.json")["cells"]["lost"] == {}


def test_whether_a_cell_type_is_analysed_changes_no_byte_of_the_others(analysed, tmp_path):
    with_rare, without = analysed
    assert not types_of(without).loc["rare", "kept"]
    judged = pd.concat(read_parquet(path) for path in sorted(with_rare.glob("qc-*.parquet")))
    assert judged["is_doublet"].any(), "a donor's doublets are called among all its cells"
    for name in ("t_cell", "b_cell"):
        files = [folder / f"x_{name}_step-pseudobulk_counts.h5ad" for folder in analysed]
        assert files[0].read_bytes() == files[1].read_bytes()
        results = []
        for i, folder in enumerate(analysed):
            out = tmp_path / f"{name}{i}"
            run_step(out, read_h5ad(files[i]))
            predict_age.main(
                ["train", *default_options("predict_age"), "--pseudobulk", str(files[i]), "--samples", str(folder / "p/pseudobulk/samples.tsv"),
                 "--id", name, "--model", "ridge", "--alpha", "1", "--repeats", "1", "--bootstrap", "20", "--permutations",
                 "20", "--output", str(out / "prediction"), "--versions", str(out / "v.json")]
            )  # fmt: skip
            published = [out / "de.tsv", out / "de_summary.json", *sorted((out / "prediction").iterdir())]
            results.append({path.name: path.read_bytes() for path in published})
        assert results[0] == results[1] and len(results[0]) > 5


def test_a_donor_without_a_cell_counts_as_zero_and_a_small_sample_with_its_cells(analysed, tmp_path):
    with_rare, _ = analysed
    options = ["--pseudobulk", str(with_rare / "p/pseudobulk/pseudobulk.h5ad")]
    options += ["--cell-types", str(with_rare / "p/cohort/cell_types.tsv"), "--output", str(tmp_path)]
    composition.main([*default_options("composition"), *options, "--versions", str(tmp_path / "v.json")])
    shares = read_tsv(tmp_path / "proportions.tsv").set_index(["id", "donor_id"])["n_cells"]
    assert shares.loc[("rare", "D11")] == 0 and shares.loc[("rare", "D05")] == 2
    cells = pd.concat(read_parquet(path) for path in sorted(with_rare.glob("qc-*.parquet")))
    kept = cells[cells["kept"]].groupby(["cell_type", "donor_id"]).size()
    assert shares.sum() == kept.sum(), "every good cell is in the composition"
    assert read_json(tmp_path / "composition_summary.json")["n_donors"] == 12


def test_donors_in_common_are_those_that_have_every_cell_type(cohort, tmp_path):
    asked = ["--analysed-donors", "common", "--min-donor-fraction", "0.4"]
    folder = to_samples(cohort, tmp_path, rules=asked)
    for name in ("t_cell", "b_cell", "rare"):
        own = read_h5ad(folder / f"x_{name}_step-pseudobulk_counts.h5ad").obs
        assert set(own["donor_id"].astype(str)) <= set(RARE)
    donors = read_tsv(folder / "p/cohort/donors.tsv")
    assert (donors["reason"] == "no rare").sum() == 6 == (~donors["kept"]).sum()
    assert np.isclose(read_json(folder / "p/cohort/filtering.json")["rules"]["min_donor_fraction"], 0.4)
