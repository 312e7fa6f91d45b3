"""Every module keeps the contract: what it hashes is what it runs, and it looks like its neighbours."""

import os
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
BIN = ROOT / "bin"
MODULES = sorted(path.parent for path in ROOT.glob("modules/local/*/main.nf"))


def part(text: str, name: str) -> str:
    """One part of a process (`script`, `stub`, `output`, ...)."""
    match = re.search(
        rf"^    {name}:\n(.*?)(?=^    (?:input|output|script|stub|when):\n|^\}})", text, re.MULTILINE | re.DOTALL
    )
    assert match, f"no {name}: part"
    return match[1]


@pytest.fixture(params=MODULES, ids=lambda path: path.name)
def module(request):
    return request.param


def test_a_task_is_identified_by_its_code_and_environment(module):
    script = part((module / "main.nf").read_text(), "script")
    scripts = {name for name in re.findall(r"^\s+exec '(\w+\.py)' ", script, re.MULTILINE) if (BIN / name).exists()}
    assert len(scripts) == 1, "one script a process, quoted, so that the engine does not take it by its date"
    assert "# code: ${task.ext.code}" in script
    assert "# environment: ${task.ext.environment}" in script


def test_a_task_becomes_its_script(module):
    """A shell that waited would be one more process whose memory the engine reads each second, in some twenty forks."""
    block = re.search(r'"""\n(.*?)"""', part((module / "main.nf").read_text(), "script"), re.DOTALL)[1]
    lines = [line for line in block.replace("\\\\\n", " ").splitlines() if not line.strip().startswith("#")]
    *before, last = [line.strip() for line in lines if line.strip()]
    as_scanpy = module.name in ("rank_genes", "select_genes")  # with NumPy as scanpy has it on this processor
    assert before == ["unset NPY_DISABLE_CPU_FEATURES"] * as_scanpy and last.startswith("exec "), [*before, last]


def test_a_module_has_all_its_parts(module):
    text = (module / "main.nf").read_text()
    assert re.search(rf"^process {module.name.upper()} \{{", text, re.MULTILINE)
    assert re.search(r"label 'process_(single|low|medium|high)'", text)
    assert 'container "${task.ext.container_image}"' in text
    outputs = [line for line in part(text, "output").splitlines() if line.strip() and not line.strip().startswith("//")]
    assert all("emit: " in line for line in outputs)
    assert "path 'versions.json', emit: versions" in text
    assert "versions.json" in part(text, "stub")
    assert (module / "meta.yml").exists() and (module / "tests/main.nf.test").exists()


def test_what_a_module_publishes_it_also_hands_on(module):
    text = (module / "main.nf").read_text()
    if "published/" in text:
        assert "tuple val(meta), path('published/**'), emit: published" in text


def test_meta_describes_every_output(module):
    meta = yaml.safe_load((module / "meta.yml").read_text())
    assert meta["name"] == module.name and meta["description"] and meta["keywords"]
    assert set(meta["output"]) == set(re.findall(r"emit: (\w+)", part((module / "main.nf").read_text(), "output")))


def list_length(text: str) -> int:
    """How many elements the list has that `text`, Groovy code, starts with; quoted text and inner brackets are skipped."""
    text = re.sub(r",(\s*\])", r"\1", re.sub(r"'[^']*'|\"[^\"]*\"", "text", text))
    depth, commas = 0, 0
    for character in text:
        depth += (character in "[({") - (character in "])}")
        commas += character == "," and depth == 1
        if depth == 0:
            break
    return commas + 1


def test_its_nf_test_gives_what_the_module_takes(module):
    """As far as text tells: nf-test itself does not run everywhere, and its files must not grow old unseen."""
    taken = [line.strip() for line in part((module / "main.nf").read_text(), "input").splitlines() if line.strip()]
    taken = [line for line in taken if not line.startswith("//")]
    for text in re.findall(r'process \{\s+"""(.*?)"""', (module / "tests/main.nf.test").read_text(), re.DOTALL):
        assert not re.search(r"(?<!\\)\$\{(?!projectDir\})", text), (
            "evaluated outside the process: write a backslash before $"
        )
        given = dict(re.findall(r"input\[(\d+)\] = (.*?)(?=\n\s*input\[|\Z)", text, re.DOTALL))
        assert sorted(given) == [str(i) for i in range(len(taken))]
        for number, value in given.items():
            line = taken[int(number)]
            if line.startswith("tuple ") and value.startswith("["):
                assert list_length(value) == len(re.findall(r"\b(?:val|path)\(", line)), f"{line}: {value}"


def test_raw_names_never_reach_the_shell(module):
    script = part((module / "main.nf").read_text(), "script")
    assert not re.search(r"\$\{?meta\.(cell_type|donor)", script)


@pytest.mark.parametrize("path", sorted(BIN.rglob("*.py")), ids=lambda path: str(path.relative_to(BIN)))
def test_steps_and_nothing_else_can_be_executed(path):
    is_step = path.parent == BIN
    assert os.access(path, os.X_OK) == is_step
    assert path.read_text().startswith("#!/usr/bin/env python3\n") == is_step


@pytest.mark.parametrize("path", sorted(BIN.glob("*.py")), ids=lambda path: path.name)
def test_no_script_is_named_like_a_library_it_could_shadow(path):
    libraries = {
        "umap",
        "scrublet",
        "scanpy",
        "anndata",
        "igraph",
        "faiss",
        "harmonypy",
        "gseapy",
        "numpy",
        "pandas",
        "scipy",
    }
    assert path.stem not in libraries


def test_every_step_signs_its_versions_with_its_own_name():
    """The report and --start_from find a step's versions and code by the name of its script."""
    signed = {
        path.stem: set(re.findall(r'write_versions\("(\w+)"', path.read_text())) for path in sorted(BIN.glob("*.py"))
    }
    assert {stem: names for stem, names in signed.items() if names - {stem}} == {}


def test_the_story_fits_on_one_screen():
    assert len((ROOT / "main.nf").read_text().splitlines()) <= 80


def test_ids_are_not_read_from_file_names():
    for path in [ROOT / "main.nf", *ROOT.glob("subworkflows/local/*/main.nf"), *ROOT.glob("functions/*.nf")]:
        assert not re.search(r"\bname\s*=~", path.read_text()), path


def test_text_is_quoted_for_the_shell_in_one_way():
    for path in [*ROOT.glob("modules/local/*/main.nf"), *ROOT.glob("subworkflows/local/*/main.nf")]:
        assert "def quote" not in path.read_text(), path
        assert '.replace("\'"' not in path.read_text(), path


def test_every_module_is_used():
    workflows = "\n".join(path.read_text() for path in [ROOT / "main.nf", *ROOT.glob("subworkflows/local/*/main.nf")])
    for module in MODULES:
        assert f"modules/local/{module.name}'" in workflows, module.name
