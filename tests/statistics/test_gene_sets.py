"""Gene sets: files read or refused with a reason, libraries downloaded once, symbols matched exactly."""

import numpy as np
import pandas as pd
import pytest

from fetch_gene_sets import main
from http_stand_in import served
from immune_aging.statistics.enrichr import download_library
from immune_aging.statistics.gene_sets import by_symbol, measured_sets, parse_gmt, read_gmt, why_no_sets, write_gmt
from immune_aging.task.checkpoints import read_json
from immune_aging.task.command_line import BadInput
from inputs.step_options import default_options

GMT = "SET_A\thttp://a\tCD3E\tLYZ\tCD3E\n\nSET_B\t\tMS4A1,1.0\t\tCD79A,0.5\r\n"


def test_a_gmt_is_read_without_repeats_weights_or_blanks():
    assert parse_gmt(GMT, "x.gmt") == {"SET_A": ("CD3E", "LYZ"), "SET_B": ("MS4A1", "CD79A")}


def test_writing_and_reading_a_gmt_gives_the_same_sets(tmp_path):
    sets = {"B, with comma": ("LYZ", "CD3E"), "A": ("HLA-DRA",)}
    write_gmt(sets, tmp_path / "sets.gmt")
    assert read_gmt(tmp_path / "sets.gmt") == sets
    assert list(read_gmt(tmp_path / "sets.gmt")) == list(sets)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no gene set"),
        (b"\n\n", "holds no gene set"),
        (b"SET\tabout\t\t\n", "holds no gene set"),
        (b"A\tx\tCD3E\nB CD3E LYZ\n", "line 2: 1 tab-separated fields"),
        (b"A\tx\tCD3E\nA\tx\tLYZ\n", "line 2: set 'A' comes twice"),
        (b"\tx\tCD3E\n", "line 1: the set has no name"),
        (b"\x1f\x8b\x08\x00\xff", "is no text"),
        (b"<html><body>Not found</body></html>", "line 1: 1 tab-separated"),
    ],
)
def test_a_bad_gmt_is_refused_with_place_and_remedy(tmp_path, content, message):
    (tmp_path / "bad.gmt").write_bytes(content)
    with pytest.raises(BadInput, match=message) as error:
        read_gmt(tmp_path / "bad.gmt")
    assert "bad.gmt" in str(error.value)


def test_a_gmt_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(BadInput, match="No such file"):
        read_gmt(tmp_path / "none.gmt")


def test_sets_are_matched_by_exact_symbol_and_cut_to_size():
    sets = {"fits": ("A", "B", "x"), "small": ("A", "z"), "large": ("A", "B", "C", "D"), "case": ("a", "b")}
    assert measured_sets(sets, "ABCDE", min_size=2, max_size=3) == {"fits": ("A", "B")}


def test_a_set_of_all_genes_cannot_be_compared():
    assert measured_sets({"all": ("A", "B")}, "AB", min_size=1) == {}


def test_of_genes_with_one_symbol_the_largest_statistic_stays_and_every_row_is_counted():
    table = pd.DataFrame(
        {
            "gene_id": ["g1", "g2", "g3", "g4", "g5", "g6"],
            "symbol": ["A", "A", "", None, "B", "C"],
            "stat": [1.0, -3.0, 5.0, 2.0, np.nan, 0.5],
            "p_value": [0.3, 0.01, 0.001, 0.05, np.nan, 0.6],
        }
    )
    before = table.copy()
    kept, counts = by_symbol(table)
    assert kept[["gene_id", "symbol"]].to_numpy().tolist() == [["g2", "A"], ["g6", "C"]]
    assert counts == {
        "n_genes_in": 6, "n_not_tested": 1, "n_without_symbol": 2, "n_duplicate_symbol": 1, "n_symbols": 2,
    }  # fmt: skip
    assert counts["n_genes_in"] == sum(counts[name] for name in counts if name != "n_genes_in")
    pd.testing.assert_frame_equal(table, before)


def test_the_reason_for_no_result_tells_the_cases_apart():
    counts = {"n_genes_in": 5, "n_not_tested": 0, "n_without_symbol": 5, "n_symbols": 0}
    assert "has a symbol" in why_no_sets(counts)
    assert "no gene was tested" in why_no_sets(counts | {"n_not_tested": 5, "n_without_symbol": 0})
    assert "among the 5 tested" in why_no_sets(counts | {"n_symbols": 5, "n_without_symbol": 0})


def fetch(folder, *options):
    """Run the script; the sets it wrote."""
    files = [
        "--output",
        str(folder / "out.gmt"),
        "--summary",
        str(folder / "s.json"),
        "--versions",
        str(folder / "v.json"),
    ]
    main([*default_options("fetch_gene_sets"), *options, *files])
    return read_gmt(folder / "out.gmt")


def test_a_library_is_downloaded_once_and_then_read_from_the_cache(tmp_path):
    with served(lambda _path, _body: (200, GMT)) as (url, requests):
        options = [
            "--library",
            "Some_Library_2024",
            "--cache-dir",
            str(tmp_path / "cache"),
            "--enrichr-url",
            url,
            "--allow-http",
        ]
        first = fetch(tmp_path, *options)
        assert fetch(tmp_path, *options) == first == parse_gmt(GMT, "x")
    assert [path for path, _ in requests] == ["/Enrichr/geneSetLibrary?mode=text&libraryName=Some_Library_2024"]
    assert read_json(tmp_path / "s.json") == {"source": "Some_Library_2024", "n_sets": 2, "n_genes": 4}


def test_a_service_that_stumbles_is_asked_again(tmp_path):
    answers = iter([(503, "busy"), (500, "broken"), (200, GMT)])
    with served(lambda _path, _body: next(answers)) as (url, requests):
        assert download_library("L", url=url, allow_http=True, wait_seconds=0.01) == parse_gmt(GMT, "x")
    assert len(requests) == 3


def test_a_service_that_stays_down_is_told_with_a_way_out(tmp_path):
    told = pytest.raises(ConnectionError, match=r"in 4 tries .*give --gene_sets the path of a GMT file")
    with served(lambda _path, _body: (503, "busy")) as (url, requests), told:
        download_library("L", url=url, allow_http=True, wait_seconds=0.01)
    assert len(requests) == 4


def test_an_unknown_library_is_bad_input_and_not_asked_for_again(tmp_path):
    with (
        served(lambda _path, _body: (404, "no")) as (url, requests),
        pytest.raises(BadInput, match="answers 404"),
    ):
        fetch(tmp_path, "--library", "Nosuch", "--cache-dir", str(tmp_path), "--enrichr-url", url, "--allow-http")
    assert len(requests) == 1
    assert not list(tmp_path.glob("*.gmt"))


def test_an_answer_that_is_no_gmt_is_not_kept(tmp_path):
    told, cache = pytest.raises(BadInput, match=r"Nosuch .*tab-separated"), str(tmp_path / "cache")
    with served(lambda _path, _body: (200, "<html>sorry</html>")) as (url, _requests), told:
        fetch(tmp_path, "--library", "Nosuch", "--cache-dir", cache, "--enrichr-url", url, "--allow-http")
    assert not list(tmp_path.rglob("*.gmt"))


@pytest.mark.parametrize("name", ["sets/none.gmt", "none.gmt", "../x", "a b", ""])
def test_what_is_neither_a_file_nor_a_name_is_refused_before_any_request(tmp_path, name):
    with pytest.raises(BadInput, match="neither a GMT file"):
        fetch(tmp_path, "--library", name, "--enrichr-url", "http://127.0.0.1:9")


def test_a_gmt_file_is_checked_and_passed_on(tmp_path):
    (tmp_path / "mine.gmt").write_text(GMT)
    assert fetch(tmp_path, "--gmt", str(tmp_path / "mine.gmt")) == parse_gmt(GMT, "x")
    assert read_json(tmp_path / "s.json")["source"] == "mine.gmt"


# A set as people write it, and its genes.
WRITTEN = {
    "SET\td\tCD3E\tCD4\tLYZ": ("CD3E", "CD4", "LYZ"),
    "SET\td\tCD3E,CD4,LYZ": ("CD3E", "CD4", "LYZ"),
    "SET\td\tCD3E, CD4, LYZ": ("CD3E", "CD4", "LYZ"),
    "SET\td\tCD3E;CD4;LYZ": ("CD3E", "CD4", "LYZ"),
    "SET\td\tCD3E,CD4\tLYZ": ("CD3E", "CD4", "LYZ"),
    "SET\td\tCd3e;orf\tLYZ": ("Cd3e;orf", "LYZ"),
    "SET\td\tCD3E CD4 LYZ": ("CD3E", "CD4", "LYZ"),
    '"SET"\t"d"\t"CD3E"\t"CD4"\t"LYZ"': ("CD3E", "CD4", "LYZ"),
    "SET\t\tCD3E,1.0\tCD4,0.5\tLYZ,-2e-3": ("CD3E", "CD4", "LYZ"),
    "SET\td\tHLA-A,HLA-DRB1": ("HLA-A", "HLA-DRB1"),
    "SET\td\t916,920": ("916", "920"),
    "SET\td\ta b\tc d": ("a b", "c d"),
    "SET\td\t$(x);,y": ("$(x);",),
}


@pytest.mark.parametrize("line", WRITTEN)
def test_no_gene_of_a_set_is_lost_however_it_is_parted_from_the_others(line):
    """BaderLab/EnrichmentMapApp#388; of CD3E,CD4,LYZ in one field only CD3E was taken"""
    assert parse_gmt(line + "\n", "x.gmt") == {"SET": WRITTEN[line]}


def test_sets_without_descriptions_are_refused_and_lose_no_gene():
    """MaayanLab/appyter-catalog#521: the second column was taken for a description"""
    with pytest.raises(BadInput, match="line 1: 'CD3E' stands where a description should be, and is a gene"):
        parse_gmt("A\tCD3E\tCD4\nB\tCD4\tCD3E\tLYZ\n", "x.gmt")
    assert len(parse_gmt("CD3E\tCD3E\tCD4\nCD4\tCD4\tCD3E\n", "x.gmt")) == 2, "sets named after a gene"
    assert len(parse_gmt("A\tCD3E\tCD4\nB\tof T cells\tCD3E\n", "x.gmt")) == 2
