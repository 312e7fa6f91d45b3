"""The one style of figures: colours to tell apart, a scatter that shows proportions, the same bytes."""

import time
from itertools import combinations

import numpy as np
import pytest
from matplotlib.colors import Normalize, to_rgb
from PIL import Image
from skimage.color import deltaE_ciede2000, rgb2lab

from immune_aging.figures.dots import crowded_place, dot_radius, scatter
from immune_aging.figures.style import OKABE_ITO, PALETTE, colours_for, log_ticks, new_figure, save_figure, shorten

# Machado, Oliveira, Fernandes (2009), severity 1, on linear RGB.
VISION = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}


def seen(colour: str, vision: str) -> np.ndarray:
    """CIELAB of a colour as seen with a kind of vision."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(VISION[vision] @ linear, 0, 1)
    return rgb2lab(np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055))


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize(("n", "least"), [(len(OKABE_ITO), 11.5), (16, 11.5), (30, 8.0)])
def test_colours_can_be_told_apart_with_every_kind_of_vision(vision, n, least):
    labs = [seen(colour, vision) for colour in PALETTE[:n]]
    assert len(labs) == n
    assert min(deltaE_ciede2000(one, other) for one, other in combinations(labs, 2)) >= least
    assert min(deltaE_ciede2000(lab, seen("#FFFFFF", vision)) for lab in labs) >= 8


def test_a_category_has_the_same_colour_whatever_the_order_and_how_often_it_occurs():
    assert colours_for(["b", "a", "a"]) == colours_for(["a", "b"]) == {"a": PALETTE[0], "b": PALETTE[1]}
    many = colours_for(f"{i:03d}" for i in range(31))
    assert many["030"] == many["000"] and len(set(many.values())) == 30


def draw_one(folder):
    figure = new_figure(3, 2)
    ax = figure.subplots()
    points = np.random.default_rng(1).normal(size=(500, 2))
    scatter(ax, points[:, 0], points[:, 1], codes=np.arange(500) % 3)
    ax.set_xlabel("$ is a dollar")
    save_figure(figure, folder / "figure", title="Title", description="Größe, 5 µm", kinds=("png", "pdf", "svg"))
    return {path.suffix: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_figure_has_the_same_bytes_in_every_run_and_names_no_date(tmp_path):
    first = draw_one(tmp_path / "one")
    time.sleep(1.1)  # a time stamp in the file would have moved on
    assert draw_one(tmp_path / "two") == first
    assert set(first) == {".png", ".pdf", ".svg"}
    assert b"CreationDate" not in first[".pdf"] and b"Matplotlib" not in first[".png"]


def test_a_figure_carries_its_title_and_description(tmp_path):
    draw_one(tmp_path)
    with Image.open(tmp_path / "figure.png") as image:
        assert image.text["Title"] == "Title" and image.text["Description"] == "Größe, 5 µm"
        assert image.size == (450, 300)


def image_of(ax) -> np.ndarray:
    """The pixels of the one image in `ax`."""
    return np.asarray(ax.images[-1].get_array())


def drawn(x, y, *, limits=(0, 1), scale="linear", **kwargs):
    figure = new_figure(3, 3)
    ax = figure.subplots()
    ax.set(xscale=scale, yscale=scale, xlim=limits, ylim=limits)
    mappable = scatter(ax, np.asarray(x, dtype=float), np.asarray(y, dtype=float), **kwargs)
    return image_of(ax), mappable, ax


@pytest.mark.parametrize("rare_last", [True, False])
def test_a_mixed_region_looks_mixed_in_its_true_proportions_whichever_kind_comes_last(rare_last):
    rng = np.random.default_rng(0)
    points = rng.uniform(0.3, 0.7, (200_000, 2))
    codes = np.zeros(len(points), dtype=int)
    codes[-20_000 if rare_last else 0 : None if rare_last else 20_000] = 1
    pixels, _, _ = drawn(*points.T, codes=codes, palette=["#FF0000", "#0000FF"])
    red, blue = ((pixels[..., 3] > 0) & (pixels[..., channel] == 1) & (pixels[..., 1] == 0) for channel in (0, 2))
    assert blue.sum() / (blue.sum() + red.sum()) == pytest.approx(0.1, abs=0.01)


def test_a_dot_of_numbers_shows_their_mean_and_leaves_out_what_is_missing():
    pixels, mappable, _ = drawn(
        [0.5] * 3 + [0.9],
        [0.5] * 3 + [0.9],
        values=np.array([1.0, 4.0, np.nan, np.nan]),
        norm=Normalize(0, 5),
    )
    middle = pixels[pixels.shape[0] // 2, pixels.shape[1] // 2]
    assert middle == pytest.approx(mappable.to_rgba(2.5))
    rows, _ = np.nonzero(pixels[..., 3])
    assert rows.max() < 0.7 * len(pixels)  # the cell with no number is not there


def test_without_codes_or_numbers_the_number_of_points_is_shown():
    pixels, mappable, _ = drawn([0.2] * 100 + [0.8], [0.5] * 101)
    n_y, n_x = pixels.shape[:2]
    assert pixels[n_y // 2, int(0.2 * n_x)] == pytest.approx(mappable.to_rgba(100))
    assert pixels[n_y // 2, int(0.8 * n_x)] == pytest.approx(mappable.to_rgba(1))


def test_points_lie_where_a_log_axis_has_them():
    pixels, _, ax = drawn([10, 1.0], [10, 100.0], scale="log", limits=(1, 100), codes=np.array([0, 0]), radius=3)
    n_y, n_x = pixels.shape[:2]
    assert pixels[n_y // 2, n_x // 2, 3] > 0 and pixels[n_y - 1, 0, 3] > 0 and pixels[0, 0, 3] == 0
    assert ax.get_xlim() == (1, 100)
    figure = ax.figure
    figure.canvas.draw()
    buffer = np.asarray(figure.canvas.buffer_rgba())
    x, y = ax.transData.transform((10, 10))
    assert buffer[int(buffer.shape[0] - y), int(x), :3] == pytest.approx(np.array(to_rgb(PALETTE[0])) * 255, abs=30)


def test_the_size_of_the_picture_does_not_grow_with_the_number_of_points():
    rng = np.random.default_rng(0)
    few, many = (drawn(*rng.uniform(0, 1, (2, n)), codes=np.zeros(n, dtype=int))[0] for n in (1_000, 1_300_000))
    assert few.shape == many.shape
    assert dot_radius(1_300_000) < dot_radius(1_000) / 4


def test_scatter_changes_none_of_its_arguments():
    x, y, values = np.array([0.1, np.nan, 0.3]), np.array([0.5, 0.2, np.inf]), np.array([1.0, 2.0, np.nan])
    copies = [array.copy() for array in (x, y, values)]
    drawn(x, y, values=values)
    for array, copy in zip((x, y, values), copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_a_label_stands_in_the_larger_of_two_clouds():
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(0, 0.1, (900, 2)), rng.normal(5, 0.1, (100, 2))])
    assert crowded_place(*points.T) == pytest.approx((0, 0), abs=0.1)


def test_log_axes_have_plain_numbers():
    figure = new_figure(3, 3)
    ax = figure.subplots()
    ax.set(xscale="log", xlim=(90, 30_000))
    log_ticks(ax.xaxis)
    labels = [text.get_text() for text in ax.get_xticklabels()]
    assert {"100", "1,000", "10,000"} <= set(labels)


def test_long_names_keep_both_ends():
    short = shorten("central memory CD4-positive, alpha-beta T cell", 21)
    assert len(short) == 21 and short.startswith("central memor") and short.endswith("T cell")
    assert shorten("B cell", 20) == "B cell"
