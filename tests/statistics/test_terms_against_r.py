"""Tested terms and repeated samples against R: emmeans, DESeq2's likelihood ratio, limma, lmerTest.

`tests/inputs/r_reference.py` stored the tables and what R says of them.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from immune_aging.statistics.count_tests import DeseqOptions, fit_pydeseq2, fit_voom
from immune_aging.statistics.designs import build_design
from immune_aging.statistics.repeated_samples import choose_repeats

FOLDER = Path(__file__).resolve().parents[1] / "inputs/r_terms"
EMMEANS = pd.read_csv(FOLDER / "emmeans.tsv", sep="\t")
CURVE = "poly(age, 3)"


def stored(name: str) -> pd.DataFrame:
    return pd.read_csv(FOLDER / f"{name}.tsv", sep="\t")


def as_samples(table: pd.DataFrame) -> pd.DataFrame:
    """Donors or samples as `build_design` takes them."""
    names = table["donor"] if "donor" in table else [f"d{i}" for i in range(len(table))]
    samples = table.drop(columns="donor", errors="ignore").rename(columns={"age": "age_years"})
    return samples.assign(donor_id=names, cell_type="T").set_axis([f"s{i}" for i in range(len(table))])


@pytest.mark.parametrize(
    ("formula", "term"), list(dict.fromkeys(zip(EMMEANS["formula"], EMMEANS["term"], strict=True)))
)
def test_effects_and_their_errors_are_those_of_emmeans(formula, term):
    theirs = EMMEANS[(EMMEANS["formula"] == formula) & (EMMEANS["term"] == term)]
    donors = as_samples(stored("donors"))
    design = build_design(donors, formula=formula, test_term=term)
    x, y = design.matrix.to_numpy(), donors["y"].to_numpy()
    beta = np.linalg.lstsq(x, y, rcond=None)[0]
    residual_df = len(y) - x.shape[1]
    variance = ((y - x @ beta) ** 2).sum() / residual_df
    weights = np.array([one.weights for one in design.contrasts])
    errors = np.sqrt(variance * np.einsum("ij,jk,ik->i", weights, np.linalg.inv(x.T @ x), weights))
    unit = design.sd if np.isfinite(design.sd) else 1.0  # ours are per SD, emtrends' per year
    np.testing.assert_allclose(weights @ beta / unit, theirs["effect"], rtol=1e-5)
    np.testing.assert_allclose(errors / unit, theirs["se"], rtol=1e-5)
    assert set(theirs["df"]) == {residual_df}


def test_the_joint_test_of_counts_agrees_with_deseq2s_likelihood_ratio():
    """Ours is a Wald test: the two are the same for large samples, and near for thirty donors."""
    samples = as_samples(stored("samples"))
    counts = np.loadtxt(FOLDER / "counts.tsv", dtype=int, delimiter="\t").T
    first = (samples["visit"] == "v0").to_numpy()
    design = build_design(samples[first], formula=f"~ sex + {CURVE}", test_term=CURVE)
    (only,) = design.contrasts
    ours = fit_pydeseq2(
        counts[first], design.matrix, [only.weights], hypotheses=[only.hypothesis],
        options=DeseqOptions(reference="normal", independent_filtering=False),
    )[0]  # fmt: skip
    theirs = stored("likelihood_ratio")
    assert np.corrcoef(ours["stat"] * len(only.hypothesis), theirs["stat"])[0, 1] > 0.99
    logs = np.log10(ours["p_value"]), np.log10(theirs["p_value"])
    assert np.median(np.abs(logs[0] - logs[1])) < 0.1
    called = ours["padj"] < 0.05, theirs["padj"] < 0.05
    assert called[1].sum() >= 15 and (called[0] != called[1]).mean() < 0.05


@pytest.fixture(scope="module")
def of_voom():
    """Voom's tests of age and visit with the donor as a random effect, and the consensus correlation."""
    samples = as_samples(stored("samples"))
    counts = np.loadtxt(FOLDER / "counts.tsv", dtype=int, delimiter="\t").T
    results = {}
    for term in ("age", "visit"):
        design = build_design(samples, formula="~ sex + age + visit", test_term=term)
        (weights,) = [one.weights for one in design.contrasts]
        result = fit_voom(counts, design.matrix, [weights], block=samples["donor_id"].to_numpy(dtype=str))[0]
        effect = result["log2_fold_change"] / (design.sd if term == "age" else 1)
        results[term] = result.assign(effect=effect)
    return results


@pytest.mark.parametrize(("term", "name"), [("age", "age"), ("visit", "visitv1")])
def test_the_random_donor_is_limmas_duplicate_correlation(of_voom, term, name):
    theirs = stored("duplicate_correlation").query("term == @name").reset_index(drop=True)
    ours = of_voom[term]
    assert ours.attrs["correlation"] == pytest.approx(theirs["correlation"][0], rel=1e-5)
    np.testing.assert_allclose(ours["effect"], theirs["log2_fold_change"], rtol=1e-4, atol=1e-7)
    for column in ("stat", "p_value", "padj"):
        np.testing.assert_allclose(ours[column], theirs[column], rtol=1e-4, err_msg=column)


@pytest.mark.parametrize(("term", "name"), [("age", "age"), ("visit", "visitv1")])
def test_the_random_donor_agrees_with_a_mixed_model_of_each_gene(of_voom, term, name):
    """One correlation for all genes, and variances shared between them: near to a model of each gene's own."""
    theirs = stored("mixed_model").query("term == @name").reset_index(drop=True)
    ours = of_voom[term]
    assert np.corrcoef(ours["effect"], theirs["effect"])[0, 1] > 0.995
    assert np.corrcoef(ours["stat"], theirs["stat"])[0, 1] > 0.95
    strong = theirs["p_value"] < 0.01
    assert strong.sum() >= 5 and (ours["p_value"][strong] < 0.05).all()


def test_the_terms_of_the_stored_samples_enter_as_they_should():
    samples = as_samples(stored("samples"))
    for term, use in {"age": "sum", "visit": "fixed"}.items():
        formula = "~ sex + age" if term == "age" else "~ visit"
        assert choose_repeats(samples, build_design(samples, formula=formula, test_term=term)).use == use
