"""The plan of a run: what it will work on and what that will cost."""

import argparse
import json
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

from immune_aging.plan import costs as plan_costs
from immune_aging.plan import problems, run_plan, text
from immune_aging.task.command_line import BadInput
from sampled_cohorts import cohort_of_visits
from small_cohorts import small_cohort, write_cohort

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / "nextflow_schema.json").read_text())
DEFAULTS = {
    name: entry.get("default") for group in SCHEMA["$defs"].values() for name, entry in group["properties"].items()
}
# The cohort of OneK1K's size in docs/benchmarks.md.
LARGE = {"n_cells_kept": 1_270_000, "n_counts": 1_500_000_000, "n_samples": 6 * 982, "n_types": 6, "n_shards": 23}
PARTS = ["qc", "embedding", "clusters", "pseudobulk", "statistics"]
# What the workflow makes tasks for each of: with the defaults, ridge with three penalties and the nested choice.
RIDGE = [{"model": "ridge", "alpha": alpha} for alpha in ("0.01", "0.1", "1", "nested")]
FAN_OUT = {"resolutions": ["1.0"], "fits": RIDGE, "variants": []}


def costs(plan=LARGE, last="statistics", cores=2, first="qc", fan_out=None, **changes):
    asked = {"parameters": DEFAULTS | changes, "fan_out": FAN_OUT | (fan_out or {})}
    parts = PARTS[PARTS.index(first) : PARTS.index(last) + 1]
    return plan_costs.costs(plan, asked, parts=parts, cores=cores)


@pytest.mark.parametrize(("cores", "minutes"), [(1, 22.2), (2, 13.2), (4, 9.7)])
def test_the_estimate_of_time_is_near_what_was_measured(cores, minutes):
    assert costs(cores=cores)["minutes"] == pytest.approx(minutes, rel=0.2)


def test_the_estimates_of_memory_and_disk_are_not_below_what_was_measured():
    assert 5.8 <= costs()["largest_task_gb"] <= 8 and 4.3 <= costs()["disk_gb"] <= 6


def test_each_value_of_a_list_adds_its_own_tasks():
    tasks = costs()["tasks"]
    assert costs(fan_out={"resolutions": ["0.5", "1.0", "2.0"]})["tasks"] == tasks + 2
    assert costs(fan_out={"fits": [*RIDGE, {"model": "ridge", "alpha": "3"}]})["tasks"] == tasks + 6, (
        "one per cell type"
    )
    net = [{"model": "elastic_net", "alpha": alpha} for alpha in ("0.5", "nested")]
    assert costs(fan_out={"fits": RIDGE + net})["tasks"] == tasks + 6 * 2, "and nested"
    assert costs(report_genes="CD27")["tasks"] == tasks + 23, "one per shard"
    ageless = costs(fan_out={"fits": []}, age_column="none", published_clocks="clocks")["processes"]
    of_age = {"PREDICT_AGE", "IMMUNE_AGE", "SUMMARIZE_PREDICTIONS", "PUBLISHED_CLOCKS"}
    assert not of_age & set(ageless) and "DIFFERENTIAL_EXPRESSION" in ageless
    assert costs(compare_with="other")["tasks"] == tasks + 2
    assert costs(export_h5ad=True)["tasks"] == tasks + 1
    assert costs(qc_thresholds="mad")["tasks"] == tasks + 1
    design, strict = {"id": "design", "cells": False}, {"id": "strict", "cells": True}
    assert costs(fan_out={"variants": [design]})["tasks"] == tasks + 6 + 1, "tests per cell type, and the comparison"
    assert costs(fan_out={"variants": [strict]})["tasks"] == tasks + 1 + 23 + 1 + 6 + 1


def test_a_run_that_ends_early_costs_less():
    minutes = [costs(last=part)["minutes"] for part in PARTS]
    assert minutes == sorted(minutes) and minutes[0] < minutes[-1] / 2
    no_cells = {**LARGE, "n_cells_kept": 0, "n_counts": 0, "n_shards": 0}
    assert costs(no_cells, first="pseudobulk")["tasks"] < costs()["tasks"] - 4 * 23


def test_a_method_has_tasks_of_its_own_in_place_of_the_others():
    plain, other = costs()["processes"], costs(hvg_flavor="pearson_residuals", integration="none")["processes"]
    assert set(plain) - set(other) == {"RANK_GENES", "HARMONY"} and set(other) - set(plain) == {"RANK_RESIDUALS"}
    assert other["RANK_RESIDUALS"] == plain["RANK_GENES"]


def test_a_run_without_an_embedding_costs_less_and_has_none_of_its_tasks():
    asked = {"parameters": DEFAULTS, "fan_out": FAN_OUT}
    found = plan_costs.costs(LARGE, asked, parts=["qc", "pseudobulk", "statistics"], cores=2)
    left_out = set(costs()["processes"]) - set(found["processes"])
    assert left_out == {
        "RANK_GENES", "SELECT_GENES", "NORMALIZE", "PCA", "HARMONY", "NEIGHBORS", "UMAP", "CLUSTER", "PLOT_EMBEDDING",
    }  # fmt: skip
    assert found["minutes"] < costs()["minutes"] - 3


def test_an_export_needs_its_own_disk_and_its_copy_as_much_again():
    measured_raw, measured_layer = 4.08, 3.5  # GB; docs/benchmarks.md
    for mode, times in (("copy", 2), ("symlink", 1)):
        without = costs(publish_mode=mode)["disk_gb"]
        raw = costs(publish_mode=mode, export_h5ad=True)["disk_gb"] - without
        assert raw == pytest.approx(times * measured_raw, rel=0.05)
        both = costs(publish_mode=mode, export_h5ad=True, export_normalized=True)["disk_gb"] - without
        assert both == pytest.approx(times * (measured_raw + measured_layer), rel=0.05)
        assert costs(publish_mode=mode, export_normalized=True)["disk_gb"] == without, "a layer of nothing"


@pytest.mark.parametrize(
    ("minutes", "cores", "said"),
    [
        (1, 1, "about a minute on one core."),
        (2, 1, "about 2 minutes on one core."),
        (14, 2, "about 14 minutes on 2 cores."),
    ],
)
def test_the_text_counts_minutes_and_cores(minutes, cores, said):
    plan = {
        "n_cells": 9, "n_genes": 5, "counts_layer": "X", "n_donors": 3, "n_cell_types": 2, "cell_types": ["B", "T"], "notes": [],
        "n_types": 2, "n_samples": 6, "n_cells_kept": 9, "n_donors_kept": 3, "n_shards": 1,
        "costs": costs() | {"minutes": minutes, "cores": cores, "free_disk_gb": 9.0},
    }  # fmt: skip
    assert f"Time: {said} Memory" in "\n".join(text.text_of(plan))


def options_for(path, **changes):
    """The arguments of the plan of a small cohort."""
    args = argparse.Namespace(
        cohort=path, donor_column="donor_id", sample_column="", cell_type_column="cell_type", age_column="development_stage", sex_column="sex", age_ranges="midpoint",
        counts_layer="auto", round_counts=False, analysed_donors="common", doublet_column="", donor_percentile=0, min_cells_per_type=10, min_donor_fraction=0.9, cells_per_shard=100,
        parts=["qc"], mad_group="", doublet_rate_column="", batch_column="donor_id", min_cells_per_sample=10,
        min_samples_per_type=5, designs=["~ sex + age"], test_term="age", contrast="", by_column="", age_spline=0, pool_column="auto",
        acceleration_columns=[], donor_table=None, gene_symbols=None, gene_sets=None, gene_set_min_size=10, gene_set_max_size=1000,
    )  # fmt: skip
    return argparse.Namespace(**(vars(args) | changes))


def test_a_cohort_is_planned_with_the_donors_cells_and_samples_that_will_be_kept(tmp_path):
    cohort = small_cohort(donors=6, cells_per_type=20)
    plan = run_plan.plan_cohort(options_for(write_cohort(cohort, tmp_path / "cohort.h5ad")))
    assert (plan["n_cells"], plan["n_donors"], plan["n_genes"]) == (cohort.n_obs, 6, cohort.n_vars)
    assert (plan["n_cells_kept"], plan["n_donors_kept"]) == (cohort.n_obs, 6), "nothing is to be left out"
    assert plan["n_types"] == 2 and plan["n_samples"] == 12
    assert plan["n_shards"] == 2, "the third donor of 40 cells fills a shard of 100"


def test_the_plan_follows_the_donors_that_are_asked_for(tmp_path):
    """Two of six donors have too few B cells: each keeps both, common keeps those who have any."""
    cohort = small_cohort(donors=6, cells_per_type=20, types=("T cell", "B cell"))
    place = cohort.obs.groupby(["donor_id", "cell_type"], observed=True).cumcount()
    few = (cohort.obs["cell_type"] == "B cell") & cohort.obs["donor_id"].isin(["D00", "D01"])
    allowed = cohort.obs["donor_id"].astype(str).map({"D00": 0, "D01": 4}).fillna(99)
    path = write_cohort(cohort[(~few | (place < allowed)).to_numpy()].copy(), tmp_path / "cohort.h5ad")

    def planned(**options):
        plan = run_plan.plan_cohort(options_for(path, min_samples_per_type=4, **options))
        return plan["n_donors_kept"], plan["n_cells_kept"], plan["cell_types"], plan["n_samples"]

    assert planned(analysed_donors="each", min_donor_fraction=None) == (6, 204, ["B cell", "T cell"], 10)
    assert planned(analysed_donors="each", min_donor_fraction=0.9) == (6, 204, ["T cell"], 6), "its cells stay"
    assert planned(analysed_donors="common", min_donor_fraction=0.6) == (5, 184, ["B cell", "T cell"], 9)
    assert planned(analysed_donors="common", min_donor_fraction=None) == (6, 120, ["T cell"], 6)


def test_the_plan_of_a_cohort_with_ensembl_ids_alone_finds_its_gene_sets(tmp_path):
    cohort = small_cohort(donors=6, cells_per_type=20)
    symbols = cohort.var.pop("feature_name")
    path = write_cohort(cohort, tmp_path / "cohort.h5ad")
    (tmp_path / "symbols.tsv").write_text("".join(f"{gene}\t{name}\n" for gene, name in symbols.items()))
    (tmp_path / "sets.gmt").write_text("\t".join(["ONE", "", *symbols[:12]]) + "\n")
    options = {"parts": ["qc", "statistics"], "gene_sets": tmp_path / "sets.gmt"}
    [note] = run_plan.plan_cohort(options_for(path, **options))["notes"]
    assert "the file gives no gene symbols" in note
    [note] = run_plan.plan_cohort(options_for(path, **options, gene_symbols=tmp_path / "symbols.tsv"))["notes"]
    assert note == "the symbols of 60 of 60 genes come from symbols.tsv (--gene_symbols)"
    strict = options | {"gene_set_min_size": 13, "gene_symbols": tmp_path / "symbols.tsv"}
    assert "no gene set has 13 to 1000 genes" in run_plan.plan_cohort(options_for(path, **strict))["notes"][1]


def test_a_table_of_symbols_that_cannot_be_used_is_said_with_all_else_that_is_wrong(tmp_path):
    path = write_cohort(small_cohort(donors=6, cells_per_type=20), tmp_path / "cohort.h5ad")
    (tmp_path / "symbols.tsv").write_text("a,b\n")
    with pytest.raises(BadInput, match=r"--gene_symbols symbols.tsv: line 1: .* \| --batch_column lane"):
        run_plan.plan_cohort(
            options_for(path, gene_symbols=tmp_path / "symbols.tsv", parts=["qc", "embedding"], batch_column="lane")
        )


@pytest.mark.parametrize(("min_depth_share", "min_samples", "types"), [(0.1, 4, 2), (0.1, 6, 1), (0, 6, 2)])
def test_a_table_is_planned_with_the_samples_that_have_enough_cells_and_counts(
    tmp_path, min_depth_share, min_samples, types
):
    """The T cells of two donors have hardly any counts."""
    donors = [f"D{i}" for i in range(6)]
    obs = pd.DataFrame(
        {
            "donor_id": donors * 2, "cell_type": ["B"] * 6 + ["T"] * 6, "n_cells": 20, "n_counts": [500] * 10 + [3] * 2,
            "age_years": [30.0, 42, 51, 65, 70, 82] * 2, "sex": ["female", "male"] * 6,
        },
        index=[f"s{i}" for i in range(12)],
    )  # fmt: skip
    table = anndata.AnnData(np.ones((12, 3), dtype=np.int64), obs=obs, var=pd.DataFrame(index=["G1", "G2", "G3"]))
    table.write_h5ad(tmp_path / "pseudobulk.h5ad")
    symbols = "the symbols of 2 of 3 genes come from table.tsv (--gene_symbols)"
    (tmp_path / "check.json").write_text(json.dumps({"notes": [symbols]}))
    args = argparse.Namespace(
        check=tmp_path / "check.json", cohort=None, samples=tmp_path / "pseudobulk.h5ad", parts=["statistics"], min_cells_per_sample=10, age_column="age",
        min_depth_share=min_depth_share, min_samples_per_type=min_samples, designs=["~ sex + age"], test_term="age",
        contrast="", by_column="", age_spline=0, pool_column="auto", acceleration_columns=[], gene_sets=None, gene_set_min_size=10,
        gene_set_max_size=1000, mad_group="", doublet_rate_column="", batch_column="donor_id",
    )  # fmt: skip
    plan = run_plan.plan_table(args)
    kept_of_t = 6 if min_depth_share == 0 else 4
    assert plan["cell_types"] == ["B", "T"][:types]
    assert plan["n_samples"] == 6 + (kept_of_t if types == 2 else 0)
    assert plan["notes"][0] == symbols, "what a check alone prints, too"


def test_a_cohort_of_visits_is_planned_by_its_samples(tmp_path):
    cohort = cohort_of_visits(donors=6, cells_per_type=40)
    cohort.obs["visit"] = cohort.obs["visit"].cat.add_categories(["T2"])
    cohort.obs.loc[(cohort.obs["donor_id"] == "D01") & (np.arange(cohort.n_obs) % 20 == 0), "visit"] = None
    path = write_cohort(cohort, tmp_path / "cohort.h5ad")
    plan = run_plan.plan_cohort(options_for(path, sample_column="visit", batch_column="run", min_samples_per_type=12))
    assert (plan["n_donors"], plan["n_donors_kept"], plan["n_samples_of_donors"]) == (6, 6, 12)
    assert plan["n_samples"] == 24 and "6 donors with 12 samples" in text.text_of(plan)[0]
    assert any("cells of a donor have no sample and are left out" in note for note in plan["notes"])


def test_what_varies_within_a_sample_cannot_stand_in_the_design(tmp_path):
    """Blood and marrow, each stimulated or not: the stimulation alone does not tell a donor's samples apart."""
    cohort = cohort_of_visits(donors=6, cells_per_type=40, years=0)
    cohort.obs["tissue"] = np.where(np.arange(cohort.n_obs) % 2, "blood", "marrow")
    path = write_cohort(cohort, tmp_path / "cohort.h5ad")
    asked = {"parts": ["qc", "pseudobulk", "statistics"], "sample_column": "visit"}
    with pytest.raises(
        BadInput, match="'tissue' of the design varies within donor 'D00'; so --sample_column does not tell all"
    ):
        run_plan.plan_cohort(options_for(path, **asked, designs=["~ tissue + age"]))
    both = cohort.copy()
    both.obs["sample"] = both.obs["visit"].astype(str) + " " + both.obs["tissue"].astype(str)
    path = write_cohort(both, tmp_path / "both.h5ad")
    plan = run_plan.plan_cohort(
        options_for(path, **asked | {"sample_column": "sample"}, min_cells_per_sample=3, designs=["~ tissue + age"])
    )
    assert plan["n_samples_of_donors"] == 24


def test_a_column_that_differs_between_visits_is_no_column_of_donors(tmp_path):
    path = write_cohort(cohort_of_visits(donors=6, cells_per_type=40), tmp_path / "cohort.h5ad")
    asked = {"parts": ["qc", "pseudobulk", "statistics"], "sample_column": "visit", "min_cells_per_sample": 3}
    with pytest.raises(BadInput, match="--acceleration_columns run: varies within donor 'D00'"):
        run_plan.plan_cohort(options_for(path, **asked, acceleration_columns=["run"]))
    assert run_plan.plan_cohort(options_for(path, **asked, designs=["~ run + age"]))["n_types"] == 2


@pytest.mark.parametrize(
    ("design", "term", "by", "problem"),
    [
        ("~ condition", "condition", "sex", ""),
        ("~ donor + condition", "condition", "sex", ""),
        ("~ condition + age", "age", "sex", ""),
        ("~ condition + age + (1 | donor)", "age", "condition", ""),
        ("~ sex + age", "age", "condition", "'condition' differs between the samples of donor 'D00', which are summed"),
    ],
)
def test_levels_are_planned_by_what_becomes_of_a_donors_samples(design, term, by, problem):
    donors = pd.DataFrame(
        {
            "donor_id": [f"D{i // 2:02d}" for i in range(24)], "sample_of_donor": ["a", "b"] * 12, "condition": ["ctrl", "stim"] * 12,
            "age_years": np.repeat(np.arange(12) ** 1.5 + 20, 2), "sex": np.resize(["f", "f", "m", "m"], 24),
            "varies_within_donor": "[]",
        },
    )  # fmt: skip
    found, _ = problems.design_problems(donors, [design], test_term=term, contrast="", min_samples=6, by_column=by)
    assert len(found) == bool(problem)
    if problem:
        assert found[0].startswith(f"--by_column '{by}': {problem}") and "(1 | donor) in --design" in found[0]
