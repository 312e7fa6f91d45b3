"""A run of two files of different genes with the union of these: from the files to the report, with all that reads tables."""

import json

import anndata
import numpy as np
import pandas as pd
import pytest

from engine import succeed
from fault_runs import PARAMETERS
from immune_aging.cohort.gene_groups import SOME_FILES
from immune_aging.task.checkpoints import read_json, read_tsv
from small_cohorts import small_cohort, write_cohort

pytestmark = pytest.mark.long  # starts the engine

LOST = slice(5, 120, 9)  # genes that the second file lacks


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("union").resolve()
    cohort = small_cohort(donors=16, cells_per_type=20, genes=120)
    first = (cohort.obs["donor_id"].astype(str) < "D11").to_numpy()
    write_cohort(cohort[first].copy(), folder / "a.h5ad")
    write_cohort(cohort[~first][:, np.delete(np.arange(120), np.arange(120)[LOST])].copy(), folder / "b.h5ad")
    pd.DataFrame({"file": ["a.h5ad", "b.h5ad"]}).to_csv(folder / "cohort.csv", index=False)
    symbols = cohort.var["feature_name"].astype(str).tolist()
    (folder / "sets.gmt").write_text("".join("\t".join([f"SET{i}", "", *symbols[i::4]]) + "\n" for i in range(4)))
    given = PARAMETERS | {
        "input": str(folder / "cohort.csv"), "genes": "union", "gene_sets": str(folder / "sets.gmt"), "dataset": "union",
        "export_h5ad": True, "sensitivity": "max_pct_mito=15", "report_genes": symbols[LOST][0],
    }  # fmt: skip
    (folder / "params.json").write_text(json.dumps(given))
    succeed(folder, "-params-file", "params.json")
    return cohort, folder / "results"


def test_genes_of_some_files_are_in_differential_expression_alone(run):
    cohort, results = run
    lost, n_types = set(cohort.var_names[LOST]), 0
    for path in results.glob("cell_types/*/de.tsv"):
        table = read_tsv(path)
        own = table[~table["in_all_files"]]
        assert set(own["gene_id"]) <= lost and len(own) and set(own["n_samples"]) == {11}
        assert not lost & set(table.loc[table["in_all_files"], "gene_id"])
        n_types += 1
    assert n_types == 2
    assert not lost & set(read_tsv(results / "embedding/genes.tsv")["gene_id"])
    assert not lost & set(anndata.read_h5ad(results / "union.h5ad").var_names)
    table = anndata.read_h5ad(results / "pseudobulk/pseudobulk.h5ad")
    assert not lost & set(table.var_names) and set(table.uns[SOME_FILES]["gene_id"]) <= lost
    assert len(read_tsv(results / "sensitivity/sensitivity.tsv")) > 2


def test_the_report_says_how_they_were_treated(run):
    _, results = run
    page = (results / "report.html").read_text()
    assert "13 genes are not in all files" in page and "tested among the samples that measure them (11 of 16)" in page
    assert "is no gene expressed in this cohort" not in page
    notes = read_json(results / "cohort/check.json")["notes"]
    assert any("nearly every gene has a count" in note for note in notes)
