"""Figures for the report: small enough to embed, with the title and description that each file carries."""

import base64
import io
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from immune_aging.results import Results

# Of all pictures before base64, which adds a third. With plotly.js and genes (7 MB) the report stays under 15 MB.
BUDGET_BYTES = 5_500_000
SCALES = (1.0, 0.8, 0.65, 0.5, 0.4, 0.3)
COLOURS = 256  # by a median cut: maximum coverage takes half the time and leaves steps in colour bars


@dataclass(frozen=True)
class Picture:
    """One figure as the template shows it; `name` is its path in the results folder."""

    name: str
    title: str
    description: str
    uri: str
    width: int
    height: int
    has_pdf: bool


def _shrink(path: Path, scale: float) -> tuple[bytes, tuple[int, int], dict[str, str]]:
    """The picture as a PNG of `COLOURS` colours, `scale` times its size; its size, and the words in the file."""
    with Image.open(path) as opened:
        image = opened.convert("RGB")
        words = dict(opened.text)
    if scale < 1:
        image = image.resize(
            (max(1, round(image.width * scale)), max(1, round(image.height * scale))),
            Image.Resampling.LANCZOS,
        )
    image = image.quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    content = io.BytesIO()
    image.save(content, format="PNG")
    return content.getvalue(), image.size, words


def embed(results: Results, *, budget: int = BUDGET_BYTES, threads: int = 1) -> dict[str, Picture]:
    """PNG files as pictures by path in the results folder, all at the largest scale that fits `budget` bytes."""
    paths = {name: results.path(name) for name in results if name.endswith(".png")}
    for scale in SCALES:
        with ThreadPoolExecutor(threads) as pool:  # Pillow works without Python's lock
            pictures = dict(zip(paths, pool.map(_shrink, paths.values(), [scale] * len(paths)), strict=True))
        if sum(len(content) for content, _, _ in pictures.values()) <= budget:
            break
    embedded = {}
    for name, (content, (width, height), words) in pictures.items():
        stem = Path(name).stem.replace("_", " ")
        embedded[name] = Picture(
            name=name,
            title=words.get("Title", stem),
            description=words.get("Description", stem),
            uri=f"data:image/png;base64,{base64.b64encode(content).decode()}",
            width=width,
            height=height,
            has_pdf=f"{name[:-4]}.pdf" in results,
        )
    return embedded


def in_folder(pictures: Mapping[str, Picture], folder: str, order: Sequence[str] = ()) -> list[Picture]:
    """Pictures directly in `folder`: first those named in `order`, then the others by name."""
    found = {Path(name).stem: picture for name, picture in pictures.items() if Path(name).parent.as_posix() == folder}
    return [found[stem] for stem in order if stem in found] + [
        found[stem] for stem in sorted(found) if stem not in order
    ]
