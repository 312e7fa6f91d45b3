"""The worked example of CONTRIBUTING.md, followed to the letter, adds a step whose table stands in the report."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from engine import ROOT, copy_project, executed, succeed
from small_cohorts import small_cohort, write_cohort

pytestmark = pytest.mark.long  # the example's own test, and runs of the engine

TEXT = (ROOT / "CONTRIBUTING.md").read_text()
NEW = re.compile(r"^New (executable )?file `([^`]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BELOW = re.compile(r"^In `([^`]+)`, below `([^\n]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SMALL = {
    "n_top_genes": 40, "n_pcs": 10, "n_neighbors": 10, "n_neighbors_components": 8, "umap_epochs": 20,
    "min_genes": 5, "min_counts": 10, "max_pct_mito": 95, "stop_after": "pseudobulk",
}  # fmt: skip


def without_blanks(line: str) -> str:
    return re.sub(r"\s+", " ", line).strip()


def follow(project: Path) -> None:
    """Do what the example says, in a copy of the project."""
    files, edits = NEW.findall(TEXT), BELOW.findall(TEXT)
    assert len(files) == 6 and len(edits) == 5, "the example has changed: does the test still read all of it?"
    for executable, name, content in files:
        path = project / name
        assert not path.exists(), name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        path.chmod(0o755 if executable else 0o644)
    for name, anchor, content in edits:
        lines = (project / name).read_text().splitlines(keepends=True)
        places = [i for i, line in enumerate(lines) if without_blanks(line) == without_blanks(anchor)]
        assert len(places) == 1, f"{name}: {anchor} stands there {len(places)} times"
        lines.insert(places[0] + 1, content)
        (project / name).write_text("".join(lines))


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project with its tests and docs, in which the example was followed."""
    folder = copy_project(tmp_path_factory.mktemp("contributing") / "project")
    for name in ("tests", "docs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy2(ROOT / name, folder / name)
    follow(folder)
    return folder


def test_the_example_passes_its_own_test_and_those_of_every_module(project):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "sizes"]
    command += ["tests/samples/test_sizes.py", "tests/pipeline/test_modules.py", "tests/project/test_imports.py"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False, env={**os.environ})
    assert done.returncode == 0, done.stdout[-3000:]
    passed = int(re.search(r"(\d+) passed", done.stdout)[1])
    assert passed > 8, "its own test, and those of the module and of the direction of imports"


def test_the_table_of_the_example_stands_in_the_report(project, tmp_path):
    cohort = write_cohort(small_cohort(), tmp_path / "cohort.h5ad")
    parameters = tmp_path / "params.json"
    parameters.write_text(json.dumps(SMALL | {"input": str(cohort)}))
    arguments = ("-resume", "-params-file", str(parameters))
    succeed(tmp_path, *arguments)
    succeed(tmp_path, *arguments, project=project)
    assert executed(tmp_path) - {"SAMPLE_SIZES", "REPORT", "DRAW_DAG"} == set(), "nothing else ran again"
    table = (tmp_path / "results/pseudobulk/sample_sizes.tsv").read_text()
    report = (tmp_path / "results/report.html").read_text()
    assert table.startswith("cell_type\tsamples\tkept\tmedian_cells\n") and table.count("\n") > 1
    assert '<th scope="col" class="n">Median cells</th>' in report
