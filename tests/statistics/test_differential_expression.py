"""Differential expression against independent references and known truth."""

import subprocess
import sys

import anndata
import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_limits

from de_step import run_step
from engine import ROOT
from immune_aging.samples.cell_type_samples import read_samples
from immune_aging.statistics.count_tests import (
    DeseqOptions,
    fit_pydeseq2,
    fit_voom,
    moderated_df,
    size_factor_method,
)
from immune_aging.statistics.designs import build_design
from immune_aging.statistics.expression_tests import COLUMNS, compare_genes
from immune_aging.task.checkpoints import read_tsv, write_h5ad
from immune_aging.task.command_line import BadInput, limit_threads
from immune_aging.task.skipped import CannotFit
from inputs.statistics_inputs import CELL_TYPE, SET_SIZE, simulate_samples
from inputs.step_options import default_options

AGE = np.array([0.0, 0.0, 1.0])  # the tested coefficient of ~ sex + age


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """The standard table, its truth and its result."""
    folder = tmp_path_factory.mktemp("planted")
    adata, truth = simulate_samples()
    table, summary = run_step(folder, adata)
    return folder, adata, truth.set_index("gene_id")["lfc_per_sd"], table, summary


def dense(adata: anndata.AnnData) -> np.ndarray:
    return adata.X.toarray()


def test_planted_fold_changes_are_regained_per_sd_and_per_decade(planted):
    _, adata, truth, table, summary = planted
    found = table.set_index("gene_id")
    changed = truth[truth != 0].index
    assert (np.sign(found.loc[changed, "log2_fold_change"]) == np.sign(truth[changed])).all()
    assert found.loc[changed, "log2_fold_change"].abs().mean() == pytest.approx(0.6, abs=0.03)
    assert found.loc[changed, "robust"].all()
    sd = adata.obs["age_years"].std()
    np.testing.assert_allclose(found["lfc_per_decade"], found["log2_fold_change"] / sd * 10, rtol=1e-4)
    assert summary["test_term_sd"] == pytest.approx(sd)
    assert summary["cell_type"] == CELL_TYPE


def test_every_gene_is_tested_or_counted(planted):
    _, adata, _, table, summary = planted
    assert list(table.columns) == list(COLUMNS)
    assert summary["n_genes_in"] == adata.n_vars == 400
    assert summary["n_tested"] == len(table) == 360
    assert summary["n_low_count"] == 40
    assert not set(table["symbol"]) & {f"SYM{i}" for i in range(360, 400)}
    called = table["padj"] < 0.05
    assert summary["n_up"] == (called & (table["log2_fold_change"] > 0)).sum() >= SET_SIZE
    assert summary["n_down"] == (called & (table["log2_fold_change"] < 0)).sum() >= SET_SIZE
    assert summary["n_robust"] == table["robust"].sum()


def test_rows_are_sorted_by_p_value_and_gene(planted):
    table = planted[3]
    pd.testing.assert_frame_equal(table, table.sort_values(["p_value", "gene_id"], ignore_index=True))


def test_robust_means_called_by_both_with_one_sign(planted):
    table = planted[3]
    same = np.sign(table["log2_fold_change"]) == np.sign(table["log2_fold_change_companion"])
    expected = (table["padj"] < 0.05) & (table["padj_companion"] < 0.05) & same
    np.testing.assert_array_equal(table["robust"], expected)


def test_few_samples_bring_a_caution(planted):
    assert "40 samples: under 60" in planted[4]["warnings"][0]


def test_pydeseq2_agrees_with_a_negative_binomial_glm_of_another_library():
    import statsmodels.api as sm

    adata, _ = simulate_samples(n_genes=120, n_donors=40)
    counts = dense(adata)[:, :80]
    design = build_design(adata.obs)
    ours = fit_pydeseq2(counts, design.matrix, [AGE])[0]
    positive = (counts > 0).all(axis=0)
    logs = np.log(counts[:, positive])
    size = np.exp(np.median(logs - logs.mean(axis=0), axis=1))
    reference = []
    for gene in range(counts.shape[1]):
        rate = counts[:, gene] / size
        dispersion = max((rate.var() - rate.mean() * (1 / size).mean()) / rate.mean() ** 2, 0.01)
        model = sm.GLM(
            counts[:, gene],
            design.matrix,
            family=sm.families.NegativeBinomial(alpha=dispersion),
            offset=np.log(size),
        )
        reference.append(model.fit().params["age"] / np.log(2))
    assert np.corrcoef(ours["log2_fold_change"], reference)[0, 1] > 0.9995
    np.testing.assert_allclose(ours["log2_fold_change"], reference, atol=0.02)
    np.testing.assert_allclose(ours["base_mean"], (counts / size[:, None]).mean(axis=0), rtol=1e-6)


def test_voom_agrees_with_weighted_least_squares_and_a_plain_t_test_of_log_cpm():
    import statsmodels.api as sm

    adata, _ = simulate_samples(n_donors=60)
    counts = dense(adata)[:, :360]
    design = build_design(adata.obs)
    ours = fit_voom(counts, design.matrix, [AGE])[0]
    log_cpm = np.log2((counts + 0.5) / (counts.sum(axis=1, keepdims=True) + 1) * 1e6)
    plain = [sm.OLS(log_cpm[:, gene], design.matrix).fit() for gene in range(counts.shape[1])]
    assert np.corrcoef(ours["log2_fold_change"], [fit.params["age"] for fit in plain])[0, 1] > 0.995
    assert np.corrcoef(ours["stat"], [fit.tvalues["age"] for fit in plain])[0, 1] > 0.99
    np.testing.assert_allclose(ours["stat"], ours["log2_fold_change"] / ours["lfc_se"], rtol=1e-8)


def test_adjusted_p_values_are_benjamini_hochberg(planted):
    from statsmodels.stats.multitest import multipletests

    table = planted[3]
    expected = multipletests(table["p_value_companion"], method="fdr_bh")[1]
    np.testing.assert_allclose(table["padj_companion"], expected, rtol=1e-4)


@pytest.mark.long
def test_false_discoveries_stay_at_their_rate_and_null_p_values_are_uniform():
    """Pooled over replicates: one run's false discovery proportion has an SD of .025 to .03."""
    from scipy.stats import kstest

    false, called, power, null_p = 0, 0, [], {"p_value": [], "p_value_companion": []}
    for seed in range(4):
        adata, truth = simulate_samples(seed=100 + seed, n_donors=60, n_genes=400, lfc_per_sd=0.2)
        samples = adata[:, :360].to_memory()
        design = build_design(samples.obs)
        true = truth.set_index("gene_id")["lfc_per_sd"] != 0
        with limit_threads(1):
            first = fit_pydeseq2(dense(samples), design.matrix, [AGE])[0]
            second = fit_voom(dense(samples), design.matrix, [AGE])[0].add_suffix("_companion")
        table = pd.concat([first, second], axis=1).set_index(samples.var_names)
        robust = table.index[(table["padj"] < 0.05) & (table["padj_companion"] < 0.05)]
        called += len(robust)
        false += (~true[robust]).sum()
        power.append(true[robust].sum() / true.sum())
        for name, values in null_p.items():
            values.extend(table.loc[~true[table.index].to_numpy(), name])
    assert false / called <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / called)
    assert np.mean(power) > 0.6
    for name, values in null_p.items():
        assert 0.03 < np.mean(np.array(values) < 0.05) < 0.07, name
        assert kstest(values, "uniform").pvalue > 0.001, name


def test_order_of_rows_and_genes_and_number_of_threads_change_no_byte(planted, tmp_path):
    folder, adata, *_ = planted
    rng = np.random.default_rng(5)
    shuffled = adata[rng.permutation(adata.n_obs), rng.permutation(adata.n_vars)].copy()
    shuffled.X = shuffled.X.astype(np.float32)
    with threadpool_limits(2):
        run_step(tmp_path, shuffled)
    assert (tmp_path / "de.tsv").read_bytes() == (folder / "de.tsv").read_bytes()
    assert (tmp_path / "de_summary.json").read_bytes() == (folder / "de_summary.json").read_bytes()


def test_the_primary_engine_can_be_voom(planted, tmp_path):
    _, adata, _, table, _ = planted
    swapped, summary = run_step(tmp_path, adata, "--method", "voom")
    assert (summary["method"], summary["companion"]) == ("voom", "pydeseq2")
    one, other = table.set_index("gene_id"), swapped.set_index("gene_id").loc[table["gene_id"]]
    np.testing.assert_allclose(other["padj_companion"], one["padj"], rtol=1e-5)
    np.testing.assert_allclose(other["p_value"], one["p_value_companion"], rtol=1e-5)
    np.testing.assert_array_equal(other["robust"], one["robust"])


def test_sparse_tables_get_size_factors_from_all_genes():
    deep, _ = simulate_samples()
    shallow, _ = simulate_samples(depth=2)
    assert size_factor_method(dense(deep)) == "ratio"
    assert size_factor_method(dense(shallow)) == "poscounts"


def test_sparse_tables_are_fitted(tmp_path):
    table, summary = run_step(tmp_path, simulate_samples(n_donors=60, depth=2)[0])
    assert summary["size_factors"] == "poscounts"
    found = table.set_index("symbol")
    assert found.loc[[f"SYM{i}" for i in range(SET_SIZE) if f"SYM{i}" in found.index], "log2_fold_change"].mean() > 0.4


def test_a_sex_difference_can_be_tested(planted, tmp_path):
    table, summary = run_step(tmp_path, planted[1], "--test-term", "sex")
    found = table.set_index("symbol").loc[[f"SYM{i}" for i in range(50, 60)]]
    assert found["log2_fold_change"].mean() == pytest.approx(1, abs=0.1)
    assert summary["contrast"] == "male against female"
    assert table["lfc_per_decade"].isna().all()


def test_every_level_of_a_categorical_term_is_compared_and_one_named_contrast_leads(tmp_path):
    adata, _ = simulate_samples(n_genes=120, n_donors=60)
    counts = dense(adata)
    counts[adata.obs["pool"] == "pool2", :10] *= 4
    adata.X = counts
    terms = ["--design", "~ age + pool", "--test-term", "pool"]
    table, summary = run_step(tmp_path, adata, *terms)
    every = read_tsv(tmp_path / "de_contrasts.tsv")
    names = [f"pool{i} against pool0" for i in (1, 2, 3)]
    assert list(dict.fromkeys(every["contrast"])) == [one["contrast"] for one in summary["contrasts"]] == names
    pd.testing.assert_frame_equal(every[every["contrast"] == names[0]].drop(columns="contrast"), table)
    second = every[every["contrast"] == names[1]].set_index("symbol")["log2_fold_change"]
    assert second[[f"SYM{i}" for i in range(10)]].mean() == pytest.approx(2, abs=0.15)
    assert table[["lfc_per_unit", "lfc_per_decade"]].isna().all(axis=None)

    named, summary = run_step(tmp_path / "named", adata, *terms, "--contrast", "pool1 vs pool2")
    assert summary["contrast"] == "pool1 against pool2"
    assert not (tmp_path / "named/de_contrasts.tsv").exists()
    both = [every[every["contrast"] == one].set_index("gene_id")["log2_fold_change"] for one in names[:2]]
    found = named.set_index("gene_id")["log2_fold_change"]
    np.testing.assert_allclose(found, (both[0] - both[1])[found.index], atol=2e-3)
    assert named.loc[named["robust"], "symbol"].isin([f"SYM{i}" for i in range(10)]).sum() == 10


def test_the_effect_is_given_per_sd_per_unit_and_per_decade(planted):
    _, adata, _, table, _ = planted
    sd = adata.obs["age_years"].std()
    np.testing.assert_allclose(table["lfc_per_unit"] * sd, table["log2_fold_change"], rtol=1e-4)
    np.testing.assert_allclose(table["lfc_per_unit"] * 10, table["lfc_per_decade"], rtol=1e-4)


def r_reference(engine: str) -> tuple[np.ndarray, pd.DataFrame, np.ndarray, pd.DataFrame]:
    """The stored table, its design and pools, and what R says (`tests/inputs/r_reference.py` made them)."""
    folder = ROOT / "tests/inputs/r_reference"
    design = pd.read_csv(folder / "design.tsv", sep="\t")
    design.index = design.index.astype(str)
    pools = np.array((folder / "block.txt").read_text().split())
    counts = np.loadtxt(folder / "counts.tsv", dtype=int, delimiter="\t").T
    return counts, design, pools, pd.read_csv(folder / f"{engine}.tsv", sep="\t")


def test_pydeseq2_gives_what_r_deseq2_gives():
    counts, design, _, theirs = r_reference("deseq2")
    ours = fit_pydeseq2(counts, design, [AGE], options=DeseqOptions(reference="normal"))[0]
    assert np.corrcoef(ours["log2_fold_change"], theirs["log2_fold_change"])[0, 1] > 0.9999
    np.testing.assert_allclose(ours["log2_fold_change"], theirs["log2_fold_change"], atol=0.01)
    np.testing.assert_array_equal(ours["padj"] < 0.05, theirs["padj"] < 0.05)
    assert (theirs["padj"] < 0.05).sum() > 40


@pytest.mark.parametrize("engine", ["limma_voom", "limma_random"])
def test_voom_gives_what_r_limma_gives(engine):
    counts, design, pools, theirs = r_reference(engine)
    ours = fit_voom(counts, design, [AGE], block=pools if engine == "limma_random" else None)[0]
    for name in ("log2_fold_change", "stat", "p_value", "padj"):
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-5, err_msg=name)


def test_a_t_reference_has_the_residual_and_the_priors_degrees_of_freedom():
    from scipy.special import polygamma
    from scipy.stats import t

    assert moderated_df(float(polygamma(1, 20)) + float(polygamma(1, 3)), 43, 3) == pytest.approx(40 + 6)
    assert moderated_df(float(polygamma(1, 20)), 43, 3) == np.inf, "no scatter between genes: the prior knows it all"
    counts, design, _, _ = r_reference("deseq2")
    results = {
        one: fit_pydeseq2(counts, design, [AGE], options=DeseqOptions(reference=one))[0] for one in ("normal", "t")
    }
    np.testing.assert_allclose(results["t"]["stat"], results["normal"]["stat"])
    df = results["t"].attrs["df"]
    assert 21 < df < 60
    np.testing.assert_allclose(results["t"]["p_value"], 2 * t.sf(np.abs(results["t"]["stat"]), df))


def test_the_t_reference_is_used_from_45_samples_on(planted, tmp_path):
    assert planted[4]["reference"] == "normal"
    _, summary = run_step(tmp_path, simulate_samples(n_genes=120, n_donors=45)[0])
    assert summary["reference"].startswith("t with ")


def test_a_sample_that_does_not_belong_is_left_out_and_counted(planted, tmp_path):
    adata = planted[1].copy()
    counts = dense(adata)
    counts[7] = counts[7][np.random.default_rng(0).permutation(counts.shape[1])]
    adata.X = counts
    table, summary = run_step(tmp_path, adata)
    (one,) = summary["outlier_samples"]
    assert (one["sample_id"], one["donor_id"]) == ("donor 007_t", "donor 007") and one["residuals"] > 1.5
    assert (summary["n_samples_in"], summary["n_samples"]) == (40, 39)
    assert any("1 samples left out as outliers" in note and "'donor 007'" in note for note in summary["warnings"])
    assert table["robust"].sum() >= 2 * SET_SIZE

    _, kept = run_step(tmp_path, adata, "--keep-outliers")
    assert kept["n_samples"] == 40 and "outlier_samples" not in kept
    assert planted[4]["outlier_samples"] == [], "no sample of an even cohort is one"


def test_pools_as_a_random_effect_are_told_of_and_find_the_planted_genes(planted, tmp_path):
    table, summary = run_step(tmp_path, planted[1], "--pool-effect", "random")
    assert summary["batches"] == {"column": "pool", "use": "random", "reason": "pool_effect is random"}
    assert -0.2 < summary["correlation_within_batches"] < 0.2, "no pool effect was simulated"
    assert summary["design"] == "~ sex + age"
    assert table["robust"].sum() >= 2 * SET_SIZE
    assert any("random effect in voom and left out of PyDESeq2" in note for note in summary["warnings"])


def test_a_pool_enters_the_default_design_of_a_large_cohort_and_the_summary_says_why(tmp_path):
    adata, _ = simulate_samples(n_genes=120, n_donors=80)
    _, summary = run_step(tmp_path, adata)
    assert summary["design"] == "~ sex + age + pool"
    assert summary["batches"]["use"] == "fixed" and "80 samples in 4 levels" in summary["batches"]["reason"]
    assert any(note.startswith("'pool' is a term of the design") for note in summary["warnings"])


def test_shrinkage_adds_a_column_and_moves_no_p_value(planted, tmp_path):
    _, adata, truth, table, _ = planted
    shrunken, _ = run_step(tmp_path, adata, "--shrink")
    assert list(shrunken.columns) == [*COLUMNS, "lfc_shrunken"]
    pd.testing.assert_frame_equal(shrunken[list(COLUMNS)], table)
    full, less = table["log2_fold_change"], shrunken["lfc_shrunken"]
    assert (less.abs() <= full.abs() + 1e-3).all()
    assert (np.sign(less) == np.sign(full))[full.abs() > 0.01].all()
    still = shrunken["gene_id"].map(truth) == 0
    assert less[still].abs().sum() / full[still].abs().sum() < 0.92
    assert less[~still].abs().sum() / full[~still].abs().sum() > 0.95, "large and sure effects stay"


def test_one_outlying_count_is_left_out_only_by_the_rule_for_all_designs():
    counts = dense(simulate_samples(n_genes=120)[0])[:, :80].copy()
    counts[0, 79] = 100 * counts[:, 79].max()
    design = build_design(simulate_samples(n_genes=120)[0].obs)
    found = {
        rule: fit_pydeseq2(counts, design.matrix, [AGE], options=DeseqOptions(cooks=rule))[0]["p_value"].isna()
        for rule in ("deseq2", "all", "off")
    }
    assert found["all"][79] and found["all"].sum() <= 2
    assert not found["deseq2"].any() and not found["off"].any()


def test_without_independent_filtering_every_gene_is_adjusted_over_all():
    from statsmodels.stats.multitest import multipletests

    counts = dense(simulate_samples(n_genes=120, depth=6)[0])[:, :80]
    design = build_design(simulate_samples(n_genes=120)[0].obs)
    options = DeseqOptions(independent_filtering=False)
    found = fit_pydeseq2(counts, design.matrix, [AGE], options=options)[0]
    np.testing.assert_allclose(found["padj"], multipletests(found["p_value"], method="fdr_bh")[1], rtol=1e-6)


def test_a_design_with_batches_is_used(planted, tmp_path):
    table, summary = run_step(tmp_path, planted[1], "--design", "~ sex + pool + age")
    assert summary["design"] == "~ sex + pool + age"
    assert table["robust"].sum() >= 2 * SET_SIZE - 2


@pytest.mark.parametrize(
    ("spoil", "options", "reason"),
    [
        (lambda a: a[:5], [], "5 samples; at least 10"),
        (lambda a: a[:, -40:], [], "of 40 genes have enough counts to test"),
        (lambda a: a, ["--design", "~ cell_type + age"], "'cell_type' has one value"),
    ],
)
def test_a_cell_type_that_cannot_be_fitted_leaves_headers_and_the_reason(tmp_path, spoil, options, reason):
    table, summary = run_step(tmp_path, spoil(simulate_samples()[0]).copy(), *options)
    assert list(table.columns) == list(COLUMNS)
    assert table.empty
    assert summary["status"] == "skipped"
    assert reason in summary["reason"]
    assert summary["cell_type"] == CELL_TYPE


def test_under_strict_it_is_an_error_of_one_line_and_exit_code_2(tmp_path):
    write_h5ad(simulate_samples()[0][:5].copy(), tmp_path / "counts.h5ad")
    script = ROOT / "bin/differential_expression.py"
    options = [
        "--pseudobulk",
        "counts.h5ad",
        "--output",
        "de.tsv",
        "--summary",
        "de_summary.json",
        "--strict",
        *default_options("differential_expression"),
    ]
    done = subprocess.run([sys.executable, script, *options], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "5 samples; at least 10" in done.stderr
    assert not (tmp_path / "de.tsv").exists()


def _donor_twice(adata):
    adata.obs["donor_id"] = ["donor 000", *adata.obs["donor_id"][1:-1], "donor 000"]


def _fractions(adata):
    adata.X = adata.X.astype(float) / 3


def _second_type(adata):
    adata.obs["cell_type"] = ["B cell", *adata.obs["cell_type"][1:]]


def _no_sex(adata):
    del adata.obs["sex"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_donor_twice, "donor 'donor 000' stands there more than once"),
        (_fractions, "no counts"),
        (_second_type, "more than one cell type"),
        (_no_sex, "no column 'sex'"),
    ],
)
def test_a_table_that_would_give_wrong_statistics_is_bad_input(tmp_path, spoil, message):
    adata, _ = simulate_samples()
    spoil(adata)
    write_h5ad(adata, tmp_path / "counts.h5ad")
    with pytest.raises(BadInput, match=message):
        read_samples(tmp_path / "counts.h5ad")


def test_missing_symbols_and_sexes_stay_missing(tmp_path):
    adata, _ = simulate_samples()
    adata.var["symbol"] = ["", None] * 200
    adata.obs["sex"] = [None, *adata.obs["sex"][1:]]
    table, summary = run_step(tmp_path, adata)
    assert (table["symbol"] == "").all()
    assert summary["n_samples"] == 39
    assert "left out" in summary["warnings"][0]


def emptied(adata: anndata.AnnData, rows: list[int], *, left: dict[int, int]) -> anndata.AnnData:
    """The table with samples that have no counts but these, by gene."""
    counts = dense(adata)
    counts[rows] = 0
    for gene, count in left.items():
        counts[rows, gene] = count
    spoiled = adata.copy()
    spoiled.X = counts
    return spoiled


# The last 40 genes are too weakly expressed to be tested.
@pytest.mark.parametrize(
    "options", [[], pytest.param(["--keep-outliers"], marks=pytest.mark.long)], ids=["", "with outliers"]
)
@pytest.mark.parametrize(
    ("rows", "left"), [([3], {}), ([3], {399: 1}), ([3, 17, 30], {}), ([3, 17], {380: 5, 399: 2})], ids=str
)
def test_a_sample_without_counts_in_the_tested_genes_is_left_out_and_counted(tmp_path, rows, left, options):
    adata, _ = simulate_samples()
    fits = ["--fits", str(tmp_path / "fits.h5")]
    table, summary = run_step(tmp_path, emptied(adata, rows, left=left), *options, *fits)
    found = (tmp_path / "fits.h5").read_bytes()
    assert summary["status"] == "done"
    names = [f"donor {row:03d}" for row in rows]
    assert summary["empty_samples"] == [{"donor_id": name, "sample_id": f"{name}_t"} for name in names]
    assert (summary["n_samples_in"], summary["n_samples"]) == (40, 40 - len(rows))
    note = f"{len(rows)} samples left out: no counts in the tested genes (donor 'donor 003'"
    assert any(text.startswith(note) for text in summary["warnings"])

    others = adata[np.setdiff1d(np.arange(40), rows)].copy()
    expected, told = run_step(tmp_path, others, *options, *fits)
    pd.testing.assert_frame_equal(table, expected)
    assert (tmp_path / "fits.h5").read_bytes() == found, "gene sets are tested on the same samples"
    assert told["empty_samples"] == [] and not any("no counts" in text for text in told["warnings"])


def test_too_few_samples_with_counts_skip_the_cell_type_and_the_reason_counts_the_others(tmp_path):
    adata, _ = simulate_samples()
    _, summary = run_step(tmp_path, emptied(adata, list(range(31)), left={}))
    assert summary["status"] == "skipped"
    assert summary["reason"] == (
        "9 samples; at least 10 are needed; 31 samples without counts in the tested genes were left out before"
    )


def test_fitting_changes_none_of_its_arguments(tmp_path):
    write_h5ad(simulate_samples(n_genes=120)[0], tmp_path / "counts.h5ad")
    table = read_samples(tmp_path / "counts.h5ad")
    design = build_design(table.samples)
    before = table.counts.copy(), table.samples.copy(deep=True), table.symbols.copy(), design.matrix.copy()
    compare_genes(table, design)
    np.testing.assert_array_equal(table.counts, before[0])
    pd.testing.assert_frame_equal(table.samples, before[1])
    pd.testing.assert_series_equal(table.symbols, before[2])
    pd.testing.assert_frame_equal(design.matrix, before[3])


def test_a_single_expressed_gene_cannot_be_tested(tmp_path):
    write_h5ad(simulate_samples()[0][:, [0, *range(380, 400)]].copy(), tmp_path / "counts.h5ad")
    table = read_samples(tmp_path / "counts.h5ad")
    with pytest.raises(CannotFit, match="1 of 21 genes"):
        compare_genes(table, build_design(table.samples))


@pytest.mark.parametrize("n_genes", [2, 5, 15])
def test_a_handful_of_genes_is_fitted(tmp_path, n_genes):
    table, summary = run_step(tmp_path, simulate_samples()[0][:, :n_genes].copy())
    assert summary["status"] == "done"
    assert len(table) == n_genes
    assert np.isfinite(table["p_value_companion"]).all()
