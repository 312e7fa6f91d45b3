"""The union of the genes of several files: a gene that a file does not measure is no zero, and changes nothing else.

Named here: `gene_groups`, `some_files`.
"""

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from cohort.test_gathering import bytes_below, gather, in_files, notes_of
from immune_aging.cohort.cohort_file import open_cohort
from immune_aging.cohort.gene_groups import SOME_FILES, gene_groups, read_groups
from immune_aging.samples.some_files import with_gaps
from immune_aging.task.checkpoints import read_json, read_parquet
from sampled_cohorts import to_samples
from small_cohorts import small_cohort

LOST = slice(3, 60, 7)  # genes that the second file lacks
BOTH = "D03"  # a donor with cells in both files


def two_files(folder: Path) -> tuple[anndata.AnnData, Path]:
    """A cohort and the sheet of its two files; the second file lacks the genes `LOST`, and lists others anyhow."""
    cohort = small_cohort(donors=8, cells_per_type=15)
    donor = cohort.obs["donor_id"].astype(str).to_numpy()
    counts = cohort.X.tolil()
    counts[np.flatnonzero(donor == "D00"), LOST.start] = 0  # measured, and none found
    cohort.X = counts.tocsr()
    where = np.where(donor == BOTH, np.arange(cohort.n_obs) % 2, (donor > BOTH).astype(int))
    sheet = in_files(cohort, folder, where)
    second = anndata.read_h5ad(folder / "part 1.h5ad")
    lost = set(cohort.var_names[LOST])
    second[:, [name for name in second.var_names[::-1] if name not in lost]].copy().write_h5ad(folder / "part 1.h5ad")
    return cohort, sheet


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The same files analysed with the intersection and with the union of their genes."""
    folder = tmp_path_factory.mktemp("genes")
    cohort, sheet = two_files(folder / "in")
    both = {}
    for genes in ("intersection", "union"):
        path = gather(sheet, "--genes", genes)
        both[genes] = (notes_of(path), to_samples(path, folder / genes))
    return cohort, both


def test_files_of_the_same_genes_have_no_other_union(tmp_path):
    sheet = in_files(small_cohort(donors=4), tmp_path, np.arange(160) % 3)
    assert gather(sheet, "--genes", "union").read_bytes() == gather(sheet).read_bytes()


def test_all_that_rests_on_genes_of_all_files_is_the_same_to_the_byte(runs):
    _, both = runs
    found, expected = (bytes_below(both[genes][1]) for genes in ("union", "intersection"))
    assert sorted(found) == sorted(expected)
    differ = {name for name in expected if found[name] != expected[name]}
    carry = ("counts.h5ad", "pseudobulk.h5ad")  # of shards, sums and samples: the others' genes are beside X there
    assert {name for name in differ if not name.endswith(carry) and not name.startswith("part-")} == {
        "genes.json", "genes.parquet"
    }  # fmt: skip
    one, other = (anndata.read_h5ad(both[genes][1] / "p/pseudobulk/pseudobulk.h5ad") for genes in both)
    pd.testing.assert_frame_equal(one.obs, other.obs)
    pd.testing.assert_frame_equal(one.var, other.var)
    assert (one.X != other.X).nnz == 0 and not one.obsm and not one.uns


def test_samples_hold_the_sums_of_what_was_measured_and_gaps_elsewhere(runs):
    cohort, both = runs
    table = anndata.read_h5ad(both["union"][1] / "p/pseudobulk/pseudobulk.h5ad")
    names = table.uns[SOME_FILES]["gene_id"]
    found = pd.DataFrame(table.obsm[SOME_FILES].toarray(), index=table.obs_names, columns=names)
    assert set(names) <= set(cohort.var_names[LOST]) and len(names) >= 8
    kept = pd.concat([read_parquet(path) for path in both["union"][1].glob("qc-*.parquet")]).set_index("cell_id")[
        "kept"
    ]
    # Cells that bear the same name in one file as in two.
    cells = pd.DataFrame(cohort.X.toarray(), index=cohort.obs_names, columns=cohort.var_names)[names]
    cells = cells[kept.reindex(cells.index).to_numpy(dtype=bool)]
    keys = [cohort.obs.loc[cells.index, name].astype(str) for name in ("donor_id", "cell_type")]
    sums = cells.groupby(keys).sum()
    for sample, row in table.obs.iterrows():
        own = found.loc[sample]
        if row["donor_id"] < BOTH:
            assert own.tolist() == sums.loc[(row["donor_id"], row["cell_type"])].tolist()
        else:
            assert own.isna().all(), "not measured, or of some of its cells only"
    assert (found.loc[table.obs["donor_id"].astype(str) < BOTH] == 0).any(axis=None), "a zero that was measured stays"


def test_the_union_is_said_and_counted(runs):
    _, both = runs
    notes, folder = both["union"]
    assert any("9 genes are not in all files: 9 of 60 of part 0.h5ad" in note for note in notes)
    assert any("part 1.h5ad: nearly every gene has a count, as after a filter by expression" in note for note in notes)
    assert not any("as after a filter" in note for note in both["intersection"][0])
    assert any("tested only among the samples of files that measure it" in note for note in notes)
    genes = read_json(folder / "genes.json")["genes"]
    assert genes["lost"]["not measured in all files"] == 9
    assert genes["input"] == genes["kept"] + sum(genes["lost"].values())
    assert read_json(folder / "check.json")["notes"][0].startswith("--input")


def test_groups_of_cells_are_those_of_files_with_the_same_genes(tmp_path):
    measured = np.array([[1, 1, 0], [1, 0, 1], [1, 1, 0]], dtype=bool)
    groups = gene_groups(measured, [2, 1, 3])
    assert groups.of_cells[0] == groups.of_cells[3] != groups.of_cells[2]
    assert (groups.measured[groups.of_cells] == np.repeat(measured, [2, 1, 3], axis=0)).all()
    _, sheet = two_files(tmp_path)
    with open_cohort(gather(sheet)) as file:
        assert read_groups(file) is None
    with open_cohort(gather(sheet, "--genes", "union", "--without-counts")) as file:
        assert read_groups(file).measured.sum(axis=1).tolist() in ([51, 60], [60, 51])


def test_gaps_are_stored_and_zeros_are_not():
    counts = sparse.csr_matrix(np.array([[0, 2, 3], [4, 0, 0]]))
    found = with_gaps(counts, np.array([[True, True, False], [True, False, True]]))
    np.testing.assert_array_equal(found.toarray(), [[0, 2, np.nan], [4, np.nan, 0]])
    assert found.nnz == 4


def test_one_symbol_of_two_ids_in_two_files_is_noted(tmp_path):
    """A new version of the reference gives a gene another id: neither file measures the other's."""
    cohort = small_cohort(donors=4)
    sheet = in_files(cohort, tmp_path, np.arange(160) % 2)
    other = anndata.read_h5ad(tmp_path / "part 1.h5ad")
    other.var.index = [*other.var_names[:58], "ENSG90000000001", "ENSG90000000002"]
    other.write_h5ad(tmp_path / "part 1.h5ad")
    path = gather(sheet, "--genes", "union")
    assert anndata.read_h5ad(path).n_vars == 62
    assert any("2 symbols stand for genes of different ids ('" in note for note in notes_of(path))
    assert not any("symbols stand for" in note for note in notes_of(gather(sheet)))


def test_files_that_were_not_filtered_are_not_said_to_be(tmp_path):
    cohort = small_cohort(donors=4)
    counts = cohort.X.tolil()
    counts[:, 7] = 0  # a gene that nobody expresses, as every unfiltered file has many
    cohort.X = counts.tocsr()
    sheet = in_files(cohort, tmp_path, np.arange(160) % 2)
    other = anndata.read_h5ad(tmp_path / "part 1.h5ad")
    other[:, 3:].copy().write_h5ad(tmp_path / "part 1.h5ad")
    assert not any("as after a filter" in note for note in notes_of(gather(sheet, "--genes", "union")))
