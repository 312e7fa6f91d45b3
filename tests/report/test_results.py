"""The published tree in Python: each table is read once, and nobody can change what the next one gets."""

import pandas as pd
import pytest

from immune_aging import results
from immune_aging.results import Results
from immune_aging.task.checkpoints import write_json, write_parquet, write_tsv
from immune_aging.task.command_line import BadInput


@pytest.fixture
def published(tmp_path):
    """Two published folders, as two tasks leave them."""
    one, two = tmp_path / "one", tmp_path / "two"
    write_tsv(pd.DataFrame({"gene_id": ["1", "2"], "p_value": [0.1, 0.2]}), one / "cell_types/b/de.tsv")
    write_json({"status": "done", "warnings": ["few"]}, one / "cell_types/b/de_summary.json")
    write_tsv(pd.DataFrame(columns=["gene_id", "p_value"]), two / "cell_types/t/de.tsv")
    write_parquet(pd.DataFrame({"cell_id": ["c"], "kept": [True]}), two / "qc/cells.parquet")
    for resolution in ("10", "2", "0.5"):
        write_parquet(pd.DataFrame({"cell_id": ["c"]}), two / f"clusters/resolution-{resolution}/clusters.parquet")
    return one, two


def test_several_published_folders_are_one_tree(published):
    run = results.open(*map(str, published))
    assert run.cell_type_ids == ["b", "t"] and run.resolutions == ["0.5", "2", "10"]
    assert len(run) == 7 and list(run) == sorted(run)
    assert "qc/cells.parquet" in run and "qc/qc.json" not in run
    assert run.under("cell_types/b") == ["cell_types/b/de.tsv", "cell_types/b/de_summary.json"]
    assert run.path("qc/cells.parquet") == published[1] / "qc/cells.parquet"


def test_tables_and_summaries_are_what_was_published(published):
    run = results.open(*published)
    assert run.table("cell_types/b/de.tsv").to_dict("list") == {"gene_id": ["1", "2"], "p_value": [0.1, 0.2]}
    assert run.table("qc/cells.parquet")["kept"].tolist() == [True]
    assert run.summary("cell_types/b/de_summary.json") == {"status": "done", "warnings": ["few"]}


def test_what_was_not_published_or_has_no_rows_is_none(published):
    run = results.open(*published)
    assert run.table("cell_types/t/de.tsv", ["gene_id"]) is None and run.table("nothing.tsv") is None
    assert run.summary("nothing.json") == {}


def test_each_file_is_read_once(published, monkeypatch):
    run = results.open(*published)
    for name in ("read_tsv", "read_parquet", "read_json"):
        reader, read = getattr(results, name), []

        def counting(path, *, reader=reader, read=read, **options):
            assert path not in read, f"{path} is read twice"
            read.append(path)
            return reader(path, **options)

        monkeypatch.setattr(results, name, counting)
    for _ in range(2):
        for name in run:
            assert run.summary(name) if name.endswith(".json") else run.table(name) is not None or "/t/" in name


def test_changing_what_was_given_changes_nothing_for_the_next(published):
    run = results.open(*published)
    run.table("cell_types/b/de.tsv")["p_value"] = 1.0
    run.summary("cell_types/b/de_summary.json")["warnings"].append("more")
    assert run.table("cell_types/b/de.tsv")["p_value"].tolist() == [0.1, 0.2]
    assert run.summary("cell_types/b/de_summary.json")["warnings"] == ["few"]


def test_a_table_that_lacks_a_column_is_named_even_where_it_has_no_rows(published):
    run = results.open(*published)
    for identifier in "bt":
        with pytest.raises(BadInput, match=rf"cell_types/{identifier}/de.tsv: column 'padj' is missing"):
            run.table(f"cell_types/{identifier}/de.tsv", ["padj"])


def test_an_empty_tree_holds_nothing():
    run = Results({})
    assert len(run) == 0 and run.cell_type_ids == [] and run.resolutions == []
