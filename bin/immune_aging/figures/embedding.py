"""All figures of the embedding, with the words they are saved with."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from immune_aging.cohort.donors import not_told
from immune_aging.embedding.mixing import measure, summarize
from immune_aging.figures.maps import inside, plot_categories, plot_pca, plot_values
from immune_aging.figures.mixing import AFTER, BEFORE, plot_mixing
from immune_aging.figures.style import Drawing, Drawings
from immune_aging.task.checkpoints import unique_slugs

AXES = ("UMAP 1", "UMAP 2")
UNTOLD = ("sex", "age_years")  # are missing in all cells where --sex_column or --age_column is none
MEAN = "Each dot shows the mean of the cells under it."
# File name, column, what colours the map, and what its reader must know.
KINDS = (
    ("cell_type", "cell_type", "cell type", "Numbers stand where most cells of a type are."),
    (
        "donor",
        "donor_id",
        "donor",
        "Of cells in one place, one at random is on top: well-mixed donors look speckled. Past 30, colours repeat.",
    ),
    ("sex", "sex", "sex", "Of cells in one place, one at random is on top."),
)
# File name, column, label of the colour bar, whether it is on a log scale, what colours the map.
NUMBERS = (
    ("counts", "n_counts", "Counts", True, "counts"),
    ("age", "age_years", "Age (years)", False, "the donor's age"),
    (
        "doublet_score",
        "doublet_score",
        "Doublet score",
        False,
        "Scrublet's doublet score (called doublets are gone)",
    ),
)


def draw_pca(pca: pd.DataFrame, cell_types: pd.Series) -> Drawing:
    """The principal components of all cells by cell type (categorical)."""
    return Drawing(
        plot_pca(pca, cell_types),
        "Principal components by cell type",
        f"The first four principal components of {len(pca):,} cells, before Harmony, coloured and numbered by cell "
        "type.",
    )


def draw_mixing(
    shown: tuple[np.ndarray, np.ndarray],
    some: tuple[np.ndarray, np.ndarray],
    rows: np.ndarray,
    batches: pd.Series,
    cell_types: pd.Series,
) -> tuple[Drawing, pd.DataFrame]:
    """How cells mix before and after Harmony, as a drawing and as mixing.tsv.

    Parameters
    ----------
    shown
        Before and after Harmony: cells x 2, the first components of all cells.
    some
        The same: cells x components, of the cells in `rows`; as many are taken as Harmony has dimensions.
    batches
        What Harmony took out, by the name it has in the figure.
    """
    embeddings = dict(zip((BEFORE, AFTER), shown, strict=True))
    labels = {batches.name: batches.iloc[rows], "cell type": cell_types.iloc[rows]}
    measured = measure({BEFORE: some[0][:, : some[1].shape[1]], AFTER: some[1]}, labels)
    table = summarize(measured, labels)
    medians = table.set_index(["label", "embedding"])["median"]
    words = "; ".join(
        f"{name} {medians[name, BEFORE]:.2f} before and {medians[name, AFTER]:.2f} after" for name in labels
    )
    drawing = Drawing(
        plot_mixing(embeddings, batches, measured),
        "Harmony",
        f"Principal components before and after Harmony, and the local inverse Simpson index of {len(rows):,} cells: "
        f"the effective number of labels among a cell's neighbours. Well-mixed {batches.name}s raise it, cell types "
        f"that stay apart keep it near 1. Medians: {words}.",
    )
    return drawing, table


def cells_shown(points: np.ndarray) -> str:
    """How many cells a map shows, in words: those far out lie outside its frame."""
    n_outside = int((~inside(points)).sum())
    far = f" ({n_outside:,} far ones lie outside the frame)" if n_outside else ""
    return f"{len(points):,} cells{far}"


def draw_umaps(points: np.ndarray, cells: pd.DataFrame) -> Drawings:
    """The UMAP by each thing known of the cells and their donors.

    Parameters
    ----------
    points
        Coordinates, cells x 2.
    cells
        cell_type and donor_id (categorical), sex, n_counts, age_years, doublet_score. Sex and age are not drawn where
        no cell has one.
    """
    n = cells_shown(points)
    told = [column for column in cells if column not in UNTOLD or not not_told(cells, column)]
    for name, column, what, note in KINDS:
        if column not in told:
            continue
        kinds = cells[column]
        if column == "sex":
            kinds = kinds.fillna("unknown").astype(str).astype("category")
        figure = plot_categories(points, kinds, axis_names=AXES, numbered=name == "cell_type")
        words = f"UMAP of {n}, coloured by {what} ({len(kinds.cat.categories):,}). {note}"
        yield f"umap_{name}", Drawing(figure, f"UMAP by {what}", words)
    for name, column, bar, log, what in NUMBERS:
        if column not in told:
            continue
        figure = plot_values(points, cells[column].to_numpy(dtype=float), axis_names=AXES, bar=bar, log=log)
        title = f"UMAP by {name.replace('_', ' ')}"
        yield f"umap_{name}", Drawing(figure, title, f"UMAP of {n}, coloured by {what}. {MEAN}")


def draw_genes(points: np.ndarray, expression: pd.DataFrame) -> Drawings:
    """The UMAP by each gene of `expression` (cells x genes)."""
    n = cells_shown(points)
    for gene, slug in unique_slugs(expression.columns).items():
        values = expression[gene].to_numpy(dtype=float)
        figure = plot_values(points, values, axis_names=AXES, bar=f"{gene}, log-normalised")
        words = f"UMAP of {n}, coloured by the expression of {gene}. {MEAN}"
        yield f"umap_gene_{slug}", Drawing(figure, f"UMAP by {gene}", words)


def draw_clusters(points: np.ndarray, clusters: Mapping[str, pd.Series]) -> Drawings:
    """The UMAP by cluster, one figure per resolution in a folder of its own.

    Parameters
    ----------
    clusters
        Of all cells by resolution: categorical, named by numbers, 0 the largest.
    """
    n = cells_shown(points)
    for resolution, kinds in clusters.items():
        figure = plot_categories(points, kinds, axis_names=AXES, numbered=True, clusters=True)
        words = (
            f"UMAP of {n}, coloured and numbered by {len(kinds.cat.categories)} Leiden clusters at resolution "
            f"{resolution}, 0 the largest."
        )
        title = f"UMAP by cluster, resolution {resolution}"
        yield f"resolution-{resolution}/figures/umap_cluster", Drawing(figure, title, words)
