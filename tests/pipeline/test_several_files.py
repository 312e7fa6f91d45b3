"""A cohort of several files and formats, whose names are data, is one cohort; `-resume` goes by the content of each."""

import json
import os

import numpy as np
import pandas as pd
import pytest

from cohort.test_input_formats import write_zarr
from edits import edited
from engine import executed, nextflow, succeed
from fault_runs import PARAMETERS
from immune_aging.task.checkpoints import read_json, read_parquet
from small_cohorts import small_cohort, write_cohort

pytestmark = pytest.mark.long  # starts the engine, four times

NAMES = ('a "b" & $(touch hacked).h5ad', "b `x`;c's.zarr", "$HOME/c d.h5ad")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A cohort in three files with a sheet and a table of donors, analysed as far as quality control."""
    folder = tmp_path_factory.mktemp("several").resolve()
    cohort = small_cohort(donors=14, cells_per_type=20, genes=120)
    where = np.random.default_rng(0).integers(0, 3, cohort.n_obs)
    inputs = folder / "in put"
    (inputs / "$HOME").mkdir(parents=True)
    for number, name in enumerate(NAMES):
        write = write_zarr if name.endswith(".zarr") else write_cohort
        write(cohort[where == number].copy(), inputs / name)
    pd.DataFrame({"file": NAMES, "site": ["n", "n", "s"]}).to_csv(inputs / "it's $HOME.csv", index=False)
    donors = sorted(set(cohort.obs["donor_id"]))
    pd.DataFrame({"donor": donors, "cmv": ["yes", "no"] * 7}).to_csv(inputs / "$donors.csv", index=False)
    symbols = cohort.var["feature_name"].tolist()
    (inputs / "$HOME.gmt").write_text("\t".join(["SET", "", *symbols[:40]]) + "\n")
    given = PARAMETERS | {
        "input": str(inputs / "it's $HOME.csv"), "donor_table": str(inputs / "$donors.csv"), "stop_after": "qc",
        "gene_sets": str(inputs / "$HOME.gmt"), "batch_column": "cmv", "dataset": "several",
    }  # fmt: skip
    (folder / "params.json").write_text(json.dumps(given))
    succeed(folder, "-resume", "-params-file", "params.json")
    return folder


def test_several_files_are_one_cohort(folder):
    check = read_json(folder / "results/cohort/check.json")
    assert check["n_cells"] == 14 * 40 and check["n_genes"] == 120 and check["n_donors"] == 14
    assert "560 cells and 120 genes of 3 files" in check["notes"][0]
    assert len(read_parquet(folder / "results/qc/cells.parquet")) == 560
    assert not list(folder.rglob("hacked")), "a name is no command"


def test_a_touched_file_is_only_read_and_a_changed_one_re_runs_what_depends_on_it(folder):
    path = folder / "in put" / NAMES[2]
    os.utime(path, (1_700_000_000, 1_700_000_000))
    succeed(folder, "-resume", "-params-file", "params.json")
    assert executed(folder) == {"FETCH_FILE"}
    table = folder / "in put/$donors.csv"
    table.write_text(edited(table.read_text(), {"yes": "oui"}))
    succeed(folder, "-resume", "-params-file", "params.json")
    again = executed(folder)
    assert {"PLAN_RUN", "CHECK_COHORT"} <= again and not again & {"FETCH_FILE", "GATHER_COHORT"}


def test_a_file_that_is_not_there_is_named_in_one_line(folder):
    (folder / "in put/lost.csv").write_text(f"file\n{NAMES[2]}\nno such.h5ad\n")
    done = nextflow(
        folder, "-params-file", "params.json", "--input", str(folder / "in put/lost.csv"), "--outdir", "lost"
    )
    assert done.returncode != 0
    assert "no such.h5ad: there is no such file" in done.stdout + done.stderr
