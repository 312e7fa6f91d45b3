"""`--start_from`: a run goes on from the published results of an earlier one whose work folder is gone, or says why not."""

import json
import shutil
from pathlib import Path

import pytest

from engine import copy_project, executed, nextflow, succeed, tree
from fault_runs import PARAMETERS
from immune_aging.task.checkpoints import read_json, read_tsv
from small_cohorts import small_cohort, write_cohort

pytestmark = pytest.mark.long  # starts the engine, some ten times

BEFORE_THE_STATISTICS = {
    "CHECK_COHORT", "FILTER_COHORT", "SPLIT_COHORT", "QC_CELLS", "MERGE_QC", "PSEUDOBULK", "MERGE_PSEUDOBULK",
}  # fmt: skip
STATISTICS = {"DIFFERENTIAL_EXPRESSION", "PREDICT_AGE", "IMMUNE_AGE", "SUMMARIZE_PREDICTIONS"}
OF_THE_RUN = ("pipeline_info", "report.html")


class Finished:
    """A finished run whose work folder is gone, and runs that go on from its results."""

    def __init__(self, folder: Path):
        self.folder, self.results = folder, folder / "results"
        cohort = small_cohort(donors=14, cells_per_type=20, genes=120)
        write_cohort(cohort, folder / "cohort.h5ad")
        symbols = cohort.var["feature_name"].tolist()
        for name, shift in (("sets", 12), ("other", 30)):
            sets = ("\t".join([f"SET{i}", "", *symbols[shift + i : shift + 48 + i]]) for i in range(3))
            (folder / f"{name}.gmt").write_text("\n".join(sets) + "\n")
        self.given = PARAMETERS | {"dataset": "start", "gene_sets": str(folder / "sets.gmt"), "nested_alphas": True}
        succeed(folder, *self.options(input=str(folder / "cohort.h5ad")))
        shutil.rmtree(folder / "work")
        self.published = tree(self.results, without=OF_THE_RUN)

    def options(self, **changes: object) -> list[str]:
        """A parameters file with `changes`, as arguments."""
        path = self.folder / "params.json"
        path.write_text(json.dumps(self.given | changes))
        return ["-params-file", str(path)]

    def copy(self, name: str) -> Path:
        """A copy of the results, which a test may damage or write into."""
        return Path(shutil.copytree(self.results, self.folder / name))

    def goes_on(self, outdir: str, **changes: object) -> set[str]:
        """Go on from the results; returns the processes that executed a task. The work folder is gone afterwards."""
        given = {"start_from": str(self.results), "outdir": outdir} | changes
        succeed(self.folder, *self.options(**given))
        shutil.rmtree(self.folder / "work")
        return executed(self.folder, outdir)

    def refused(self, **changes: object) -> str:
        """The line with which a run is refused before its first task."""
        done = nextflow(self.folder, *self.options(**{"start_from": str(self.results), "outdir": "refused"} | changes))
        assert done.returncode == 2, done.stdout[-3000:] + done.stderr[-3000:]
        said = [
            line for line in (done.stdout + done.stderr).splitlines() if line.strip() and ".nextflow.log" not in line
        ]
        assert len(said) == 1, said
        return said[0]

    def changed(self, outdir: str) -> set[str]:
        """Published files that are not what the first run published."""
        found = tree(self.folder / outdir, without=OF_THE_RUN)
        return {name for name in self.published | found if found.get(name) != self.published.get(name)}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return Finished(tmp_path_factory.mktemp("start_from").resolve())


def test_the_same_parameters_give_the_same_bytes_without_cells_and_statistics(run):
    ran = run.goes_on("again")
    assert not ran & (BEFORE_THE_STATISTICS | STATISTICS), ran
    assert {"TAKE_RESULTS", "SPLIT_PSEUDOBULK", "GSEA"} <= ran
    assert run.changed("again") == set()
    before, after = (read_json(run.folder / name / "pipeline_info/versions.json") for name in ("results", "again"))
    assert set(before) - set(after) == {"fetch_cohort"}
    files = [read_tsv(run.folder / name / "pipeline_info/files.tsv") for name in ("results", "again")]
    files = [table[~table["file"].str.startswith("pipeline_info/")].reset_index(drop=True) for table in files]
    assert files[0].equals(files[1]), "the new folder is as whole as the old one"
    before, after = (read_json(run.folder / name / "pipeline_info/made_from.json") for name in ("results", "again"))
    assert before["cohort"] == after["cohort"] and before["code"].items() <= after["code"].items(), "another can go on"
    assert "Goes on from the results in" in (run.folder / "again/report.html").read_text()


def test_other_gene_sets_make_enrichment_anew_and_nothing_else_also_in_the_same_folder(run):
    own = run.copy("own")
    ran = run.goes_on("own", start_from=str(own), gene_sets=str(run.folder / "other.gmt"))
    assert not ran & (BEFORE_THE_STATISTICS | STATISTICS), ran
    changed = run.changed("own")
    types = {name.split("/")[1] for name in run.published if name.startswith("cell_types/")}
    assert {f"cell_types/{one}/gsea.tsv" for one in types} <= changed
    assert not [name for name in changed if not name.startswith(("cell_types/", "comparison/"))]
    assert not [name for name in changed if "/prediction/" in name or Path(name).name.startswith(("de", "fits"))]
    assert read_json(own / "pipeline_info/params.json")["gene_sets"]["value"] == str(run.folder / "other.gmt")
    # The folder is whole again: a run can go on from it.
    assert not list(own.rglob("*.part"))
    listed = read_tsv(own / "pipeline_info/files.tsv").set_index("file")["bytes"]
    assert {name: (own / name).stat().st_size for name in listed.index} == listed.to_dict()


def test_penalties_and_the_question_are_asked_anew_of_the_sums(run):
    ran = run.goes_on("question", design="~ age", ridge_alphas=[3], skip_embedding=True)
    assert not ran & BEFORE_THE_STATISTICS and ran >= {"DIFFERENTIAL_EXPRESSION", "PREDICT_AGE", "IMMUNE_AGE"}
    report = (run.folder / "question/report.html").read_text()
    assert "makes anew differential expression (--design ~ age: the results in" in report
    assert not (run.folder / "question/embedding").exists()
    changed = {name for name in run.changed("question") if not name.startswith(("embedding/", "clusters/"))}
    assert not [name for name in changed if name.startswith(("cohort/", "qc/", "pseudobulk/"))]


def test_with_the_input_clusters_are_made_anew_from_the_kept_cells(run):
    ran = run.goes_on("cells", input=str(run.folder / "cohort.h5ad"), leiden_resolutions=[0.5, 1])
    assert not ran & ({"QC_CELLS", "MERGE_QC", "PSEUDOBULK", "MERGE_PSEUDOBULK"} | STATISTICS), ran
    assert {"KEPT_CELLS", "PCA", "CLUSTER"} <= ran
    changed = run.changed("cells")
    assert changed and not [
        name for name in changed if not name.startswith(("clusters/resolution-0.5/", "embedding/umap_sample.tsv"))
    ], changed


def test_what_does_not_fit_is_refused_in_one_line_that_names_it(run):
    said = run.refused(max_pct_mito=10, n_neighbors=12)
    assert (
        f"--max_pct_mito 10: the results in {run.results} were made with 20, and these steps are not repeated" in said
    )
    assert "go back to --max_pct_mito 20" in said
    assert (
        "--n_neighbors 12: " in said
        and "give --input as well, or --skip_embedding, or go back to --n_neighbors 10" in said
    )
    damaged = run.copy("damaged")
    (damaged / "qc/cells.parquet").unlink()
    path = damaged / "pseudobulk/pseudobulk.h5ad"
    path.write_bytes(path.read_bytes()[:-1])
    said = run.refused(start_from=str(damaged))
    assert f"--start_from {damaged}: qc/cells.parquet is not there; restore it, or leave out --start_from" in said
    assert "pseudobulk/pseudobulk.h5ad is not as it was published" in said
    assert tree(run.results, without=OF_THE_RUN) == run.published


def test_a_flipped_bit_and_another_cohort_end_the_run_with_their_line(run):
    damaged = run.copy("flipped")
    path = damaged / "pseudobulk/pseudobulk.h5ad"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    other = small_cohort(donors=14, cells_per_type=20, genes=120, seed=1)
    write_cohort(other, run.folder / "other.h5ad")
    for said, given in (
        (
            f"ERROR: --start_from {damaged}: pseudobulk/pseudobulk.h5ad is not as it was published",
            {"start_from": str(damaged)},
        ),
        ("/other.h5ad: is not the cohort that the results in", {"input": str(run.folder / "other.h5ad")}),
    ):
        given = {"start_from": str(run.results), "outdir": "ended"} | given
        done = nextflow(run.folder, *run.options(**given))
        assert done.returncode != 0 and said in done.stdout + done.stderr, done.stdout[-3000:]
        assert not (run.folder / "ended/cohort/donors.tsv").exists(), "nothing of another cohort gets into the folder"
        assert not (run.folder / "ended/report.html").exists()


def test_a_step_with_other_code_is_made_anew_or_refused(run):
    project = copy_project(run.folder / "project")
    for step in ("qc_cells", "differential_expression"):
        path = project / f"bin/{step}.py"
        path.write_text(path.read_text() + "# other code\n")
    done = nextflow(run.folder, *run.options(start_from=str(run.results), outdir="code"), project=project)
    assert done.returncode == 2
    assert f"--start_from {run.results}: its step qc_cells had other code (version" in done.stdout + done.stderr
