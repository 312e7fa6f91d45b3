"""Running sums: their extreme is the enrichment score of the library that tests the sets."""

import numpy as np
import pandas as pd
import pytest

from immune_aging.figures.running_sums import plot_running_sums
from immune_aging.statistics.enrichment import enrichment_table
from immune_aging.statistics.preranked import prerank, rank_symbols
from immune_aging.statistics.running_sums import directions, running_sum, top_sets
from immune_aging.statistics.set_tests import TEST_COLUMNS


@pytest.fixture(scope="module")
def enrichment():
    rng = np.random.default_rng(0)
    ranking = rank_symbols({f"GENE{i}": value for i, value in enumerate(rng.normal(0.3, 1, 400))})
    sets = {f"S{i}": tuple(rng.choice(ranking.index, 25, replace=False)) for i in range(8)}
    sets["UP"], sets["DOWN"] = tuple(ranking.index[:30]), tuple(ranking.index[-30:])
    return ranking, sets, enrichment_table(prerank(ranking, sets, permutations=100), pd.DataFrame(columns=TEST_COLUMNS))


def test_the_extreme_of_the_running_sum_is_the_enrichment_score_of_gseapy(enrichment):
    ranking, sets, table = enrichment
    assert len(table) == 10
    for row in table.itertuples():
        curve = running_sum(ranking, sets[row.gene_set])
        assert curve[np.abs(curve).argmax()] == pytest.approx(row.es, abs=1e-6)
        assert curve[-1] == pytest.approx(0, abs=1e-9)


def test_the_sum_by_hand():
    ranking = pd.Series([3.0, 2.0, 1.0, -1.0], index=list("abcd"))
    assert running_sum(ranking, {"a", "c", "unknown"}) == pytest.approx([0.75, 0.25, 0.5, 0.0])


def test_the_surest_sets_of_either_direction_are_drawn_with_their_genes_at_their_ranks(enrichment):
    ranking, sets, table = enrichment
    top = top_sets(table, 2)
    assert top["gene_set"].iloc[0] == "UP" and "DOWN" in top["gene_set"].tolist()
    assert (top["nes"] > 0).tolist() == [True] * 2 + [False] * (len(top) - 2)
    figure = plot_running_sums(ranking, sets, top)
    for ax, row in zip(figure.axes, top.itertuples(), strict=False):
        assert ax.get_title(loc="left").startswith(row.gene_set)
        ticks = max((lines.get_segments() for lines in ax.collections), key=len)
        assert [ranking.index[int(segment[0][0]) - 1] for segment in ticks] == [
            gene for gene in ranking.index if gene in sets[row.gene_set]
        ]


def test_a_sets_direction_is_its_tests_or_else_its_scores(enrichment):
    table = enrichment[2].assign(direction=np.nan)
    assert (directions(table) == np.where(table["nes"] > 0, "up", "down")).all()
    one = table.assign(direction=["down", *[np.nan] * 9], q_value=[0.01, *[0.5] * 9])
    assert directions(one).iloc[0] == "down"
    top = top_sets(one, 1)
    assert top["gene_set"].iloc[-1] == one["gene_set"].iloc[0]
