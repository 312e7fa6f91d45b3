"""Puts the package, and the benchmarks that the studies draw cohorts with, on the path."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "bin"), str(ROOT / "benchmarks")]
