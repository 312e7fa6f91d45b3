"""What the interactive figures are drawn from: every called gene, and a file that stays under 15 MB."""

import base64
import gzip
import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from checkpoints import write_json, write_tsv
from report_interactive import COLUMNS, ROWS, explorers, gene_columns, packed, rounded, thinned
from test_report import inputs, write  # noqa: F401  (inputs: a fixture)


def unpacked(text):
    return json.loads(gzip.decompress(base64.b64decode(text)))


def genes(n, called, seed=0):
    rng = np.random.default_rng(seed)
    p = np.sort(rng.random(n)) ** 3
    table = pd.DataFrame({"gene_id": [f"ENSG{i:011d}" for i in rng.permutation(n)], "p_value": p, "robust": False})
    table["symbol"] = "SYMBOL" + table["gene_id"].str[-5:]
    table["padj"] = np.where(np.arange(n) < called, 0.01, 0.5)
    for name, scale in (("base_mean", 100), ("log2_fold_change", 1), ("lfc_se", 0.1)):
        table[name] = rng.random(n) * scale
    return table[list(COLUMNS)]


def test_all_called_genes_are_kept_and_the_others_thinned_evenly():
    rows = thinned(10_000, 300, 1000)
    assert len(rows) == len(set(rows)) == 1000 and rows[:300].tolist() == list(range(300)) and rows[-1] == 9999
    assert np.ptp(np.diff(rows[300:])) <= 1
    assert thinned(10, 3, 10).tolist() == list(range(10)) and thinned(50, 40, 20).tolist() == list(range(20))


def test_called_genes_come_first_even_behind_genes_without_an_adjusted_p():
    table = genes(20, 5)
    table.loc[2, "padj"] = np.nan
    table.loc[19, "p_value"] = np.nan
    found = gene_columns(table, alpha=0.05, most=6)
    assert (found["n_tested"], found["n_called"]) == (19, 4)
    assert found["gene_id"][:4] == table["gene_id"].iloc[[0, 1, 3, 4]].tolist()
    assert len(found["padj"]) == 6 and found["gene_id"][4] == table["gene_id"].iloc[2] and found["padj"][4] is None


def test_numbers_have_three_digits_and_missing_ones_are_null():
    assert rounded(pd.Series([0.123456, 1e-300, np.nan, np.inf, -98765.4])) == [0.123, 1e-300, None, None, -98800]


def test_the_same_text_gives_the_same_bytes_and_comes_back():
    text = json.dumps({"gene": ["<script>", "é"]})
    assert packed(text) == packed(text) and unpacked(packed(text)) == {"gene": ["<script>", "é"]}


def test_a_cell_type_that_was_not_tested_has_no_explorer(tmp_path):
    write_tsv(pd.DataFrame(columns=list(COLUMNS)), tmp_path / "de.tsv")
    assert explorers({"cell_types/b/de.tsv": tmp_path / "de.tsv"}, ["b"], alpha=0.05) == {}


@pytest.fixture(scope="module")
def large(inputs, tmp_path_factory):  # noqa: F811
    """Results of five cell types with 20,000 tested genes and 982 donors, and figures that no format can compress."""
    tree = tmp_path_factory.mktemp("large") / "published"
    rng = np.random.default_rng(0)
    types = [f"type_{i}" for i in range(5)]
    rows = pd.DataFrame({"id": types, "cell_type": types, "n_cells": 100_000, "n_donors": 982, "n_samples": 982})
    write_tsv(rows.assign(kept=True, reason=""), tree / "cohort/cell_types.tsv")
    for i, name in enumerate(types):
        table = genes(20_000, 6_000, seed=i)
        write_tsv(table, tree / f"cell_types/{name}/de.tsv")
        write_json({"status": "skipped", "reason": "none"}, tree / f"cell_types/{name}/de_summary.json")
        donors = pd.DataFrame({"donor_id": [f"{j}_{j}" for j in range(982)], "age_years": 50.0, "sex": "female"})
        values = pd.DataFrame(rng.normal(5, 2, (982, 40)), columns=table["gene_id"].head(40))
        write_tsv(pd.concat([donors, values], axis=1), tree / f"cell_types/{name}/expression_by_age.tsv")
    (tree / "qc/figures").mkdir(parents=True)
    for i in range(5):
        Image.fromarray(rng.integers(0, 255, (1100, 1100, 3), dtype=np.uint8)).save(tree / f"qc/figures/{i}.png")
    return tree


def test_the_report_of_a_large_cohort_stays_under_15_mb_and_holds_every_called_gene(inputs, large, tmp_path):  # noqa: F811
    text = write(inputs, tmp_path, [large])
    size = (tmp_path / "report.html").stat().st_size
    assert 8_000_000 < size < 15_000_000
    shares = text.split('id="data-type_3">')[1].split("</script>")[0]
    found = unpacked(shares)
    called = genes(20_000, 6_000, seed=3).query("padj < 0.05")["gene_id"]
    assert set(called) <= set(found["gene_id"]) and len(found["gene_id"]) == ROWS // 5
    assert f"{ROWS // 5:,} of 20,000 tested genes" in text
    values = np.array(list(found["expression"]["genes"].values()), dtype=float)
    assert values.shape == (40, 982)
