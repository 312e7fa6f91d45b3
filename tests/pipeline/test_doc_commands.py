"""Every command of the documentation works: the engine and Python run it, make knows it."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import anndata
import numpy as np
import pytest

from engine import ROOT, nextflow, succeed
from small_cohorts import small_cohort, write_cohort

GENE_SETS = next(ROOT.glob("assets/gene_sets/*.gmt"))

PAGES = [ROOT / "README.md", *(ROOT / f"docs/{name}.md" for name in ("tutorial", "usage", "troubleshooting", "outputs", "methods"))]  # fmt: skip
BLOCKS = [
    (page, language, text)
    for page in PAGES
    for language, text in re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
]
COMMANDS = sorted(
    {line for _, language, text in BLOCKS if not language for line in text.replace("\\\n", " ").splitlines()}
)
ENGINE = [line for line in COMMANDS if line.startswith("./nextflow run main.nf ")]
MAKE = [line for line in COMMANDS if line.startswith("make ")]
SCRIPTS = [line for line in COMMANDS if line.startswith("sh containers/bootstrap.sh dev python ")]
# What a reader's own configuration may hold, which the engine reads where it is started. Two cell types have samples
# of so many cells in enough donors.
LESS_WORK = "params { min_cells_per_sample = 17; ridge_alphas = '1'; gsea_permutations = 100; umap_epochs = 20 }\n"
PYTHON = [text for _, language, text in BLOCKS if language == "python"]


def test_every_command_is_of_a_kind_that_is_tried_here():
    assert set(COMMANDS) == {*ENGINE, *MAKE, *SCRIPTS}
    assert {language for _, language, _ in BLOCKS} <= {"", "text", "python"}
    assert len(ENGINE) >= 8 and MAKE and SCRIPTS and PYTHON


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where a reader would stand: the project's files, and a cohort, small enough to be analysed again and again."""
    folder = tmp_path_factory.mktemp("reader")
    for name in ("params.json", "conf", "assets"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "nextflow.config").write_text(LESS_WORK)
    cohort = folder / "cohort.h5ad"
    made = ["--preset", "tiny", "--lacking-share", "0", "--few-cells-share", "0", "--gene-sets", GENE_SETS]
    made += ["--output", cohort, "--truth", folder / "truth"]
    subprocess.run(["python", ROOT / "bin/simulate_cohort.py", *made], cwd=folder, check=True)
    cells = anndata.read_h5ad(cohort)
    cells.X = cells.X.astype("float32")  # scipy cannot take rows of the type that the simulator writes
    cells.obs["age"] = cells.obs["development_stage"].astype(str).str.extract(r"(\d+)", expand=False).astype(float)
    write_cohort(cells, cohort)
    cells.obs["donor"] = cells.obs["donor_id"]
    for number in (0, 1):
        write_cohort(cells[number::2].copy(), folder / f"part{number}.h5ad")
    (folder / "cohort.csv").write_text("file,site\npart0.h5ad,north\npart1.h5ad,south\n")
    shutil.copy(cohort, folder / "onek1k_40donors_1000genes.h5ad")
    again = cells.copy()  # each donor once more, with four of five counts
    again.X.data = np.random.default_rng(0).binomial(again.X.data.astype(int), 0.8).astype("float32")
    again.X.eliminate_zeros()
    patients = anndata.concat({"before": cells, "after": again}, label="condition", index_unique="-")
    patients.obs["patient"] = "P" + patients.obs["donor_id"].astype(str)
    patients.obs["library"] = patients.obs["patient"] + " " + patients.obs["condition"].astype(str)
    patients.var = cells.var
    write_cohort(patients, folder / "patients.h5ad")
    return folder


@pytest.mark.long
@pytest.mark.parametrize("command", ENGINE)
def test_the_command_runs_to_its_end(command, folder):
    """In one folder, as a reader would give them, so that each takes from the others what they share."""
    arguments = shlex.split(command)[3:]
    if arguments[-1] == "params.json":  # OneK1K, from the network
        arguments += ["--input", "cohort.h5ad"]
    if "test" in arguments:  # the demo
        arguments += ["--simulate", "tiny", "--min_donor_fraction", "0.8", "--outdir", "demo"]
    done = nextflow(folder, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    results = folder / (arguments[arguments.index("--outdir") + 1] if "--outdir" in arguments else "results")
    assert (results / "report.html").exists() != ("--check_only" in arguments)
    assert (results / "cohort/simulated/cells.parquet").exists() == ("test" in arguments)
    shutil.rmtree(results)


@pytest.mark.parametrize("command", MAKE)
def test_make_knows_the_target(command):
    subprocess.run([*shlex.split(command), "--dry-run"], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.long
@pytest.mark.parametrize("command", SCRIPTS)
def test_the_script_runs_on_results_of_ours(command, folder):
    succeed(folder, "-resume", "--input", "cohort.h5ad", "--dataset", "mycohort")  # as a command of the page
    cell_type = next((folder / "results").glob("cell_types/*/prediction")).parent.name
    words = shlex.split(command.replace("/ID/", f"/{cell_type}/").replace("other/", "results/"))[4:]
    subprocess.run(["python", ROOT / words[0], *words[1:]], cwd=folder, check=True)
    assert (folder / words[-1]).stat().st_size > 0


def test_the_python_of_the_tutorial_runs_on_a_table_of_ours(tmp_path, monkeypatch):
    """PyDESeq2 takes pseudobulk.h5ad as the pipeline writes it."""
    import split_cohort
    from immune_aging.task.checkpoints import read_h5ad, write_parquet
    from inputs.step_options import default_options
    from merge_pseudobulk import main as merge
    from prepared_cohorts import prepared
    from pseudobulk import main as sums

    monkeypatch.chdir(tmp_path)
    path = write_cohort(small_cohort(donors=8, cells_per_type=12), tmp_path / "cohort.h5ad")
    split_cohort.main(prepared(path, tmp_path))
    parts = []
    for shard in sorted(Path().glob("x_shard-*.h5ad")):
        cells = read_h5ad(shard).obs.reset_index(names="cell_id")[["cell_id"]].assign(kept=True)
        write_parquet(cells, Path("cells.parquet"))
        parts.append(f"{shard.stem}_sums.h5ad")
        sums(["--shard", str(shard), "--cells", "cells.parquet", "--output", parts[-1]])
    types = "id\tcell_type\tn_cells\tn_donors\tn_samples\tkept\treason\n"
    types += "t\tT cell\t96\t8\t8\tTrue\t\nb\tB cell, naive/memory\t96\t8\t8\tTrue\t\n"
    Path("types.tsv").write_text(types)
    merge(
        [
            *default_options("merge_pseudobulk"),
            "--parts",
            *parts,
            "--donors",
            "donors.parquet",
            "--cell-types",
            "types.tsv",
            "--prefix",
            "dataset-x",
            "--output",
            "mycohort",
        ]
    )
    for text in PYTHON:
        found: dict = {}
        exec(text, found)
        assert found["tested"].varm["LFC"].shape == (found["one"].n_vars, 3)
        assert found["tested"].n_obs == 8
