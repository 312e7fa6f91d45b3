#!/usr/bin/env python3
"""Write the tutorial's pictures of the report, docs/pictures/*.png, from the report of `make demo`.

    sh containers/bootstrap.sh dev python docs/make_pictures.py results/report.html

Needs chromium on PATH. Each picture is the top of one section as a reader sees it, figures drawn.
"""

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

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


def main(report: Path) -> None:
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": max(SECTIONS.values())})
        page.goto(report.resolve().as_uri())
        page.wait_for_load_state("networkidle")
        for name, height in SECTIONS.items():
            section = page.locator(f"section#{name}")
            section.locator("h2").scroll_into_view_if_needed()
            # The map of cells is drawn when it comes near the view, other figures when the page opens.
            section.locator("[data-map]:not([data-ready])").wait_for(state="detached")
            page.wait_for_timeout(1500)
            box = section.bounding_box()
            clip = {
                "x": 0,
                "y": box["y"] + page.evaluate("scrollY"),
                "width": WIDTH,
                "height": min(height, box["height"]),
            }
            shot = Image.open(io.BytesIO(page.screenshot(full_page=True, clip=clip))).convert("RGB")
            shot.quantize(COLOURS, dither=0).save(FOLDER / f"{name}.png", optimize=True)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
