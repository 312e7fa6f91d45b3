"""Inputs that cannot be analysed end at the check in one line that names field, value and remedy; odd ones work.

Each case runs the script that the engine runs first, as the engine would: exit code 2, one line, no traceback. What
only later steps can see (a value outside the sample, cells that all fail quality control) runs those steps.
"""

import gzip
import shutil
import sys
import time

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import merge_qc
import plan_run
import split_cohort
from immune_aging.cohort.cohort_file import candidates, open_cohort, read_blocks
from immune_aging.task.checkpoints import read_h5ad, read_json, read_parquet, write_json, write_parquet
from immune_aging.task.command_line import run
from inputs.step_options import default_options
from prepared_cohorts import SMALL, prepared
from small_cohorts import small_cohort, write_cohort

SECONDS = 30
TEMPLATE = small_cohort(donors=8, cells_per_type=5, genes=40)


def fails(main, arguments, capsys, monkeypatch) -> str:
    """The one line with which a script ends as it does in a task, at the latest after `SECONDS` of CPU."""
    options = default_options(main.__module__)
    monkeypatch.setattr(sys, "argv", ["script.py", *options, *map(str, arguments)])
    capsys.readouterr()
    started = time.process_time()
    with pytest.raises(SystemExit) as ended:
        run(main)
    assert time.process_time() - started < SECONDS
    assert ended.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("ERROR: "), lines
    return lines[0]


# --- files that are no cohort ----------------------------------------------------------------------------------


def hdf5(*groups):
    def make(path):
        with h5py.File(path, "w") as file:
            for group in groups:
                file.create_group(group)

    return make


def changed(change, **kwargs):
    """Writes the good cohort, then changes the HDF5 file."""

    def make(path):
        write_cohort(TEMPLATE, path, **kwargs)
        with h5py.File(path, "a") as file:
            change(file)

    return make


def cut(path):
    write_cohort(TEMPLATE, path)
    path.write_bytes(path.read_bytes()[:20_000])


def store(path):
    path.mkdir()
    (path / ".zgroup").touch()


def spoilt_chunk(path):
    """A chunk of compressed counts that was damaged on its way."""
    write_cohort(TEMPLATE, path, compression="gzip")
    with h5py.File(path) as file:
        chunk = file["X/data"].id.get_chunk_info(0)
    with path.open("r+b") as raw:
        raw.seek(chunk.byte_offset)
        raw.write(b"\xff" * chunk.size)


def replaced(name, value):
    def change(file):
        attributes = dict(file[name].attrs)
        del file[name]
        file[name] = value
        file[name].attrs.update(attributes)

    return change


def without(name):
    return lambda file: file.__delitem__(name)


FILES = {
    "text": (lambda path: path.write_text("hello"), "is not an HDF5 file or is cut off (5 bytes"),
    "empty": (lambda path: path.touch(), "(0 bytes"),
    "cut off": (cut, "is cut off (20,000 bytes"),
    "no file": (lambda path: None, "there is no such file; check the path"),
    "folder": (lambda path: path.mkdir(), "is a folder, but an .h5ad file is needed"),
    "zarr": (store, "is a zarr store, but an .h5ad file is needed; write one with anndata.read_zarr"),
    "gzip": (lambda path: path.write_bytes(gzip.compress(b"x")), "is compressed with gzip, but an .h5ad"),
    "zip": (lambda path: path.write_bytes(b"PK\x03\x04 and more"), "is a zip archive, perhaps a zarr store"),
    "matrix market": (lambda path: path.write_text("%%MatrixMarket matrix"), "is a MatrixMarket file"),
    "loom": (hdf5("col_attrs", "row_attrs"), "is a loom file, but an .h5ad file is needed; read it with anndata"),
    "Cell Ranger": (hdf5("matrix"), "is a file of Cell Ranger, but an .h5ad file is needed; read it with scanpy"),
    "MuData": (hdf5("mod"), "is a MuData file of several modalities"),
    "h5Seurat": (hdf5("assays", "meta.data"), "is an h5Seurat file"),
    "molecule_info": (hdf5("barcode_idx", "features"), "give filtered_feature_bc_matrix.h5"),
    "other HDF5": (hdf5("x"), "has no 'obs' table; write it with anndata's write_h5ad"),
    "no genes' table": (changed(without("var")), "has no 'var' table"),
    "obs damaged": (changed(without("obs/donor_id/codes")), "obs: cannot be read (KeyError"),
    "var damaged": (changed(without("var/_index")), "var: cannot be read"),
    "chunk damaged": (spoilt_chunk, "/X/data: cannot be read"),
    "no indices": (changed(without("X/indices")), "X is damaged: it has no 'indices'"),
    "indptr short": (changed(replaced("X/indptr", [0, 3])), "X is damaged: indptr has 2 values instead of 81"),
    "indices short": (changed(replaced("X/indices", [0, 3])), "X is damaged: data, indices and indptr tell of [2, "),
    "no matrix": (changed(without("X")), "no raw counts found (no matrix at all); give raw counts in X, raw.X or a"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_cohort_is_named_for_what_it_is(name, tmp_path, capsys, monkeypatch):
    make, message = FILES[name]
    path = tmp_path / "cohort.h5ad"
    make(path)
    line = fails(plan_run.main, ["--cohort", path, *SMALL, "--output", tmp_path / "plan.json"], capsys, monkeypatch)
    assert str(path) in line and message in line
    assert not (tmp_path / "plan.json").exists()


# --- cohorts and parameters that do not go together ------------------------------------------------------------


def obs(**columns):
    """Sets columns of obs: a value for all, or a function of the old table."""

    def change(cohort):
        for name, value in columns.items():
            values = value(cohort.obs) if callable(value) else value
            cohort.obs[name] = values
        return cohort

    return change


def renamed(old, new):
    def change(cohort):
        cohort.obs = cohort.obs.rename(columns={old: new})
        return cohort

    return change


def values(transform):
    """Applies a function to the stored values of X."""

    def change(cohort):
        cohort.X = cohort.X.astype(np.float32)
        cohort.X.data = transform(cohort.X.data).astype(np.float32)
        return cohort

    return change


def first(value):
    return values(lambda data: np.where(np.arange(len(data)) == 0, value, data))


def layer(cohort):
    cohort.layers["counts"] = cohort.X.copy()
    cohort.layers["scaled"] = cohort.X * 0.5
    return cohort


def named(table, names):
    def change(cohort):
        setattr(cohort, f"{table}_names", names(getattr(cohort, f"{table}_names")))
        return cohort

    return change


def donors(n):
    return lambda cohort: cohort[cohort.obs["donor_id"].isin([f"D{i:02d}" for i in range(n)])].copy()


def rare_type(cohort):
    """A third cell type that only one donor has."""
    own = (cohort.obs["donor_id"] == "D00") & (cohort.obs["cell_type"] == "T cell")
    cohort.obs["cell_type"] = np.where(own & (own.cumsum() > 2), "rare", cohort.obs["cell_type"].astype(str))
    return cohort


def apart(cohort):
    """Each donor has one cell type, of two."""
    cohort.obs["cell_type"] = np.where(cohort.obs["donor_id"].isin(["D00", "D02"]), "T cell", "B cell")
    return cohort


def by_donor(function):
    return lambda table: [function(int(donor[1:])) for donor in table["donor_id"].astype(str)]


def nothing(table):
    return pd.Categorical([None] * len(table), categories=["a"])


def visits(table):
    return np.where(np.arange(len(table)) % 2, "one", "two")


def mouse_symbols(cohort):
    cohort.var["feature_name"] = [f"mt-Nd{i}" if i < 3 else f"Gene{i}" for i in range(cohort.n_vars)]
    return cohort


GOOD = obs()
SETS = "HALLMARK_ONE\tna\tMT-ND1\tHBB\tLYZ\n"
# What is changed; the options; the gene sets; what the line says: field, value, remedy.
COHORTS = {
    "no cells": (lambda c: c[:0].copy(), [], "it holds 0 cells and 40 genes; give a cohort with both"),
    "no genes": (lambda c: c[:, :0].copy(), [], "it holds 80 cells and 0 genes"),
    "normalised": (values(np.log1p), [], "no raw counts found (X holds fractions ("),
    "scaled": (values(lambda x: x - 3), [], "X holds negative values (-2)"),
    "NaN": (first(np.nan), [], "X holds NaN or infinite values); give raw counts in X, raw.X or a layer"),
    "infinite": (first(np.inf), [], "X holds NaN or infinite values"),
    "one fraction": (first(0.5), [], "X holds fractions (0.5)"),
    "only zeros": (values(lambda x: x * 0), [], "X holds nothing but zeros"),
    "no such layer": (layer, ["--counts-layer", "count"], "--counts_layer count: there is no such matrix; did you mean 'counts'?"),
    "no raw": (GOOD, ["--counts-layer", "raw.X"], "--counts_layer raw.X: there is no such matrix; there are: X"),
    "normalised layer": (layer, ["--counts-layer", "scaled"], "scaled holds fractions"),
    "no donor column": (renamed("donor_id", "donor"), [], "--donor_column donor_id: obs has no such column, did you mean 'donor'?"),
    "no cell type column": (renamed("cell_type", "CellType"), [], "--cell_type_column cell_type: obs has no such column, did you mean 'CellType'?"),
    "no age column": (renamed("development_stage", "x"), [], "--age_column development_stage: obs has no such column, there are: "),
    "no sex column": (renamed("sex", "Sex"), [], "--sex_column sex: obs has no such column, did you mean 'Sex'?"),
    "misspelt": (GOOD, ["--donor-column", "donorid"], "--donor_column donorid: obs has no such column, did you mean 'donor_id'?"),
    "one column for two": (GOOD, ["--sex-column", "cell_type"], "--sex_column cell_type: is --cell_type_column as well"),
    "no donor at all": (obs(donor_id=nothing), [], "--donor_column donor_id: has no value in any cell; name another column"),
    "no cell type at all": (obs(cell_type=nothing), [], "--cell_type_column cell_type: has no value in any cell"),
    "barcodes twice": (named("obs", lambda n: ["AAAC", *n[:-2], "AAAC"]), [], "obs names: 'AAAC' occurs twice; make the cells unique"),
    "genes twice": (named("var", lambda n: ["CD3E", *n[:-2], "CD3E"]), [], "var names: 'CD3E' occurs twice; make the genes unique"),
    "ages in words": (obs(development_stage="adult stage"), [], "--age_column development_stage: no value is an age ('adult stage'); it takes years"),
    "no ages": (obs(development_stage=np.nan), [], "--age_column development_stage: no value is an age"),
    "ages in days": (obs(development_stage=by_donor(lambda d: 9000 + d)), [], "no value is an age ('9000', '9001'"),
    "negative ages": (obs(development_stage=by_donor(lambda d: -d - 1)), [], "no value is an age ('-1', '-2'"),
    "ranges of ages": (obs(development_stage="60-79 year-old stage"), [], "all 8 donors are 69.5 years old; ages must differ"),
    "ages as terms": (obs(development_stage="HsapDv:0000139"), [], "no value is an age ('HsapDv:0000139')"),
    "two ages": (obs(development_stage=visits), [], "column 'development_stage': donor 'D00' has 2 values ('one', 'two'), and 7 more donors like it; a donor must have one"),
    "two sexes": (obs(sex=visits), [], "column 'sex': donor 'D00' has 2 values ('one', 'two')"),
    "one donor": (donors(1), [], "1 of 1 donors are left by the cohort filter, but a cell type needs 4 samples; give more donors"),
    "few donors": (donors(3), [], "3 of 3 donors are left by the cohort filter, but a cell type needs 4 samples"),
    "one age": (obs(development_stage="50-year-old stage"), [], "--age_column development_stage: all 8 donors are 50 years old; ages must differ"),
    "one age known": (obs(development_stage=by_donor(lambda d: "unknown" if d else "50")), [], "1 of 8 donors are left"),
    "one sex in an own design": (obs(sex="male"), ["--designs", "~ age + sex"], "'sex' has one value in all 8 samples"),
    "no cell type survives": (GOOD, ["--analysed-donors", "common", "--min-cells-per-type", "50"], "no cell type has 50 cells in 95 % of 8 donors ('B cell, naive/memory' comes nearest with 0 %); lower --min_cells_per_type"),
    "types in one donor": (rare_type, ["--analysed-donors", "common", "--min-donor-fraction", "0.1"], "1 of 8 donors are left by the cohort filter"),
    "each donor lacks a type": (apart, ["--analysed-donors", "common", "--min-donor-fraction", "0.2"], "every donor lacks one of the kept cell types; raise --min_donor_fraction"),
    "samples too small": (GOOD, ["--min-cells-per-sample", "6"], "no cell type has 6 cells in 4 donors (the most is 0 donors of"),
    "mouse": (named("var", lambda n: [f"ENSMUSG{i:011d}" for i in range(len(n))]), [], "'ENSMUSG00000000000' is no human gene; gene lists and gene sets are of human genes"),
    "mouse by symbol": (mouse_symbols, [], "'mt-Nd0' is no human gene"),
    "design: no such column": (GOOD, ["--designs", "~ bmi + age"], "--design: 'bmi' is no donor column; there are: "),
    "design: varies": (obs(visit=visits), ["--designs", "~ visit + age"], "donor column 'visit' of the design varies within donor 'D00'"),
    "design: no intercept": (GOOD, ["--designs", "~ 0 + age"], "--design '~ 0 + age': has no intercept; leave out '0'"),
    "design: no formula": (GOOD, ["--designs", "~ age +"], "--design '~ age +': not a formula"),
    "design: constant": (obs(site="x"), ["--designs", "~ site + age"], "--design '~ site + age': no cell type can be tested: "),
    "design: collinear": (obs(copy=by_donor(lambda d: 30 + 5 * d)), ["--designs", "~ copy + age"], "is not of full rank: in these samples 'age' follows"),
    "design: too many terms": (obs(team=by_donor(lambda d: f"t{d % 7}")), ["--designs", "~ team + age"], "8 samples for 8 coefficients"),
    "design of a variant": (GOOD, ["--designs", "~ age", "~ smoker + age"], "--design: 'smoker' is no donor column"),
    "test term": (GOOD, ["--test-term", "pool"], "--test_term 'pool': is not a term of the design '~ sex + age'; it has: sex, age"),
    "contrast of a number": (GOOD, ["--contrast", "old vs young"], "--contrast 'old vs young': 'age' is a number, which has no levels; leave it out"),
    "contrast: no such level": (GOOD, ["--test-term", "sex", "--contrast", "men vs female"], "contrast 'men vs female': 'sex' has no 'men' in these samples, only ['female', 'male']"),
    "contrast: form": (GOOD, ["--test-term", "sex", "--contrast", "men vs men"], "write it 'LEVEL vs REFERENCE'"),
    "pool column": (GOOD, ["--pool-column", "pools"], "--pool_column 'pools': is no donor column; there are: "),
    "acceleration column": (GOOD, ["--acceleration-columns", "sex,pol"], "--acceleration_columns pol: is no donor column, did you mean 'pool'?"),
    "acceleration varies": (GOOD, ["--acceleration-columns", "barcode_number"], "--acceleration_columns barcode_number: varies within donor 'D00'; give each donor one value"),
    "batch column": (GOOD, ["--batch-column", "poool"], "--batch_column poool: is no donor column, did you mean 'pool'?"),
    "batch unknown for a donor": (obs(lab=by_donor(lambda d: "x" if d else None)), ["--batch-column", "lab"], "--batch_column lab: has no value for donor 'D00'; fill it in"),
    "mad group": (GOOD, ["--mad-group", "lane"], "--mad_group lane: is no donor column, there are: "),
    "doublet rates": (GOOD, ["--doublet-rate-column", "rate"], "--doublet_rate_column rate: is no donor column"),
}  # fmt: skip


@pytest.mark.parametrize("name", COHORTS)
def test_a_cohort_that_cannot_be_analysed_says_which_field_and_what_to_do(name, tmp_path, capsys, monkeypatch):
    change, options, message = COHORTS[name]
    path = write_cohort(change(TEMPLATE.copy()), tmp_path / "cohort.h5ad")
    arguments = ["--cohort", path, *SMALL, *options, "--output", tmp_path / "plan.json"]
    line = fails(plan_run.main, arguments, capsys, monkeypatch)
    assert str(path) in line and message in line
    assert line.count(" | ") == 0, "one cause is said once"


GENE_SETS = {
    "empty": (b"", "holds no gene set; give a GMT file"),
    "no tabs": (b"HALLMARK_ONE MT-ND1 HBB\n", "line 1: 1 tab-separated fields ('HALLMARK_ONE MT-ND1 HBB'); a GMT line is"),
    "no genes": (b"ONE\tna\t\n", "holds no gene set"),
    "twice": (2 * SETS.encode(), "line 2: set 'HALLMARK_ONE' comes twice; give each set its own name"),
    "compressed": (gzip.compress(SETS.encode()), "is no text (byte 1); give a plain GMT file, not compressed"),
    "other names": (b"ONE\tna\tENSG1\tENSG2\n", "none of its genes ('ENSG1', ...) is among the cohort's 40 symbols ('CD3E', ...)"),
    "mouse": (b"ONE\tna\tHbb-bs\tLyz2\n", "none of its genes ('Hbb-bs', ...)"),
}  # fmt: skip


@pytest.mark.parametrize("name", GENE_SETS)
def test_gene_sets_that_cannot_be_used_are_said_before_anything_runs(name, tmp_path, capsys, monkeypatch):
    content, message = GENE_SETS[name]
    path = write_cohort(TEMPLATE, tmp_path / "cohort.h5ad")
    (tmp_path / "sets.gmt").write_bytes(content)
    arguments = ["--cohort", path, *SMALL, "--gene-sets", tmp_path / "sets.gmt", "--output", tmp_path / "plan.json"]
    line = fails(plan_run.main, arguments, capsys, monkeypatch)
    assert "--gene_sets" in line and "sets.gmt" in line and message in line


def test_at_least_sixty_bad_inputs_are_tried():
    assert len(FILES) + len(COHORTS) + len(GENE_SETS) >= 85


def test_all_problems_of_cohort_and_parameters_are_said_at_once(tmp_path, capsys, monkeypatch):
    cohort = values(np.log1p)(renamed("sex", "gender")(TEMPLATE.copy()))
    cohort.obs_names = ["AAAC"] * cohort.n_obs
    cohort.obs["development_stage"] = visits(cohort.obs)
    path = write_cohort(cohort, tmp_path / "cohort.h5ad")
    (tmp_path / "sets.gmt").write_text("x")
    line = fails(
        plan_run.main,
        ["--cohort", path, *SMALL, "--designs", "~ bmi + age", "--batch-column", "lane", "--acceleration-columns", "weight",
         "--gene-sets", tmp_path / "sets.gmt", "--output", tmp_path / "plan.json"],
        capsys,
        monkeypatch,
    )  # fmt: skip
    for problem in (
        "--sex_column sex", "no raw counts found", "'AAAC' occurs twice", "donor 'D00' has 2 values", "'bmi' is no donor column",
        "--batch_column lane", "--acceleration_columns weight", "--gene_sets",
    ):  # fmt: skip
        assert problem in line, problem
    assert line.count(" | ") == 7


def test_statistics_are_not_asked_for_by_a_run_that_ends_before(tmp_path):
    path = write_cohort(donors(2)(TEMPLATE.copy()), tmp_path / "cohort.h5ad")
    options = ["--cohort", str(path), *SMALL, "--designs", "~ bmi", "--output", str(tmp_path / "plan.json")]
    plan_run.main(
        [
            *default_options("plan_run"),
            *options,
            "--parts",
            "qc",
            "embedding",
            "clusters",
            "--versions",
            str(tmp_path / "v.json"),
        ]
    )
    assert read_json(tmp_path / "plan.json")["n_donors_kept"] == 2


# --- what only later steps can see -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "position", "value", "message"),
    [
        ("X/data", 7, 0.5, "X holds fractions (0.5), so it is normalised; give raw counts with --counts_layer"),
        ("X/data", 7, 5e9, "too large for a count"),
        ("X/indices", 7, 40, "/X/indices: is damaged: values beyond 0-39; copy or download the file again"),
        ("X/indptr", 7, 0, "/X/indptr: is damaged: it does not grow"),
    ],
)
def test_a_value_outside_the_sample_ends_where_it_is_read(
    name, position, value, message, tmp_path, capsys, monkeypatch
):
    path = write_cohort(TEMPLATE, tmp_path / "cohort.h5ad")
    monkeypatch.chdir(tmp_path)
    arguments = prepared(path, tmp_path)
    with h5py.File(path, "a") as file:
        file[name][position] = value
    assert message in fails(split_cohort.main, arguments, capsys, monkeypatch)
    assert not list(tmp_path.glob("*_counts.h5ad")) and not list(tmp_path.glob("spool-*"))


def test_cells_that_all_fail_quality_control_end_with_the_rule_that_took_most(tmp_path, capsys, monkeypatch):
    cells = pd.DataFrame(
        {"cell_id": ["a", "b"], "donor_id": "D", "cell_type": "T", "kept": False, "reason": "low counts"}
    )
    numbers = dict.fromkeys(("n_genes", "n_counts", "pct_mito", "pct_ribo", "pct_hb", "doublet_score"), 1.0)
    write_parquet(cells.assign(**numbers, is_doublet=False), tmp_path / "cells.parquet")
    types = pd.DataFrame(
        {"id": ["t"], "cell_type": ["T"], "n_cells": [2], "n_donors": [1], "kept": [True], "reason": [""]}
    )
    write_parquet(types, tmp_path / "types.parquet")
    write_json({"donors": {}, "thresholds": {}}, tmp_path / "summary.json")
    arguments = ["--cells", tmp_path / "cells.parquet", "--summaries", tmp_path / "summary.json", "--cell-types",
                 tmp_path / "types.parquet", "--output", tmp_path / "published"]  # fmt: skip
    line = fails(merge_qc.main, arguments, capsys, monkeypatch)
    assert "none of 2 cells is left" in line and "--min_counts" in line


# --- what is odd and must work ---------------------------------------------------------------------------------


def moved_to(place):
    def change(cohort):
        counts = cohort.X
        if place == "raw.X":
            cohort.raw = cohort.copy()
        else:
            cohort.layers[place] = counts.copy()
        cohort.X = sparse.csr_matrix(np.log1p(counts.toarray() / 3))
        return cohort

    return change


def as_matrix(convert):
    def change(cohort):
        cohort.X = convert(cohort.X)
        return cohort

    return change


def long_indices(cohort):
    matrix = cohort.X.copy()
    matrix.indices, matrix.indptr = matrix.indices.astype(np.int64), matrix.indptr.astype(np.int64)
    cohort.X = matrix
    return cohort


def unused_levels(cohort):
    for column in ("donor_id", "cell_type", "sex", "development_stage", "pool"):
        cohort.obs[column] = cohort.obs[column].cat.add_categories([f"no {column}", "nobody"])
    return cohort


def same_symbols(cohort):
    cohort.var["feature_name"] = ["LYZ" if i > 20 else name for i, name in enumerate(cohort.var["feature_name"])]
    return cohort


AGE_TEXTS = ["41-year-old stage", "42-year-old human stage", "43 years", "44", "540-month-old stage", "46y", "47-year-old", "48 yrs old"]  # fmt: skip
ODD = {
    "as it is": (GOOD, ["X", "csr"]),
    "counts in raw": (moved_to("raw.X"), ["raw.X", "csr"]),
    "counts in a layer": (moved_to("counts"), ["counts", "csr"]),
    "CSC": (as_matrix(sparse.csc_matrix), ["X", "csc"]),
    "dense": (as_matrix(lambda x: x.toarray()), ["X", "dense"]),
    "64-bit numbers": (as_matrix(lambda x: x.astype(np.float64)), ["X", "csr"]),
    "whole numbers": (as_matrix(lambda x: x.astype(np.int32)), ["X", "csr"]),
    "64-bit indices": (long_indices, ["X", "csr"]),
    "unused levels": (unused_levels, ["X", "csr"]),
    "symbols twice": (same_symbols, ["X", "csr"]),
    "Ensembl versions": (named("var", lambda names: [f"{name}.12" for name in names]), ["X", "csr"]),
    "ages as text": (obs(development_stage=by_donor(lambda d: AGE_TEXTS[d])), ["X", "csr"]),
    "one sex": (obs(sex="male"), ["X", "csr"]),
}


@pytest.mark.parametrize("name", ODD)
def test_what_is_odd_gives_the_same_shards(name, tmp_path, monkeypatch):
    """Every count arrives with its cell and gene, whatever the layout."""
    change, (place, layout) = ODD[name]
    cohort = change(TEMPLATE.copy())
    path = write_cohort(cohort, tmp_path / "cohort.h5ad")
    monkeypatch.chdir(tmp_path)
    plan_run.main([*default_options("plan_run"), "--cohort", str(path), *SMALL, "--output", "plan.json"])
    split_cohort.main(prepared(path, tmp_path))
    check = read_json("check.json")
    assert (check["counts_layer"], check["counts"]["layout"]) == (place, layout)
    assert read_json("plan.json")["n_shards"] == len(list(tmp_path.glob("x_shard-*.h5ad"))) == 3
    shards = anndata.concat([read_h5ad(shard) for shard in sorted(tmp_path.glob("x_shard-*.h5ad"))])
    expected = TEMPLATE[shards.obs_names].X.toarray()
    position = {gene: i for i, gene in enumerate(cohort.var_names)}
    columns = [position[gene] for gene in shards.var_names]
    np.testing.assert_array_equal(shards.X.toarray(), expected[:, columns])
    assert expected.sum() == shards.X.sum(), "no count is lost"
    if name == "ages as text":
        assert read_parquet("donors.parquet")["age_years"].tolist() == list(range(41, 49))
    if name == "one sex":
        assert any("sex dropped from the design" in note for note in read_json("plan.json")["notes"])


def test_ages_that_are_missing_for_some_are_noted_and_left_out(tmp_path):
    cohort = obs(development_stage=by_donor(lambda d: "unknown" if d < 2 else f"{30 + d}"))(TEMPLATE.copy())
    path = write_cohort(cohort, tmp_path / "cohort.h5ad")
    plan_run.main(
        [
            *default_options("plan_run"),
            "--cohort",
            str(path),
            *SMALL,
            "--output",
            str(tmp_path / "p.json"),
            "--versions",
            str(tmp_path / "v.json"),
        ]
    )
    plan = read_json(tmp_path / "p.json")
    assert plan["n_donors"] == 8 and plan["n_donors_kept"] == 6
    assert "2 of 8 donors have no known age ('unknown') and are left out" in plan["notes"]
    assert not [note for note in plan["notes"] if "may mean a missing value" in note], "said once, with the ages"


def test_counts_beyond_two_to_the_31_are_read_where_they_lie(tmp_path):
    """The last rows of a matrix of more than 2^31 stored values; all others are chunks that were never written."""
    before, last = 2**31 + 1000, np.array([[3, 0, 7], [0, 5, 0]])
    with h5py.File(tmp_path / "large.h5ad", "w") as file:
        for part in ("obs", "var"):
            file.create_group(part)
        matrix = file.create_group("X")
        matrix.attrs["encoding-type"], matrix.attrs["shape"] = "csr_matrix", [3, 3]
        for name, dtype, new in (("data", "f4", [3, 7, 5]), ("indices", "i8", [0, 2, 1])):
            dataset = matrix.create_dataset(name, (before + 3,), dtype=dtype, chunks=(2**20,))
            dataset[before:] = new
        matrix["indptr"] = np.array([before, before, before + 2, before + 3], dtype=np.int64)
    with open_cohort(tmp_path / "large.h5ad") as file:
        blocks = list(read_blocks(file, candidates(file)["X"], block_values=2))
    assert [rows for rows, _, _ in blocks] == [slice(0, 2), slice(2, 3)]
    np.testing.assert_array_equal(sparse.vstack([block for _, _, block in blocks]).toarray()[1:], last)
    shutil.rmtree(tmp_path)
