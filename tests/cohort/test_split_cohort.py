"""Splitting keeps every count, whatever the layout of the file, the order of its cells or the number of shards."""

import anndata
import numpy as np
import pytest
from scipy import sparse

import check_cohort
import filter_cohort
import split_cohort
from immune_aging.cohort import cohort_file, count_evidence, splitting
from immune_aging.task.checkpoints import read_h5ad, read_json, read_parquet, read_tsv
from immune_aging.task.command_line import BadInput
from inputs.step_options import default_options
from small_cohorts import small_cohort, write_cohort


def split(path, folder, *, cells_per_shard=100):
    """Check, filter and split a cohort; returns the shards in order, joined, and the summary."""
    folder.mkdir(exist_ok=True)
    where = {
        name: str(folder / name)
        for name in ("cells", "donors", "genes", "check", "kept", "dropped", "types", "t.tsv", "f.json", "g.json", "v")
    }
    check_cohort.main(
        [*default_options("check_cohort"), "--cohort", str(path), "--output-cells", where["cells"], "--output-donors", where["donors"], "--output-genes",
         where["genes"], "--output-check", where["check"], "--versions", where["v"]]
    )  # fmt: skip
    filter_cohort.main(
        [*default_options("filter_cohort"), "--cells", where["cells"], "--donors", where["donors"], "--cells-per-shard", str(cells_per_shard), "--output-cells",
         where["kept"], "--output-dropped", where["dropped"], "--output-cell-types", where["types"], "--output-donors",
         where["t.tsv"], "--output-summary", where["f.json"], "--donor-percentile", "0", "--analysed-donors", "common", "--versions", where["v"]]
    )  # fmt: skip
    split_cohort.main(
        ["--cohort", str(path), "--check", where["check"], "--cells", where["kept"], "--genes", where["genes"], "--prefix",
         str(folder / "dataset-x"), "--output-summary", where["g.json"], "--versions", where["v"]]
    )  # fmt: skip
    paths = sorted(folder.glob("dataset-x_shard-*_step-split_counts.h5ad"))
    files = read_tsv(folder / "dataset-x_all_step-split_files.tsv")
    assert files["file"].tolist() == [path.name for path in paths]
    assert files["id"].tolist() == [f"shard-{number:03d}" for number in range(len(paths))]
    return paths, anndata.concat([read_h5ad(p) for p in paths], merge="same"), read_json(where["g.json"])


@pytest.fixture(autouse=True)
def in_scratch(tmp_path, monkeypatch):
    (tmp_path / "task").mkdir()
    monkeypatch.chdir(tmp_path / "task")


def expected(cohort):
    """The same cells in canonical order with the genes that any cell expresses, in memory."""
    order = cohort.obs.assign(cell_id=cohort.obs_names).sort_values(["donor_id", "cell_id"]).index
    return cohort[order, np.asarray(cohort.X.sum(axis=0)).ravel() > 0]


def test_no_count_is_lost_or_moved(tmp_path):
    cohort = small_cohort()
    paths, joined, summary = split(write_cohort(cohort, tmp_path / "c.h5ad"), tmp_path / "s")
    wanted = expected(cohort)
    assert len(paths) == 3
    assert (
        joined.obs_names.tolist() == wanted.obs_names.tolist()
        and joined.var_names.tolist() == wanted.var_names.tolist()
    )
    assert (joined.X != wanted.X).nnz == 0
    assert joined.obs["cell_type"].tolist() == wanted.obs["cell_type"].tolist()
    assert joined.var["symbol"].tolist() == wanted.var["feature_name"].tolist()
    assert summary["counts"] == int(cohort.X.sum())
    assert summary["genes"] == {
        "input": 60,
        "lost": {"expressed in no kept cell": 60 - wanted.n_vars},
        "kept": wanted.n_vars,
    }
    assert paths == [splitting.shard_path(str(tmp_path / "s/dataset-x"), shard) for shard in range(3)]
    assert not list((tmp_path / "task").iterdir()), "scratch files are removed"


@pytest.mark.parametrize(
    "layout", ["csc", "dense", "unsorted csr", "float64", "64-bit indices", "lzf", "gzip", "explicit zeros"]
)
def test_every_layout_gives_the_same_bytes(layout, tmp_path, monkeypatch):
    monkeypatch.setattr(cohort_file, "BLOCK_VALUES", 500)  # many blocks also in a small cohort
    monkeypatch.setattr(cohort_file.read_blocks, "__kwdefaults__", {"block_values": 500})
    cohort = small_cohort()
    plain, _, _ = split(write_cohort(cohort, tmp_path / "plain.h5ad"), tmp_path / "plain")
    kwargs = {}
    if layout == "csc":
        cohort.X = cohort.X.tocsc()
    elif layout == "dense":
        cohort.X = cohort.X.toarray()
    elif layout == "unsorted csr":
        rng = np.random.default_rng(0)
        for row in range(cohort.n_obs):
            part = slice(cohort.X.indptr[row], cohort.X.indptr[row + 1])
            shuffled = rng.permutation(part.stop - part.start)
            cohort.X.indices[part], cohort.X.data[part] = (
                cohort.X.indices[part][shuffled],
                cohort.X.data[part][shuffled],
            )
    elif layout == "float64":
        cohort.X = cohort.X.astype(np.float64)
    elif layout == "64-bit indices":
        cohort.X.indices, cohort.X.indptr = cohort.X.indices.astype(np.int64), cohort.X.indptr.astype(np.int64)
    elif layout == "explicit zeros":
        dense = cohort.X.toarray()
        cohort.X = sparse.csr_matrix(
            (dense.ravel(), np.tile(np.arange(60), len(dense)), np.arange(len(dense) + 1) * 60)
        )
    else:
        kwargs = {"compression": layout}
    other, _, _ = split(write_cohort(cohort, tmp_path / "other.h5ad", **kwargs), tmp_path / "other")
    assert [p.read_bytes() for p in plain] == [p.read_bytes() for p in other]


def test_the_order_of_cells_in_the_file_does_not_matter(tmp_path):
    cohort = small_cohort()
    one, _, _ = split(write_cohort(cohort, tmp_path / "1.h5ad"), tmp_path / "1")
    other = cohort[np.random.default_rng(3).permutation(cohort.n_obs)].copy()
    two, _, _ = split(write_cohort(other, tmp_path / "2.h5ad"), tmp_path / "2")
    assert [p.read_bytes() for p in one] == [p.read_bytes() for p in two]


@pytest.mark.parametrize("cells_per_shard", [40, 80, 1000])
def test_the_number_of_shards_does_not_change_their_sequence(cells_per_shard, tmp_path):
    path = write_cohort(small_cohort(), tmp_path / "c.h5ad")
    _, one, _ = split(path, tmp_path / "1", cells_per_shard=100)
    _, other, _ = split(path, tmp_path / "2", cells_per_shard=cells_per_shard)
    assert one.obs_names.tolist() == other.obs_names.tolist() and (one.X != other.X).nnz == 0


def test_large_counts_need_and_get_32_bits(tmp_path):
    cohort = small_cohort()
    cohort.X.data[0] = 70_000
    _, joined, _ = split(write_cohort(cohort, tmp_path / "c.h5ad"), tmp_path / "s", cells_per_shard=10_000)
    assert joined.X.dtype == np.uint32 and joined.X.max() == 70_000


def test_a_fraction_that_the_check_did_not_sample_is_found_while_reading(tmp_path, monkeypatch):
    cohort = small_cohort()
    cohort.X.data[-100] = 1.5  # not in a cell at the end
    monkeypatch.setattr(count_evidence, "CELLS", 5)
    monkeypatch.setattr(count_evidence, "PLACES", 5)
    with pytest.raises(BadInput, match=r"cohort: X holds fractions \(1.5\)"):
        split(write_cohort(cohort, tmp_path / "c.h5ad"), tmp_path / "s")
    assert not list((tmp_path / "s").glob("*.h5ad"))


def test_the_input_is_not_touched(tmp_path):
    path = write_cohort(small_cohort(), tmp_path / "c.h5ad")
    before = path.read_bytes()
    split(path, tmp_path / "s")
    assert path.read_bytes() == before


def test_kept_cells_are_those_of_the_filter(tmp_path):
    cohort = small_cohort()
    rare = cohort.obs["donor_id"].isin(["D00", "D01"]).to_numpy()
    labels = cohort.obs["cell_type"].astype(str).to_numpy()
    labels[rare] = "rare"
    cohort.obs["cell_type"] = labels
    with pytest.raises(BadInput, match="no cell type"):
        split(write_cohort(cohort, tmp_path / "a.h5ad"), tmp_path / "a")
    labels[::50] = "rare"
    cohort = small_cohort()
    cohort.obs["cell_type"] = np.where(np.arange(cohort.n_obs) % 50 == 0, "rare", cohort.obs["cell_type"].astype(str))
    _, joined, _ = split(write_cohort(cohort, tmp_path / "b.h5ad"), tmp_path / "b")
    assert set(joined.obs_names) == set(cohort.obs_names[cohort.obs["cell_type"] != "rare"])
    assert set(read_parquet(tmp_path / "b/kept")["cell_id"]) == set(joined.obs_names)
