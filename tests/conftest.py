"""Where the tests find the project's scripts, and the guard that stands around them in every test."""

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = sorted(path for path in (ROOT / "tests").iterdir() if list(path.glob("test_*.py")))
sys.path[:0] = [str(ROOT / "bin"), str(ROOT / "tests"), *map(str, FOLDERS)]
os.environ.setdefault("MPLBACKEND", "Agg")
sys.dont_write_bytecode = True

from fault_runs import reference  # noqa: E402, F401  a fixture of several files

# Begun first, so that no worker is left with one of them in the end.
LONG = ("test_slurm.py", "test_pipeline.py", "test_faults.py")


def pytest_collection_modifyitems(items):
    """The long files first, each in its order."""
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


@pytest.fixture(scope="session", autouse=True)
def no_function_changes_its_arguments():
    """Every public function of bin/ is checked in every test for leaving its arguments as they were."""
    from purity import guard_everything

    guard_everything()
