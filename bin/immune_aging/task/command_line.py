"""What every script of `bin/` shares as a command: errors of one line, thread pools, list options, progress."""

# Own code: tqdm writes one endless line into a log; `Progress` writes a line per minute.

import contextlib
import gc
import os
import sys
import time
from collections.abc import Callable, Iterator

# Where a library looks for the size of its pool when it is loaded.
POOL_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


class BadInput(Exception):
    """The user's input is wrong. The message is one line that names file, field, value and remedy."""


def run(main: Callable[[list[str]], None]) -> None:
    """Run a script's `main` on the command line and leave with the exit code that the pipeline relies on.

    Exit code 2 and one line on stderr for `BadInput` (the engine never retries it); any other exception is a
    fault of ours and keeps its traceback and exit code 1.
    """
    # What is loaded by now lives to the end, and so does nearly all that a step makes: Python would look through it for
    # garbage every 700 objects (a tenth of NEIGHBORS, half of what igraph takes to take its edges).
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)
    try:
        main(sys.argv[1:])
    except BadInput as error:
        print(f"ERROR: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)


def available_cores() -> int:
    """Cores this process may run on: its affinity mask where there is one, else all."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def limit_threads(threads: int) -> Iterator[int]:
    """Pin the BLAS, OpenMP and numba pools to `threads`, or to what the machine has if that is less.

    Unpinned pools fight over the cores: `eigh` took 3 s with one thread and 18 s with two under load. Libraries that
    are loaded inside, whose pools nothing could pin yet, read the variables of the environment.

    Yields
    ------
    The number of threads in effect.
    """
    from threadpoolctl import threadpool_limits

    threads = max(1, min(threads, available_cores()))
    numba = sys.modules.get("numba")
    if numba is not None:
        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    # Once loaded, numba reads its variable again whenever it compiles, and fails if that differs from what it has.
    names = [name for name in POOL_VARIABLES if name != "NUMBA_NUM_THREADS" or numba is None]
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, str(threads)))
    try:
        with threadpool_limits(limits=threads):
            yield threads
    finally:
        for name, value in before.items():
            if name == "NUMBA_NUM_THREADS" and "numba" in sys.modules:
                continue
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def list_of(convert: Callable[[str], object]) -> Callable[[str], list]:
    """An argparse type for a comma-separated list, each element through `convert`; blanks are left out."""

    def parse(text: str) -> list:
        return [convert(part.strip()) for part in text.split(",") if part.strip()]

    parse.__name__ = f"comma-separated {convert.__name__}"
    return parse


class Progress:
    """Progress of a long step on stderr: a line that renews itself on a terminal, one line per minute in a log.

    Parameters
    ----------
    total
        How many `unit`s there are to do.
    unit
        What is counted, in the plural ("cells").
    label
        What is being done ("reading counts").
    """

    def __init__(self, total: int, *, unit: str, label: str):
        self._total, self._unit, self._label = total, unit, label
        self._done = 0
        self._terminal = sys.stderr.isatty()
        self._interval = 0.2 if self._terminal else 60.0
        self._last = time.monotonic()

    def advance(self, done: int) -> None:
        """Count `done` more units and say so when it is time to."""
        self._done += done
        now = time.monotonic()
        if now - self._last >= self._interval:
            self._last = now
            self._say(end="\r" if self._terminal else "\n")

    def close(self) -> None:
        """Say where the step ended."""
        self._say(end="\n")

    def _say(self, *, end: str) -> None:
        share = 100 * self._done / self._total if self._total else 100.0
        text = f"{self._label}: {self._done:,} of {self._total:,} {self._unit} ({share:.0f} %)"
        print(text, end=end, file=sys.stderr, flush=True)
