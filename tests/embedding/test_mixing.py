"""LISI against its definition, and what the table and the figure of mixing say."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq
from scipy.spatial.distance import cdist
from scipy.special import entr

from immune_aging.embedding.mixing import lisi, measure, sampled, summarize
from immune_aging.figures.mixing import AFTER, BEFORE, plot_mixing


def groups(shift, n=150):
    """Two groups of cells, `shift` apart in five dimensions."""
    rng = np.random.default_rng(0)
    labels = pd.Series(np.repeat(["a", "b"], n))
    return rng.normal(0, 1, (2 * n, 5)) + shift * (labels == "b").to_numpy()[:, None], labels


def test_lisi_is_the_inverse_simpson_index_of_weights_of_the_perplexity():
    points, labels = groups(0.7)
    distances = cdist(points, points)
    own = lisi(points, labels)
    for cell in (0, 77, 200):
        near = np.argsort(distances[cell])[1:91]

        def weights(beta, d=distances[cell][near]):
            w = np.exp(-beta * (d - d.min()))
            return w / w.sum()

        beta = brentq(lambda beta: entr(weights(beta)).sum() - np.log(30), 1e-3, 1e3)
        share = pd.Series(weights(beta)).groupby(labels.to_numpy()[near]).sum()
        assert own[cell] == pytest.approx(1 / (share**2).sum(), rel=0.02)


def test_groups_apart_have_one_label_around_each_cell_and_mixed_ones_two():
    apart, mixed = (np.median(lisi(*groups(shift))) for shift in (20, 0))
    assert apart == pytest.approx(1, abs=0.01) and 1.8 < mixed <= 2


def test_the_table_and_the_figure_give_the_medians_of_the_cells():
    embeddings = {BEFORE: groups(3)[0], AFTER: groups(0)[0]}
    labels = {"donor": groups(0)[1].rename("donor"), "cell type": pd.Series(["x", "y", "z"] * 100)}
    measured = measure(embeddings, labels)
    table = summarize(measured, labels).set_index(["label", "embedding"])
    assert len(measured) == 4 * 300 and (table["n_cells"] == 300).all() and table["n_labels"].tolist() == [2, 2, 3, 3]
    assert table.loc[("donor", BEFORE), "median"] < 1.3 < 1.7 < table.loc[("donor", AFTER), "median"]
    assert (table["q25"] <= table["median"]).all() and (table["median"] <= table["q75"]).all()
    axes = plot_mixing(embeddings, labels["donor"], measured).axes
    words = [text.get_text() for text in axes[2].get_legend().get_texts()]
    assert words == [f"{when}: median {table.loc[('donor', when), 'median']:.2f}" for when in (BEFORE, AFTER)]


def test_a_sample_is_the_same_each_time_and_all_cells_where_they_are_few():
    assert sampled(10).tolist() == list(range(10))
    some = sampled(10_000, 50)
    assert len(set(some)) == 50 and (some == sampled(10_000, 50)).all() and (np.diff(some) > 0).all()
