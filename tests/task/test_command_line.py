"""What scripts share as commands: thread pools are pinned, those of libraries that are loaded later too."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from immune_aging.task.command_line import POOL_VARIABLES, limit_threads

BIN = Path(__file__).resolve().parents[2] / "bin"


@pytest.mark.parametrize("when", ["before", "inside"])
def test_pools_are_pinned_whenever_their_library_is_loaded(when):
    load = "import numpy, scipy.linalg, sklearn.neighbors, numba"
    script = f"""
import sys
sys.path.insert(0, {str(BIN)!r})
from immune_aging.task.command_line import limit_threads
{load if when == "before" else "pass"}
with limit_threads(1):
    {load}
    from threadpoolctl import threadpool_info
    pools = [(pool["filepath"], pool["num_threads"]) for pool in threadpool_info()]
    assert len(pools) >= 3, pools
    assert all(threads == 1 for _, threads in pools), pools
    assert numba.get_num_threads() == 1
"""
    without = {name: value for name, value in os.environ.items() if name not in POOL_VARIABLES}
    subprocess.run([sys.executable, "-c", script], check=True, env=without)


def test_a_script_collects_garbage_rarely_but_does():
    script = f"""
import gc, sys, weakref
sys.path.insert(0, {str(BIN)!r})
from immune_aging.task.command_line import run
class Node: pass
def main(_):
    assert gc.get_freeze_count() > 1000 and gc.isenabled()
    node = Node(); node.itself = node
    gone = weakref.ref(node)
    del node
    kept = [[] for _ in range(50_000)]
    assert gone() is not None, "collected as often as ever"
    kept += [[] for _ in range(100_000)]
    assert gone() is None, "never collected"
run(main)
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_environment_is_as_before_afterwards(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with limit_threads(1):
        assert os.environ["OMP_NUM_THREADS"] == os.environ["MKL_NUM_THREADS"] == "1"
    assert os.environ["OMP_NUM_THREADS"] == "7" and "MKL_NUM_THREADS" not in os.environ


def test_numba_compiles_under_one_limit_after_another():
    script = f"""
import sys
sys.path.insert(0, {str(BIN)!r})
from immune_aging.task.command_line import limit_threads
for threads in (1, 2, 1):
    with limit_threads(threads):
        import numba, numpy
        numba.njit(parallel=True)(lambda x: (x + 1).sum())(numpy.zeros(9))
"""
    without = {name: value for name, value in os.environ.items() if name not in POOL_VARIABLES}
    subprocess.run([sys.executable, "-c", script], check=True, env=without)


COUNT = """
import sys
sys.path.insert(0, sys.argv[1])
from immune_aging.task import command_line
now = 0.0
command_line.time.monotonic = lambda: now
total = int(sys.argv[2])
progress = command_line.Progress(total, unit="cells", label="reading counts")
for _ in range(total):
    now += 1.0
    progress.advance(1)
progress.close()
"""


def test_a_long_step_writes_one_line_a_minute_into_a_log():
    done = subprocess.run([sys.executable, "-c", COUNT, BIN, "300"], check=True, capture_output=True, text=True)
    assert done.stderr.splitlines() == [
        f"reading counts: {n} of 300 cells ({n / 3:.0f} %)" for n in (60, 120, 180, 240, 300, 300)
    ]


def test_a_long_step_renews_one_line_on_a_terminal():
    ours, theirs = os.openpty()
    subprocess.run([sys.executable, "-c", COUNT, BIN, "20"], check=True, stderr=theirs)
    os.write(theirs, b"end\n")  # what is written arrives in pieces, so it is read until here
    with os.fdopen(ours, encoding="utf-8", newline="\n") as terminal, os.fdopen(theirs, "wb"):
        shown = terminal.readline() + terminal.readline()
    lines = [f"reading counts: {n} of 20 cells ({5 * n} %)" for n in range(1, 21)]
    assert shown == "\r".join([*lines, lines[-1]]) + "\r\nend\r\n"
