"""Where the tests find the project's scripts, and small helpers that many tests share."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "bin"))
os.environ.setdefault("MPLBACKEND", "Agg")
sys.dont_write_bytecode = True
