"""What scripts share as commands: thread pools are pinned, those of libraries that are loaded later too."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from command_line import POOL_VARIABLES, limit_threads

BIN = Path(__file__).resolve().parent.parent / "bin"


@pytest.mark.parametrize("when", ["before", "inside"])
def test_pools_are_pinned_whenever_their_library_is_loaded(when):
    load = "import numpy, scipy.linalg, sklearn.neighbors, numba"
    script = f"""
import sys
sys.path.insert(0, {str(BIN)!r})
from command_line import limit_threads
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
from command_line import limit_threads
for threads in (1, 2, 1):
    with limit_threads(threads):
        import numba, numpy
        numba.njit(parallel=True)(lambda x: (x + 1).sum())(numpy.zeros(9))
"""
    without = {name: value for name, value in os.environ.items() if name not in POOL_VARIABLES}
    subprocess.run([sys.executable, "-c", script], check=True, env=without)
