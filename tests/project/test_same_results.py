"""The comparison of two results folders tells the same bytes, the same content and a difference apart."""

import sys

import h5py
import pandas as pd

from engine import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

import same_results

REPORT = '<section id="resources">{seconds} s</section><p>IL7R {direction}</p>'


def folder_of(folder, *, seconds="1", direction="rises", compression=None, value=1):
    for name in ("cohort", "pipeline_info"):
        (folder / name).mkdir(parents=True)
    (folder / "report.html").write_text(REPORT.format(seconds=seconds, direction=direction))
    (folder / "pipeline_info/trace.tsv").write_text(seconds)
    pd.DataFrame({"donor": ["a", "b"], "age": [30, value]}).to_parquet(
        folder / "cohort/donors.parquet", compression=compression
    )
    with h5py.File(folder / "cohort/table.h5ad", "w") as file:
        file.create_dataset("X", data=[1.0, value] * 50, compression="gzip" if compression else None)
    return folder


def test_what_was_measured_and_how_it_is_packed_is_no_difference(tmp_path, capsys):
    one = folder_of(tmp_path / "one")
    other = folder_of(tmp_path / "other", seconds="2", compression="gzip")
    assert same_results.compare(one, other) == {
        "cohort/donors.parquet": "same content",
        "cohort/table.h5ad": "same content",
        "report.html": "same bytes",
    }
    assert same_results.main([str(one), str(other)]) == 0
    assert "3 files: 2 same content, 1 same bytes" in capsys.readouterr().out


def test_another_number_word_or_file_is_a_difference(tmp_path, capsys):
    one, other = folder_of(tmp_path / "one"), folder_of(tmp_path / "other", direction="falls", value=2)
    (other / "more.tsv").write_text("")
    assert set(same_results.compare(one, other).values()) == {"different", "only after"}
    assert same_results.main([str(one), str(other)]) == 1
    assert "different: report.html" in capsys.readouterr().out
