"""Tests of several coefficients at once: against other libraries' tests, their rates, and what follows in the steps."""

import anndata
import numpy as np
import pandas as pd
import pylimma
import pytest

import compare_cell_types
import gsea
import overrepresentation
from de_step import run_step
from immune_aging.statistics.count_tests import fit_pydeseq2, fit_voom, joint_wald_statistics
from immune_aging.statistics.designs import build_design
from immune_aging.statistics.joint_tests import JOINT, why_no_direction
from immune_aging.statistics.linear_models import weighted_expression
from immune_aging.task.checkpoints import read_json, read_tsv
from inputs.statistics_inputs import simulate_samples
from inputs.step_options import default_options

CURVE = "bs(age, df=3)"


@pytest.fixture(scope="module")
def curved() -> tuple[np.ndarray, pd.DataFrame, np.ndarray]:
    """Counts of 60 donors in 160 genes, of which the first 40 have a hump or a dip; the donors; the truth."""
    rng = np.random.default_rng(6)
    n_donors, n_genes, n_curved = 60, 160, 40
    ages = rng.uniform(20, 90, n_donors)
    donors = pd.DataFrame(
        {"donor_id": [f"d{i}" for i in range(n_donors)], "age_years": ages, "sex": rng.choice(["f", "m"], n_donors)},
        index=[f"s{i:02d}" for i in range(n_donors)],
    )
    hump = 2 * np.exp(-(((ages - 55) / 15) ** 2))
    sign = np.where(np.arange(n_genes) < n_curved, (-1) ** np.arange(n_genes), 0)
    mean = 200 * rng.lognormal(0, 0.5, n_genes) * 2 ** np.outer(hump, sign)
    counts = rng.poisson(mean * rng.gamma(20, 1 / 20, (n_donors, n_genes)))
    return counts, donors, np.arange(n_genes) < n_curved


@pytest.fixture(scope="module")
def results_of_both(curved):
    counts, donors, _ = curved
    design = build_design(donors, formula=f"~ sex + {CURVE}", test_term=CURVE)
    (only,) = design.contrasts
    weights, hypotheses = [only.weights], [only.hypothesis]
    return (
        design,
        fit_pydeseq2(counts, design.matrix, weights, hypotheses=hypotheses)[0],
        fit_voom(counts, design.matrix, weights, hypotheses=hypotheses)[0],
    )


def test_voom_is_limmas_moderated_f(curved, results_of_both):
    """Another library's weighted F test of each gene, with limma's moderated variance in place of the gene's own.

    limma's own F takes the coefficients' correlations from the design without weights, and so is near, not equal.
    """
    import statsmodels.api as sm

    counts, _, _ = curved
    design, _, ours = results_of_both
    matrix = design.matrix.to_numpy()
    weighted = weighted_expression(counts, matrix)
    fit = pylimma.lm_fit({"E": weighted.expression, "weights": weighted.weights}, matrix)
    moderated = pylimma.e_bayes(fit, robust=True)
    columns = [place for place, name in enumerate(design.matrix) if "bs(" in name]
    tests = np.eye(matrix.shape[1])[columns]
    for gene in range(0, 160, 8):
        plain = sm.WLS(weighted.expression[gene], matrix, weights=weighted.weights[gene]).fit()
        expected = float(plain.f_test(tests).fvalue) * plain.mse_resid / moderated["s2_post"][gene]
        assert ours["stat"][gene] == pytest.approx(expected, rel=1e-6)
    theirs = pylimma.e_bayes(pylimma.contrasts_fit(fit, tests.T), robust=True)
    assert np.corrcoef(ours["stat"], theirs["F"])[0, 1] > 0.999
    np.testing.assert_allclose(np.log10(ours["p_value"]), np.log10(theirs["F_p_value"]), atol=0.6)


def test_the_joint_wald_test_is_that_of_a_negative_binomial_glm_of_another_library(curved, results_of_both):
    import statsmodels.api as sm

    counts, _, _ = curved
    design, ours, _ = results_of_both
    from pydeseq2.dds import DeseqDataSet

    from immune_aging.statistics.count_tests import DeseqOptions, _deseq_dataset, deseq_inference

    dataset: DeseqDataSet = _deseq_dataset(
        counts,
        design.matrix,
        options=DeseqOptions(),
        inference=deseq_inference(counts.shape[1], design.matrix.shape[1]),
    )
    hypothesis = design.contrasts[0].hypothesis
    theirs = []
    for gene in range(30):
        family = sm.families.NegativeBinomial(alpha=float(dataset.var["dispersions"].iloc[gene]))
        offset = np.log(np.asarray(dataset.obs["size_factors"]))
        fit = sm.GLM(counts[:, gene], design.matrix.to_numpy(), family=family, offset=offset).fit()
        theirs.append(float(np.squeeze(fit.wald_test(hypothesis, scalar=True).statistic)) / len(hypothesis))
    np.testing.assert_allclose(ours["stat"][:30], theirs, rtol=2e-3)
    one = design.contrasts[0].weights
    single = fit_pydeseq2(counts, design.matrix, [one])[0]
    np.testing.assert_allclose(joint_wald_statistics(dataset, one[None, :]), single["stat"] ** 2, rtol=1e-6)


def test_curves_without_a_slope_are_found_and_shown_by_both_engines(curved, results_of_both):
    _, _, truth = curved
    _, *results = results_of_both
    for result in results:
        called = result["padj"] < 0.05
        assert called[truth].mean() > 0.9
        assert called[~truth].mean() < 0.1


def test_null_p_values_of_the_joint_test_are_uniform():
    """Two tables without any effect: the share below .05 within its binomial error of .05."""
    below = {"pydeseq2": [], "voom": []}
    for seed in range(2):
        adata, _ = simulate_samples(seed=seed, n_donors=60, n_genes=240, lfc_per_sd=0.0)
        counts = np.asarray(adata.X.todense())[:, :200]
        design = build_design(adata.obs, formula=f"~ sex + {CURVE}", test_term=CURVE)
        (only,) = design.contrasts
        options = {"hypotheses": [only.hypothesis]}
        below["pydeseq2"] += list(fit_pydeseq2(counts, design.matrix, [only.weights], **options)[0]["p_value"] < 0.05)
        below["voom"] += list(fit_voom(counts, design.matrix, [only.weights], **options)[0]["p_value"] < 0.05)
    for shares in below.values():
        assert np.mean(shares) == pytest.approx(0.05, abs=3 * np.sqrt(0.05 * 0.95 / len(shares)))


@pytest.fixture(scope="module")
def step(curved, tmp_path_factory):
    counts, donors, _ = curved
    folder = tmp_path_factory.mktemp("joint") / "cell_types/t"
    folder.parent.mkdir()
    var = pd.DataFrame(
        {"symbol": [f"SYM{i}" for i in range(counts.shape[1])]},
        index=pd.Index([f"ENSG{i:011d}" for i in range(counts.shape[1])], name="gene_id"),
    )
    adata = anndata.AnnData(counts.astype(np.float32), donors.assign(cell_type="T", n_cells=50), var)
    fits = folder / "fits.h5"
    return folder, *run_step(folder, adata, "--design", f"~ sex + {CURVE}", "--test-term", CURVE, "--fits", str(fits))


def test_the_table_says_how_many_coefficients_were_tested_and_the_summary_what_the_effect_is(step, curved):
    _, table, summary = step
    assert (table[JOINT] == 3).all()
    assert (table["stat"] >= 0).all() and table[["lfc_per_unit", "lfc_per_decade"]].isna().all(axis=None)
    assert (
        summary["method"] == "voom" and summary["signed"] is False and "any of the 3 coefficients" in summary["meaning"]
    )
    low, high = np.percentile(curved[1]["age_years"], [10, 90])
    assert f"{high:.4g} minus {low:.4g}" in summary["contrast"]
    agreed = (table["padj"] < 0.05) & (table["padj_companion"] < 0.05)
    np.testing.assert_array_equal(table["robust"], agreed)


def test_steps_that_need_a_direction_say_that_they_were_left_out(step):
    folder, table, _ = step
    sets = folder / "sets.gmt"
    sets.write_text("SET\tx\t" + "\t".join(f"SYM{i}" for i in range(40)) + "\n")
    reason = why_no_direction(table)
    assert "3 coefficients" in reason
    common = [
        "--de",
        str(folder / "de.tsv"),
        "--gene-sets",
        str(sets),
        "--versions",
        str(folder / "v.json"),
        "--strict",
    ]
    outputs = ["--output", str(folder / "gsea.tsv"), "--summary", str(folder / "gsea.json")]
    gsea.main([*default_options("gsea"), *common, "--fits", str(folder / "fits.h5"), *outputs])
    outputs = [f"--output-{way}={folder}/ora_{way}.tsv" for way in ("up", "down")]
    overrepresentation.main(
        [*default_options("overrepresentation"), *common, *outputs, "--summary", str(folder / "ora.json")]
    )
    for name in ("gsea", "ora"):
        assert read_json(folder / f"{name}.json")["reason"] == reason
    assert read_tsv(folder / "ora_up.tsv").empty and read_tsv(folder / "gsea.tsv").empty
    compare_cell_types.main(
        ["--published", str(folder.parents[1]), "--output", str(folder / "out"), "--versions", str(folder / "v.json")]
    )
    assert reason in str(read_json(next((folder / "out").glob("**/*.json"))))
