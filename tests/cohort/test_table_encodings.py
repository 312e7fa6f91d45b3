"""Every encoding that anndata and writers in R and Julia have produced gives the same table."""

import subprocess
import sys

import h5py
import numpy as np
import pandas as pd
import pytest

from immune_aging.cohort import cohort_file
from immune_aging.cohort.cohort_file import candidates, column_names, open_cohort, read_table
from immune_aging.cohort.examination import examine
from immune_aging.cohort.table_encodings import UNREADABLE
from immune_aging.task.command_line import BadInput
from small_cohorts import small_cohort, write_cohort

COHORT = small_cohort(donors=4, cells_per_type=5)
COLUMNS = {"donor": "donor_id", "cell_type": "cell_type", "age": "development_stage", "sex": "sex"}
TEXT = ("donor_id", "cell_type", "development_stage", "sex", "pool")


def levels_of(file, name):
    node = file[f"obs/{name}"]
    return node["codes"][:], node["categories"].asstr()[:]


def replaced(file, name, **parts):
    attrs = parts.pop("attrs", {})
    del file[name]
    group = file.create_group(name)
    for part, value in parts.items():
        group[part] = value
    group.attrs.update(attrs)


def in_own_group(file):
    """Anndata 0.7: codes in a dataset, categories in a group beside it, found by a reference."""
    for name in TEXT:
        codes, levels = levels_of(file, name)
        del file[f"obs/{name}"]
        file[f"obs/__categories/{name}"] = levels.astype(object)
        file[f"obs/{name}"] = codes
        file[f"obs/{name}"].attrs["categories"] = file[f"obs/__categories/{name}"].ref


def in_own_group_without_references(file):
    in_own_group(file)
    for name in TEXT:
        del file[f"obs/{name}"].attrs["categories"]


def factors(file):
    """Seurat's converters: numbers from 1 and their levels."""
    for name in TEXT:
        codes, levels = levels_of(file, name)
        replaced(file, f"obs/{name}", values=codes.astype(np.int32) + 1, levels=levels.astype("S40"))


def bytes_of_fixed_length(file):
    for table, columns in (("obs", TEXT), ("var", ("feature_name",))):
        for name in columns:
            node = file[f"{table}/{name}"]
            if isinstance(node, h5py.Group):
                codes, levels = (
                    levels_of(file, name) if table == "obs" else (node["codes"][:], node["categories"].asstr()[:])
                )
                values = levels[codes]
            else:
                values = node.asstr()[:]
            del file[f"{table}/{name}"]
            file[f"{table}/{name}"] = values.astype("S40")
        index = file[f"{table}/_index"].asstr()[:]
        del file[f"{table}/_index"]
        file[f"{table}/_index"] = index.astype("S40")


def large_codes(file):
    for name in TEXT:
        codes = file[f"obs/{name}/codes"][:]
        del file[f"obs/{name}/codes"]
        file[f"obs/{name}/codes"] = codes.astype(">i8")


def without_column_order(file):
    del file["obs"].attrs["column-order"]


def other_name_of_the_index(file):
    file.move("obs/_index", "obs/index")


def large_attributes(file):
    """Attributes of more than 64 KiB lie outside of the header."""
    with h5py.File(file.filename + ".new", "w", libver="latest") as new:
        for name in file:
            file.copy(name, new)
        new["uns"].attrs["history"] = "x" * 100_000
        new["obs"].attrs["column-order"] = [*file["obs"].attrs["column-order"]]
        for i in range(200):
            new["obs"].attrs[f"note {i}"] = "y" * 1000


SAME = {
    "as it is": lambda file: None,
    "categories in a group of their own": in_own_group,
    "without references to them": in_own_group_without_references,
    "factors from 1": factors,
    "bytes of fixed length": bytes_of_fixed_length,
    "codes of 64 bits in another order": large_codes,
    "no order of columns": without_column_order,
    "another name of the index": other_name_of_the_index,
    "attributes beyond 64 KiB": large_attributes,
}


def written(change, tmp_path, cohort=COHORT, **kwargs):
    path = write_cohort(cohort.copy(), tmp_path / "c.h5ad", **kwargs)
    with h5py.File(path, "a") as file:
        change(file)
    new = tmp_path / "c.h5ad.new"
    return new if new.exists() else path


def texts(table):
    return {name: table[name].astype(object).where(table[name].notna(), None).map(lambda v: v if v is None else str(v)).tolist() for name in TEXT}  # fmt: skip


@pytest.mark.parametrize("name", SAME)
def test_every_encoding_gives_the_same_table(name, tmp_path):
    with open_cohort(written(SAME[name], tmp_path)) as file:
        obs, var = read_table(file, "obs"), read_table(file, "var")
        assert sorted(column_names(file, "obs")) == sorted(COHORT.obs.columns)
    assert obs.index.tolist() == COHORT.obs_names.tolist() and not obs.attrs.get(UNREADABLE)
    assert texts(obs) == texts(COHORT.obs)
    assert var["feature_name"].astype(str).tolist() == COHORT.var["feature_name"].tolist()


def test_a_compound_table_is_read_with_the_categories_of_uns(tmp_path):
    path = tmp_path / "old.h5ad"
    obs = COHORT.obs
    table = np.empty(len(obs), dtype=[("index", "S24"), *[(name, "i1") for name in TEXT], ("barcode_number", "i8")])
    table["index"], table["barcode_number"] = obs.index.to_numpy(dtype="S24"), obs["barcode_number"]
    genes = np.empty(COHORT.n_vars, dtype=[("index", "S20"), ("feature_name", "S20")])
    genes["index"], genes["feature_name"] = COHORT.var_names.to_numpy("S20"), COHORT.var["feature_name"].to_numpy("S20")
    with h5py.File(path, "w") as file:
        for name in TEXT:
            table[name] = obs[name].cat.codes
            file[f"uns/{name}_categories"] = obs[name].cat.categories.to_numpy(dtype="S40")
        file["obs"], file["var"], file["raw.var"] = table, genes, genes
        for name in ("X", "raw.X"):
            file.create_group(name).attrs.update({"h5sparse_format": "csr", "h5sparse_shape": COHORT.shape})
            for part in ("data", "indices", "indptr"):
                file[f"{name}/{part}"] = getattr(COHORT.X, part)
    with open_cohort(path) as file:
        assert texts(read_table(file, "obs")) == texts(obs)
        assert {name: found.path for name, found in candidates(file).items()} == {"raw.X": "raw.X", "X": "X"}
    cohort, problems = examine(path, columns=COLUMNS, counts_layer="auto")
    assert problems == [] and cohort.layer == "raw.X" and cohort.donors["age_years"].tolist() == [30, 35, 40, 45]


def test_a_name_with_a_slash_is_a_column(tmp_path):
    cohort = COHORT.copy()
    cohort.obs = cohort.obs.rename(columns={"cell_type": "cell/type", "pool": "a/b/c"})
    path = write_cohort(cohort, tmp_path / "c.h5ad")
    for order in (True, False):
        with h5py.File(path, "a") as file:
            if not order:
                del file["obs"].attrs["column-order"]
        with open_cohort(path) as file:
            assert {"cell/type", "a/b/c"} <= set(column_names(file, "obs"))
            obs = read_table(file, "obs")
        assert obs["cell/type"].astype(str).tolist() == COHORT.obs["cell_type"].astype(str).tolist()


STRANGE = {
    "three dimensions": lambda file: file.create_dataset("obs/strange", data=np.zeros((COHORT.n_obs, 2, 3))),
    "an unknown group": lambda file: file.create_group("obs/strange").attrs.update({"encoding-type": "awkward-array"}),
    "another length": lambda file: file.create_dataset("obs/strange", data=np.zeros(3)),
    "no value": lambda file: file.create_dataset("obs/strange", data=h5py.Empty("f4")),
}


def listed(file):
    file["obs"].attrs["column-order"] = [*file["obs"].attrs["column-order"], "strange"]


@pytest.mark.parametrize("name", STRANGE)
def test_a_strange_column_beside_the_others_is_left_out_and_named(name, tmp_path):
    def change(file):
        STRANGE[name](file)
        listed(file)

    path = written(change, tmp_path)
    cohort, problems = examine(path, columns=COLUMNS, counts_layer="auto")
    assert problems == [] and texts(cohort.obs) == texts(COHORT.obs)
    assert any("columns of cells that cannot be read are left out: 'strange'" in note for note in cohort.notes)
    _, problems = examine(path, columns=COLUMNS | {"sex": "strange"}, counts_layer="auto")
    assert any("in column 'strange'" in problem for problem in problems)


@pytest.mark.parametrize("values", [[1, 2, None], [True, False, None]])
def test_categories_of_numbers_with_gaps_are_a_column_with_gaps(values, tmp_path):
    cohort = COHORT.copy()
    kind = pd.Categorical(
        [values[int(name[1:]) % 3] for name in cohort.obs["donor_id"].astype(str)], categories=values[:2]
    )
    cohort.obs["kind"] = kind
    found, problems = examine(write_cohort(cohort, tmp_path / "c.h5ad"), columns=COLUMNS, counts_layer="auto")
    assert problems == []
    expected = [values[d % 3] for d in range(4)]
    assert [None if pd.isna(v) else v for v in found.donors["kind"]] == (
        [None if v is None else str(v) for v in expected] if values[0] is True else expected
    )


@pytest.mark.parametrize("remove", [["encoding-type"], ["shape"], ["encoding-type", "shape", "encoding-version"]])
@pytest.mark.parametrize("layout", ["csr", "csc"])
def test_a_sparse_matrix_that_does_not_say_what_it_is_is_known_by_its_parts(remove, layout, tmp_path):
    cohort = COHORT.copy()
    cohort.X = cohort.X if layout == "csr" else cohort.X.tocsc()
    path = write_cohort(cohort, tmp_path / "c.h5ad")
    with h5py.File(path, "a") as file:
        for name in remove:
            del file["X"].attrs[name]
        found = candidates(file)["X"]
    assert (found.layout, found.n_cells, found.n_genes) == (layout, *COHORT.shape)


HOLD = "import h5py, sys, time; f = h5py.File(sys.argv[1], sys.argv[2], libver='latest'); print(flush=True); time.sleep(60)"


def test_a_file_that_is_open_elsewhere_is_said_to_be(tmp_path):
    path = write_cohort(COHORT.copy(), tmp_path / "c.h5ad")
    with subprocess.Popen([sys.executable, "-c", HOLD, path, "r+"], stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        with pytest.raises(BadInput, match=r"another program has it open for writing, such as a notebook .* close it"):
            open_cohort(path)
        holder.kill()
    open_cohort(path).close()


def test_a_file_that_a_crash_left_open_is_said_to_be(tmp_path):
    path = tmp_path / "c.h5ad"
    with subprocess.Popen([sys.executable, "-c", HOLD, path, "w"], stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        holder.kill()
    with pytest.raises(BadInput, match=r"open for writing, or ended without closing it; .* h5clear|is cut off"):
        open_cohort(path)


def test_a_file_system_without_locks_is_read_without_one(tmp_path, monkeypatch):
    path = write_cohort(COHORT.copy(), tmp_path / "c.h5ad")
    opened = cohort_file.CohortFile

    def without_locks(name, mode="r", **kwargs):
        if "locking" not in kwargs:
            raise OSError(
                37, "Unable to synchronously open file (unable to lock file, errno = 37, 'No locks available')"
            )
        return opened(name, mode, **kwargs)

    monkeypatch.setattr(cohort_file, "CohortFile", without_locks)
    open_cohort(path).close()


@pytest.mark.parametrize("name", ["co hort é;&.h5ad", "a'b\"c$x`y.h5ad", "コホート [1] {2}.h5ad", "-c.h5ad"])
def test_any_name_of_a_file_is_read(name, tmp_path, monkeypatch):
    write_cohort(COHORT.copy(), tmp_path / name)
    monkeypatch.chdir(tmp_path)
    _, problems = examine(tmp_path / name, columns=COLUMNS, counts_layer="auto")
    assert problems == []
