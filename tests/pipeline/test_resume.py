"""`-resume` goes by content: an edit re-runs what depends on it and nothing else, a date or another folder re-runs nothing.

Every edit here keeps a file's length and date, so that nothing but its content tells. Edits that lead to different steps
share a run of the engine; each has to be the cause of its own steps, and together they may cause no other.
"""

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest

from engine import copy_project, executed, nextflow, results, succeed, trace
from fault_runs import PARAMETERS
from small_cohorts import small_cohort, write_cohort

pytestmark = pytest.mark.long  # each starts the engine, some five times

GENE_SETS = "assets/gene_sets/h.all.v7.5.1.symbols.gmt"
GENE_SYMBOLS = "assets/genes/gencode_v48_human.tsv.gz"
OF_GENE_SETS = {"GSEA", "COMPARE_CELL_TYPES", "PLOT_COMPARISON", "PLOT_CELL_TYPE", "REPORT"}
# What is edited, and what then runs again. Of each kind: scripts, a module that several share, scripts of the steps whose
# large input is taken by path (`cache 'lenient'`), files of the project and of the user that steps read.
EDITS_OF_ONE_RUN = (
    {
        "bin/fetch_cohort.py": {"FETCH_COHORT"},
        "bin/plot_qc.py": {"PLOT_QC", "REPORT"},
        "bin/summarize_predictions.py": {"SUMMARIZE_PREDICTIONS", "REPORT"},
        "bin/immune_aging/embedding/graph_file.py": {
            "NEIGHBORS", "UMAP", "CLUSTER", "PLOT_EMBEDDING", "EXPORT_H5AD", "REPORT",
        },
        GENE_SETS: {"FETCH_GENE_SETS", "PLAN_RUN", "OVERREPRESENTATION", *OF_GENE_SETS},
        "assets/clocks/cell_types.tsv": {"PUBLISHED_CLOCKS", "REPORT"},
    },
    {
        "bin/plan_run.py": {"PLAN_RUN", "REPORT"},
        "bin/export_h5ad.py": {"EXPORT_H5AD", "REPORT"},
        "bin/gsea.py": OF_GENE_SETS,
        "assets/report/report.css": {"REPORT"},
        "../clocks/B.csv": {"PUBLISHED_CLOCKS", "REPORT"},
    },
    {
        "bin/immune_aging/task/skipped.py": {
            "PLAN_RUN", "DIFFERENTIAL_EXPRESSION", "GSEA", "OVERREPRESENTATION", "COMPOSITION", "COMPARE_CELL_TYPES",
            "PLOT_COMPARISON", "PREDICT_AGE", "IMMUNE_AGE", "SUMMARIZE_PREDICTIONS", "PLOT_CELL_TYPE", "REPORT",
        },
    },
)  # fmt: skip
# As far as quality control, since all that follows runs again. The first of them ends earlier than the run before it,
# which is another plan, graph and report.
SHARDS = {"SPLIT_COHORT", "QC_CELLS", "MERGE_QC", "PLOT_COHORT", "PLOT_QC", "REPORT"}
EARLY_EDITS = {
    "bin/split_cohort.py": {*SHARDS, "PLAN_RUN", "DRAW_DAG"},
    "bin/check_cohort.py": {*SHARDS, "CHECK_COHORT", "FILTER_COHORT"},
    GENE_SYMBOLS: {*SHARDS, "PLAN_RUN", "CHECK_COHORT", "FILTER_COHORT"},
}


def edit(path: Path) -> None:
    """Change a letter where nothing depends on it, and neither the file's length nor its date."""
    data, stat = bytearray(path.read_bytes()), path.stat()
    # In a docstring or comment, a set's address, the name of a column nobody reads, a cell type or gene that the cohort has not.
    start = {".py": b'"""', ".css": b"/*", ".gmt": b"\t", ".tsv": b"\n", ".gz": b"\n", ".csv": b"coef,"}[path.suffix]
    place = data.index(start) + len(start)
    while not data[place : place + 1].isalpha():
        place += 1
    data[place : place + 1] = data[place : place + 1].swapcase()
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


class Resumed:
    """A finished run of a copy of the project that a test may edit, and resume."""

    def __init__(self, folder: Path):
        self.folder, self.project = folder, copy_project(folder / "project")
        cohort = small_cohort(donors=14, cells_per_type=20, genes=120)
        write_cohort(cohort, folder / "cohort.h5ad")
        symbols = cohort.var["feature_name"].tolist()
        sets = ("\t".join([f"SET{i}", "address", *symbols[12 + i : 60 + i]]) for i in range(3))
        (self.project / GENE_SETS).write_text("\n".join(sets) + "\n")
        # Symbols may also be a plain table, in which a letter can be edited: of a gene that the cohort has not.
        (self.project / GENE_SYMBOLS).write_text("gene_id\tsymbol\nENSG00000170458\tCD14\n")
        (folder / "clocks").mkdir()
        (folder / "clocks/B.csv").write_text(f"gene,coef,note\nIntercept,50,\n{cohort.var_names[0]},1,\n")
        style = self.project / "assets/report/report.css"
        style.write_text(style.read_text() + "/* words */\n")
        self.before = {path: path.read_bytes() for path in self.files()}
        self.resume()
        self.results = results(folder / "results")

    def files(self) -> Iterable[Path]:
        """The files of the project, and the user's small ones."""
        return [path for name in ("project", "clocks") for path in (self.folder / name).rglob("*") if path.is_file()]

    def resume(self, *, project: Path | None = None, **changes: object) -> set[str]:
        """Run again; returns the processes that executed a task."""
        given = PARAMETERS | {
            "dataset": "resumed", "input": str(self.folder / "cohort.h5ad"), "export_h5ad": True,
            "published_clocks": str(self.folder / "clocks"), "nested_alphas": True,
        } | changes  # fmt: skip
        (self.folder / "params.json").write_text(json.dumps(given))
        succeed(self.folder, "-resume", "-params-file", "params.json", project=project or self.project)
        return executed(self.folder)

    def after_edits(self, names: Iterable[str], **changes: object) -> set[str]:
        """What executes with these files edited; they are restored then, with other dates."""
        for name in names:
            edit(self.project / name)
        try:
            return self.resume(**changes)
        finally:
            for name in names:
                (self.project / name).write_bytes(self.before[(self.project / name).resolve()])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return Resumed(tmp_path_factory.mktemp("resumed").resolve())


@pytest.mark.parametrize("edits", EDITS_OF_ONE_RUN, ids=["code and files", "more code and files", "a shared module"])
def test_edits_of_the_same_length_and_date_re_run_what_depends_on_them_and_nothing_else(run, edits):
    assert run.after_edits(edits) == set().union(*edits.values())
    found = results(run.folder / "results")
    changed = {name for name in run.results | found if found.get(name) != run.results.get(name)}
    assert changed == ({"report.html"} if "assets/report/report.css" in edits else set()), "only words were changed"


def test_restored_text_other_dates_and_another_clone_re_run_nothing(run):
    """The results of before the edits are found again, from a copy of the project in which every file is dated anew."""
    clone = run.folder / "another/clone"
    shutil.copytree(run.project, clone)
    for path in [*clone.rglob("*"), *run.files()]:
        os.utime(path, (1_700_000_000, 1_700_000_000))
    assert run.resume(project=clone) == set()
    assert run.resume() == set()


@pytest.mark.parametrize("script", EARLY_EDITS)
def test_an_edit_of_an_early_step_re_runs_all_that_follows_and_nothing_before_it(run, script):
    assert run.after_edits([script], stop_after="qc", export_h5ad=False) == EARLY_EDITS[script]


def test_gene_sets_that_a_cohort_is_simulated_from_count_by_content(tmp_path):
    """Stub runs, in which no step computes anything, but all are wired."""
    project = copy_project(tmp_path / "project")
    arguments = ("-stub", "-resume", "-profile", "test", "--stop_after", "qc")
    succeed(tmp_path, *arguments, project=project)
    assert {"SIMULATE_COHORT", "QC_CELLS", "REPORT"} <= set(trace(tmp_path)["process"])
    os.utime(project / GENE_SETS, (1_700_000_000, 1_700_000_000))
    succeed(tmp_path, *arguments, project=project)
    assert executed(tmp_path) == set()
    edit(project / GENE_SETS)
    done = nextflow(tmp_path, *arguments, project=project)
    assert done.returncode == 0 and {"SIMULATE_COHORT", "PLAN_RUN"} <= executed(tmp_path)
