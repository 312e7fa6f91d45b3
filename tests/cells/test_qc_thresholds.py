"""Thresholds and doublet rates of each donor: a pool is one group whatever shards it lies in; rates follow their rule."""

import numpy as np
import pandas as pd
import pytest

import qc_cells
import qc_thresholds
from immune_aging.cells import metrics as cells_metrics
from immune_aging.cells import thresholds
from immune_aging.cells.qc_rules import mad_thresholds
from immune_aging.task.checkpoints import read_json, read_parquet, read_tsv, write_h5ad, write_parquet, write_tsv
from immune_aging.task.command_line import BadInput
from inputs.step_options import default_bounds, default_options
from small_cohorts import shard_of, small_cohort

FIXED = ["--min-genes", "1", "--min-counts", "1", "--max-pct-mito", "90"]


@pytest.fixture(scope="module")
def shard():
    return shard_of(small_cohort(donors=6, cells_per_type=60, genes=200, seed=2))


def donors_of(shard):
    names = sorted(shard.obs["donor_id"].astype(str).unique())
    pools = [f"pool{i % 2}" for i in range(len(names))]  # pools that no split into shards keeps together
    return pd.DataFrame(
        {
            "donor_id": names,
            "age_years": 50.0,
            "sex": "female",
            "pool": pools,
            "rate": [0.02, np.nan] * (len(names) // 2),
        }
    )


def run(shards, folder, *options, donors=None, n_cells=120):
    """Run the step on shards; returns its table."""
    folder.mkdir(exist_ok=True)
    donors = donors_of(shards[0]) if donors is None else donors
    write_parquet(donors, folder / "d.parquet")
    write_tsv(donors[["donor_id", "sex"]].assign(n_cells=n_cells, kept=True, reason=""), folder / "d.tsv")
    paths = []
    for i, part in enumerate(shards):
        paths.append(folder / f"shard-{i:03d}.h5ad")
        write_h5ad(part, paths[-1])
    given = ["--shards", *map(str, paths)] if "--no-shards" not in options else []
    qc_thresholds.main(
        [*default_options("qc_thresholds"), "--donors", str(folder / "d.parquet"), "--donors-table", str(folder / "d.tsv"), *given, *FIXED,
         *(o for o in options if o != "--no-shards"), "--output", str(folder / "t.parquet"), "--output-table",
         str(folder / "t.tsv"), "--versions", str(folder / "v.json")]
    )  # fmt: skip
    return read_parquet(folder / "t.parquet")


def parts_of(shard, *names):
    return [shard[shard.obs["donor_id"].isin(part)].copy() for part in names]


def test_a_pool_that_lies_in_two_shards_has_one_threshold(shard, tmp_path):
    donors = donors_of(shard)
    split = parts_of(shard, ["D00", "D01", "D02"], ["D03", "D04", "D05"])
    options = ("--mad-group", "pool", "--mad-cutoff", "3")
    whole = run([shard], tmp_path / "one", *options, donors=donors)
    pd.testing.assert_frame_equal(whole, run(split[::-1], tmp_path / "two", *options, donors=donors))
    assert (tmp_path / "one/t.tsv").read_bytes() == (tmp_path / "two/t.tsv").read_bytes()
    assert (whole.groupby("threshold_group")["max_counts"].nunique() == 1).all() and whole["max_counts"].nunique() == 2


def test_thresholds_of_a_group_are_those_of_its_cells(shard, tmp_path):
    table = run([shard], tmp_path, "--mad-cutoff", "2.5").set_index("donor_id")
    own = shard[shard.obs["donor_id"] == "D03"]
    metrics = cells_metrics.qc_metrics(own.X, cells_metrics.gene_classes(own.var["symbol"].to_numpy(dtype=object)))
    fixed = default_bounds(min_genes=1, min_counts=1, max_pct_mito=90)
    expected = vars(mad_thresholds(metrics, fixed, cutoff=2.5))
    assert table.loc["D03", list(expected)].astype(float).to_dict() == pytest.approx(expected, rel=1e-5)
    assert table.loc["D03", ["threshold_rule", "n_cells_of_group"]].tolist() == ["2.5 MAD", 120]


def test_quality_control_judges_each_donor_by_its_row(shard, tmp_path):
    table = run([shard], tmp_path, "--mad-cutoff", "1", "--doublet-rate-column", "rate")
    write_h5ad(shard, tmp_path / "s.h5ad")
    qc_cells.main(
        [*default_options("qc_cells"), "--shard", str(tmp_path / "s.h5ad"), "--thresholds", str(tmp_path / "t.parquet"), "--output",
         str(tmp_path / "q.parquet"), "--output-summary", str(tmp_path / "q.json"), "--versions", str(tmp_path / "v.json")]
    )  # fmt: skip
    cells, summary = read_parquet(tmp_path / "q.parquet"), read_json(tmp_path / "q.json")
    bound = cells["donor_id"].map(table.set_index("donor_id")["max_counts"])
    assert ((cells["n_counts"] > bound) == cells["reason"].str.contains("too many counts")).all()
    assert cells["reason"].str.contains("too many counts").any()
    assert summary["expected_doublet_rates"] == {f"D{i:02d}": (0.02, 0.06)[i % 2] for i in range(6)}
    assert summary["thresholds"]["max_counts"] == [bound.min(), bound.max()]


def test_a_donors_doublets_are_those_of_its_rate_alone(shard, tmp_path):
    """Donors of other rates in the shard change nothing: the scores are those of a run at that one rate."""
    write_h5ad(shard, tmp_path / "s.h5ad")
    floors = vars(default_bounds(min_genes=1, min_counts=1, max_pct_mito=100, max_pct_hb=100))
    donors = sorted(shard.obs["donor_id"].astype(str).unique())
    rates = {donor: 0.02 if donor in ("D01", "D04") else 0.1 for donor in donors}
    write_parquet(
        pd.DataFrame({"donor_id": donors, **floors, "expected_doublet_rate": list(rates.values())}),
        tmp_path / "t.parquet",
    )

    def judged(*options):
        qc_cells.main(
            [*default_options("qc_cells"), "--shard", str(tmp_path / "s.h5ad"), *options, "--output", str(tmp_path / "q.parquet"), "--output-summary",
             str(tmp_path / "q.json"), "--versions", str(tmp_path / "v.json")]
        )  # fmt: skip
        return read_parquet(tmp_path / "q.parquet")

    both = judged("--thresholds", str(tmp_path / "t.parquet"))
    fixed = [word for name, value in floors.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    for rate in (0.02, 0.1):
        alone = judged(*fixed, "--expected-doublet-rate", str(rate))
        rows = both["donor_id"].map(rates) == rate
        assert alone["doublet_score"].notna().all()
        pd.testing.assert_frame_equal(both[rows], alone[rows])


@pytest.mark.parametrize(
    ("options", "rates", "rules"),
    [
        ({}, [0.06, 0.06, 0.06], ["fixed"] * 3),
        ({"per_1000_cells": 0.008}, [0.008, 0.001, 0.0192], ["cells of the donor"] * 3),
        ({"per_1000_cells": 0.008, "column": "rate"}, [0.1, 0.001, 0.0192], ["column"] + ["cells of the donor"] * 2),
        ({"column": "rate"}, [0.1, 0.06, 0.06], ["column", "fixed", "fixed"]),
    ],
)
def test_doublet_rates_follow_the_column_then_the_cells_then_the_fixed_rate(options, rates, rules):
    donors = pd.DataFrame({"donor_id": list("abc"), "n_cells": [1000, 20, 2400], "rate": [0.1, None, None]})
    found = thresholds.doublet_rates(donors, **({"fixed": 0.06, "per_1000_cells": None, "column": None} | options))
    assert found["expected_doublet_rate"].tolist() == pytest.approx(rates)
    assert found["doublet_rate_rule"].tolist() == rules


def test_the_doublets_that_stay_in_a_pool_follow_the_donors_own_cells():
    """Of random pairs in a pool, those of one donor are the share that the rule of 10x gives for its own cells."""
    rng = np.random.default_rng(0)
    n_cells = np.array([1000, 3000, 6000])
    owners = np.repeat(np.arange(3), n_cells)
    pairs = rng.choice(owners, (200_000, 2))
    of_one = pairs[:, 0] == pairs[:, 1]
    donors = pd.DataFrame({"donor_id": list("abc"), "n_cells": n_cells})
    rates = thresholds.doublet_rates(donors, fixed=0.06, per_1000_cells=0.008, column=None)["expected_doublet_rate"]
    pool_rate = 0.008 * n_cells.sum() / 1000
    for donor in range(3):
        left = (pairs[of_one][:, 0] == donor).mean() * of_one.mean() * pool_rate / (n_cells[donor] / n_cells.sum())
        assert left == pytest.approx(rates[donor], rel=0.1)


@pytest.mark.parametrize(("value", "shown"), [(6, "has '6'"), (0, "has '0'"), ("high", "has 'high'")])
def test_a_rate_that_is_no_share_is_refused(value, shown):
    donors = pd.DataFrame({"donor_id": ["a"], "n_cells": [1], "rate": [value]})
    with pytest.raises(BadInput, match=f"doublet_rate_column rate: donor 'a' {shown}; give a share"):
        thresholds.doublet_rates(donors, fixed=0.06, per_1000_cells=None, column="rate")


def test_a_column_that_is_not_there_is_named_with_those_that_are(shard, tmp_path):
    with pytest.raises(BadInput, match=r"--mad_group batch: is no obs column .* donor_id, age_years, sex, pool, rate"):
        run([shard], tmp_path, "--mad-group", "batch")
    with pytest.raises(BadInput, match="--doublet_rate_column x: is no obs column"):
        run([shard], tmp_path, "--doublet-rate-column", "x")


def test_without_shards_thresholds_are_the_fixed_ones(shard, tmp_path):
    table = run([shard], tmp_path, "--no-shards", "--doublet-rate-per-1000", "0.008")
    assert (table["max_pct_mito"] == 90).all() and (table["threshold_rule"] == "fixed").all()
    assert table["expected_doublet_rate"].tolist() == pytest.approx([0.00096] * 6, abs=5e-5)
    assert read_tsv(tmp_path / "t.tsv")["donor_id"].tolist() == table["donor_id"].tolist()


def test_a_small_group_and_a_donor_without_one_keep_the_fixed_thresholds(shard, tmp_path):
    donors = donors_of(shard).assign(pool=[None, "a", "a", "a", "a", "a"])
    table = run([shard], tmp_path, "--mad-group", "pool", donors=donors)
    assert table["threshold_rule"].tolist() == ["fixed: no group"] + ["5 MAD"] * 5
    assert table.loc[0, "max_counts"] == 30_000
