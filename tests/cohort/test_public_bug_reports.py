"""Inputs after public bug reports of people who do this job: each is analysed right, or refused with what to do.

Each is built here from one cohort; what is right is the cohort's own sums. The references say where the kind was met.
"""

import gzip
import re
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from anndata.io import write_elem
from scipy import sparse

from analysed_cohorts import analysed, true_sums
from immune_aging.cohort.export import of_input
from immune_aging.cohort.gene_symbols import SymbolTable, parse_symbol_table
from immune_aging.samples.pseudobulk_table import sample_table
from immune_aging.task.checkpoints import write_h5ad
from immune_aging.task.command_line import BadInput

ROOT = Path(__file__).resolve().parents[2]
DONORS, PER_TYPE, TYPES = 12, 12, ("T cell", "B cell")
OFFICIAL = SymbolTable(
    "genes.tsv.gz",
    parse_symbol_table(gzip.decompress(next((ROOT / "assets/genes").glob("*.tsv.gz")).read_bytes()).decode(), "genes"),
)
MITOCHONDRIAL = ["MT-ND1", "MT-ND2", "MT-CO1", "MT-ATP6", "MT-CYB"]


def base_cohort():
    """Cells of 12 donors and two types, of depths that differ, 250 genes of the human with their symbols."""
    rng = np.random.default_rng(11)
    others = [symbol for symbol in sorted(set(OFFICIAL.symbols.values())) if symbol[0] in "ABC" and len(symbol) > 3]
    symbols = (
        MITOCHONDRIAL + ["HLA-A", "HBB", "CD3E"] + [others[i] for i in np.linspace(0, len(others) - 1, 242).astype(int)]
    )
    labels = [(d, t) for d in range(DONORS) for t in TYPES for _ in range(PER_TYPE)]
    rates = rng.gamma(0.5, 1.0, len(symbols)) + 0.02
    depth = 1500 * np.exp(rng.normal(0, 0.4, len(labels)))
    counts = rng.poisson(depth[:, None] * rates / rates.sum()).astype(np.float32)
    order = rng.permutation(len(labels))
    obs = pd.DataFrame(
        {
            "donor_id": pd.Categorical([f"D{d + 1:02d}" for d, _ in labels]),
            "cell_type": pd.Categorical([t for _, t in labels]),
            "development_stage": pd.Categorical([f"{25 + 5 * d}-year-old stage" for d, _ in labels]),
            "sex": pd.Categorical([("female", "male")[d % 2] for d, _ in labels]),
            "pool": pd.Categorical([f"pool{d % 3}" for d, _ in labels]),
            "age": [25 + 5 * d for d, _ in labels],
        },
        index=[f"CELL{i:04d}" for i in range(len(labels))],
    )
    var = pd.DataFrame({"feature_name": symbols}, index=[f"ENSG9{i:010d}" for i in range(len(symbols))])
    return anndata.AnnData(X=sparse.csr_matrix(counts), obs=obs, var=var)[order].copy()


BASE = base_cohort()
SUMS = true_sums(BASE.X.toarray(), BASE.obs["donor_id"].astype(str), BASE.obs["cell_type"].astype(str), BASE.var_names)
NUMBER = BASE.obs["donor_id"].astype(str).str[1:].astype(int).to_numpy()
AGES = [25.0 + 5 * d for d in range(DONORS)]


def by_donor(function):
    return [function(int(d)) for d in NUMBER]


def column(name, values):
    """A cohort with another column."""
    cohort = BASE.copy()
    cohort.obs[name] = values
    return cohort


def lognormal(matrix):
    totals = np.asarray(matrix.sum(axis=1)).ravel()
    return sparse.csr_matrix(sparse.diags(1e4 / totals) @ matrix, dtype=np.float32).log1p()


def run(cohort, tmp_path, change=None, **options):
    path = cohort if isinstance(cohort, Path) else tmp_path / "cohort.h5ad"
    if path is not cohort:
        cohort.write_h5ad(path)
    if change:
        with h5py.File(path, "a") as file:
            change(file)
    return analysed(path, tmp_path, known=OFFICIAL, **options)


def same_sums(found, expected=SUMS):
    pd.testing.assert_frame_equal(found.sums, expected, check_dtype=False, check_names=False)


def text(values):
    return np.array(values, dtype=object)


def test_01_a_column_that_is_called_like_our_index(tmp_path):
    """scverse/anndata#1417, #452, #590"""
    found = run(column("sample_id", pd.Categorical(by_donor(lambda d: f"GSM{5000 + d}"))), tmp_path)
    same_sums(found)
    samples = found.sums.index.to_frame(index=False).assign(n_cells=PER_TYPE)
    types = pd.DataFrame({"cell_type": TYPES, "id": ["t", "b"]})
    var = pd.DataFrame({"symbol": "x"}, index=found.sums.columns)
    table = sample_table(sparse.csr_matrix(found.sums.to_numpy()), samples, found.donors, types, var)
    write_h5ad(table, tmp_path / "p.h5ad", portable=True)
    again = anndata.read_h5ad(tmp_path / "p.h5ad")
    assert again.obs["sample_id"].tolist()[:2] == ["GSM5001", "GSM5002"] and again.obs_names[0] == "b|D01"


def test_02_text_as_nullable_strings(tmp_path):
    """scverse/anndata#2221, scverse/anndataR#463"""

    def change(file):
        anndata.settings.allow_write_nullable_strings = True
        for name in ("donor_id", "cell_type", "development_stage", "sex"):
            levels = file[f"obs/{name}/categories"].asstr()[:]
            del file[f"obs/{name}/categories"]
            write_elem(file[f"obs/{name}"], "categories", pd.array(levels, dtype="string"))
        names = file["obs/_index"].asstr()[:]
        del file["obs/_index"]
        write_elem(file["obs"], "_index", pd.array(names, dtype="string"))
        anndata.settings.allow_write_nullable_strings = False

    same_sums(run(BASE.copy(), tmp_path, change))


def test_04_whole_numbers_as_categories_with_gaps(tmp_path):
    """single-cell-data/TileDB-SOMA#1568, pandas-dev/pandas#28406"""
    codes = by_donor(lambda d: -1 if d % 5 == 0 else d % 3)
    found = run(column("bmi_class", pd.Categorical.from_codes(codes, pd.Index([1, 2, 3]))), tmp_path)
    same_sums(found)
    assert found.donors["bmi_class"].isna().sum() == 2


def test_05_booleans_and_ages_as_categories_and_nullable(tmp_path):
    """scverse/anndata#724"""
    cohort = column(
        "cmv", pd.Categorical.from_codes(by_donor(lambda d: -1 if d in (3, 9) else d % 2), pd.Index([False, True]))
    )
    smoker = pd.array(by_donor(lambda d: d % 2 == 0), dtype="boolean")
    smoker[np.isin(NUMBER, (3, 9))] = pd.NA
    cohort.obs["smoker"] = smoker
    cohort.obs["years"] = pd.array(cohort.obs["age"], dtype="Int64")
    cohort.obs["age"] = pd.Categorical(cohort.obs["age"])
    for age in ("age", "years"):
        found = run(cohort.copy(), tmp_path, columns={"age": age})
        same_sums(found)
        assert found.donors["age_years"].tolist() == AGES
        assert found.donors["cmv"].isna().sum() == found.donors["smoker"].isna().sum() == 2


def test_06_an_age_missing_in_some_cells(tmp_path):
    """scverse/scanpy#211"""
    ages = BASE.obs["age"].astype(float).to_numpy()
    ages[[int(np.flatnonzero(d == NUMBER)[0]) for d in (2, 5, 11)]] = np.nan
    found = run(column("age", ages), tmp_path, columns={"age": "age"})
    same_sums(found)
    assert "3 cells of 3 donors have no value" in found.notes


def test_08_sex_unknown(tmp_path):
    """chanzuckerberg/single-cell-curation#285"""
    sex = np.where(NUMBER == 5, "unknown", BASE.obs["sex"].astype(str))
    found = run(column("sex", pd.Categorical(sex)), tmp_path)
    same_sums(found)
    assert found.donors["sex"].isna().tolist() == [d == 5 for d in range(1, 13)] and "sex 'unknown'" in found.notes


def test_09_a_sex_in_several_spellings(tmp_path):
    """nf-core/rnaseq#1445"""
    male = (BASE.obs["sex"] == "male").to_numpy()
    spelt = np.where(male, text(["M", "male", "Male "])[NUMBER % 3], text(["F", "female", "FEMALE"])[NUMBER % 3])
    found = run(column("sex", pd.Categorical(spelt)), tmp_path)
    same_sums(found)
    assert found.donors["sex"].tolist() == ["female", "male"] * 6 and "'Male ' as 'male'" in found.notes


def test_10_unlabelled_cells_called_nan(tmp_path):
    """interactivereport/cellxgene_VIP#63, scverse/scirpy#8"""
    labels = BASE.obs["cell_type"].astype(str).to_numpy(dtype=object)
    labels[np.concatenate([np.flatnonzero(d == NUMBER)[:3] for d in range(1, 12)])] = "nan"
    found = run(column("cell_type", pd.Categorical(labels)), tmp_path)
    kinds = [None if label == "nan" else label for label in labels]
    same_sums(found, true_sums(BASE.X.toarray(), BASE.obs["donor_id"].astype(str), kinds, BASE.var_names))
    assert (found.dropped["reason"] == "no cell type").sum() == 33 == len(found.dropped)
    assert "33 cells with cell type 'nan'" in found.notes


def test_12_names_that_begin_anew_in_each_pool(tmp_path):
    """single-cell-genetics/vireo#117, Single-Cell-Genomics-Group-CNAG-CRG/TonsilAtlas#7"""
    cohort = column("donor_id", pd.Categorical(by_donor(lambda d: f"donor{(d - 1) % 4}")))
    cohort.obs["lane"] = pd.Categorical(by_donor(lambda d: f"lane{(d - 1) // 4}"))
    with pytest.raises(BadInput, match=r"donor 'donor0' has 3 values .* 3 more donors like it.* within 'lane'"):
        run(cohort, tmp_path)


def test_13_the_format_before_anndata_0_7(tmp_path):
    """Compound tables, categories in uns, raw.X at the root"""
    columns = ("donor_id", "cell_type", "development_stage", "sex", "pool")
    table = np.empty(BASE.n_obs, dtype=[("index", "S24"), *[(name, "i1") for name in columns], ("age", "i8")])
    table["index"], table["age"] = BASE.obs_names.to_numpy(dtype="S24"), BASE.obs["age"]
    genes = np.empty(BASE.n_vars, dtype=[("index", "S16"), ("feature_name", "S20")])
    genes["index"], genes["feature_name"] = BASE.var_names.to_numpy("S16"), BASE.var["feature_name"].to_numpy("S20")
    with h5py.File(tmp_path / "old.h5ad", "w") as file:
        for name in columns:
            table[name] = BASE.obs[name].cat.codes
            file[f"uns/{name}_categories"] = BASE.obs[name].cat.categories.to_numpy(dtype="S40")
        file["obs"], file["var"], file["raw.var"] = table, genes, genes
        for name, matrix in (("X", lognormal(BASE.X)), ("raw.X", BASE.X)):
            group = file.create_group(name)
            group.attrs["h5sparse_format"], group.attrs["h5sparse_shape"] = "csr", matrix.shape
            for part in ("data", "indices", "indptr"):
                group[part] = getattr(matrix, part)
    found = run(tmp_path / "old.h5ad", tmp_path)
    same_sums(found)
    assert found.check["counts_layer"] == "raw.X"


def test_15_codes_in_place_of_factors(tmp_path):
    """mojaveazure/seurat-disk#138, #23, #84"""
    cohort = BASE.copy()
    for name in ("donor_id", "cell_type", "development_stage", "sex", "pool"):
        cohort.obs[name] = cohort.obs[name].cat.codes.astype(np.int32)
    with pytest.raises(BadInput, match=r"12 values are consecutive whole numbers .* codes of categories"):
        run(cohort, tmp_path)


def test_16_a_slash_in_the_name_of_a_column(tmp_path):
    """scverse/anndata#321, #1834"""
    cohort = column("HLA-A/B", pd.Categorical(by_donor(lambda d: "A*02" if d % 2 else "A*01")))
    cohort.obs = cohort.obs.rename(columns={"cell_type": "cell/type"})
    found = run(cohort, tmp_path, columns={"cell_type": "cell/type"})
    same_sums(found)
    assert found.donors["HLA-A/B"].tolist() == ["A*02", "A*01"] * 6


def test_19_sparse_tables_and_arrays_of_three_dimensions_in_obsm(tmp_path):
    """scverse/anndata#89, #1146; scverse/scanpy#711"""
    cohort, rng = BASE.copy(), np.random.default_rng(4)
    cohort.obsm["protein"] = sparse.random(cohort.n_obs, 7, 0.2, format="csr", random_state=0, dtype=np.float32)
    cohort.obsm["scores"] = pd.DataFrame({"a": rng.random(cohort.n_obs), "b": "x"}, index=cohort.obs_names)
    cohort.obsm["images"] = rng.random((cohort.n_obs, 2, 3)).astype(np.float32)
    cohort.uns = {"log1p": {"base": None}, "nested": {"a": {"b": np.arange(3)}}, "empty": np.array([])}
    same_sums(run(cohort, tmp_path))
    wanted = cohort.obs_names[[5, 3, 70]].to_numpy(dtype=object)
    _, _, obsm, uns = of_input(tmp_path / "cohort.h5ad", wanted, "var")
    np.testing.assert_array_equal(obsm["protein"].toarray(), cohort.obsm["protein"][[5, 3, 70]].toarray())
    np.testing.assert_array_equal(obsm["images"], cohort.obsm["images"][[5, 3, 70]])
    assert obsm["scores"]["a"].tolist() == cohort.obsm["scores"]["a"].iloc[[5, 3, 70]].tolist() and "nested" in uns


def test_21_antibodies_and_hashtags_among_the_genes(tmp_path):
    """nf-core/scrnaseq#468, satijalab/seurat#2436"""
    names = [f"CD{i}_TotalSeqC" for i in range(1, 11)] + ["Hashtag1_TotalSeqC"]
    proteins = sparse.csr_matrix(np.random.default_rng(5).poisson(90, (BASE.n_obs, len(names))).astype(np.float32))
    genes = BASE.var.assign(feature_types="Gene Expression")
    more = pd.DataFrame({"feature_name": names, "feature_types": "Antibody Capture"}, index=names)
    mixed = anndata.AnnData(sparse.hstack([BASE.X, proteins], format="csr"), obs=BASE.obs, var=pd.concat([genes, more]))
    for layout in (sparse.csr_matrix, sparse.csc_matrix):
        mixed.X = layout(mixed.X)
        found = run(mixed, tmp_path)
        same_sums(found)
        assert "11 of 261 features are no human genes and are left out: 11 antibodies" in found.notes


def test_22_symbols_in_var_and_none_in_raw_var(tmp_path):
    """chanzuckerberg/single-cell-curation#202, maximilianh/cellBrowser#216"""
    raw = anndata.AnnData(X=BASE.X.copy(), obs=BASE.obs[[]].copy(), var=BASE.var[[]].copy())
    small = BASE[:, :200].copy()
    small.X = lognormal(small.X)
    small.raw = raw
    found = run(small, tmp_path)
    same_sums(found)
    assert found.genes["symbol"].iloc[:200].tolist() == BASE.var["feature_name"].iloc[:200].tolist()


def test_24_symbols_after_make_names(tmp_path):
    """pachterlab/kallistobustools#40, scverse/scanpy#639"""
    cohort = BASE.copy()
    cohort.var.index = [re.sub(r"[^A-Za-z0-9_.]", ".", symbol) for symbol in cohort.var.pop("feature_name")]
    found = run(cohort, tmp_path)
    assert found.sums.to_numpy().sum() == SUMS.to_numpy().sum()
    assert "make.names" in found.notes and "5 have other names for them, like 'MT.ND1'" in found.notes


def test_28_symbols_in_lower_case(tmp_path):
    """zqfang/GSEApy#289"""
    cohort = BASE.copy()
    names = cohort.var["feature_name"].astype(str)
    cohort.var["feature_name"] = [name.lower() if i % 10 else name for i, name in enumerate(names)]
    found = run(cohort, tmp_path)
    same_sums(found)
    assert "are names of human genes only in upper case" in found.notes


def velocyto():
    cohort = BASE.copy()
    parts = np.random.default_rng(8).multinomial(cohort.X.data.astype(int), [0.7, 0.2, 0.1])
    for name, place in (("spliced", 0), ("unspliced", 1), ("ambiguous", 2)):
        part = cohort.X.copy()
        part.data = parts[:, place].astype(np.float32)
        part.eliminate_zeros()
        cohort.layers[name] = part
    cohort.layers["matrix"] = cohort.X.copy()
    cohort.X = lognormal(cohort.X)
    return cohort


def test_29_layers_of_velocyto(tmp_path):
    """velocyto-team/velocyto.py#361, theislab/scvelo#1"""
    found = run(velocyto(), tmp_path)
    same_sums(found)
    assert found.check["counts_layer"] == "matrix" and "other whole numbers are in ambiguous" in found.notes
    cohort = velocyto()
    del cohort.layers["matrix"]
    with pytest.raises(BadInput, match=r"ambiguous, spliced, unspliced hold whole numbers.* --counts_layer"):
        run(cohort, tmp_path)


def test_30_fractions_of_ambient_correction(tmp_path):
    """constantAmateur/SoupX#63, FelixTheStudent/cellpypes#18"""
    cohort = BASE.copy()
    cohort.layers["counts"] = cohort.X.copy()
    cohort.layers["counts"].data *= np.random.default_rng(9).uniform(0.86, 1.0, cohort.X.nnz).astype(np.float32)
    rounded = np.rint(cohort.layers["counts"].toarray())
    cohort.X = lognormal(cohort.X)
    with pytest.raises(BadInput, match=r"counts holds fractions .* ambient correction .* --round_counts"):
        run(cohort.copy(), tmp_path)
    found = run(cohort, tmp_path, round_counts=True)
    labels = BASE.obs["donor_id"].astype(str), BASE.obs["cell_type"].astype(str)
    same_sums(found, true_sums(rounded, *labels, BASE.var_names))
    assert "are rounded" in found.notes


def test_32_values_normalised_and_rounded(tmp_path):
    """morris-lab/CellOracle#225, scverse/scanpy#3073"""
    cohort = BASE.copy()
    totals = np.asarray(cohort.X.sum(axis=1)).ravel()
    for target in (1e4, 1500):
        cohort.X = sparse.csr_matrix(sparse.diags(target / totals) @ BASE.X, dtype=np.float32)
        cohort.X.data = np.rint(cohort.X.data)
        cohort.X.eliminate_zeros()
        with pytest.raises(BadInput, match=r"normalised.* and rounded"):
            run(cohort, tmp_path)


def test_35_an_indptr_that_32_bits_have_wrapped(tmp_path):
    """ncborcherding/utility#23, scverse/anndata#1470"""

    def change(file):
        indptr = file["X/indptr"][:].astype(np.int64)
        indptr[len(indptr) // 2 :] -= indptr[len(indptr) // 2] + 1_000
        del file["X/indptr"]
        file["X/indptr"] = indptr.astype(np.int32)

    with pytest.raises(BadInput, match=r"indptr falls from .* 64-bit indptr"):
        run(BASE.copy(), tmp_path, change)


def test_37_a_sample_without_any_count(tmp_path):
    """scverse/PyDESeq2#319"""
    cohort = BASE.copy()
    empty = ((cohort.obs["donor_id"] == "D05") & (cohort.obs["cell_type"] == "B cell")).to_numpy()
    cohort.X = sparse.csr_matrix(sparse.diags((~empty).astype(np.float32)) @ cohort.X)
    found = run(cohort, tmp_path)
    labels = BASE.obs["donor_id"].astype(str), BASE.obs["cell_type"].astype(str)
    same_sums(found, true_sums(cohort.X.toarray(), *labels, BASE.var_names))
    assert found.sums.loc[("D05", "B cell")].sum() == 0


def test_40_ages_as_ranges_decades_and_bounds(tmp_path):
    """chanzuckerberg/single-cell-curation#67, obophenotype/developmental-stage-ontologies#77"""
    texts = {1: "15-19 year-old stage", 6: "sixth decade stage", 11: "80 year-old and over stage", 12: ">89"}
    cohort = column(
        "development_stage", pd.Categorical(by_donor(lambda d: texts.get(d, f"{20 + 5 * d}-year-old stage")))
    )
    found = run(cohort.copy(), tmp_path)
    same_sums(found)
    years = found.donors.set_index("donor_id")["age_years"]
    assert years[["D01", "D06", "D11", "D12"]].tolist() == [17, 54.5, 80, 89]
    assert (
        "2 donors have an interval of up to 9 years" in found.notes and "2 donors have an open interval" in found.notes
    )
    dropped = run(cohort, tmp_path, age_ranges="drop")
    assert dropped.sums.index.get_level_values(0).nunique() == 8 and "(--age_ranges drop)" in dropped.notes


def test_42_two_visits_of_each_donor(tmp_path):
    """GabrielHoffman/dreamlet#28"""
    cohort = column("visit", pd.Categorical(np.where(np.arange(BASE.n_obs) % 2, "day 0", "day 7")))
    found = run(cohort, tmp_path)
    same_sums(found)
    assert "'visit' in 12 of 12 donors" in found.notes and "--sample_column" in found.notes


def test_43_blanks_and_signs_in_names_and_levels(tmp_path):
    """nf-core/differentialabundance#670, scverse/PyDESeq2#130"""
    cohort = column("CMV status", pd.Categorical(by_donor(lambda d: "CMV+" if d % 3 else "CMV-")))
    cohort.obs["BMI (kg per m²)"] = by_donor(lambda d: 20.0 + d)
    found = run(cohort, tmp_path)
    same_sums(found)
    assert (
        found.donors["CMV status"].tolist()[:3] == ["CMV+", "CMV+", "CMV-"] and found.donors["BMI (kg per m²)"][0] == 21
    )


@pytest.mark.parametrize("number", [45, 47])
def test_45_and_47_donors_of_few_or_shallow_cells(number, tmp_path):
    """scverse/scanpy#2669 (RANK_GENES copes), immunogenomics/harmony#149 (HARMONY copes): their counts arrive"""
    cohort = BASE.copy()
    if number == 45:
        shallow = np.repeat(NUMBER <= 3, np.diff(cohort.X.indptr))
        cohort.X.data = np.where(shallow, np.minimum(cohort.X.data, 1), cohort.X.data)
    else:
        rare = np.flatnonzero(NUMBER == 7)
        first = [rare[(BASE.obs["cell_type"].astype(str).to_numpy()[rare] == kind).argmax()] for kind in TYPES]
        cohort = cohort[np.setdiff1d(np.arange(BASE.n_obs), np.setdiff1d(rare, first))].copy()
    labels = cohort.obs["donor_id"].astype(str), cohort.obs["cell_type"].astype(str)
    same_sums(run(cohort, tmp_path), true_sums(cohort.X.toarray(), *labels, BASE.var_names))


def test_50_any_letters_in_the_path(tmp_path):
    """nextflow-io/nextflow#86, #218, #1549"""
    folder = tmp_path / "Kohorte Ä (2024) $x 'q' [1]"
    folder.mkdir()
    path = folder / "co hort é;&.h5ad"
    BASE.copy().write_h5ad(path)
    same_sums(run(path, tmp_path))
