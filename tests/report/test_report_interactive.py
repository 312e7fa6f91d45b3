"""What the interactive figures are drawn from: every called gene, and a file that stays under 15 MB."""

import base64
import gzip
import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from immune_aging.embedding.map_sample import FEWEST, N_CELLS
from immune_aging.figures.style import PALETTE, colours_for
from immune_aging.report.interactive import (
    COLUMNS,
    LONGEST,
    MAP_VALUES,
    ROWS,
    cell_map,
    explorers,
    gene_columns,
    packed,
    rounded,
    thinned,
)
from immune_aging.results import Results
from immune_aging.task.checkpoints import write_json, write_tsv
from inputs.report_inputs import GENES, KEPT
from report_runs import trees_of, write


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
    assert explorers(Results({"cell_types/b/de.tsv": tmp_path / "de.tsv"}), ["b"], alpha=0.05) == {}


def sample(n, *, n_genes=0, n_donors=982, n_types=30, seed=0):
    """A sample of the UMAP as PLOT_EMBEDDING writes it, with nothing in it that could be compressed away."""
    rng = np.random.default_rng(seed)
    donor = rng.integers(0, n_donors, n)
    table = pd.DataFrame(rng.normal(0, 6, (n, 2)).round(3), columns=["UMAP1", "UMAP2"])
    table["cell_type"] = [f"type {i}" for i in rng.integers(0, n_types, n)]
    table["donor_id"] = [f"{i}_{i}" for i in donor]
    table["age_years"], table["sex"] = 19 + donor % 79, np.where(donor % 2, "female", "male")
    table["cluster_1.0"], table["cluster_0.5"] = rng.integers(0, 40, n), rng.integers(0, 25, n)
    values = rng.exponential(1.5, (n, n_genes)).round(3)
    return pd.concat([table, pd.DataFrame(values, columns=[f"gene_G{i}" for i in range(n_genes)])], axis=1)


def map_of(table, folder):
    write_tsv(table, folder / "umap_sample.tsv")
    found = cell_map(Results({"embedding/umap_sample.tsv": folder / "umap_sample.tsv"}))
    return found, unpacked(found["data"])


def test_the_map_holds_the_sample_and_colours_kinds_as_the_still_figures_do(tmp_path):
    table = sample(500, n_genes=1, n_types=5)
    table.loc[3, ["age_years", "sex"]] = [np.nan, None]
    table.loc[table["cluster_1.0"] == 7, "cluster_1.0"] = 8
    found, content = map_of(table, tmp_path)
    assert found["n_cells"] == 500 and content["UMAP1"] == pytest.approx(table["UMAP1"], abs=0.0051)
    colourings = content["colourings"]
    order = ["cell_type", "cluster_1.0", "cluster_0.5", "donor_id", "sex", "age_years", "gene_G0"]
    assert list(colourings) == list(found["labels"]) == order
    kinds = colourings["cell_type"]
    assert dict(zip(kinds["names"], kinds["colours"], strict=True)) == colours_for(table["cell_type"])
    assert [kinds["names"][code] for code in kinds["codes"]] == table["cell_type"].tolist()
    # A cluster that the sample lacks does not shift the colours of the others.
    clusters = dict(zip(colourings["cluster_1.0"]["names"], colourings["cluster_1.0"]["colours"], strict=True))
    assert "7" not in clusters and list(clusters)[:9] == [*"01234568", "9"]
    assert all(colour == PALETTE[int(name) % len(PALETTE)] for name, colour in clusters.items())
    assert colourings["sex"]["names"] == ["female", "male", "unknown"]
    ages = colourings["age_years"]
    assert ages["values"][3] is None and ages["limits"] == list(np.nanpercentile(table["age_years"], [1, 99]))


def test_kinds_and_donors_that_look_like_numbers_stay_names(tmp_path):
    table = sample(40).assign(cell_type="10", donor_id="001")
    table.loc[:9, "cell_type"] = "9"
    kinds = map_of(table, tmp_path)[1]["colourings"]
    assert kinds["cell_type"]["names"] == ["10", "9"] and kinds["donor_id"]["names"] == ["001"]
    assert kinds["cell_type"]["colours"] == list(PALETTE[:2])


def test_a_gene_that_hardly_any_cell_expresses_and_an_age_that_none_has_have_limits(tmp_path):
    table = sample(300, n_genes=1).assign(gene_G0=0.0, age_years=np.nan)
    colourings = map_of(table, tmp_path)[1]["colourings"]
    assert colourings["gene_G0"]["limits"] == [0, 1] and colourings["age_years"]["limits"] == [0, 1]


def test_the_map_stays_small_however_many_genes_are_asked_for(tmp_path):
    found, content = map_of(sample(N_CELLS, n_genes=60), tmp_path)
    shown = [name for name in content["colourings"] if name.startswith("gene_")]
    assert shown == [f"gene_G{i}" for i in range(MAP_VALUES // N_CELLS)]
    assert (found["n_genes"], found["n_genes_asked"]) == (len(shown), 60)
    assert 100_000 < len(found["data"]) < 200_000
    assert len(map_of(sample(N_CELLS), tmp_path)[0]["data"]) < 80_000


def test_the_page_says_of_how_many_cells_the_map_is_a_sample_and_names_every_colouring(inputs, tmp_path):
    text = write(inputs, tmp_path)
    n_kept = int(pd.read_parquet(inputs / "merge_qc/published/qc/cells.parquet")["kept"].sum())
    assert f"A sample: {N_CELLS:,} of {n_kept:,} cells" in text and f"at least {FEWEST} of each cell type" in text
    content = unpacked(text.split('id="data-map">')[1].split("</script>")[0])
    assert content["colourings"]["cell_type"]["names"] == sorted(KEPT)
    assert [name for name in content["colourings"] if name.startswith("gene_")] == [f"gene_{gene}" for gene in GENES]
    labels = [colouring["label"] for colouring in content["colourings"].values()]
    assert len(set(labels)) == len(labels) and max(map(len, labels)) <= LONGEST + 20
    assert "<b>X" not in text and "&lt;b&gt;X" in text


def test_without_a_sample_the_page_has_no_map_and_its_embedding_is_as_it_was(inputs, tmp_path):
    trees = [tree for tree in trees_of(inputs) if tree.parent.name != "plot_embedding"]
    text = write(inputs, tmp_path, trees)
    assert "data-map" not in text.split("</main>")[0] and 'id="colour-by"' not in text
    assert cell_map(Results({})) is None


def test_a_run_that_ends_with_the_embedding_has_a_map_and_what_draws_it(inputs, tmp_path):
    text = write(inputs, tmp_path, [inputs / "plot_embedding/published"])
    assert 'id="data-map"' in text and 'id="plotly"' in text and f"A sample: {N_CELLS:,} cells" in text


@pytest.fixture(scope="module")
def large(inputs, tmp_path_factory):
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
    write_tsv(sample(N_CELLS, n_genes=60), tree / "embedding/umap_sample.tsv")
    return tree


@pytest.mark.long
def test_the_report_of_a_large_cohort_stays_under_15_mb_and_holds_every_called_gene(inputs, large, tmp_path):
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
