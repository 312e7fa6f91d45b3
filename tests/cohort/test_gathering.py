"""The same cohort in one file or in several, in any order, gives the same samples; what differs between files is said.

Named here: `cell_tables`, `file_genes`, `gathering`.
"""

import json
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import gather_cohort
import list_files
from immune_aging.cohort.cell_tables import one_column
from immune_aging.cohort.cohort_file import open_cohort
from immune_aging.cohort.donors import donor_table
from immune_aging.cohort.examination import examine
from immune_aging.cohort.file_genes import FileGenes, ensembl_ids, gene_space
from immune_aging.cohort.gathering import notes_of_gathering
from immune_aging.cohort.gene_symbols import SymbolTable
from immune_aging.plan import run_plan
from immune_aging.task.checkpoints import digest_of, read_json
from immune_aging.task.command_line import BadInput
from inputs.step_options import default_options
from plan.test_plan_run import options_for
from sampled_cohorts import to_samples
from small_cohorts import small_cohort, write_cohort


def gather(sheet: Path, *options: str) -> Path:
    """The h5ad that the steps make of a samplesheet, or of one file; as the workflow calls them."""
    folder = sheet.parent
    listing, output = folder / "files.json", folder / "gathered/cohort.h5ad"
    one = [] if sheet.suffix in (".csv", ".tsv") else [f"--source={sheet}"]
    list_files.main(
        [*(one or [f"--source={folder}", f"--sheet={sheet}"]), f"--output={listing}", f"--versions={folder / 'v'}"]
    )
    parts = []
    for number, file in enumerate(read_json(listing)["files"]):  # as the engine lays them into a task's folder
        parts.append(folder / f"part_{number + 1}")
        parts[-1].unlink(missing_ok=True)
        parts[-1].symlink_to(file["source"])
    gather_cohort.main(
        [*default_options("gather_cohort"), "--files", str(listing), "--parts", *map(str, parts), "--digests",
         *map(digest_of, parts), f"--output={output}", f"--versions={folder / 'v'}", *options]
    )  # fmt: skip
    return output


def notes_of(path: Path) -> list[str]:
    with open_cohort(path) as file:
        return notes_of_gathering(file) or []


def in_files(cohort: anndata.AnnData, folder: Path, where: np.ndarray, **columns: list) -> Path:
    """A cohort in several files, each cell in that which `where` says; returns the sheet."""
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for number in np.unique(where):
        names.append(f"part {number}.h5ad")
        write_cohort(cohort[where == number].copy(), folder / names[-1])
    sheet = folder / "cohort.csv"
    pd.DataFrame({"file": names, **columns}).to_csv(sheet, index=False)
    return sheet


def bytes_below(folder: Path) -> dict[str, bytes]:
    """The samples and what quality control and the sums made, by file; not what names the input or its rows."""
    found = [
        path
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("cohort.h5ad", "v.json", "check.json")
    ]
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in found
        if path.name not in ("cells.parquet", "kept.parquet") or "qc" in path.parts
    }


@pytest.fixture(scope="module")
def in_one_file(tmp_path_factory):
    cohort = small_cohort(donors=6, cells_per_type=15)
    return cohort, to_samples(cohort, tmp_path_factory.mktemp("one"))


@pytest.mark.parametrize(("n_files", "seed"), [(1, 0), (2, 1), (5, 2)])
def test_the_same_cells_in_any_files_in_any_order_give_the_same_bytes(in_one_file, n_files, seed, tmp_path):
    """Donors lie in several files, cells in another order, some of the files by genes; the sheet is shuffled."""
    cohort, one = in_one_file
    rng = np.random.default_rng(seed)
    cohort = cohort[rng.permutation(cohort.n_obs)].copy()
    sheet = in_files(cohort, tmp_path / "in", rng.integers(0, n_files, cohort.n_obs))
    by_genes = anndata.read_h5ad(tmp_path / "in/part 0.h5ad")
    by_genes.X = sparse.csc_matrix(by_genes.X)
    by_genes.write_h5ad(tmp_path / "in/part 0.h5ad")
    lines = sheet.read_text().splitlines()
    sheet.write_text("\n".join([lines[0], *rng.permutation(lines[1:])]) + "\n")
    found, expected = bytes_below(to_samples(gather(sheet), tmp_path / "out")), bytes_below(one)
    assert len(expected) > 15 and sorted(found) == sorted(expected)
    assert [name for name in expected if found[name] != expected[name]] == []


def test_the_order_of_the_sheet_changes_no_byte_of_the_gathered_file(tmp_path):
    sheet = in_files(small_cohort(donors=4), tmp_path, np.arange(160) % 3, site=["a", "b", "c"])
    first = gather(sheet).read_bytes()
    lines = sheet.read_text().splitlines()
    sheet.write_text("\n".join([lines[0], lines[3], lines[1], lines[2]]))
    assert gather(sheet).read_bytes() == first


def test_columns_of_the_sheet_become_columns_of_its_cells(tmp_path):
    cohort = small_cohort(donors=4)
    where = cohort.obs["donor_id"].isin(["D02", "D03"]).to_numpy().astype(int)
    cohort.obs = cohort.obs.drop(columns=["development_stage", "pool"])
    sheet = in_files(cohort, tmp_path, where, development_stage=["40", "51"], site=["north", ""], dose=[1.5, 2])
    obs = anndata.read_h5ad(gather(sheet)).obs
    assert obs.groupby("donor_id", observed=True)["development_stage"].first().tolist() == [40, 40, 51, 51]
    assert obs["dose"].value_counts().to_dict() == {1.5: 80, 2.0: 80}
    assert obs["site"].isna().sum() == 80 and set(obs["site"].dropna()) == {"north"}


def test_a_sheet_that_says_the_same_in_other_words_is_fine_and_a_contradiction_is_refused(tmp_path):
    cohort = small_cohort(donors=4)
    where = (cohort.obs["donor_id"].astype(str).str[1:].astype(int) % 2).to_numpy()
    obs = anndata.read_h5ad(gather(in_files(cohort, tmp_path, where, sex=["F", "m"], species=["human"] * 2))).obs
    assert set(obs["sex"]) == {"female", "male"} and set(obs["species"]) == {"human"}
    with pytest.raises(
        BadInput,
        match=r"--input cohort.csv: column 'sex' contradicts the file \(file 'part 1.h5ad': 'F' in line 3, 'male' in 80 cells",
    ):
        gather(in_files(cohort, tmp_path, where, sex=["F", "F"]))


def test_equal_barcodes_in_two_files_are_two_cells(tmp_path):
    cohort = small_cohort(donors=4)
    where = np.arange(cohort.n_obs) % 2
    half = cohort.n_obs // 2
    names = cohort.obs_names.to_numpy(dtype=object)
    names[where == 1] = names[where == 0][:half]
    cohort.obs_names = names
    path = gather(in_files(cohort, tmp_path, where))
    found = anndata.read_h5ad(path)
    assert found.n_obs == cohort.n_obs and found.obs_names.is_unique
    assert set(found.obs_names.str.rsplit("-", n=1).str[1]) == {"part 0", "part 1"}
    assert any(f"{half} names of cells occur in more than one file" in note for note in notes_of(path))


def test_cells_that_may_be_in_two_files_are_noted(tmp_path):
    cohort = small_cohort(donors=4)
    write_cohort(cohort[:100].copy(), tmp_path / "a.h5ad")
    write_cohort(cohort[60:].copy(), tmp_path / "b.h5ad")
    (tmp_path / "cohort.csv").write_text("file\na.h5ad\nb.h5ad\n")
    path = gather(tmp_path / "cohort.csv")
    assert any("if they are the same cells, they count twice" in note for note in notes_of(path))
    (tmp_path / "b.h5ad").write_bytes((tmp_path / "a.h5ad").read_bytes())
    with pytest.raises(BadInput, match=r"b.h5ad: holds the same as a.h5ad, so its cells would count twice"):
        gather(tmp_path / "cohort.csv")


def test_columns_that_some_files_lack_are_missing_there_and_noted(tmp_path):
    cohort = small_cohort(donors=4)
    sheet = in_files(cohort, tmp_path, np.arange(160) % 2)
    other = anndata.read_h5ad(tmp_path / "part 1.h5ad")
    other.obs = other.obs.drop(columns=["pool"]).assign(barcode_number=other.obs["barcode_number"].astype(str))
    other.write_h5ad(tmp_path / "part 1.h5ad")
    path = gather(sheet)
    obs = anndata.read_h5ad(path).obs
    assert obs["pool"].isna().sum() == 80 and set(obs["barcode_number"].astype(int)) == set(range(160))
    notes = "\n".join(notes_of(path))
    assert "column 'pool' of cells is in some files alone, and missing for the cells of 'part 1'" in notes
    assert "column 'barcode_number' of cells holds numbers in some files and text in others" in notes


# How the genes of the second file differ, and what becomes of the 60 genes.
GENES = {
    "versions": (lambda var: var.set_axis([f"{name}.{i % 3}" for i, name in enumerate(var.index)]), 60, ""),
    "fewer": (lambda var: var.set_axis([*var.index[:50], *(f"ENSG9{i:010d}" for i in range(10))]), 50, "genes that are not in all files are left out: 10 of 60 of part 0.h5ad, 10 of 60 of part 1.h5ad ('ENSG"),
    "few": (lambda var: var.set_axis([*var.index[:20], *(f"ENSG9{i:010d}" for i in range(40))]), 20, "have only 20 genes in common, of 60 in the smallest"),
    "column": (lambda var: var.assign(gene_ids=var.index).set_axis([f"S{i}" for i in range(60)]), 60, ""),
    "genome": (lambda var: var.set_axis([f"GRCh38_{name}" for name in var.index]), 60, ""),
    "copies": (lambda var: var.set_axis([*var.index[:59], f"{var.index[0]}.1_PAR_Y"]), 59, "1 features have the Ensembl id of another one; the counts of both are added up"),
    "antibodies": (lambda var: var.assign(feature_types=["Gene Expression"] * 55 + ["Antibody Capture"] * 5), 55, "5 antibodies"),
}  # fmt: skip


@pytest.mark.parametrize("kind", GENES)
def test_genes_are_those_of_equal_ids_and_the_lost_are_counted(kind, tmp_path):
    change, n_genes, note = GENES[kind]
    cohort = small_cohort(donors=4)
    sheet = in_files(cohort, tmp_path, np.arange(160) % 2)
    other = anndata.read_h5ad(tmp_path / "part 1.h5ad")
    other.var = change(other.var)
    if kind != "copies":  # the genes also lie in another order
        other = other[:, ::-1].copy()
    other.write_h5ad(tmp_path / "part 1.h5ad")
    path = gather(sheet)
    found = anndata.read_h5ad(path)
    assert found.n_vars == n_genes and note in "\n".join(notes_of(path))
    counts = pd.DataFrame(cohort.X.toarray(), index=cohort.obs_names, columns=cohort.var_names)
    if kind == "copies":
        here = cohort.obs_names[1::2]
        counts.loc[here, cohort.var_names[0]] += counts.loc[here, cohort.var_names[-1]]
    expected = counts.loc[found.obs_names, found.var_names]
    np.testing.assert_array_equal(found.X.toarray(), expected.to_numpy())
    assert found.var["feature_name"].tolist() == cohort.var.loc[found.var_names, "feature_name"].tolist()


def test_files_of_symbols_alone_are_mapped_by_the_table_or_refused(tmp_path):
    cohort = small_cohort(donors=4)
    sheet = in_files(cohort, tmp_path, np.arange(160) % 2)
    other = anndata.read_h5ad(tmp_path / "part 1.h5ad")
    other.var = pd.DataFrame(index=other.var["feature_name"].to_numpy())
    other.write_h5ad(tmp_path / "part 1.h5ad")
    with pytest.raises(
        BadInput, match=r"part 1.h5ad: names its genes by symbol and part 0.h5ad by Ensembl id; give --gene_symbols"
    ):
        gather(sheet)
    lines = [f"{gene}\t{symbol}" for gene, symbol in cohort.var["feature_name"].items()]
    (tmp_path / "symbols.tsv").write_text(
        "\n".join([*lines[:50], f"ENSG1\t{cohort.var['feature_name'].iloc[0]}"]) + "\n"
    )
    path = gather(sheet, f"--gene-symbols={tmp_path / 'symbols.tsv'}")
    assert sorted(anndata.read_h5ad(path).var_names) == sorted(cohort.var_names[1:50])
    assert any(
        "49 of 60 get an Ensembl id from symbols.tsv, 11 have none there or several" in note for note in notes_of(path)
    )


def test_files_without_a_common_gene_are_refused(tmp_path):
    sheet = in_files(small_cohort(donors=4), tmp_path, np.arange(160) % 2)
    other = anndata.read_h5ad(tmp_path / "part 1.h5ad")
    other.var_names = [f"ENSG9{i:010d}" for i in range(60)]
    other.write_h5ad(tmp_path / "part 1.h5ad")
    with pytest.raises(BadInput, match="the 2 files have no gene in common"):
        gather(sheet)


def test_each_file_gives_its_counts_by_its_own_evidence(tmp_path):
    cohort = small_cohort(donors=4, genes=80)
    sheet = in_files(cohort, tmp_path, np.arange(160) % 4)
    for number, place in enumerate(("raw", "counts", "X", "dense")):
        part = anndata.read_h5ad(tmp_path / f"part {number}.h5ad")
        normalised = sparse.csr_matrix(np.log1p(part.X.toarray() / 3))
        if place == "raw":
            part.raw = part.copy()
            part.X = normalised
            part = part[:, :40].copy()
        elif place == "counts":
            part.layers["counts"] = part.X.copy()
            part.X = normalised
        elif place == "dense":
            part.X = part.X.toarray()
        part.write_h5ad(tmp_path / f"part {number}.h5ad")
    found = anndata.read_h5ad(gather(sheet))
    np.testing.assert_array_equal(found.X.toarray(), cohort[found.obs_names].X.toarray())
    part = anndata.read_h5ad(tmp_path / "part 2.h5ad")
    part.X = sparse.csr_matrix(np.log1p(part.X.toarray() / 3))
    part.write_h5ad(tmp_path / "part 2.h5ad")
    (tmp_path / "part 3.h5ad").write_text("no HDF5")
    with pytest.raises(BadInput) as caught:
        gather(sheet)
    assert "part 2.h5ad: no raw counts found" in str(caught.value) and "part 3.h5ad: is not an HDF5 file" in str(
        caught.value
    )
    assert "part_" not in str(caught.value), "the user knows the files by their own names"


def test_the_check_takes_the_gathered_counts_whatever_the_layer_is_called_in_the_files(tmp_path):
    cohort = small_cohort(donors=4, genes=80)
    cohort.layers["mine"] = cohort.X.copy()
    path = gather(in_files(cohort, tmp_path, np.arange(160) % 2), "--counts-layer", "mine")
    folder = to_samples(path, tmp_path / "out", "--counts-layer", "mine")
    summary = read_json(folder / "check.json")
    assert summary["counts_layer"] == "X"
    assert summary["notes"][0].startswith(
        "--input cohort.csv: 160 cells and 80 genes of 2 files: part 0.h5ad (80 cells, counts in mine)"
    )
    assert "immune_aging_notes" not in json.dumps(summary["source"])


def test_a_check_alone_needs_no_counts_and_plans_the_same(tmp_path):
    sheet = in_files(small_cohort(donors=6), tmp_path, np.arange(240) % 3)
    plans = [run_plan.plan_cohort(options_for(gather(sheet, *more))) for more in ([], ["--without-counts"])]
    n_bytes = (tmp_path / "gathered/cohort.h5ad").stat().st_size
    assert plans[0] == plans[1] and plans[0]["n_counts"] > 0
    gather(sheet)
    assert n_bytes < (tmp_path / "gathered/cohort.h5ad").stat().st_size


def test_a_donor_with_two_ages_in_two_files_is_refused_by_the_name_of_the_sheet(tmp_path):
    sheet = in_files(small_cohort(donors=4), tmp_path, np.arange(160) % 2)
    other = anndata.read_h5ad(tmp_path / "part 1.h5ad")
    other.obs["development_stage"] = "99-year-old stage"
    other.write_h5ad(tmp_path / "part 1.h5ad")
    path = gather(sheet)
    with pytest.raises(BadInput, match=r"^--input cohort.csv: column 'development_stage': donor 'D00' has 2 values"):
        to_samples(path, tmp_path / "out")
    with pytest.raises(BadInput, match=r"^--input cohort.csv: column 'development_stage': donor 'D00' has 2 values"):
        run_plan.plan_cohort(options_for(path))


def test_ids_are_found_in_names_of_genes():
    names = ["ENSG00000010610.10", "ENSG00000010610.10_PAR_Y", "hg38_ENSG00000010610", "ENSG00000010610_CD4", "CD4", ""]
    assert ensembl_ids(names).tolist() == ["ENSG00000010610"] * 4 + ["", ""]


@pytest.mark.parametrize(
    "name", ["CD4_{}", "CD4-{}", "CD4.{}", "{}__CD4", "{}.10|CD4|protein_coding", "CD4|{}.10", "{}.CD4"]
)
def test_ids_are_found_in_joined_names(name):
    assert ensembl_ids([name.format("ENSG00000010610")]).tolist() == ["ENSG00000010610"]


def some_genes(name, ids, symbols):
    symbols = np.array(symbols, dtype=object)
    return FileGenes(name, np.array(ids, dtype=object), np.array([""] * len(ids), dtype=object), symbols,
                     np.array([""] * len(ids), dtype=object), ())  # fmt: skip


def test_genes_that_are_called_by_their_row_are_joined_by_symbol():
    one = some_genes("a", ["0", "1", "2"], ["CD3E", "CD4", "B2M"])
    other = some_genes("b", ["0", "1", "2"], ["B2M", "CD3E", "CD4"])
    space = gene_space([one, other], SymbolTable("none", {}))
    assert space.ids.tolist() == ["B2M", "CD3E", "CD4"]
    assert [column.tolist() for column in space.columns] == [[1, 2, 0], [0, 1, 2]]


def test_names_of_genes_that_mean_something_else_in_another_file_are_refused():
    one = some_genes("a", ["g1", "g2", "g3"], ["CD3E", "CD4", "B2M"])
    other = some_genes("b", ["g1", "g3", "g2"], ["B2M", "CD3E", "CD4"])
    with pytest.raises(BadInput, match="have another symbol in another file"):
        gene_space([one, other], SymbolTable("none", {}))


def test_genes_that_were_made_unique_by_their_order_are_left_out_where_orders_differ():
    one = some_genes("a", ["X", "X-1", "B2M"], [""] * 3)
    other = some_genes("b", ["B2M", "X", "X-1"], [""] * 3)
    space = gene_space([one, other], SymbolTable("none", {}))
    assert space.ids.tolist() == ["B2M"] and "2 names stand for several genes" in space.notes[0]
    assert gene_space([one, one], SymbolTable("none", {})).ids.tolist() == ["X", "X-1", "B2M"]


LONG = [123456789012345678 + number for number in range(4)]
COLUMNS_OF_IDS = {
    "a file lacks the column": (LONG, None),
    "a file has gaps": (LONG, pd.array([LONG[0], None, None, LONG[3]], dtype="Int64")),
    "a file has fractions": (LONG, [1.5, 2.5, 3.5, 4.5]),
    "a file has text": (LONG, ["a", "b", "c", "d"]),
    "all files": (LONG, LONG),
    "as unsigned": (np.array(LONG, dtype=np.uint64), None),
}


@pytest.mark.parametrize("kind", COLUMNS_OF_IDS)
def test_ids_of_many_digits_keep_them_all(kind):
    # A type of pandas with gaps keeps what it once computed of itself; it does so here, before arguments are compared.
    parts = [None if part is None else pd.Series(part).reset_index(drop=True) for part in COLUMNS_OF_IDS[kind]]
    column, mixed = one_column(parts, [4, 4])
    assert [int(value) for value in column[:4]] == LONG and mixed == (kind == "a file has text")
    assert pd.api.types.is_integer_dtype(column) == (kind == "all files")
    short, _ = one_column([pd.Series([1, 2, 3, 4]), None], [4, 4])
    assert short.dtype == float, "numbers that a float keeps stay numbers"


def test_ages_of_32_and_of_64_bits_are_the_same(tmp_path):
    cohort = small_cohort(donors=4)
    number = cohort.obs["donor_id"].astype(str).str[1:].astype(int).to_numpy()
    cohort.obs["age"], cohort.obs["bmi"] = 25.3 + number, 20.1 + number
    sheet = in_files(cohort, tmp_path, np.arange(160) % 2)
    part = anndata.read_h5ad(tmp_path / "part 0.h5ad")
    part.obs = part.obs.astype({"age": np.float32, "bmi": np.float32})
    part.write_h5ad(tmp_path / "part 0.h5ad")
    columns = {"donor": "donor_id", "cell_type": "cell_type", "age": "age", "sex": "sex"}
    found, problems = examine(gather(sheet), columns=columns, counts_layer="auto")
    assert problems == [] and found.donors["age_years"].round(3).tolist() == [25.3, 26.3, 27.3, 28.3]
    assert found.donors["bmi"].round(3).tolist() == [20.1, 21.1, 22.1, 23.1]


def test_ages_that_differ_by_more_than_32_bits_are_still_two():
    obs = pd.DataFrame({"donor": ["a", "a", "b"], "age": [46.3, 46.299, 50.0]})
    assert "'a' has 2 values" in donor_table(obs, donor="donor", age="age")[1][0]
    assert donor_table(obs.assign(age=[46.3, np.float64(np.float32(46.3)), 50]), donor="donor", age="age")[1] == []
    dates = pd.DataFrame({"donor": ["a", "a"], "day": [20210101.5, 20210102.5]})
    assert "day" not in donor_table(dates, donor="donor")[0], "large numbers are compared digit by digit"
