"""The whole pipeline under the real engine: what it publishes, how it resumes, where it starts and stops."""

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

import containers
from engine import ROOT, copy_project, executed, nextflow, parameters, results, succeed, trace, tree
from immune_aging.cells.gene_lists import nuisance_reason
from immune_aging.task.checkpoints import read_h5ad, read_json, read_parquet, read_tsv

pytestmark = pytest.mark.long  # all look at one run, or resume it

GENE_SETS = ROOT / "assets/gene_sets/h.all.v7.5.1.symbols.gmt"
# Three cell types have samples of so many cells in enough donors.
SMALL = {
    "dataset": "small", "min_cells_per_sample": 15, "cells_per_shard": 600, "n_top_genes": 400, "n_pcs": 15, "n_neighbors_components": 10,
    "leiden_resolutions": [1], "ridge_alphas": [1], "gsea_permutations": 200, "umap_epochs": 50,
}  # fmt: skip
# What follows from each step: a change re-runs these and no others.
FIGURES_AND_REPORT = {"REPORT"}
COMPARISON = {"COMPARE_CELL_TYPES", "PLOT_COMPARISON"}
AFTER_CELL_TYPES = {"SUMMARIZE_PREDICTIONS", "PLOT_CELL_TYPE", *FIGURES_AND_REPORT}
# Steps that run only when asked for.
ON_REQUEST = {
    "SIMULATE_COHORT",
    "CHECK_PSEUDOBULK",
    "EXPORT_H5AD",
    "QC_THRESHOLDS",
    "VARY_QC",
    "SENSITIVITY",
    "PUBLISHED_CLOCKS",
    "GENE_EXPRESSION",
    "COMPARE_COHORTS",
    "PLOT_COHORTS",
    "GATHER_COHORT",
    "LIST_FILES",
    "RANK_RESIDUALS",
    "TAKE_RESULTS",
    "SPLIT_PSEUDOBULK",
    "KEPT_CELLS",
    "SKETCH_CELLS",
    "BATCH_SUMS",
    "FIT_BATCHES",
    "PLACE_CELLS",
    "MERGE_PLACED",
}
EVERY_STEP = {path.parent.name.upper() for path in ROOT.glob("modules/local/*/main.nf")}


class Run:
    """A finished run of an editable copy of the pipeline on a small simulated cohort, which tests resume."""

    def __init__(self, folder: Path):
        self.folder, self.project = folder, copy_project(folder / "project")
        self.cohort = folder / "cohort.h5ad"
        made = ["--preset", "tiny", "--gene-sets", GENE_SETS, "--output", self.cohort, "--truth", folder / "simulated"]
        made += ["--versions", folder / "versions.json"]
        subprocess.run([sys.executable, ROOT / "bin/simulate_cohort.py", *made], check=True)
        self.resume()
        self.first, self.results = trace(folder), results(folder / "results")
        self.checkpoints = self.digests()

    def digests(self) -> dict[Path, str]:
        """sha256 of the cohort and of every file that a task wrote for others, without the engine's own (.command.*)."""
        written = [path for path in (self.folder / "work").glob("*/*/**/*") if path.is_file() and not path.is_symlink()]
        files = [self.cohort, *(path for path in written if not path.name.startswith("."))]
        return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    def options(self, **changes: object) -> list[str]:
        """A parameters file with `changes`, as arguments."""
        path = self.folder / "params.json"
        path.write_text(json.dumps(SMALL | changes))
        return ["-params-file", str(path)]

    def resume(self, *arguments: str, **changes: object) -> set[str]:
        """Resume with changed parameters; returns the processes that executed a task."""
        options = self.options(**({"input": str(self.cohort)} | changes))
        succeed(self.folder, "-resume", *arguments, *options, project=self.project)
        return executed(
            self.folder, arguments[arguments.index("--outdir") + 1] if "--outdir" in arguments else "results"
        )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return Run(tmp_path_factory.mktemp("run"))


# --- containers: first, while the run is as it was made ----------------------------------------------------------


@pytest.mark.parametrize("engine", ["docker", "charliecloud"])
def test_each_container_engine_gives_the_same_bytes(run, tmp_path, monkeypatch, engine):
    """As far as quality control: the image is that of podman, in which test_slurm.py runs every step."""
    for variable, value in containers.environment().items():
        monkeypatch.setenv(variable, value)
    with ExitStack() as stack:
        if engine == "docker":
            monkeypatch.setenv("DOCKER_HOST", stack.enter_context(containers.docker()))
        else:
            containers.charliecloud()
        given = ["-params-file", *run.options(input=str(run.cohort))[1:]]
        succeed(tmp_path, "-profile", engine, "--stop_after", "qc", *given)
    found = tree(tmp_path / "results", without=("pipeline_info", "report.html"))
    assert {"qc/cells.parquet", "qc/summary.tsv", "cohort/donors.tsv"} <= set(found)
    assert [name for name, content in found.items() if run.results[name] != content] == []


# --- results ---------------------------------------------------------------------------------------------------


def test_every_step_of_the_design_ran(run):
    steps = set(run.first["process"])
    assert steps == EVERY_STEP - ON_REQUEST
    assert (run.first["status"] == "COMPLETED").all()


def test_statistics_let_the_way_to_the_umap_pass_and_take_nothing_from_it(run):
    """Tasks of one machine start first come, first served: the embedding would wait behind those of all cell types."""
    step = run.first.set_index("process")
    assert step.loc[["DIFFERENTIAL_EXPRESSION", "PREDICT_AGE"], "submit"].min() > step.loc["NEIGHBORS", "complete"]
    graph = (run.folder / "results/pipeline_info/dag.mmd").read_text()
    assert "EMBEDDING_NEIGHBORS --> EMBEDDING_UMAP" in graph
    assert "EMBEDDING_NEIGHBORS --> CELL_TYPES" not in graph


def test_results_lie_where_the_documentation_says(run):
    expected = [
        "report.html", "cohort/donors.tsv", "cohort/cell_types.tsv", "cohort/filtering.json", "qc/cells.parquet", "qc/summary.tsv",
        "embedding/genes.tsv", "embedding/pca.parquet", "embedding/harmony.parquet", "embedding/umap.parquet",
        "clusters/resolution-1.0/clusters.parquet", "pseudobulk/pseudobulk.h5ad", "pseudobulk/samples.tsv", "prediction_summary.tsv",
        "composition/composition.tsv", "composition/proportions.tsv", "composition/figures/effects.png",
        "comparison/shared_ageing.tsv", "comparison/gsea_nes.tsv", "comparison/power.tsv", "comparison/figures/power.png",
    ]  # fmt: skip
    types = read_tsv(run.folder / "results/cohort/cell_types.tsv")
    for name in types.loc[types["kept"], "id"]:
        expected += [f"cell_types/{name}/{table}.tsv" for table in ("de", "gsea", "ora_up", "ora_down")]
        expected += [
            f"cell_types/{name}/prediction/model-ridge_alpha-1/{table}.tsv"
            for table in ("predictions", "metrics", "coefficients")
        ]
    assert types["kept"].sum() >= 2
    assert set(expected) <= set(run.results)
    info = set(tree(run.folder / "results/pipeline_info"))
    assert {
        "trace.tsv",
        "timeline.html",
        "execution.html",
        "dag.mmd",
        "dag.png",
        "params.json",
        "versions.json",
    } <= info
    assert not any(name.endswith((".pkl", ".pickle", ".part")) for name in run.results)


COLUMNS = {
    "cohort/donors.tsv": "donor_id age_years sex n_cells kept reason",
    "cohort/cell_types.tsv": "id cell_type n_cells n_donors n_samples kept reason",
    "embedding/genes.tsv": "gene_id symbol rank variance_norm selected reason",
    "prediction_summary.tsv": "id cell_type model alpha mae r2 r baseline_mae n_donors",
    "cell_types/*/de.tsv": "gene_id symbol base_mean log2_fold_change lfc_se stat p_value padj lfc_per_decade padj_companion robust",
    "cell_types/*/gsea.tsv": "gene_set es nes direction correlation p_value q_value p_value_preranked q_value_preranked size leading_edge",
    "cell_types/*/ora_up.tsv": "gene_set overlap size odds_ratio p_value padj genes",
    "cell_types/*/prediction/*/predictions.tsv": "donor_id age_years predicted fold repeat",
    "cell_types/*/prediction/*/metrics.tsv": "metric value low high",
}


@pytest.mark.parametrize("pattern", COLUMNS)
def test_tables_have_the_columns_that_other_tools_rely_on(run, pattern):
    paths = list((run.folder / "results").glob(pattern))
    assert paths
    for path in paths:
        assert set(COLUMNS[pattern].split()) <= set(read_tsv(path).columns), path


def test_cells_add_up_from_the_input_to_the_embedding(run):
    results = run.folder / "results"
    cells, umap = read_parquet(results / "qc/cells.parquet"), read_parquet(results / "embedding/umap.parquet")
    funnel, qc = read_json(results / "cohort/filtering.json")["cells"], read_json(results / "qc/qc.json")["cells"]
    assert funnel["input"] == anndata.read_h5ad(run.cohort, backed="r").n_obs
    assert funnel["input"] - sum(funnel["lost"].values()) == funnel["kept"] == qc["input"] == len(cells)
    assert qc["input"] - sum(qc["lost"].values()) == qc["kept"] == cells["kept"].sum() == len(umap)
    assert umap["cell_id"].tolist() == cells.loc[cells["kept"], "cell_id"].tolist()
    samples = read_tsv(results / "pseudobulk/samples.tsv")
    assert samples["n_cells"].sum() == cells["kept"].sum()


def test_pseudobulk_sums_are_those_of_the_kept_cells_in_the_input(run):
    cohort = anndata.read_h5ad(run.cohort)
    cells = read_parquet(run.folder / "results/qc/cells.parquet").query("kept")
    table = read_h5ad(run.folder / "results/pseudobulk/pseudobulk.h5ad")
    row = table.obs.iloc[7]
    own = cells[(cells["donor_id"] == row["donor_id"]) & (cells["cell_type"] == row["cell_type"])]["cell_id"]
    expected = np.asarray(cohort[own, table.var_names].X.sum(axis=0)).ravel()
    np.testing.assert_array_equal(table[7].X.toarray().ravel(), expected)


def test_the_truth_is_found(run):
    """Doublets, dying cells and nuisance genes of the simulated cohort; planted sets are scored on the demo."""
    truth = read_parquet(run.folder / "simulated/cells.parquet").set_index("cell_id")
    cells = read_parquet(run.folder / "results/qc/cells.parquet").set_index("cell_id")
    joined = cells.join(truth[["is_doublet", "is_low_quality", "is_rbc"]], rsuffix="_true", how="left")
    assert not joined.loc[joined["is_low_quality"] | joined["is_rbc"], "kept"].any()
    scored = joined[joined["doublet_score"].notna() & ~joined["is_low_quality"] & ~joined["is_rbc"]]
    assert roc_auc_score(scored["is_doublet_true"], scored["doublet_score"]) > 0.9
    genes = read_tsv(run.folder / "results/embedding/genes.tsv")
    chosen = genes[genes["selected"]]
    assert len(chosen) > 300 and (nuisance_reason(chosen["symbol"].tolist()) == "").all()
    assert (genes.loc[~genes["selected"], "reason"] != "").all()


def test_the_report_is_one_file_that_needs_no_network(run):
    html = (run.folder / "results/report.html").read_text()
    for address in ("http://", "https://"):
        for attribute in (f'src="{address}', f"src='{address}", f'<link href="{address}', f"url({address}"):
            assert attribute not in html
    types = read_tsv(run.folder / "results/cohort/cell_types.tsv").query("kept")["cell_type"]
    assert all(name in html for name in types)
    assert html.count("data:image/png;base64,") >= 10


def test_the_description_of_the_run_is_complete(run):
    described = read_json(run.folder / "results/pipeline_info/params.json")
    assert described["n_top_genes"]["value"] == 400 and described["n_top_genes"]["default"] == 3000
    versions = json.dumps(read_json(run.folder / "results/pipeline_info/versions.json"))
    for package in ("h5py", "pydeseq2", "gseapy", "harmonypy", "igraph", "scikit-learn"):
        assert package in versions, package


@pytest.mark.parametrize(
    "setting",
    [
        'OPENBLAS_NUM_THREADS="1"',
        'NPY_DISABLE_CPU_FEATURES="X86_V4 AVX512_ICL AVX512_SPR"',
        'MALLOC_MMAP_THRESHOLD_="33554432"',
        'MALLOC_TRIM_THRESHOLD_="134217728"',
    ],
)
def test_every_task_starts_with_the_settings_that_make_it_cheap_and_alike_everywhere(run, setting):
    scripts = [path.read_text() for path in (run.folder / "work").glob("*/*/.command.run")]
    assert len(scripts) > 40 and all(f"export {setting}" in script for script in scripts)


# --- resume ----------------------------------------------------------------------------------------------------


def test_a_touched_but_equal_input_is_only_read_for_its_checksum(run):
    """(That an unchanged run executes nothing, test_resume.py shows.)"""
    os.utime(run.cohort, (1_700_000_000, 1_700_000_000))
    assert run.resume() == {"FETCH_COHORT"}


@pytest.fixture(scope="module")
def added(run):
    """What executes when values are added to four lists of parameters at once, which lead to different steps."""
    (table, *_) = sorted((run.folder / "results/cell_types").glob("*/de.tsv"))
    genes = read_tsv(table)["symbol"][:2].tolist()
    # One variant asks for what the run did anyway, one keeps no cell.
    variants = ["same: max_pct_hb=5", "design=~ age", "nothing: min_genes=5990"]
    steps = run.resume(
        "--outdir", "added", ridge_alphas=[1, 0.5], leiden_resolutions=[1, 2], report_genes=genes, sensitivity=variants
    )
    folder = run.folder / "added"
    report = (folder / "report.html").read_text()
    return {"steps": steps, "tasks": trace(run.folder, "added"), "genes": genes, "report": report, "folder": folder}


def test_added_values_run_their_own_steps_and_no_others(added):
    of_alphas, of_resolutions = {"PREDICT_AGE", *AFTER_CELL_TYPES}, {"CLUSTER", "PLOT_EMBEDDING", *FIGURES_AND_REPORT}
    of_genes = {"GENE_EXPRESSION", "PLOT_EMBEDDING", "PLOT_CELL_TYPE", *FIGURES_AND_REPORT}
    varied = {"VARY_QC", "VARIED_PSEUDOBULK", "VARIED_SAMPLES", "VARIED_EXPRESSION", "SENSITIVITY"}
    of_variants = {"PLAN_RUN", *varied, "DRAW_DAG", *FIGURES_AND_REPORT}
    assert added["steps"] == of_alphas | of_resolutions | of_genes | of_variants


def test_an_added_alpha_runs_only_its_own_tasks(added):
    predictions = added["tasks"][added["tasks"]["process"] == "PREDICT_AGE"]
    ran, kept = (predictions.loc[predictions["status"] == status, "tag"] for status in ("COMPLETED", "CACHED"))
    # The nested choice has penalties of its own, and the immune age is made of nothing else.
    assert set(ran.str.split().str[-1]) == {"0.5"} and set(kept.str.split().str[-1]) == {"1", "nested"}
    for folder in (added["folder"] / "cell_types").iterdir():
        assert (folder / "prediction/model-ridge_alpha-0.5/metrics.tsv").exists()


def test_an_added_resolution_runs_only_its_own_task(added):
    table = added["tasks"]
    assert (table[table["process"] == "CLUSTER"]["status"] == "COMPLETED").sum() == 1


def test_genes_asked_for_are_in_the_report(added):
    assert added["report"].count(added["genes"][1]) > 1


def test_variants_repeat_only_what_they_change_beside_the_run(run, added):
    """A variant that asks for what the run did anyway finds the same genes; the run itself is taken from the cache."""
    folder = added["folder"]
    table, genes = read_tsv(folder / "sensitivity/sensitivity.tsv"), read_parquet(folder / "sensitivity/genes.parquet")
    kept = read_tsv(folder / "cohort/cell_types.tsv").query("kept")["id"]
    found = table.groupby("variant")["id"].apply(set).to_dict()
    assert found == {name: set(kept) for name in ("base", "same", "design_age", "nothing")}
    by_variant = {name: part.drop(columns="variant").reset_index(drop=True) for name, part in genes.groupby("variant")}
    pd.testing.assert_frame_equal(by_variant["base"], by_variant["same"])
    assert not by_variant["base"]["p_value"].equals(by_variant["design_age"]["p_value"])
    nothing = table[table["variant"] == "nothing"]
    assert (nothing["status"] == "skipped").all() and nothing["reason"].str.startswith("0 samples").all()
    tables = [name for name in run.results if name.startswith(("cell_types/", "pseudobulk/")) and name.endswith(".tsv")]
    # The genes asked for stand beside the others in one of them.
    changed = [name for name in tables if (folder / name).read_bytes() != run.results[name]]
    assert len(tables) > 10 and all(name.endswith("/expression_by_age.tsv") for name in changed)
    for name in changed:
        before = pd.read_csv(io.BytesIO(run.results[name]), sep="\t")
        pd.testing.assert_frame_equal(pd.read_csv(folder / name, sep="\t")[before.columns], before)
    others = {name for name in tree(folder) if name.startswith(("cell_types/", "pseudobulk/"))} - set(run.results)
    assert all("/model-ridge_alpha-0.5/" in name or "/figures/" in name for name in others), "nothing of the variants"
    assert (
        not (folder / "sensitivity/cell_types").exists() and 'id="sensitivity"' in (folder / "report.html").read_text()
    )


@pytest.fixture(scope="module")
def changed(run):
    """What executes when two parameters are changed that lead to different steps."""
    return run.resume(gsea_permutations=100, n_top_genes=300)


def test_changed_parameters_re_run_what_depends_on_them_and_nothing_else(changed):
    gsea = {"GSEA", "PLOT_CELL_TYPE", *COMPARISON, *FIGURES_AND_REPORT}
    hvg = {"SELECT_GENES", "NORMALIZE", "PCA", "HARMONY", "NEIGHBORS", "UMAP", "CLUSTER", "PLOT_EMBEDDING"}
    assert changed == gsea | hvg, "Scrublet and the other statistics do not run again"


@pytest.fixture(scope="module")
def until_qc(run):
    """What executes as far as quality control, in another environment."""
    lock = run.project / "containers/requirements.lock"
    before = lock.read_text()
    lock.write_text(before + "\n# another environment\n")
    try:
        return run.resume("--outdir", "until_qc", stop_after="qc")
    finally:
        lock.write_text(before)


def test_another_environment_re_runs_every_step(until_qc):
    assert until_qc == {
        "FETCH_COHORT",
        "PLAN_RUN",
        "CHECK_COHORT",
        "FILTER_COHORT",
        "SPLIT_COHORT",
        "QC_CELLS",
        "MERGE_QC",
        "PLOT_COHORT",
        "PLOT_QC",
        "DRAW_DAG",
        "REPORT",
    }


# --- parts of the run ------------------------------------------------------------------------------------------


def test_a_run_from_the_pseudobulk_table_gives_the_same_statistics(run):
    table = run.folder / "table.h5ad"
    shutil.copy(run.folder / "results/pseudobulk/pseudobulk.h5ad", table)
    before = table.read_bytes()
    run.resume("--outdir", "from_table", input=None, pseudobulk=str(table))
    ran = set(trace(run.folder, "from_table")["process"])
    assert "CHECK_PSEUDOBULK" in ran and not ran & {"FETCH_COHORT", "QC_CELLS", "PCA"}
    ours = {
        name: data
        for name, data in run.results.items()
        if name.startswith(("cell_types/", "composition/", "comparison/")) and name.endswith(".tsv")
    }
    theirs = tree(run.folder / "from_table")
    assert {name: theirs.get(name) for name in ours} == ours
    assert "report.html" in theirs and table.read_bytes() == before


@pytest.fixture(scope="module")
def until_embedding(run):
    return run.resume("--outdir", "until_embedding", stop_after="embedding")


@pytest.fixture(scope="module")
def until_clusters(run):
    """A run as far as the clusters that exports the cohort."""
    return run.resume("--outdir", "until_clusters", export_h5ad=True, stop_after="clusters")


@pytest.fixture(scope="module")
def until_pseudobulk(run):
    return run.resume("--outdir", "until_pseudobulk", stop_after="pseudobulk")


# What is there, and what is not.
UNTIL = {
    "qc": (
        ["qc/cells.parquet", "cohort/cell_types.tsv", "report.html"],
        ["embedding", "clusters", "pseudobulk", "cell_types"],
    ),
    "embedding": (
        ["embedding/umap.parquet", "embedding/figures", "report.html"],
        ["clusters", "pseudobulk", "cell_types"],
    ),
    "clusters": (["clusters/resolution-1.0/clusters.parquet", "report.html"], ["pseudobulk", "cell_types"]),
    "pseudobulk": (
        ["pseudobulk/pseudobulk.h5ad", "clusters", "report.html"],
        ["cell_types", "prediction_summary.tsv"],
    ),
}


@pytest.mark.parametrize("part", UNTIL)
def test_stop_after_ends_there_with_what_is_done_published(run, part, request):
    request.getfixturevalue(f"until_{part}")
    folder, (has, lacks) = run.folder / f"until_{part}", UNTIL[part]
    assert all((folder / name).exists() for name in has) and not any((folder / name).exists() for name in lacks)


def test_check_only_ends_after_the_check(run):
    done = nextflow(
        run.folder,
        "-resume",
        "--outdir",
        "check",
        *run.options(input=str(run.cohort), check_only=True),
        project=run.project,
    )
    assert "The cohort can be analysed: 1540 cells" in done.stdout, done.stdout + done.stderr
    assert set(trace(run.folder, "check")["process"]) == {"PLAN_RUN"}, (
        "not even the checksum, which reads the whole file"
    )
    types = read_tsv(run.folder / "results/cohort/cell_types.tsv").query("kept")["cell_type"]
    shards = (run.first["process"] == "QC_CELLS").sum()
    assert f"in {shards} shards" in done.stdout and f"Cell types expected: {len(types)} (" in done.stdout
    assert f"Tasks: about {len(run.first)}. Time: about " in done.stdout
    folder, rest = trace(run.folder, "check")["hash"].iloc[0].split("/")
    plan = json.loads(next((run.folder / "work" / folder).glob(f"{rest}*/plan.json")).read_text())
    assert plan["costs"]["processes"] == run.first["process"].value_counts().to_dict()
    assert " GB. Disk: about " in done.stdout


def test_what_is_wrong_is_said_at_once_before_anything_long_runs(run):
    wrong = {"design": "~ bmi + age", "batch_column": "lane", "pool_column": "plate"}
    options = run.options(input=str(run.cohort), **wrong)
    done = nextflow(run.folder, "-resume", "--outdir", "refused", *options, project=run.project)
    output = done.stdout + done.stderr
    assert done.returncode != 0 and "Traceback" not in output
    lines = [line for line in output.splitlines() if "ERROR: " in line]
    assert len(lines) == 1 and f"ERROR: {run.cohort.resolve()}: --batch_column lane: is no donor column" in lines[0]
    assert "--design: 'bmi' is no donor column; there are: " in lines[0] and "--pool_column 'plate'" in lines[0]
    table = trace(run.folder, "refused")
    assert set(table["process"]) <= {"FETCH_COHORT", "FETCH_GENE_SETS", "PLAN_RUN"}
    assert table.loc[table["process"] == "PLAN_RUN", "exit"].astype(int).tolist() == [2], "never tried again"


def test_the_exported_cohort_gives_the_same_results_again(run, until_clusters):
    path = run.folder / "until_clusters/small.h5ad"
    exported = anndata.read_h5ad(path)
    cells = read_parquet(run.folder / "results/qc/cells.parquet")
    whole = anndata.read_h5ad(run.cohort)
    assert exported.obs_names[: len(cells)].tolist() == cells["cell_id"].tolist() and exported.n_obs > len(cells)
    assert (
        sorted(exported.obs_names) == sorted(whole.obs_names)
        and exported.var_names.tolist() == whole.var_names.tolist()
    )
    assert exported.obsm["X_umap"].shape == (whole.n_obs, 2) and "leiden_1.0" in exported.obs
    original = whole[exported.obs_names]
    assert (original.X != exported.X).nnz == 0
    assert set(original.obs) <= set(exported.obs)
    run.resume("--outdir", "again", input=str(path), stop_after="qc")
    again = read_parquet(run.folder / "again/qc/cells.parquet")
    pd.testing.assert_frame_equal(again, cells)


# --- faults ---------------------------------------------------------------------------------------------------


def test_bad_input_ends_with_one_line_and_is_not_tried_again(tmp_path):
    (tmp_path / "text.h5ad").write_text("this is no HDF5 file")
    done = nextflow(tmp_path, "--input", "text.h5ad")
    output = done.stdout + done.stderr
    assert done.returncode != 0
    assert f"ERROR: {tmp_path.resolve() / 'text.h5ad'}: is not an HDF5 file or is cut off" in output
    assert "Traceback" not in output
    assert trace(tmp_path)["process"].tolist().count("PLAN_RUN") == 1


def test_no_process_changes_its_inputs(run, added, changed, until_clusters):
    """Every checkpoint of the first run is what it was, after all the runs above that read it again.

    Most of them read shards, graph, tables of samples and tests once more.
    """
    assert len(run.checkpoints) > 120
    now = run.digests()
    assert {path: now.get(path) for path in run.checkpoints} == run.checkpoints


def test_the_project_is_not_changed_by_its_runs(run):
    for name in ("functions", "modules", "subworkflows", "conf", "assets"):
        assert tree(run.project / name) == tree(ROOT / name), name
    assert not list(run.project.rglob("__pycache__"))


def test_the_parameters_of_the_real_cohort_are_valid():
    assert parameters(ROOT / "conf/onek1k_40donors.json")["age_column"] == "age"
