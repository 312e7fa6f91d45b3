"""Preranked enrichment: planted sets found, others not, and nothing depends on order or threads."""

import os

import numpy as np
import pandas as pd
import pytest

from gsea import main
from immune_aging.statistics.gene_sets import measured_sets, write_gmt
from immune_aging.statistics.preranked import COLUMNS, prerank, rank_symbols
from immune_aging.task.checkpoints import read_json, read_tsv, write_tsv
from immune_aging.task.command_line import BadInput
from inputs.statistics_inputs import SET_SIZE, planted_sets, statistics_table
from inputs.step_options import default_options


def run_step(folder, table, *options, sets=None):
    """Run the script on a de.tsv; its gsea.tsv and summary."""
    write_tsv(table, folder / "de.tsv")
    write_gmt(sets or planted_sets(), folder / "sets.gmt")
    files = [
        "--output",
        str(folder / "gsea.tsv"),
        "--summary",
        str(folder / "s.json"),
        "--versions",
        str(folder / "v.json"),
    ]
    inputs = ["--de", str(folder / "de.tsv"), "--gene-sets", str(folder / "sets.gmt")]
    main([*inputs, *files, *default_options("gsea"), *options])
    return read_tsv(folder / "gsea.tsv"), read_json(folder / "s.json")


def enrichment_score(ranking: pd.Series, genes: tuple[str, ...]) -> tuple[float, set[str]]:
    """The weighted Kolmogorov-Smirnov score of Subramanian et al. (2005) and its leading edge."""
    hit = ranking.index.isin(genes)
    step = np.where(hit, ranking.abs() / ranking.abs()[hit].sum(), -1 / (~hit).sum())
    running = np.cumsum(step)
    peak = np.argmax(np.abs(running))
    edge = ranking.index[: peak + 1] if running[peak] > 0 else ranking.index[peak:]
    return running[peak], set(edge) & set(genes)


@pytest.fixture(scope="module")
def ranked():
    """Statistics with ties, and the sets."""
    table = statistics_table()
    statistics = table.set_index("symbol")["stat"].round(1)
    return rank_symbols(statistics), measured_sets(planted_sets(), statistics.index)


def test_planted_sets_are_found_with_their_direction_and_no_other(tmp_path):
    result, summary = run_step(tmp_path, statistics_table())
    assert list(result.columns) == list(COLUMNS)
    found = result[result["q_value"] < 0.05].set_index("gene_set")["nes"]
    assert set(found.index) == {"RISES", "FALLS"}
    assert found["RISES"] > 1.5 and found["FALLS"] < -1.5
    assert (summary["n_up"], summary["n_down"], summary["n_sets_tested"]) == (1, 1, 12)


def test_scores_and_leading_edges_agree_with_the_definition(ranked):
    ranking, sets = ranked
    result = prerank(ranking, sets, permutations=20).set_index("gene_set")
    for name, genes in sets.items():
        score, edge = enrichment_score(ranking, genes)
        assert result.loc[name, "es"] == pytest.approx(score, abs=1e-6), name
        assert set(result.loc[name, "leading_edge"].split(";")) == edge, name
        assert result.loc[name, "size"] == len(genes)


def test_null_sets_are_called_no_more_often_than_nominally():
    rng = np.random.default_rng(0)
    statistics = pd.Series(rng.normal(size=1000), index=[f"S{i}" for i in range(1000)])
    sets = {f"N{i}": tuple(rng.choice(statistics.index, 30, replace=False)) for i in range(200)}
    p_value = prerank(rank_symbols(statistics), sets, permutations=500)["p_value"]
    assert 0.01 < (p_value < 0.05).mean() < 0.1


def test_threads_and_order_of_rows_and_sets_change_nothing(ranked, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 9)  # else gseapy uses one thread on two cores
    ranking, sets = ranked
    one = prerank(ranking, sets, permutations=200, threads=1)
    shuffled = rank_symbols(ranking.sample(frac=1, random_state=1))
    backwards = {name: tuple(reversed(genes)) for name, genes in reversed(sets.items())}
    pd.testing.assert_frame_equal(prerank(shuffled, backwards, permutations=200, threads=4), one)


def test_the_seed_decides_the_permutations(ranked):
    ranking, sets = ranked
    one, same, other = (prerank(ranking, sets, permutations=50, seed=seed) for seed in (3, 3, 4))
    pd.testing.assert_frame_equal(one, same)
    assert not one["nes"].equals(other["nes"])


def test_ties_are_ranked_by_symbol():
    assert list(rank_symbols({"B": 1.0, "A": 1.0, "C": 2.0, "D": -1.0}).index) == ["C", "A", "B", "D"]


def test_no_p_value_is_smaller_than_the_permutations_can_show(ranked):
    result = prerank(*ranked, permutations=99)
    assert result["p_value"].min() == pytest.approx(1 / 100)


def test_symbols_keep_their_case_and_odd_characters(tmp_path):
    table = statistics_table()
    table["symbol"] = [f"{s.capitalize()};orf,1" for s in table["symbol"]]
    sets = {name: [f"{s.capitalize()};orf" for s in genes] for name, genes in planted_sets().items()}
    sets = {name: [*genes, "SYM0"] for name, genes in sets.items()}
    result, summary = run_step(tmp_path, table, sets=sets)
    assert summary["status"] == "skipped"  # exact matching: the file's symbols end before the comma
    table["symbol"] = [s.removesuffix(",1") for s in table["symbol"]]
    result, summary = run_step(tmp_path, table, sets=sets)
    assert result.loc[result["gene_set"] == "RISES", "size"].item() == SET_SIZE
    assert "Sym1" in result.loc[result["gene_set"] == "RISES", "leading_edge"].item()


def test_duplicates_and_missing_symbols_are_counted_and_left_out(tmp_path):
    table = statistics_table()
    double = table.tail(10).assign(gene_id=lambda t: "X" + t["gene_id"])
    nameless = table.head(5).assign(gene_id=lambda t: "Y" + t["gene_id"], symbol="")
    untested = table.head(3).assign(gene_id=lambda t: "Z" + t["gene_id"], stat=np.nan, p_value=np.nan)
    plain, _ = run_step(tmp_path, table)
    result, summary = run_step(tmp_path, pd.concat([table, double, nameless, untested]))
    assert (summary["n_duplicate_symbol"], summary["n_without_symbol"], summary["n_not_tested"]) == (10, 5, 3)
    pd.testing.assert_frame_equal(result, plain)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: t.assign(symbol=""), "none of the 400 tested genes has a symbol"),
        (lambda t: t.head(0), "no gene was tested"),
        (lambda t: t.assign(symbol="x" + t["symbol"]), "no gene set has enough genes among the 400"),
    ],
)
def test_without_a_result_there_are_headers_and_the_reason_or_an_error_under_strict(tmp_path, change, reason):
    result, summary = run_step(tmp_path, change(statistics_table()))
    assert list(result.columns) == list(COLUMNS)
    assert result.empty
    assert summary["status"] == "skipped"
    assert reason in summary["reason"]
    with pytest.raises(BadInput, match=reason):
        run_step(tmp_path, change(statistics_table()), "--strict")


def test_a_table_without_statistics_is_refused(tmp_path):
    with pytest.raises(BadInput, match="column 'stat' is missing"):
        run_step(tmp_path, statistics_table().drop(columns="stat"))
