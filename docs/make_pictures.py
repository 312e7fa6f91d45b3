#!/usr/bin/env python3
"""Write the tutorial's pictures of the report, docs/pictures/*.png, from the report of `make demo`.

    docs/make_pictures.py results/report.html

Needs chromium on PATH. Each picture is the top of one section by itself.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

FOLDER = Path(__file__).resolve().parent / "pictures"
SECTIONS = {
    "findings": 760,
    "funnel": 620,
    "qc": 820,
    "embedding": 900,
    "cell-types": 1000,
    "prediction": 620,
}  # height
WIDTH = 1100
COLOURS = 64  # in a picture, which keeps it small


def section(report: str, name: str) -> str:
    """The report with one of its sections only."""
    head = report[: report.index("<body")]
    part = re.search(rf'<section id="{name}".*?</section>', report, re.DOTALL)
    return f"{head}<body>{part[0]}</body></html>"


def main(report: Path) -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, height in SECTIONS.items():
        with tempfile.TemporaryDirectory() as folder:
            page, shot = Path(folder, "page.html"), Path(folder, "shot.png")
            page.write_text(section(report.read_text(), name))
            options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--screenshot={shot}"]
            command = ["chromium", *options, f"--window-size={WIDTH},{height}", page.as_uri()]
            subprocess.run(command, check=True, capture_output=True, timeout=120)
            Image.open(shot).convert("RGB").quantize(COLOURS, dither=0).save(FOLDER / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
