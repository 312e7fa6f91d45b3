"""Every module keeps the contract: what it hashes is what it runs, and it looks like its neighbours."""

import ast
import os
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
BIN = ROOT / "bin"
MODULES = sorted(path.parent for path in ROOT.glob("modules/local/*/main.nf"))


def imports_of(script: Path) -> set[str]:
    """Names of the project's own modules that a script imports anywhere, directly or through others."""
    found: set[str] = set()
    pending = [script]
    while pending:
        for node in ast.walk(ast.parse(pending.pop().read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            for name in names:
                path = BIN / f"{name.split('.')[0]}.py"
                if path.exists() and path.name not in found:
                    found.add(path.name)
                    pending.append(path)
    return found


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


def test_the_hash_covers_every_module_that_the_script_imports(module):
    script = part((module / "main.nf").read_text(), "script")
    scripts = {name for name in re.findall(r"^\s+(\w+\.py) ", script, re.MULTILINE) if (BIN / name).exists()}
    assert len(scripts) == 1, "one script a process"
    uses = re.search(r"# uses: (.+)", script)[1].split()
    assert sorted(uses) == sorted(imports_of(BIN / scripts.pop())), "the engine hashes only what this comment names"
    assert "# environment: ${task.ext.environment}" in script


def test_a_module_has_all_its_parts(module):
    text = (module / "main.nf").read_text()
    assert re.search(rf"^process {module.name.upper()} \{{", text, re.MULTILINE)
    assert re.search(r"label 'process_(single|low|medium|high)'", text)
    assert 'container "${task.ext.container}"' in text
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


def test_raw_names_never_reach_the_shell(module):
    script = part((module / "main.nf").read_text(), "script")
    assert not re.search(r"\$\{?meta\.(cell_type|donor)", script)


@pytest.mark.parametrize("path", sorted(BIN.glob("*.py")), ids=lambda path: path.name)
def test_scripts_are_executable_so_that_the_engine_hashes_them(path):
    assert os.access(path, os.X_OK)
    assert path.read_text().startswith("#!/usr/bin/env python3\n")


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


def test_every_module_is_used():
    workflows = "\n".join(path.read_text() for path in [ROOT / "main.nf", *ROOT.glob("subworkflows/local/*/main.nf")])
    for module in MODULES:
        assert f"modules/local/{module.name}'" in workflows, module.name
