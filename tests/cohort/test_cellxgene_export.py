"""An export passes CELLxGENE's own validator (in an environment of its own) when the input does."""

import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import export_h5ad
import split_cohort
from immune_aging.task.checkpoints import read_json, read_parquet, write_json, write_parquet
from inputs.step_options import default_options
from prepared_cohorts import prepared
from small_cohorts import small_cohort, write_cohort

ROOT = Path(__file__).resolve().parents[2]
GENES = ("00000127603", "00000141510", "00000012048", "00000139618", "00000002330", "00000000005", "00000000419")
VALIDATE = """
import json, sys
from cellxgene_schema.validate import Validator
found = {}
for path in sys.argv[2:]:
    validator = Validator()
    found[path] = [bool(validator.validate_adata(path)), validator.errors]
json.dump(found, open(sys.argv[1], "w"))
"""


def valid_cohort():
    """A cohort that passes CELLxGENE's schema 7.1, with ages in years beside its columns."""
    cohort = small_cohort(donors=6, cells_per_type=5)[:, : len(GENES)].copy()
    cohort.X = (cohort.X.toarray() + np.arange(1, 8)).astype(np.float32)  # no cell without counts
    cohort.var = pd.DataFrame({"feature_is_filtered": False}, index=[f"ENSG{number}" for number in GENES])
    old = cohort.obs
    terms = {
        "cell_type_ontology_term_id": old["cell_type"].map({"T cell": "CL:0000624", "B cell, naive/memory": "CL:0000236"}),
        "assay_ontology_term_id": "EFO:0009899", "disease_ontology_term_id": "PATO:0000461",
        "sex_ontology_term_id": old["sex"].map({"female": "PATO:0000383", "male": "PATO:0000384"}),
        "tissue_ontology_term_id": "UBERON:0000178", "tissue_type": "tissue",
        "self_reported_ethnicity_ontology_term_id": "unknown", "development_stage_ontology_term_id": "HsapDv:0000258",
        "donor_id": old["donor_id"].astype(str), "suspension_type": "cell",
    }  # fmt: skip
    cohort.obs = pd.DataFrame(terms, index=old.index).astype("category")
    cohort.obs["is_primary_data"] = True
    cohort.obs["age"] = old["development_stage"].astype(str).str[:2].astype(float)
    cohort.obsm["X_umap"] = np.random.default_rng(0).normal(size=(cohort.n_obs, 2))
    cohort.uns = {"title": "A title", "organism_ontology_term_id": "NCBITaxon:9606", "default_embedding": "X_umap"}
    return cohort


@pytest.mark.long
def test_an_export_passes_cellxgenes_validator_when_the_input_does(tmp_path, monkeypatch):
    path = write_cohort(valid_cohort(), tmp_path / "cohort.h5ad")
    monkeypatch.chdir(tmp_path)
    columns = {"cell-type": "cell_type_ontology_term_id", "sex": "sex_ontology_term_id", "age": "age"}
    split_cohort.main(
        prepared(path, tmp_path, *(part for role, name in columns.items() for part in (f"--{role}-column", name)))
    )
    # In the order of the shards: by donor, then barcode; every third cell failed quality control.
    cells = read_parquet("kept.parquet").sort_values(["shard", "donor_id", "cell_id"], ignore_index=True)
    cells = cells[["cell_id", "donor_id", "cell_type"]].assign(doublet_score=0.1, kept=np.arange(len(cells)) % 3 > 0)
    cells["reason"] = np.where(cells["kept"], "", "low counts")
    good = cells.loc[cells["kept"], ["cell_id"]]
    write_parquet(cells, Path("a/qc/cells.parquet"))
    write_parquet(good.assign(UMAP1=np.arange(len(good)) * 1.0, UMAP2=0.5), Path("a/embedding/umap.parquet"))
    write_parquet(good.assign(cluster="0"), Path("a/clusters/resolution-1.0/clusters.parquet"))
    write_json({"seed": {"value": 0}}, Path("params.json"))
    outputs = [tmp_path / f"{which}.h5ad" for which in ("all", "kept")]
    for output in outputs:
        export_h5ad.main(
            [*default_options("export_h5ad"), "--cohort", str(path), "--check", "check.json", "--shards", *map(str, sorted(tmp_path.glob("x_shard*"))), "--published",
             "a", "--donors", "donors.parquet", "--genes", "genes.parquet", "--dropped", "dropped.parquet", "--params",
             "params.json", "--cells", output.stem, "--target-sum", "10000", "--pipeline-version", "0.1.0", "--output", str(output)]
        )  # fmt: skip
    setup = ["sh", str(ROOT / "containers/bootstrap.sh"), "setup", "cellxgene"]
    environment = subprocess.run(setup, check=True, capture_output=True, text=True).stdout.strip()
    python = [f"{environment}/bin/python", "-I", "-c", VALIDATE]
    subprocess.run([*python, "found.json", path, *outputs], check=True, capture_output=True, timeout=600)
    assert read_json(tmp_path / "found.json") == {str(file): [True, []] for file in (path, *outputs)}
