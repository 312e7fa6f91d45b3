"""Over-representation against the tested genes, by an independent test and by a stand-in of the service."""

import json

import numpy as np
import pandas as pd
import pytest

from http_stand_in import served
from immune_aging.statistics.enrichr import enrich_by_service
from immune_aging.statistics.gene_sets import by_symbol, measured_sets, write_gmt
from immune_aging.statistics.overrepresentation import COLUMNS, called_genes, enrich
from immune_aging.task.checkpoints import read_json, read_tsv, write_tsv
from immune_aging.task.command_line import BadInput
from inputs.statistics_inputs import SET_SIZE, planted_sets, statistics_table
from inputs.step_options import default_options
from overrepresentation import main


def run_step(folder, table, *options):
    """Run the script on a de.tsv; its tables and summary."""
    write_tsv(table, folder / "de.tsv")
    write_gmt(planted_sets(), folder / "sets.gmt")
    files = {
        "--output-up": "up.tsv",
        "--output-down": "down.tsv",
        "--summary": "s.json",
        "--versions": "v.json",
    }
    paths = [part for option, name in files.items() for part in (option, str(folder / name))]
    inputs = ["--de", str(folder / "de.tsv"), "--gene-sets", str(folder / "sets.gmt")]
    main([*inputs, *paths, *default_options("overrepresentation"), *options])
    return read_tsv(folder / "up.tsv"), read_tsv(folder / "down.tsv"), read_json(folder / "s.json")


@pytest.fixture(scope="module")
def standard():
    """Called genes, sets and background of the standard table."""
    table = statistics_table()
    background = list(by_symbol(table)[0]["symbol"])
    return called_genes(table, background)["up"], measured_sets(planted_sets(), background), background


def test_planted_sets_are_found_in_their_direction_only(tmp_path):
    up, down, summary = run_step(tmp_path, statistics_table())
    assert list(up.columns) == list(down.columns) == list(COLUMNS)
    assert list(up.loc[up["padj"] <= 0.05, "gene_set"]) == ["RISES"]
    assert list(down.loc[down["padj"] <= 0.05, "gene_set"]) == ["FALLS"]
    assert up.loc[0, "overlap"] == len(up.loc[0, "genes"].split(";")) >= SET_SIZE - 2
    assert (summary["n_sets_up"], summary["n_sets_down"], summary["n_sets_tested"]) == (1, 1, 12)


def test_p_values_are_fishers_and_adjusted_over_all_sets_tested(standard):
    from scipy.stats import fisher_exact
    from statsmodels.stats.multitest import multipletests

    genes, sets, background = standard
    called, p_values = set(genes), {}
    for name, members in sets.items():
        inside, outside = set(members), set(background) - set(members)
        square = [[len(called & inside), len(called - inside)], [len(inside - called), len(outside - called)]]
        p_values[name] = fisher_exact(square, alternative="greater").pvalue
    adjusted = dict(zip(p_values, multipletests(list(p_values.values()), method="fdr_bh")[1], strict=True))
    result = enrich(genes, sets, background)
    assert 1 < len(result) < len(sets)
    for row in result.itertuples():
        assert row.p_value == pytest.approx(p_values[row.gene_set], rel=1e-9)
        assert row.padj == pytest.approx(adjusted[row.gene_set], rel=1e-9)


def test_odds_ratios_and_p_values_agree_with_gseapy(standard):
    import gseapy

    genes, sets, background = standard
    other = gseapy.enrich(
        gene_list=genes,
        gene_sets={n: list(g) for n, g in sets.items()},
        background=set(background),
        outdir=None,
        no_plot=True,
    )
    other = other.results.set_index("Term")
    result = enrich(genes, sets, background).set_index("gene_set")
    assert set(result.index) == set(other.index)
    np.testing.assert_allclose(result["p_value"], other.loc[result.index, "P-value"], rtol=1e-9)
    np.testing.assert_allclose(result["odds_ratio"], other.loc[result.index, "Odds Ratio"], rtol=1e-9)


def test_the_background_is_the_tested_genes(standard):
    """With 20,000 genes as background any set of expressed genes would look enriched."""
    genes, sets, background = standard
    wide = [*background, *(f"OTHER{i}" for i in range(20000))]
    own = enrich(genes, sets, background).set_index("gene_set")["p_value"]
    assert (enrich(genes, sets, wide).set_index("gene_set")["p_value"][own.index] < own).all()


def test_genes_without_an_adjusted_p_value_count_as_tested_but_not_as_called(tmp_path):
    table = statistics_table()
    table.loc[table["symbol"] == "SYM1", "padj"] = np.nan
    up, _, summary = run_step(tmp_path, table)
    assert "SYM1" not in up.loc[0, "genes"].split(";")
    assert up.loc[0, "size"] == SET_SIZE
    assert summary["n_symbols"] == 400


def test_one_direction_without_genes_is_an_empty_table(tmp_path):
    table = statistics_table()
    table.loc[table["stat"] < 0, "padj"] = 1.0
    up, down, summary = run_step(tmp_path, table)
    assert len(up) and down.empty
    assert list(down.columns) == list(COLUMNS)
    assert summary["n_called_down"] == 0


def test_no_called_gene_is_a_finding_even_under_strict(tmp_path):
    up, down, summary = run_step(tmp_path, statistics_table().assign(padj=1.0), "--strict")
    assert up.empty and down.empty
    assert summary["status"] == "skipped"
    assert summary["reason"] == "no gene with padj <= 0.05 among 400 tested symbols"


def test_no_symbols_is_a_reason_and_an_error_under_strict(tmp_path):
    table = statistics_table().assign(symbol="")
    _, _, summary = run_step(tmp_path, table)
    assert "none of the 400 tested genes has a symbol" in summary["reason"]
    with pytest.raises(BadInput, match="has a symbol"):
        run_step(tmp_path, table, "--strict")


def enrichr(path: str, body: str) -> tuple[int, str]:
    """The answers of speedrichr to the three calls of one enrichment."""
    if path.endswith("/addList"):
        return 200, json.dumps({"userListId": 7, "shortId": "a"})
    if path.endswith("/addbackground"):
        return 200, json.dumps({"backgroundid": "b"})
    assert "userListId=7" in body and "backgroundid=b" in body
    rows = [
        [1, "Set 2", 0.01, 3.0, 9.0, ["SYM3", "SYM1"], 0.02, 0, 0],
        [2, "Set 1", 0.001, 8.0, 9.0, ["SYM2"], 0.002, 0, 0],
    ]
    return 200, json.dumps({"Lib_2024": rows})


def test_the_service_gets_genes_and_background_and_its_answer_has_our_columns(tmp_path):
    with served(enrichr) as (url, requests):
        up, down, summary = run_step(
            tmp_path,
            statistics_table(),
            "--backend",
            "enrichr",
            "--enrichr-url",
            url,
            "--enrichr-library",
            "Lib_2024",
        )
    assert list(up.columns) == list(COLUMNS)
    assert up[["gene_set", "overlap", "p_value", "genes"]].to_numpy().tolist() == [
        ["Set 1", 1, 0.001, "SYM2"],
        ["Set 2", 2, 0.01, "SYM1;SYM3"],
    ]
    assert up["size"].isna().all()
    assert (summary["backend"], summary["library"]) == ("enrichr", "Lib_2024")
    assert [path.rsplit("/", 1)[-1] for path, _ in requests] == [
        "addList",
        "addbackground",
        "backgroundenrich",
    ] * 2
    assert "SYM5" in requests[0][1] and "SYM300" not in requests[0][1]
    assert "SYM300" in requests[1][1]
    assert len(down) == 2


def test_a_service_that_is_busy_is_asked_again(monkeypatch):
    monkeypatch.setattr("urllib3.util.Retry.get_backoff_time", lambda _self: 0)
    busy = iter([(503, "busy"), (429, "slower"), (502, "gone")])  # once in each of the three calls

    def answer(path: str, body: str) -> tuple[int, str]:
        failed = asked.setdefault(path, 0)
        asked[path] = failed + 1
        return next(busy) if not failed else enrichr(path, body)

    asked: dict[str, int] = {}
    with served(answer) as (url, requests):
        result = enrich_by_service(["SYM2", "SYM1", "SYM3"], "Lib_2024", ["SYM1", "SYM2", "SYM3"], url=url)
    assert result["gene_set"].tolist() == ["Set 1", "Set 2"]
    assert len(requests) == 6 and set(asked.values()) == {2}


@pytest.mark.parametrize(
    ("answer", "tries"),
    [((503, "busy"), 4), ((200, "<html>"), 1), ((404, "no"), 1), ((200, "{}"), 1)],
)
def test_a_service_that_fails_is_told_in_one_line_with_a_way_out(monkeypatch, answer, tries):
    monkeypatch.setattr("urllib3.util.Retry.get_backoff_time", lambda _self: 0)
    told = pytest.raises(ConnectionError, match="--ora_backend local")
    with served(lambda _path, _body: answer) as (url, requests), told as error:
        enrich_by_service(["A"], "Lib", ["A", "B"], url=url)
    assert "\n" not in str(error.value)
    assert len(requests) == tries


def test_a_service_that_never_answers_is_given_up(monkeypatch, tmp_path):
    import threading

    monkeypatch.setattr("immune_aging.statistics.enrichr.TIMEOUT_SECONDS", (0.2, 0.2))
    monkeypatch.setattr("immune_aging.statistics.enrichr.TRIES", 1)
    release = threading.Event()

    def silent(_path: str, _body: str) -> tuple[int, str]:
        release.wait(20)
        return 200, "{}"

    with served(silent) as (url, _requests):
        try:
            with pytest.raises(SystemExit) as end:
                run_step(tmp_path, statistics_table(), "--backend", "enrichr", "--enrichr-url", url)
        finally:
            release.set()
    assert str(end.value.code).startswith("ERROR: Enrichr at")


def test_testing_changes_none_of_its_arguments(standard):
    genes, sets, background = standard
    before = list(genes), dict(sets), list(background)
    table = statistics_table()
    called_genes(table, background)
    enrich(genes, sets, background)
    assert (genes, sets, background) == before
    pd.testing.assert_frame_equal(table, statistics_table())
