"""The simulated cohort: what its tables call true is regained from its counts by other, simple means."""

import hashlib
import subprocess
import sys
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import simulate_cohort
from engine import ROOT
from immune_aging.cells.gene_lists import is_hemoglobin, is_mitochondrial, is_ribosomal, nuisance_reason
from immune_aging.simulation import cohort as simulation_cohort
from immune_aging.simulation import genes as simulation_genes
from immune_aging.simulation.model import PRESETS, Settings, build_model, choose_genes, draw_donors, read_gene_sets
from immune_aging.task.checkpoints import read_tsv
from immune_aging.task.command_line import BadInput

GENE_SETS = ROOT / "assets" / "gene_sets" / "h.all.v7.5.1.symbols.gmt"


def simulate(folder: Path, *options: str) -> tuple[Path, Path]:
    """Run the command; returns the h5ad and the folder of truths."""
    h5ad, truth = folder / "cohort.h5ad", folder / "truth"
    arguments = ["--gene-sets", str(GENE_SETS), "--output", str(h5ad), "--truth", str(truth), *options]
    arguments += ["--versions", str(folder / "versions.json")]
    simulate_cohort.main(arguments)
    return h5ad, truth


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Cohort:
    """A simulated cohort, read back."""

    def __init__(self, h5ad: Path, truth: Path):
        self.path, self.truth_folder = h5ad, truth
        self.adata = anndata.read_h5ad(h5ad)
        self.cells = pd.read_parquet(truth / "cells.parquet")
        self.donors = read_tsv(truth / "donors.tsv").set_index("donor_id")
        self.ageing = read_tsv(truth / "age_effects.tsv")
        self.planted = read_tsv(truth / "gene_sets_planted.tsv")
        self.symbols = self.adata.var["feature_name"].astype(str).to_numpy()
        self.total = np.asarray(self.adata.X.sum(axis=1)).ravel()
        self.good = ~self.cells[["is_doublet", "is_low_quality", "is_rbc"]].any(axis=1).to_numpy()

    def percent(self, genes: np.ndarray) -> np.ndarray:
        return 100 * np.asarray(self.adata.X[:, genes].sum(axis=1)).ravel() / self.total

    def pseudobulk(self, cell_type: str, min_cells: int = 10) -> tuple[np.ndarray, pd.DataFrame]:
        """Sums of the good cells of a type, donors x genes, and the donors."""
        cells = np.flatnonzero(self.good & (self.adata.obs["cell_type"] == cell_type).to_numpy())
        donor = self.adata.obs["donor_id"].cat.codes.to_numpy()[cells]
        ids = self.adata.obs["donor_id"].cat.categories
        sums = (
            sparse.csr_matrix((np.ones(len(cells)), (donor, cells)), shape=(len(ids), self.adata.n_obs)) @ self.adata.X
        )
        enough = np.bincount(donor, minlength=len(ids)) >= min_cells
        return sums.toarray()[enough], self.donors.loc[ids[enough]]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """The cohort of `make demo`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("demo"))
        return Cohort(*simulate(Path.cwd(), "--preset", "demo", "--seed", "0"))


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_file_is_a_valid_anndata_with_raw_counts_and_cellxgene_columns(demo: Cohort) -> None:
    adata = demo.adata
    assert adata.shape == (PRESETS["demo"].cells, PRESETS["demo"].genes)
    assert isinstance(adata.X, sparse.csr_matrix)
    assert adata.X.dtype == np.float32
    assert adata.X.has_canonical_format
    assert np.array_equal(adata.X.data, np.rint(adata.X.data))
    assert adata.X.data.min() >= 1
    assert adata.obs_names.is_unique
    assert adata.var_names.is_unique
    assert adata.var_names.str.fullmatch(r"ENSG\d{11}").all()
    assert adata.obs["cell_type"].dtype == "category"
    assert {"donor_id", "development_stage", "sex", "pool", "assay", "tissue", "disease"} <= set(adata.obs)
    assert (adata.var["feature_biotype"] == "gene").all()
    for name in ("CD4-positive, alpha-beta memory T cell", "gamma-delta/MAIT T cell", "natural killer cell"):
        assert name in adata.obs["cell_type"].cat.categories


def test_truth_and_file_tell_of_the_same_cells_and_donors(demo: Cohort) -> None:
    assert demo.cells["cell_id"].tolist() == demo.adata.obs_names.tolist()
    for column in ("donor_id", "cell_type"):
        assert demo.cells[column].tolist() == demo.adata.obs[column].tolist()
    counted = demo.adata.obs["donor_id"].value_counts()
    assert demo.donors["n_cells"].to_dict() == counted.to_dict()
    for column in ("sex", "pool", "development_stage"):
        assert (demo.adata.obs.groupby("donor_id", observed=True)[column].nunique() == 1).all()


def test_cells_of_donors_are_interleaved_within_pools_and_pools_follow_each_other(demo: Cohort) -> None:
    obs = demo.adata.obs
    pool = obs["pool"].cat.codes.to_numpy()
    assert (np.diff(pool) >= 0).all()
    donor = obs["donor_id"].cat.codes.to_numpy()
    changes = (np.diff(donor) != 0).mean()
    assert changes > 0.6, "donors lie in blocks"
    assert obs.groupby("pool", observed=True)["donor_id"].nunique().max() == PRESETS["demo"].donors_per_pool


def test_gene_families_are_there_by_symbol_with_their_false_friends(demo: Cohort) -> None:
    symbols = demo.symbols
    assert is_mitochondrial(symbols).sum() == 13
    assert is_ribosomal(symbols).sum() > 80
    assert set(simulation_genes.HEMOGLOBIN_LEVELS) <= set(symbols[is_hemoglobin(symbols)])
    assert (nuisance_reason(symbols) == "T-cell receptor variable region").sum() > 80
    assert (nuisance_reason(symbols) == "immunoglobulin variable region").sum() > 80
    hallmark = {symbol for members in read_gene_sets(GENE_SETS).values() for symbol in members}
    assert hallmark <= set(symbols)
    for symbol in ("HBEGF", "RPS6KA1"):
        column = np.flatnonzero(symbols == symbol)
        assert not is_hemoglobin(symbols)[column].any()
        assert not is_ribosomal(symbols)[column].any()
        assert demo.adata.X[:, column].sum() > 20
    without_symbol = symbols == demo.adata.var_names
    assert 0 < without_symbol.mean() < 0.2
    unexpressed = np.asarray(demo.adata.X.sum(axis=0)).ravel() == 0
    assert 10 < unexpressed.sum() < 0.05 * len(symbols)


def test_counts_look_like_10x_blood(demo: Cohort) -> None:
    n_genes = np.diff(demo.adata.X.indptr)
    assert 2000 < np.median(demo.total[demo.good]) < 4000
    assert 800 < np.median(n_genes[demo.good]) < 1300
    assert 15 < np.median(demo.percent(is_ribosomal(demo.symbols))[demo.good]) < 45
    assert 2 < np.median(demo.percent(is_mitochondrial(demo.symbols))[demo.good]) < 8


def test_dying_cells_and_red_cells_differ_from_the_good_ones_at_the_reference_thresholds(
    demo: Cohort,
) -> None:
    mito = demo.percent(is_mitochondrial(demo.symbols)) > 20
    hemoglobin = demo.percent(is_hemoglobin(demo.symbols)) > 5
    assert mito[demo.cells["is_low_quality"]].mean() > 0.98
    assert hemoglobin[demo.cells["is_rbc"]].mean() > 0.98
    assert (mito | hemoglobin)[demo.good].mean() < 0.005
    n_genes = np.diff(demo.adata.X.indptr)
    assert np.median(n_genes[demo.cells["is_low_quality"]]) < 0.6 * np.median(n_genes[demo.good])
    assert (demo.cells.loc[demo.cells["is_rbc"], "true_type"] == "erythrocyte").all()


def test_rates_are_those_asked_for(demo: Cohort) -> None:
    settings, n = PRESETS["demo"], len(demo.cells)
    rates = (settings.doublet_rate, settings.dying_rate, settings.red_cell_rate)
    for column, rate in zip(("is_doublet", "is_low_quality", "is_rbc"), rates, strict=True):
        assert abs(demo.cells[column].mean() - rate) < 4 * np.sqrt(rate * (1 - rate) / n), column
    doublets = demo.cells[demo.cells["is_doublet"]]
    homotypic = (doublets["cell_type"] == doublets["second_type"]).mean()
    assert 0 < homotypic < 0.08
    assert (demo.cells.loc[~demo.cells["is_doublet"], "second_type"] == "").all()


def test_doublets_hold_the_counts_and_the_markers_of_two_cells(demo: Cohort) -> None:
    cells, total = demo.cells, demo.total
    t_cell, monocyte = simulation_genes.CELL_TYPES["T4"].name, simulation_genes.CELL_TYPES["MO"].name
    both = (
        cells["is_doublet"]
        & cells["cell_type"].isin([t_cell, monocyte])
        & cells["second_type"].isin([t_cell, monocyte])
    )
    both &= cells["cell_type"] != cells["second_type"]
    markers = [demo.percent(demo.symbols == symbol) > 0 for symbol in ("CD3E", "LYZ")]
    assert both.sum() > 20
    assert (markers[0] & markers[1])[both].mean() > 0.75
    assert (markers[0] & markers[1])[demo.good].mean() < 0.05
    assert np.median(total[cells["is_doublet"]]) > 1.6 * np.median(total[demo.good])


def test_donors_have_the_ages_sexes_and_oddities_that_the_pipeline_must_handle(demo: Cohort) -> None:
    donors = demo.donors
    assert donors["age_years"].min() == 19
    assert donors["age_years"].max() == 97
    unknown = donors["development_stage"] == "unknown"
    assert unknown.sum() == 1
    assert (donors.loc[unknown, "note"] == "age unknown").all()
    stated = donors.loc[~unknown, "development_stage"].str.extract(r"^(\d+)-year-old stage$")[0].astype(float)
    assert np.array_equal(stated, donors.loc[~unknown, "age_years"])
    assert donors["n_cells"].idxmin() == donors.index[donors["note"] == "few cells"][0]
    assert donors["n_cells"].min() < np.percentile(donors["n_cells"], 1)
    assert (donors["n_cells"] >= 100).sum() >= len(donors) - 2
    lacking = donors.index[donors["note"] == "no naive B cells"]
    cells = demo.cells[demo.cells["donor_id"].isin(lacking) & demo.good]
    assert len(lacking) == 1
    assert "naive B cell" not in set(cells["true_type"])


def test_four_to_six_cell_types_survive_the_reference_filter_and_others_do_not(demo: Cohort) -> None:
    usable = demo.donors.index[~demo.donors["note"].isin(["few cells", "age unknown"])]
    obs = demo.adata.obs[demo.adata.obs["donor_id"].isin(usable)]
    table = pd.crosstab(obs["donor_id"].astype(str), obs["cell_type"].astype(str))
    share = (table >= 10).mean()
    surviving = set(share.index[share >= 0.95])
    assert 4 <= len(surviving) <= 6
    assert len(share) - len(surviving) >= 4
    assert set(demo.planted["cell_type"]) <= surviving


def test_sex_genes_tell_the_sexes_apart(demo: Cohort) -> None:
    donor = demo.adata.obs["donor_id"].to_numpy()
    xist = pd.Series(demo.percent(demo.symbols == "XIST")).groupby(donor).mean()
    y_linked = pd.Series(demo.percent(demo.symbols == "RPS4Y1")).groupby(donor).mean()
    women = (demo.donors["sex"] == "female").reindex(xist.index)
    assert (xist[women] > 0).all()
    assert (xist[~women] == 0).all()
    assert (y_linked[~women] > 0).all()
    assert (y_linked[women] == 0).all()


def test_b_and_t_cells_express_the_variable_region_of_one_clone(demo: Cohort) -> None:
    heavy = np.flatnonzero([symbol in simulation_genes.VARIABLE_REGIONS["IGHV"] for symbol in demo.symbols])
    counts = demo.adata.X[:, heavy].toarray()
    b_cell = demo.good & (demo.cells["cell_type"] == "naive B cell").to_numpy()
    assert ((counts > 0).sum(axis=1)[b_cell] <= 1).all()
    assert (counts.sum(axis=1)[b_cell] > 0).mean() > 0.8
    assert (counts[b_cell] > 0).any(axis=0).sum() > 20, "few clones"
    monocyte = demo.good & (demo.cells["cell_type"] == "CD14-positive monocyte").to_numpy()
    assert counts[monocyte].sum() == 0


def regress_on_age(demo: Cohort, cell_type: str) -> tuple[np.ndarray, np.ndarray]:
    """Least squares of log2 CPM on age in SDs and sex: slope of age and mean counts of each gene."""
    sums, donors = demo.pseudobulk(cell_type)
    cpm = np.log2((sums + 0.5) / (sums.sum(axis=1, keepdims=True) + 1) * 1e6)
    z = (donors["age_years"] - demo.donors["age_years"].mean()) / demo.donors["age_years"].std()
    design = np.column_stack([np.ones(len(z)), z, donors["sex"] == "female"]).astype(float)
    return np.linalg.lstsq(design, cpm, rcond=None)[0][1], sums.mean(axis=0)


def test_planted_age_effects_are_regained_by_a_plain_regression(demo: Cohort) -> None:
    for cell_type in sorted(set(demo.planted["cell_type"])):
        slope, mean = regress_on_age(demo, cell_type)
        truth = demo.ageing[demo.ageing["cell_type"] == cell_type].set_index("gene_id")["lfc_per_sd"]
        planted = truth.reindex(demo.adata.var_names).fillna(0).to_numpy()
        ageing = (planted != 0) & (mean >= 10)
        null = (planted == 0) & (mean >= 10)
        assert ageing.sum() > 30, cell_type
        line = np.polyfit(planted[ageing], slope[ageing], 1)
        assert 0.85 < line[0] < 1.1, (cell_type, line)
        assert np.corrcoef(planted[ageing], slope[ageing])[0, 1] > 0.93, cell_type
        assert abs(np.median(slope[null])) < 0.03, cell_type
        assert np.abs(slope[null]).mean() < 0.1, cell_type


def test_planted_sets_move_as_a_whole_and_sets_without_planted_genes_do_not(demo: Cohort) -> None:
    from scipy.stats import mannwhitneyu

    sets = read_gene_sets(GENE_SETS)
    false = tested = 0
    for cell_type, rows in demo.planted.groupby("cell_type"):
        slope, mean = regress_on_age(demo, cell_type)
        seen = mean >= 3
        direction = rows.set_index("gene_set")["direction"]
        for name, members in sets.items():
            inside = np.isin(demo.symbols, members)
            if (inside & seen).sum() < 10:
                continue
            a, b = slope[inside & seen], slope[~inside & seen]
            if name in direction:
                side = "greater" if direction[name] == "up" else "less"
                assert mannwhitneyu(a, b, alternative=side).pvalue < 1e-6, (cell_type, name)
            else:
                false += mannwhitneyu(a, b).pvalue < 0.01
                tested += 1
    assert tested > 150
    assert false <= 0.03 * tested, "sets that merely overlap a planted one move with it"


def test_age_effects_have_the_sizes_and_directions_that_the_tables_state(demo: Cohort) -> None:
    sets = read_gene_sets(GENE_SETS)
    size = demo.ageing["lfc_per_sd"].abs()
    assert size.between(PRESETS["demo"].lfc_min, PRESETS["demo"].lfc_max).all()
    sd = demo.donors["age_years"].std()
    assert np.allclose(demo.ageing["lfc_per_decade"] * sd / 10, demo.ageing["lfc_per_sd"], atol=1e-4)
    assert (nuisance_reason(demo.ageing["symbol"]) == "").all()
    for row in demo.planted.itertuples():
        genes = demo.ageing[(demo.ageing["cell_type"] == row.cell_type) & (demo.ageing["planted_set"] == row.gene_set)]
        assert set(genes["symbol"]) <= set(sets[row.gene_set])
        assert (np.sign(genes["lfc_per_sd"]) == (1 if row.direction == "up" else -1)).all()
        assert len(genes) == row.n_genes >= 25
    outside = demo.ageing[demo.ageing["planted_set"] == ""]
    assert 0.3 < (outside["lfc_per_sd"] > 0).mean() < 0.7


def test_pseudobulk_is_overdispersed_by_donors(demo: Cohort) -> None:
    sums, _ = demo.pseudobulk("natural killer cell")
    well = sums.mean(axis=0) > 50
    share = sums[:, well] / sums.sum(axis=1, keepdims=True)
    cv2 = share.var(axis=0) / share.mean(axis=0) ** 2 - 1 / sums[:, well].mean(axis=0)
    # donor_sd and pool_sd together, on the natural log scale: .25^2 + .12^2 = .077, more where a gene ages.
    assert 0.05 < np.median(cv2) < 0.13


def test_scrublet_finds_the_doublets_of_single_donors(demo: Cohort) -> None:
    import scrublet
    from sklearn.metrics import roc_auc_score

    donors = demo.donors.index[demo.donors["n_cells"] >= 150][:16]
    scores, truth = [], []
    for donor in donors:
        cells = np.flatnonzero(
            (demo.adata.obs["donor_id"] == donor).to_numpy() & (demo.good | demo.cells["is_doublet"])
        )
        model = scrublet.Scrublet(demo.adata.X[cells], expected_doublet_rate=0.06, random_state=0)
        scores.append(model.scrub_doublets(use_approx_neighbors=False, verbose=False)[0])
        truth.append(demo.cells["is_doublet"].to_numpy()[cells])
    assert roc_auc_score(np.concatenate(truth), np.concatenate(scores)) > 0.94


def test_the_same_seed_gives_the_same_bytes_by_any_number_of_processes_and_another_seed_others(
    small: Path,
) -> None:
    runs = [("--seed", "7"), ("--seed", "7", "--threads", "2"), ("--seed", "8")]
    digests = []
    for number, options in enumerate(runs):
        h5ad, truth = simulate(small / str(number), "--preset", "tiny", *options)
        digests.append([digest(h5ad), *(digest(path) for path in sorted(truth.iterdir()))])
    assert digests[0] == digests[1]
    assert digests[0][0] != digests[2][0]


def test_a_donor_is_the_same_whatever_is_drawn_around_it() -> None:
    settings = PRESETS["tiny"]
    model = build_model(read_gene_sets(GENE_SETS), settings, seed=3)
    donors = draw_donors(settings, seed=3)
    before = donors.copy()
    pool = int(donors.loc[5, "pool"])
    alone, _ = simulation_cohort.simulate_donor(model, donors.iloc[5], 5)
    within, truth = simulation_cohort.simulate_pool(model, donors, pool)
    rows = np.flatnonzero(truth["donor"] == 5)
    assert sorted(map(tuple, alone.toarray())) == sorted(map(tuple, within[rows].toarray()))
    pd.testing.assert_frame_equal(donors, before)


def test_every_number_can_be_overridden(small: Path) -> None:
    cohort = Cohort(
        *simulate(
            small, "--preset", "tiny", "--donors", "9", "--cells", "700", "--genes", "1600",
            "--doublet-rate", "0.2", "--dying-rate", "0", "--red-cell-rate", "0", "--age-effect", "0",
            "--female-share", "0",
        )
    )  # fmt: skip
    assert cohort.adata.shape == (700, 1600)
    assert cohort.donors.shape[0] == 9
    assert 0.13 < cohort.cells["is_doublet"].mean() < 0.27
    assert not cohort.cells["is_low_quality"].any()
    assert not cohort.cells["is_rbc"].any()
    assert cohort.ageing.empty
    assert cohort.planted.empty
    assert set(cohort.adata.obs["sex"]) == {"male"}


def test_the_onek1k_preset_names_35000_genes_of_distinct_ids_without_clashing_symbols() -> None:
    genes = choose_genes(read_gene_sets(GENE_SETS), PRESETS["onek1k"])
    assert len(genes) == 35_000
    assert genes["gene_id"].is_unique
    symbols = genes.loc[genes["symbol"] != "", "symbol"]
    assert symbols.is_unique
    tail = genes.loc[(genes["group"] == "tail"), "symbol"]
    assert (nuisance_reason(tail) == "").all()
    assert not is_hemoglobin(tail).any()
    assert genes["gene_id"].is_monotonic_increasing


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--genes", "500"], "--genes"),
        (["--donors", "2"], "--donors"),
        (["--cells", "100"], "--cells"),
        (["--doublet-rate", "1.5"], "--doublet-rate"),
        (["--doublet-rate", "0.6", "--dying-rate", "0.6"], "together 1 or more"),
        (["--donor-sd", "-1"], "--donor-sd"),
        (["--lfc-min", "0.9"], "--lfc-min"),
        (["--seed", "-1"], "--seed"),
    ],
)
def test_impossible_numbers_are_named(small: Path, options: list[str], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        simulate(small, "--preset", "tiny", *options)
    assert not list(small.rglob("*.h5ad"))


def test_gene_sets_without_the_planted_ones_are_refused_in_one_line(small: Path) -> None:
    (small / "other.gmt").write_text("MY_SET\tsource\tCD3E\tCD3D\n")
    command = [sys.executable, str(ROOT / "bin" / "simulate_cohort.py"), "--gene-sets", "other.gmt"]
    done = subprocess.run([*command, "--output", "x.h5ad", "--truth", "truth"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "other.gmt: gene set HALLMARK_" in done.stderr


def test_the_defaults_of_the_settings_are_the_demo() -> None:
    assert PRESETS["demo"] == Settings()
