"""The report's rows of the sensitivity analysis add up over cell types, and say what was not tested."""

from pathlib import Path

import pandas as pd
import pytest

from immune_aging.report.quality_control import qc_content
from immune_aging.report.sensitivity import sensitivity_content
from immune_aging.results import Results
from immune_aging.statistics import sensitivity
from immune_aging.task.checkpoints import write_tsv

ROWS = [
    ("base", "a", "done", "", 100, 100, 100, 1.0, 1.0, 1.0), ("base", "b", "done", "", 20, 20, 20, 1.0, 1.0, 1.0),
    ("strict", "a", "done", "", 60, 100, 50, 0.45, 1.0, 0.9), ("strict", "b", "skipped", "3 samples", *[None] * 6),
]  # fmt: skip


def test_a_variant_is_summed_over_its_cell_types(tmp_path):
    columns = ["variant", "id", "status", "reason", "n_called", "n_called_base", "n_shared", "jaccard", "sign_agreement",
               "correlation"]  # fmt: skip
    table = pd.DataFrame(ROWS, columns=columns).assign(changes="x", cell_type=lambda t: t["id"].str.upper())
    write_tsv(table.reindex(columns=sensitivity.COLUMNS), tmp_path / "s.tsv")
    write_tsv(pd.DataFrame([{"variant": "strict", "n_kept": 70, "n_kept_in_run": 90}]), tmp_path / "c.tsv")
    files = {"sensitivity/sensitivity.tsv": tmp_path / "s.tsv", "sensitivity/cells.tsv": tmp_path / "c.tsv"}
    base, strict = sensitivity_content(Results(files))
    assert (base["n_cells"], base["n_called"], base["overlap"]) == (90, 120, 1)
    assert (strict["n_cells"], strict["n_types"], strict["n_called"], strict["n_shared"]) == (70, 1, 60, 50)
    assert strict["overlap"] == pytest.approx(50 / 110) and strict["correlation"] == 0.9
    assert strict["skipped"] == ["B: 3 samples"]


def test_a_run_without_it_has_no_rows():
    assert sensitivity_content(Results({})) == []
    assert qc_content(Results({})) == {"qc_rules": [], "doublet_calls": []}


def test_doublets_are_counted_by_how_they_were_called(tmp_path: Path):
    write_tsv(pd.DataFrame({"how": ["scrublet", "scrublet", "expected rate"]}), tmp_path / "d.tsv")
    assert qc_content(Results({"qc/doublets.tsv": tmp_path / "d.tsv"}))["doublet_calls"] == [
        ("expected rate", 1),
        ("scrublet", 2),
    ]
