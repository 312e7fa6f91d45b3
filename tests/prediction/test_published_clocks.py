"""Published clocks: the exact limit of what their pseudocells converge to, genes and cell types matched or counted."""

import zipfile

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from engine import ROOT
from immune_aging.prediction.clock_files import Clock, read_clocks, weight_matrix
from immune_aging.prediction.clocks import AGES, METRICS, predict_donors
from immune_aging.prediction.training_cohorts import (
    read_cohort_rules,
    read_trained_on,
    recognise,
    training_notes,
    training_of,
)
from immune_aging.task.checkpoints import SAMPLE_OF_DONOR, read_json, read_tsv, write_h5ad, write_json, write_parquet
from immune_aging.task.command_line import BadInput
from inputs.statistics_inputs import CD4_T_CELL, clock_cells, fit_scaled_ridge, write_clocks, write_grn_wheel
from published_clocks import main

COHORTS = ROOT / "assets/clocks/cohorts.tsv"


def run_step(folder, shards, *options, clocks=None, name="out", source=None, donors=None):
    """Run the script on shards (counts, cells); ages, metrics by clock, notes."""
    files = []
    for number, (adata, cells) in enumerate(shards):
        write_h5ad(adata, folder / f"shard{number}.h5ad")
        write_parquet(cells, folder / f"cells{number}.parquet")
    known = pd.concat([cells for _, cells in shards])[["donor_id", "age_years"]].drop_duplicates()
    write_parquet(known if donors is None else donors, folder / "donors.parquet")
    files += ["--shards", *(str(folder / f"shard{i}.h5ad") for i in range(len(shards)))]
    files += ["--cells", *(str(folder / f"cells{i}.parquet") for i in range(len(shards)))]
    files += ["--donors", str(folder / "donors.parquet"), "--clocks", str(clocks or folder / "clocks")]
    return run_clocks(folder, files, *options, name=name, source=source)


def run_clocks(folder, files, *options, name, source=None):
    """Run the script on these files, of a cohort whose file says `source` of itself; ages, metrics by clock, notes."""
    known = ["--cell-types", str(ROOT / "assets/clocks/cell_types.tsv")]
    known += ["--trained-on", str(ROOT / "assets/clocks/trained_on.tsv"), "--cohorts", str(COHORTS)]
    write_json({"source": source or {}}, folder / "check.json")
    known += ["--check", str(folder / "check.json")]
    main(
        [
            *files,
            *known,
            "--output",
            str(folder / name),
            "--min-cells",
            "1",
            "--versions",
            str(folder / "v.json"),
            *options,
        ]
    )
    ages, metrics = read_tsv(folder / name / "clock_ages.tsv"), read_tsv(folder / name / "clock_metrics.tsv")
    return ages, metrics.set_index("clock"), read_json(folder / name / "clocks.json")


def by_hand(adata, cells, weights, intercept, types):
    """Mean log expression of each donor by dense arithmetic, times the weights."""
    counts = adata.X.toarray()
    logs = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4)
    used = (cells["kept"] & cells["cell_type"].isin(types)).to_numpy()
    means = pd.DataFrame(logs[used], columns=adata.var_names).groupby(cells.loc[used, "donor_id"].to_numpy()).mean()
    return intercept + means[weights.index] @ weights


def test_ages_are_the_weighted_mean_log_expression(tmp_path):
    adata, cells = clock_cells()
    write_clocks(tmp_path / "clocks", adata)
    ages, metrics, facts = run_step(tmp_path, [(adata, cells)])
    assert list(ages.columns) == list(AGES) and [metrics.index.name, *metrics.columns] == list(METRICS)
    clocks = read_clocks(tmp_path / "clocks")
    for name, types in (("B", ["naive B cell", "memory B cell"]), ("NK", ["natural killer cell"])):
        expected = by_hand(
            adata, cells, clocks[name].weights.drop("ENSG_absent", errors="ignore"), clocks[name].intercept, types
        )
        own = ages[ages["clock"] == name].set_index("donor_id")["predicted"]
        np.testing.assert_allclose(own, expected.loc[own.index], rtol=1e-5)
    assert metrics.loc["B", "cell_types"] == "memory B cell;naive B cell"
    assert metrics.loc["B", "n_genes_missing"] == 1 and metrics.loc["B", "weight_missing"] > 0
    assert facts["notes"] == ["clock MONO: no cell type of this cohort is its own; name it in cell_types.tsv"]


def test_a_donor_whose_cells_have_no_counts_has_no_age(tmp_path):
    adata, cells = clock_cells()
    write_clocks(tmp_path / "clocks", adata)
    whole, _, _ = run_step(tmp_path, [(adata, cells)])
    adata.X = adata.X.multiply((cells["donor_id"] != "d0").to_numpy()[:, None]).tocsr()
    without, _, _ = run_step(tmp_path, [(adata, cells)], name="without")
    expected = whole[whole["donor_id"] != "d0"].reset_index(drop=True)
    pd.testing.assert_frame_equal(without, expected)


def test_pseudocells_drawn_at_random_converge_to_it(tmp_path):
    """The published procedure: means over 15 cells drawn with replacement, the prediction averaged over draws."""
    adata, cells = clock_cells()
    write_clocks(tmp_path / "clocks", adata)
    ages, _, _ = run_step(tmp_path, [(adata, cells)])
    clock, rng = read_clocks(tmp_path / "clocks")["NK"], np.random.default_rng(0)
    counts = adata.X.toarray()
    logs = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4)
    for donor in ("d0", "d3"):
        rows = np.flatnonzero(
            cells["kept"] & (cells["cell_type"] == "natural killer cell") & (cells["donor_id"] == donor)
        )
        drawn = logs[rng.choice(rows, (4000, 15))].mean(axis=1)
        predictions = (
            clock.intercept + pd.DataFrame(drawn, columns=adata.var_names)[clock.weights.index] @ clock.weights
        )
        own = ages[(ages["clock"] == "NK") & (ages["donor_id"] == donor)]["predicted"].iloc[0]
        assert own == pytest.approx(predictions.mean(), abs=4 * predictions.std() / np.sqrt(4000))


def test_a_clock_that_is_the_truth_tells_the_age(tmp_path):
    """One gene's mean log expression is a known function of age; the clock with that function finds the age."""
    rng = np.random.default_rng(0)
    ages = np.linspace(20, 90, 12)
    counts = np.full((12 * 50, 3), 1000)
    level = np.repeat(ages, 50) / 20  # mean log(1 + CP10k) of the first gene
    counts[:, 2] = 100_000
    counts[:, 0] = np.rint(np.expm1(level) * 101_000 / 1e4 / (1 - np.expm1(level) / 1e4))
    obs = pd.Index([f"c{i}" for i in range(600)])
    adata = anndata.AnnData(
        sparse.csr_matrix(counts.astype(float)), obs=pd.DataFrame(index=obs), var=pd.DataFrame(index=["g0", "g1", "g2"])
    )
    cells = pd.DataFrame(
        {"cell_id": obs, "donor_id": np.repeat([f"d{i}" for i in range(12)], 50), "cell_type": "B cell"}
    )
    cells = cells.assign(kept=rng.random(600) < 0.9, age_years=np.repeat(ages, 50))
    (tmp_path / "clocks").mkdir()
    (tmp_path / "clocks/B.csv").write_text("gene,coef\nIntercept,0\ng0,20\n")
    _, metrics, _ = run_step(tmp_path, [(adata, cells)])
    assert metrics.loc["B", "mae"] < 0.5 and metrics.loc["B", "spearman"] == 1
    assert metrics.loc["B", "n_donors"] == 12 and abs(metrics.loc["B", "error_slope"]) < 0.02


def test_shards_change_nothing(tmp_path):
    adata, cells = clock_cells()
    write_clocks(tmp_path / "clocks", adata)
    whole = run_step(tmp_path, [(adata, cells)])
    first = cells["donor_id"].isin(["d0", "d1"]).to_numpy()
    halves = [(adata[mask].copy(), cells[mask].reset_index(drop=True)) for mask in (first, ~first)]
    parts = run_step(tmp_path, halves, name="halves")
    pd.testing.assert_frame_equal(whole[0], parts[0])
    pd.testing.assert_frame_equal(whole[1], parts[1])


def test_a_donor_of_several_samples_is_told_once_at_their_mean_age(tmp_path):
    adata, cells = clock_cells()
    write_clocks(tmp_path / "clocks", adata)
    whole, _, _ = run_step(tmp_path, [(adata, cells)])
    first = cells[["donor_id", "age_years"]].drop_duplicates()
    visits = [first.assign(**{SAMPLE_OF_DONOR: f"T{v}", "age_years": first["age_years"] + 4 * v}) for v in (0, 1)]
    sampled = cells.assign(**{SAMPLE_OF_DONOR: np.where(np.arange(len(cells)) % 3, "T0", "T1")})
    ages, metrics, _ = run_step(
        tmp_path, [(adata, sampled)], name="sampled", donors=pd.concat(visits, ignore_index=True)
    )
    pd.testing.assert_frame_equal(ages, whole.assign(age_years=whole["age_years"] + 2))
    assert metrics.loc["B", "n_donors"] == 6


def test_donors_of_few_cells_are_left_out_and_counted(tmp_path):
    adata, cells = clock_cells()
    write_clocks(tmp_path / "clocks", adata)
    ages, metrics, _ = run_step(tmp_path, [(adata, cells)], "--min-cells", "12")
    assert (ages["n_cells"] >= 12).all()
    assert (metrics["n_donors"] + metrics["n_donors_few_cells"]).loc["NK"] == cells["donor_id"].nunique()
    assert metrics.loc["NK", "n_donors_few_cells"] > 0


def test_a_wheel_is_read_like_a_folder_and_genes_by_symbol(tmp_path):
    adata, _ = clock_cells()
    write_clocks(tmp_path / "clocks", adata)
    with zipfile.ZipFile(tmp_path / "omniage-0-py3-none-any.whl", "w") as archive:
        for file in (tmp_path / "clocks").glob("*.csv"):
            archive.write(file, f"omniage/data/scImmuAging/{file.name}")
        archive.writestr("omniage/data/other/X.csv", "gene,coef\n")
    folder, wheel = read_clocks(tmp_path / "clocks"), read_clocks(tmp_path / "omniage-0-py3-none-any.whl")
    assert list(folder) == list(wheel)
    for name in folder:
        pd.testing.assert_series_equal(folder[name].weights, wheel[name].weights)
        assert (folder[name].family, wheel[name].family) == ("", "scImmuAging")
    by_id, facts = weight_matrix(folder, adata.var_names, adata.var["symbol"])
    renamed = pd.Index([f"other{i}" for i in range(adata.n_vars)])
    symbols = pd.Series(adata.var_names, index=renamed)
    by_symbol, again = weight_matrix(folder, renamed, symbols)
    np.testing.assert_array_equal(by_id, by_symbol)
    assert facts == again


def test_cell_types_may_be_named_beside_the_clocks(tmp_path):
    adata, cells = clock_cells()
    write_clocks(tmp_path / "clocks", adata)
    (tmp_path / "clocks/cell_types.tsv").write_text("cell_type\tclock\nnatural killer cell\tB\n")
    _, metrics, _ = run_step(tmp_path, [(adata, cells)])
    assert metrics.loc["B", "cell_types"] == "natural killer cell" and np.isnan(metrics.loc["NK", "mae"])


def test_the_table_of_cell_types_names_each_once_for_each_family_of_clocks():
    types = read_tsv(ROOT / "assets/clocks/cell_types.tsv")
    grn = types["clock"].str.startswith("GRNimmuneClock_")
    assert types.loc[grn, "cell_type"].is_unique and types.loc[~grn, "cell_type"].is_unique
    assert set(types.loc[~grn, "clock"]) == {"B", "CD4T", "CD8T", "MONO", "NK"}
    assert set(types.loc[grn, "clock"]) == {"GRNimmuneClock_CD4T", "GRNimmuneClock_CD8T"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gene,coef\ng0,1\n", "0 rows named Intercept"),
        ("gene,coef\nIntercept,1\ng0,1\ng0,2\n", "gene g0 stands there twice"),
        ("gene,coef\nIntercept,1\n", "no gene"),
        ("gene,coef\nIntercept,1\ng0,x\n", "is no table"),
        ("name,value\nIntercept,1\n", "is no table"),
    ],
)
def test_a_broken_clock_is_bad_input(tmp_path, text, message):
    (tmp_path / "B.csv").write_text(text)
    with pytest.raises(BadInput, match=message):
        read_clocks(tmp_path)


def test_a_folder_without_clocks_is_bad_input(tmp_path):
    with pytest.raises(BadInput, match="holds no clock"):
        read_clocks(tmp_path)


def test_a_gene_without_counts_adds_nothing():
    counts, donors = sparse.csr_matrix(np.array([[0.0, 10], [5, 5]])), pd.Series(["a", "b"])
    weights = np.array([3.0, 0.0])
    for of_sums, scale in ((False, 1e4), (True, 1e6)):
        clock = Clock(1.0, pd.Series(weights, index=["g", "h"]), of_sums)
        predicted = predict_donors(counts, donors, clock, weights)["predicted"]
        np.testing.assert_allclose(predicted, [1, 1 + 3 * np.log1p(scale / 2)])


# --- GRNimmuneClock ------------------------------------------------------------------------------------------------


def grn_cohort(folder, *, absent=2):
    """Cells, their quality control and a wheel with a clock of CD4 T cells, some genes of which the cells lack."""
    adata, cells = clock_cells()
    genes = [*adata.var["symbol"][::2], *(f"ABSENT{i}" for i in range(absent))]
    model = fit_scaled_ridge(len(genes))
    (folder / "clocks").mkdir()
    write_grn_wheel(folder / "clocks/grnimmuneclock-0-py3-none-any.whl", model, genes)
    return adata, cells, model, genes


def test_a_grn_clock_predicts_what_its_own_model_does(tmp_path):
    """scikit-learn's own prediction, from the logarithm of counts per million of the donor's sums; 0 where a gene lacks."""
    adata, cells, model, genes = grn_cohort(tmp_path)
    ages, metrics, facts = run_step(tmp_path, [(adata, cells)])
    used = (cells["kept"] & (cells["cell_type"] == CD4_T_CELL)).to_numpy()
    sums = (
        pd.DataFrame(adata.X.toarray()[used], columns=adata.var["symbol"])
        .groupby(cells.loc[used, "donor_id"].to_numpy())
        .sum()
    )
    logs = np.log1p(1e6 * sums.div(sums.sum(axis=1), axis=0)).reindex(columns=genes, fill_value=0)
    assert list(ages["donor_id"]) == list(logs.index) and set(ages["clock"]) == {"GRNimmuneClock_CD4T"}
    np.testing.assert_allclose(ages["predicted"], model.predict(logs.to_numpy()), rtol=1e-5)  # tables have 6 digits
    assert ages["n_cells"].tolist() == cells.loc[used].groupby("donor_id").size().tolist()
    row = metrics.loc["GRNimmuneClock_CD4T"]
    assert (row["n_genes"], row["n_genes_missing"], row["cell_types"]) == (17, 2, CD4_T_CELL)
    assert facts["notes"] == [
        "clock GRNimmuneClock_CD4T: trained on OneK1K and ABF300; whether these donors were among them cannot be told "
        "from the file"
    ]
    assert facts["training"]["GRNimmuneClock_CD4T"]["cohorts"] == ["OneK1K", "ABF300"]
    assert facts["training"]["GRNimmuneClock_CD4T"]["recognised"] == {}


@pytest.mark.parametrize(
    ("rename", "source", "sign"),
    [
        (lambda i: f"{i + 690}_{i + 691}", {}, "donor_id is like '690_691' in 6 of 6 donors"),
        (None, {"citation": "Publication: https://doi.org/10.1126/science.abf3041"}, "its file says '10.1126/science.abf3041' (citation)"),
        (None, {"license": "package MIT; underlying data OneK1K (Yazar 2022)"}, "its file says 'OneK1K' (license)"),
    ],
)  # fmt: skip
def test_a_cohort_that_a_clock_was_trained_on_is_recognised(tmp_path, rename, source, sign):
    adata, cells, _, _ = grn_cohort(tmp_path)
    if rename:
        cells["donor_id"] = cells["donor_id"].map(lambda name: rename(int(name[1:])))
    _, _, facts = run_step(tmp_path, [(adata, cells)], source=source)
    training = facts["training"]["GRNimmuneClock_CD4T"]
    assert training["recognised"] == {"OneK1K": sign}
    assert f"This cohort looks like OneK1K ({sign}): the clock has seen these ages" in training["text"]
    assert facts["notes"] == [f"clock GRNimmuneClock_CD4T: t{training['text'][1:-1]}"]
    table = sums_of(adata, cells)
    write_h5ad(table, tmp_path / "table.h5ad")
    files = ["--table", str(tmp_path / "table.h5ad"), "--clocks", str(tmp_path / "clocks")]
    _, _, of_table = run_clocks(tmp_path, files, name="of_table", source=source)
    assert of_table["training"] == facts["training"]


def test_a_cohort_is_known_by_nearly_all_of_its_donors_and_never_by_a_few():
    rules = read_cohort_rules(COHORTS)
    named = [f"{i}_{i}" for i in range(1, 19)]
    assert recognise(rules, pd.DataFrame({"donor_id": [*named, "x", "y"]}), {}) == {
        "OneK1K": "donor_id is like '1_1' in 18 of 20 donors"
    }
    for donors in ([*named, "x", "y", "z"], ["S1", "S2"], ["pool_1", "pool_2"], ["1_2_3"], []):
        assert recognise(rules, pd.DataFrame({"donor_id": donors}, dtype=object), {"title": "PBMC of Onek1kish"}) == {}
    census = pd.DataFrame({"donor_id": ["a", "b"], "dataset_id": "3faad104-2ab8-4434-816d-474d8d2641db"})
    assert list(recognise(rules, census, {})) == ["OneK1K"]


def test_what_only_follows_from_what_authors_say_is_said_to_be_probable(tmp_path):
    trained_on = read_trained_on(ROOT / "assets/clocks/trained_on.tsv")
    weights = pd.Series([1.0], index=["g"])
    clocks = {name: Clock(1.0, weights, family=family) for name, family in (("NK", "scImmuAging"), ("MINE", ""))}
    training = training_of(clocks, trained_on, {})
    assert training["NK"].text.startswith("Very probably trained on OneK1K; whether these donors")
    assert training["MINE"].cohorts == () and training["MINE"].text.startswith("What it was trained on is not known")
    assert [note.split(":")[0] for note in training_notes(training)] == ["clock NK"]
    rules = set(read_cohort_rules(COHORTS)["cohort"])
    assert rules <= set(trained_on["cohort"]), "a cohort that no clock was trained on need not be recognised"


def test_a_broken_table_of_cohorts_is_bad_input(tmp_path):
    (tmp_path / "cohorts.tsv").write_text("cohort\twhere\tpattern\nX\tsource\t(\n")
    with pytest.raises(BadInput, match=r"'\(' is no regular expression"):
        read_cohort_rules(tmp_path / "cohorts.tsv")
    (tmp_path / "trained_on.tsv").write_text("clocks\tcohort\tknown\nX\tOneK1K\tguessed\n")
    with pytest.raises(BadInput, match="known is 'guessed'; write stated or inferred"):
        read_trained_on(tmp_path / "trained_on.tsv")


def sums_of(adata, cells):
    """A table of the sums of the kept cells, by donor and cell type."""
    kept = cells["kept"].to_numpy()
    keys = cells.loc[kept, ["donor_id", "cell_type"]].astype(str)
    sums = (
        pd.DataFrame(adata.X.toarray()[kept], columns=adata.var_names)
        .groupby([keys["donor_id"].to_numpy(), keys["cell_type"].to_numpy()])
        .sum()
    )
    obs = pd.DataFrame(
        sums.index.tolist(), columns=["donor_id", "cell_type"], index=[f"s{i}" for i in range(len(sums))]
    )
    obs["n_cells"] = cells[kept].groupby([keys["donor_id"], keys["cell_type"]]).size().to_numpy()
    obs["age_years"] = obs["donor_id"].map(cells.groupby("donor_id")["age_years"].first())
    return anndata.AnnData(sparse.csr_matrix(sums.to_numpy()), obs=obs, var=adata.var.copy())


def test_a_table_of_sums_gives_the_same_ages_and_leaves_out_the_clocks_of_single_cells(tmp_path):
    adata, cells, _, _ = grn_cohort(tmp_path)
    expected, _, _ = run_step(tmp_path, [(adata, cells)])
    write_clocks(tmp_path / "tables", adata)
    (tmp_path / "clocks/B.csv").write_bytes((tmp_path / "tables/B.csv").read_bytes())
    table = sums_of(adata, cells)
    write_h5ad(table, tmp_path / "table.h5ad")
    files = ["--table", str(tmp_path / "table.h5ad"), "--clocks", str(tmp_path / "clocks")]
    ages, metrics, facts = run_clocks(tmp_path, files, name="of_table")
    pd.testing.assert_frame_equal(ages, expected)
    assert facts["notes"][0] == "clock B: takes single cells, which a table of samples has not; left out"
    assert len(facts["notes"]) == 2 and metrics.loc["B", "n_donors"] == 0
    # A donor without counts has no age, and cells that were not counted are no reason to leave one out.
    donor = expected["donor_id"].iloc[0]
    table.X = table.X.multiply((table.obs["donor_id"] != donor).to_numpy()[:, None]).tocsr()
    del table.obs["n_cells"]
    write_h5ad(table, tmp_path / "table.h5ad")
    ages, _, _ = run_clocks(tmp_path, files, name="without")
    pd.testing.assert_series_equal(ages["predicted"], expected["predicted"][1:].reset_index(drop=True))
    assert ages["n_cells"].isna().all()


@pytest.mark.parametrize(
    "given",
    [
        [],
        ["--table", "t.h5ad", "--shards", "s.h5ad", "--cells", "c.parquet", "--donors", "d"],
        ["--shards", "s.h5ad", "--cells", "c"],
    ],
)
def test_cells_and_tables_are_not_mixed(tmp_path, given):
    with pytest.raises(BadInput, match="give a table of samples, or shards"):
        run_clocks(tmp_path, [*given, "--clocks", str(tmp_path)], name="out")


def test_a_clock_without_any_gene_of_the_cohort_is_noted(tmp_path):
    adata, cells, _, _ = grn_cohort(tmp_path)
    adata.var["symbol"] = ""
    ages, metrics, facts = run_step(tmp_path, [(adata, cells)])
    assert metrics.loc["GRNimmuneClock_CD4T", "weight_missing"] == 1 and ages["predicted"].nunique() == 1
    assert facts["notes"][-1].startswith("clock GRNimmuneClock_CD4T: the cohort has none of its genes")


def test_shards_change_nothing_in_a_grn_clock(tmp_path):
    adata, cells, _, _ = grn_cohort(tmp_path)
    whole = run_step(tmp_path, [(adata, cells)])
    first = cells["donor_id"].isin(["d0", "d4"]).to_numpy()
    parts = run_step(
        tmp_path, [(adata[m].copy(), cells[m].reset_index(drop=True)) for m in (first, ~first)], name="halves"
    )
    pd.testing.assert_frame_equal(whole[0], parts[0])
    pd.testing.assert_frame_equal(whole[1], parts[1])


def test_a_folder_may_hold_wheels_and_tables(tmp_path):
    """A cell type then has its age by each clock that is for it, the same as by that clock alone."""
    adata, cells, _, _ = grn_cohort(tmp_path)
    alone, _, _ = run_step(tmp_path, [(adata, cells)], name="alone")
    write_clocks(tmp_path / "tables", adata)
    with zipfile.ZipFile(tmp_path / "clocks/omniage-0-py3-none-any.whl", "w") as archive:
        archive.write(tmp_path / "tables/NK.csv", "omniage/data/scImmuAging/CD4T.csv")
    (tmp_path / "clocks/B.csv").write_bytes((tmp_path / "tables/B.csv").read_bytes())
    ages, metrics, facts = run_step(tmp_path, [(adata, cells)])
    assert list(metrics.index) == ["B", "GRNimmuneClock_CD4T", "CD4T"] and facts["clocks"] == 3
    assert metrics.loc["CD4T", "cell_types"] == metrics.loc["GRNimmuneClock_CD4T", "cell_types"] == CD4_T_CELL
    own = ages[ages["clock"] == "GRNimmuneClock_CD4T"].reset_index(drop=True)
    pd.testing.assert_frame_equal(own, alone)
    (tmp_path / "clocks/CD4T.csv").write_bytes((tmp_path / "tables/B.csv").read_bytes())
    with pytest.raises(BadInput, match="has the clock CD4T, which another file has, too"):
        read_clocks(tmp_path / "clocks")


@pytest.mark.parametrize(
    ("member", "content", "message"),
    [
        ("metadata.json", b"{}", "names no version, or no genes"),
        ("metadata.json", b'{"version": "V2"}', "feature_names_V2.txt: is not there"),
        ("feature_names_V1.txt", b"a\nb\n", "names 2 genes but has 17 coefficients"),
        ("feature_names_V1.txt", b"a\n" * 17, "gene a stands there twice"),
        ("feature_names_V1.txt", b"\xff", "names no version, or no genes"),
        ("model_V1.pkl", b"", "is not read"),
        ("model_V1.pkl", b"\0" * (101 * 2**20), "unpacks to more than 100 MB"),
    ],
)
def test_a_broken_grn_wheel_is_bad_input(tmp_path, member, content, message):
    grn_cohort(tmp_path)
    (wheel,) = (tmp_path / "clocks").iterdir()
    with zipfile.ZipFile(wheel) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts[f"grnimmuneclock/models/CD4T/{member}"] = content
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    with pytest.raises(BadInput, match=message):
        read_clocks(wheel)


def test_a_damaged_wheel_is_bad_input(tmp_path):
    grn_cohort(tmp_path)
    (wheel,) = (tmp_path / "clocks").iterdir()
    content = bytearray(wheel.read_bytes())
    content[content.index(b"sklearn")] ^= 1
    wheel.write_bytes(content)
    with pytest.raises(BadInput, match=r"model_V1.pkl: is damaged or encrypted \(Bad CRC-32"):
        read_clocks(wheel)


def test_a_table_without_a_clock_of_sums_has_no_ages_and_says_why(tmp_path):
    adata, cells = clock_cells()
    write_clocks(tmp_path / "clocks", adata)
    write_h5ad(sums_of(adata, cells), tmp_path / "table.h5ad")
    files = ["--table", str(tmp_path / "table.h5ad"), "--clocks", str(tmp_path / "clocks")]
    ages, metrics, facts = run_clocks(tmp_path, files, name="out")
    assert ages.empty and list(ages.columns) == list(AGES) and (metrics["n_donors"] == 0).all()
    assert len(facts["notes"]) == len(metrics) and all("takes single cells" in note for note in facts["notes"])
