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

# The files whose quick tests take longest, begun first, so that no worker is left with one of them.
FIRST = (
    "test_report_browser.py", "test_differential_expression.py", "test_docs.py", "test_bad_inputs.py",
    "test_public_bug_reports.py", "test_plot_embedding.py", "test_report.py",
)  # fmt: skip
LONG_FIRST = ("test_slurm.py", "test_pipeline.py", "test_faults.py", "test_doc_commands.py", "test_resume.py")


def pytest_collection_modifyitems(items):
    """Files with long tests after all others, but for `FIRST`; which comes first, changes with `LONG_TESTS_FROM`.

    So where there is no time for all, other ones are left out the next time.
    """
    with_long = {item.path.name for item in items if item.get_closest_marker("long")} - set(FIRST)
    long = [name for name in LONG_FIRST if name in with_long] + sorted(with_long - set(LONG_FIRST))
    start = int(os.environ.get("LONG_TESTS_FROM", "0")) % max(len(long), 1)
    order = {name: place for place, name in enumerate([*FIRST, "", *long[start:], *long[:start]])}
    items.sort(key=lambda item: order.get(item.path.name, order[""]))


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
