"""Every command of the documentation works: the engine takes it, make knows it, Python runs it."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from engine import ROOT, nextflow
from small_cohorts import small_cohort, write_cohort

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
PYTHON = [text for _, language, text in BLOCKS if language == "python"]


def test_every_command_is_of_a_kind_that_is_tried_here():
    assert set(COMMANDS) == {*ENGINE, *MAKE, *SCRIPTS}
    assert {language for _, language, _ in BLOCKS} <= {"", "text", "python"}
    assert len(ENGINE) >= 8 and MAKE and SCRIPTS and PYTHON


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where a reader would stand: the project's files, and a cohort."""
    folder = tmp_path_factory.mktemp("reader")
    for name in ("params.json", "conf"):
        (folder / name).symlink_to(ROOT / name)
    for name in ("cohort.h5ad", "onek1k_40donors_1000genes.h5ad"):
        write_cohort(small_cohort(donors=3, cells_per_type=2), folder / name)
    return folder


@pytest.mark.parametrize("command", ENGINE)
def test_the_engine_takes_the_command(command, folder):
    """With -preview it checks the parameters and wires all steps, and runs none."""
    arguments = [word for word in shlex.split(command)[3:] if word != "-resume"]
    done = nextflow(folder, "-preview", *arguments, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("command", MAKE)
def test_make_knows_the_target(command):
    subprocess.run([*shlex.split(command), "--dry-run"], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize("command", SCRIPTS)
def test_the_script_has_the_options(command):
    words = shlex.split(command)[4:]
    script, options = words[0], {word for word in words[1:] if word.startswith("--")}
    action = [word for word in words[1:2] if not word.startswith("-")]
    done = subprocess.run(["python", ROOT / script, *action, "--help"], check=True, capture_output=True, text=True)
    assert options <= set(re.findall(r"--[\w-]+", done.stdout))


def test_the_python_of_the_tutorial_runs_on_a_table_of_ours(tmp_path, monkeypatch):
    """PyDESeq2 takes pseudobulk.h5ad as the pipeline writes it."""
    import split_cohort
    from checkpoints import read_h5ad, write_parquet
    from merge_pseudobulk import main as merge
    from pseudobulk import main as sums
    from test_bad_inputs import prepared

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
