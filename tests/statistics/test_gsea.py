"""Preranked enrichment: planted sets found, others not, and nothing depends on order or threads."""

import os
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from gsea import main
from immune_aging.statistics.enrichment import COLUMNS
from immune_aging.statistics.gene_fits import write_gene_fits
from immune_aging.statistics.gene_sets import measured_sets, write_gmt
from immune_aging.statistics.preranked import permutation_floor, prerank, rank_symbols
from immune_aging.task.checkpoints import read_json, read_tsv, write_tsv
from immune_aging.task.command_line import BadInput
from inputs.statistics_inputs import SET_SIZE, planted_sets, statistics_fits, statistics_table
from inputs.step_options import default_options


def run_step(folder, table, *options, sets=None, fits=None):
    """Run the script on a de.tsv and fits of its genes; its gsea.tsv and summary."""
    write_tsv(table, folder / "de.tsv")
    write_gene_fits(fits or statistics_fits(statistics_table()), folder / "fits.h5")
    write_gmt(sets or planted_sets(), folder / "sets.gmt")
    files = [
        "--output",
        str(folder / "gsea.tsv"),
        "--summary",
        str(folder / "s.json"),
        "--versions",
        str(folder / "v.json"),
    ]
    inputs = [
        "--de",
        str(folder / "de.tsv"),
        "--fits",
        str(folder / "fits.h5"),
        "--gene-sets",
        str(folder / "sets.gmt"),
    ]
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
    for q in ("q_value", "q_value_preranked"):
        found = result[result[q] < 0.05].set_index("gene_set")
        assert set(found.index) == {"RISES", "FALLS"}, q
        assert found.loc["RISES", "nes"] > 1.5 and found.loc["FALLS", "nes"] < -1.5
        assert found["direction"].to_dict() == {"RISES": "up", "FALLS": "down"}
    assert (summary["n_up"], summary["n_down"], summary["n_sets_tested"]) == (1, 1, 12)
    assert (summary["set_test"], summary["df_residual"], summary["notes"]) == ("camera", 37, [])
    assert summary["n_preranked_significant"] == 2 and summary["preranked_floor"] == permutation_floor(1000)
    assert result["q_value"].is_monotonic_increasing and (result[["p_value", "q_value"]] > 0).all(axis=None)


def test_a_set_whose_genes_move_together_is_called_by_the_preranked_test_alone(tmp_path):
    """Genes that rise by little, all of them from one donor-to-donor programme: so does the mean of the set by chance."""
    table = statistics_table()
    place = {f"SYM{i}": i for i in range(400)}
    own = [place[gene] for gene in planted_sets()["STILL_0"]]
    table.loc[table["symbol"].isin(planted_sets()["STILL_0"]), "stat"] += 1.5
    fits = statistics_fits(table)
    common = np.random.default_rng(5).normal(size=40)
    residuals = fits.residuals.copy()
    residuals[own] = 0.7 * residuals[own] + 0.7 * common * np.sqrt(37 / (common @ common))
    result, _ = run_step(tmp_path, table, fits=replace(fits, residuals=residuals))
    row = result.set_index("gene_set").loc["STILL_0"]
    assert row["correlation"] > 0.3 and row["q_value_preranked"] < 0.05 < row["q_value"]
    alone, _ = run_step(tmp_path, table, fits=fits)
    assert alone.set_index("gene_set").loc["STILL_0", "q_value"] < 0.05, (
        "were its genes independent, it would be called"
    )


def test_with_too_few_residual_degrees_of_freedom_the_preranked_columns_stay(tmp_path):
    full, _ = run_step(tmp_path, statistics_table())
    few, summary = run_step(tmp_path, statistics_table(), fits=statistics_fits(statistics_table(), n_samples=6))
    assert few[["direction", "correlation", "p_value", "q_value"]].isna().all(axis=None)
    kept = ["es", "nes", "p_value_preranked", "q_value_preranked", "size", "leading_edge"]
    pd.testing.assert_frame_equal(
        few.set_index("gene_set")[kept].sort_index(), full.set_index("gene_set")[kept].sort_index()
    )
    assert set(few["gene_set"].head(2)) == {"RISES", "FALLS"}
    assert (summary["status"], summary["n_up"], summary["n_down"]) == ("done", 0, 0)
    assert summary["set_test_reason"].startswith("6 samples and 3 coefficients leave 3 residual degrees of freedom")
    assert summary["set_test_reason"] in summary["notes"][0]


def test_a_set_of_more_than_a_tenth_of_the_genes_has_no_p_and_q_of_the_set_test(tmp_path):
    sets = planted_sets() | {"LARGE": [f"SYM{i}" for i in range(60)]}
    result, summary = run_step(tmp_path, statistics_table(), sets=sets)
    assert result["q_value"].isna().tolist() == [False] * 12 + [True] and result["gene_set"].iloc[-1] == "LARGE"
    assert result["q_value_preranked"].notna().all()
    assert summary["n_sets_too_large"] == 1 and "more than 10% of the tested genes" in summary["notes"][0]


def test_fits_of_another_cell_type_are_refused(tmp_path):
    fits = statistics_fits(statistics_table().head(300))
    with pytest.raises(BadInput, match="of --de was not fitted"):
        run_step(tmp_path, statistics_table(), fits=fits)


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
    p_value = prerank(rank_symbols(statistics), sets, permutations=500)["p_value_preranked"]
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
    result = prerank(*ranked, permutations=98)
    assert permutation_floor(98) == 1 / 50, "about half of the permuted scores have the sign of a score"
    assert result["p_value_preranked"].min() == pytest.approx(1 / 50)
    assert result["q_value_preranked"].min() >= 1 / 50


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
    fits = statistics_fits(table)
    plain, _ = run_step(tmp_path, table, fits=fits)
    rows = np.r_[0:400, 0:18]
    ids = np.array([*fits.gene_ids, *double["gene_id"], *nameless["gene_id"], *untested["gene_id"]])
    more = replace(fits, gene_ids=ids, z=fits.z[rows], residuals=fits.residuals[rows], moderation=fits.moderation[rows])
    result, summary = run_step(tmp_path, pd.concat([table, double, nameless, untested]), fits=more)
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
