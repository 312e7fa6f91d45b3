"""A task's code is identified by content: conf/code.config follows the same imports as Python itself.

One start of the engine, which runs nothing, prints the digest of every script. Each is computed here once more from what
Python's own parser finds, so that an edit of a module changes the digests of exactly the scripts that reach it.
"""

import ast
import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from engine import ROOT, copy_project, nextflow

# Modules of a package of its own, beside the real one, and scripts that import them in every way that Python knows.
# None of them is run.
MODULES = {
    "__init__": "",
    "leaf": "X = 1\n",
    "other": "Y = 2\n",
    "third": "Z = 3\n",
    "empty": "",
    "bridge": "def f():\n    from immune_aging.odd.leaf import X\n    return X\n",
    "circle_one": "import immune_aging.odd.circle_two\n",
    "circle_two": "import immune_aging.odd.circle_one\nfrom immune_aging.odd import other\n",
    "text_only": '"""Words.\n\nfrom immune_aging.odd.gone import x\nimport immune_aging.odd.leaf\n"""\nS = "\\\nimport gsea\\\n"\n',
    "deep/__init__": "from .. import other\nVALUE = 4\n",
    "deep/inner": "from .sister import one\n",
    "deep/sister": "from ..leaf import X as one\n",
    "deep/further/__init__": "",
    "deep/further/well": "from ...third import (  # up twice\n    Z,\n)\n",
}
PACKAGE = {"immune_aging", "immune_aging.odd"}
DEEP = {*PACKAGE, "immune_aging.odd.deep", "immune_aging.odd.other"}
LEAF = {*PACKAGE, "immune_aging.odd.leaf"}
OTHER = {*PACKAGE, "immune_aging.odd.other"}
# Name of a script -> its text, and the modules of the project that it reaches.
SCRIPTS = {
    "nothing": ("import os, sys\nimport immune\nfrom collections import abc\n", set()),
    "module": ("import immune_aging.odd.leaf\n", LEAF),
    "renamed": ("import immune_aging.odd.leaf as leaf, os as system\n", LEAF),
    "several": ("import os, immune_aging.odd.leaf, immune_aging.odd.other as o\n", LEAF | OTHER),
    "name_of_a_module": ("from immune_aging.odd.leaf import X\n", LEAF),
    "module_of_a_package": ("from immune_aging.odd import leaf\n", LEAF),
    "two_of_a_package": ("from immune_aging.odd import leaf as a, other as b\n", LEAF | OTHER),
    "value_of_a_package": ("from immune_aging.odd.deep import VALUE\n", DEEP),
    "package": ("import immune_aging.odd.deep\n", DEEP),
    "star": ("from immune_aging.odd.leaf import *\n", LEAF),
    "empty_module": ("from immune_aging.odd import empty\nimport immune_aging.odd.deep.further\n", {*DEEP, "immune_aging.odd.empty", "immune_aging.odd.deep.further"}),
    "star_of_an_empty_package": ("from immune_aging.odd import *\n", PACKAGE),
    "star_of_a_package": ("from immune_aging.odd.deep import *\n", DEEP),
    "in_a_function": ("def main():\n    if True:\n        from immune_aging.odd.leaf import X\n", LEAF),
    "in_a_function_of_a_module": ("from immune_aging.odd import bridge\n", {*LEAF, "immune_aging.odd.bridge"}),
    "one_line": ("x = 1; import immune_aging.odd.leaf\nif x: from immune_aging.odd import other\n", LEAF | OTHER),
    "over_lines": ("from immune_aging.odd import (\n    leaf,  # one, and (two)\n    # third,\n    other as b,\n)\n", LEAF | OTHER),
    "backslash": ("from immune_aging.odd \\\n    import leaf, \\\n    other\nimport \\\n    immune_aging.odd.third\n", LEAF | OTHER | {"immune_aging.odd.third"}),
    "carriage_returns": ("from immune_aging.odd import (\r\n    leaf,\r\n)\r\nimport \\\r\n  immune_aging.odd.other\r\n", LEAF | OTHER),
    "tabs": ("def main():\n\tfrom\timmune_aging.odd\timport\tleaf\n", LEAF),
    "relative": ("import immune_aging.odd.deep.inner\n", {*DEEP, *LEAF, "immune_aging.odd.deep.inner", "immune_aging.odd.deep.sister"}),
    "relative_by_three": (
        "from immune_aging.odd.deep.further import well\n",
        {*DEEP, "immune_aging.odd.deep.further", "immune_aging.odd.deep.further.well", "immune_aging.odd.third"},
    ),
    "in_a_circle": ("import immune_aging.odd.circle_one\n", {*OTHER, "immune_aging.odd.circle_one", "immune_aging.odd.circle_two"}),
    "another_script": ("from renamed import leaf\n", {*LEAF, "renamed"}),
    "only_text": ("from immune_aging.odd import text_only\n", {*PACKAGE, "immune_aging.odd.text_only"}),
    "text_of_its_own": ("'''\nimport immune_aging.odd.leaf\n'''\ny = 'it\\'s \"\"\" # '\nimport immune_aging.odd.other  # it's import\n", OTHER),
    "comment": ("# import immune_aging.odd.leaf\nimport immune_aging.odd.other\n#from immune_aging.odd import leaf\n", OTHER),
    "like_an_import": ("important = 1\nfrom_here = {1: important}\nx = [1][0:important]\n", set()),
}  # fmt: skip
# Scripts whose imports lead nowhere, and what is named.
BROKEN = {
    "gone": ("import immune_aging.odd.gone\n", "immune_aging.odd.gone"),
    "gone_from_a_package": ("def f():\n    from immune_aging.odd import gone\n", "immune_aging.odd.gone"),
    "gone_with_its_package": ("from immune_aging.nowhere.gone import x\n", "immune_aging.nowhere.gone.x"),
    "gone_from_an_empty_module": ("from immune_aging.odd.empty import x\n", "immune_aging.odd.empty.x"),
    "relative_in_a_script": ("from . import leaf\n", ".leaf"),
}


def modules_of(folder: Path) -> dict[str, Path]:
    """Full name of each module below a folder, as Python has it, and its file."""
    names = {path: path.relative_to(folder).with_suffix("").parts for path in folder.rglob("*.py")}
    return {".".join(parts[:-1] if parts[-1] == "__init__" else parts): path for path, parts in names.items()}


def imported(name: str, path: Path) -> set[str]:
    """Full names of all that a module imports, anywhere in it."""
    found = set()
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            around = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*around, *([node.module] if node.module else [])])
            found |= {source, *(f"{source}.{alias.name}" for alias in node.names)}
    return found


def reached(script: str, modules: dict[str, Path]) -> set[str]:
    """The modules of the project that Python may load when it runs a script, the script itself included."""
    found, new = set(), {script}
    while new:
        found |= new
        names = {name for module in new for name in imported(module, modules[module])}
        parents = {".".join(name.split(".")[:n]) for name in names for n in range(1, name.count(".") + 2)}
        new = (parents & set(modules)) - found
    return found


def digest(names: set[str], modules: dict[str, Path]) -> str:
    """The digest of the code of these modules."""
    lines = [f"{name} {hashlib.sha256(modules[name].read_bytes()).hexdigest()}" for name in sorted(names)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


def configured(project: Path, folder: Path) -> tuple[dict[str, str], list[str]]:
    """What conf/code.config makes of a project: the digest of each script, and the imports that lead nowhere."""
    command = [ROOT / "nextflow", "config", "-flat", project]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=300)
    (line,) = re.findall(r"^process\.ext\.project = \[code:\[(.*)\], missing:\[(.*)\]\]$", done.stdout, re.MULTILINE)
    return dict(re.findall(r"(\w+):'([0-9a-f]{12})'", line[0])), re.findall(r"'([^']+)'", line[1])


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The real scripts and modules with the odd ones beside them."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "bin", folder / "bin", ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in MODULES.items():
        path = folder / f"bin/immune_aging/odd/{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, newline="")
    for name, (text, _) in [*SCRIPTS.items(), *BROKEN.items()]:
        (folder / f"bin/{name}.py").write_text(text, newline="")
    (folder / "conf").mkdir()
    shutil.copy(ROOT / "conf/code.config", folder / "conf")
    (folder / "nextflow.config").write_text("includeConfig 'conf/code.config'\n")
    return folder


@pytest.fixture(scope="module")
def found(project, tmp_path_factory):
    return configured(project, tmp_path_factory.mktemp("launch"))


@pytest.fixture(scope="module")
def modules(project):
    return modules_of(project / "bin")


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_kind_of_import_is_followed_and_no_other_text(script, found, modules):
    names = {script, *SCRIPTS[script][1]}
    assert reached(script, modules) == names, "what Python's own parser finds"
    assert found[0][script] == digest(names, modules)


@pytest.mark.parametrize("script", sorted(path.stem for path in ROOT.glob("bin/*.py")))
def test_the_digest_of_a_script_is_that_of_the_modules_that_it_reaches(script, found, modules):
    """So an edit of a module changes the digests of the scripts that reach it, and of no other."""
    names = reached(script, modules)
    assert len(names) > 2 and found[0][script] == digest(names, modules)


def test_every_module_is_reached_by_a_script(modules):
    scripts = {path.stem for path in ROOT.glob("bin/*.py")}
    own = set(modules_of(ROOT / "bin"))
    assert own - set().union(*(reached(script, modules) for script in scripts)) == set()


def test_imports_that_lead_nowhere_are_named_with_their_script(found):
    assert sorted(found[1]) == sorted(f"{script}.py: {name}" for script, (_, name) in BROKEN.items())


@pytest.mark.long
def test_an_import_that_leads_nowhere_stops_the_run(tmp_path):
    project = copy_project(tmp_path / "project")
    module = project / "bin/immune_aging/task/skipped.py"
    module.write_text(module.read_text() + "\n\ndef f():\n    from immune_aging.task import gone\n")
    done = nextflow(tmp_path, "-profile", "test", project=project)
    assert done.returncode == 2 and not list((tmp_path / "work").glob("*/*/.command.sh"))
    assert "bin/immune_aging/task/skipped.py: immune_aging.task.gone: is imported, but is no file of the project" in (
        done.stdout + done.stderr
    )
