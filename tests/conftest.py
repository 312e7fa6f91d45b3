"""Where the tests find the project's scripts, and the guard that stands around them in every test."""

import os
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "bin"), str(ROOT / "tests")]
os.environ.setdefault("MPLBACKEND", "Agg")
sys.dont_write_bytecode = True

from check_none_lost import NO_TIME  # noqa: E402
from fault_runs import reference  # noqa: E402, F401  a fixture of several files

# The files that take longest, begun first, so that no worker is left with one of them in the end.
FIRST = (
    "test_slurm.py",
    "test_pipeline.py",
    "test_faults.py",
    "test_doc_commands.py",
    "test_resume.py",
    "test_containers.py",
)


def pytest_collection_modifyitems(items):
    """The files that take longest first, each in its order."""
    items.sort(key=lambda item: FIRST.index(item.path.name) if item.path.name in FIRST else len(FIRST))


@pytest.hookimpl(tryfirst=True)  # before its fixtures are made
def pytest_runtest_setup(item):
    """From a time on that `.ci/run` sets, no long test is begun any more. check_none_lost.py lists those."""
    if item.get_closest_marker("long") and time.time() > float(os.environ.get("LONG_TESTS_UNTIL", "inf")):
        pytest.skip(NO_TIME)


@pytest.fixture(scope="session", autouse=True)
def no_function_changes_its_arguments():
    """Every public function of bin/ is checked in every test for leaving its arguments as they were."""
    from purity import guard_everything

    guard_everything()
