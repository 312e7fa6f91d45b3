"""Imports point one way: a step knows the package, the package knows no step, and no part knows one above it."""

import ast
from pathlib import Path

import pytest

BIN = Path(__file__).resolve().parents[2] / "bin"
PACKAGE = BIN / "immune_aging"
# From the top down. The parts of one line do not know each other.
LAYERS = (
    {"report", "plan"},
    {"figures"},
    {"simulation", "prediction", "statistics", "embedding"},
    {"cells", "samples"},
    {"cohort"},
    {"results"},
    {"task"},
)
LEVEL = {part: level for level, parts in enumerate(LAYERS) for part in parts}
MODULES = sorted(path for path in PACKAGE.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Full names of what a file imports anywhere in it: modules, and what it takes from modules."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: names the package in full"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def part_of(name: str) -> str:
    """The part of the package that a full name lies in."""
    return name.split(".")[1]


def test_every_part_of_the_package_has_its_place():
    assert {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in MODULES} - {"__init__"} == set(LEVEL)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(BIN)))
def test_a_module_imports_nothing_from_above_or_beside_its_part(path):
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for part in {part_of(name) for name in imported(path) if name.startswith("immune_aging.")} - {own}:
        assert LEVEL[part] > LEVEL[own], f"{path.relative_to(BIN)} ({own}) imports from {part}"


def test_no_step_is_imported_by_a_step_or_the_package():
    steps = {path.stem for path in BIN.glob("*.py")}
    assert len(steps) > 40
    for path in BIN.rglob("*.py"):
        found = {name.split(".")[0] for name in imported(path)} & steps
        assert not found, f"{path.relative_to(BIN)} imports the step {found}"


def test_a_package_file_is_empty():
    for path in PACKAGE.rglob("__init__.py"):
        assert path.read_text() == "", f"{path.relative_to(BIN)}: what it holds belongs into a module"
