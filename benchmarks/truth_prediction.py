#!/usr/bin/env python3
"""Age prediction against known truth: better than the reference analysis, calibrated, nothing where there is nothing.

Cohorts of the demo's size are drawn from the simulator's own model as pseudobulk tables (45 donors, 170 cells each,
five cell types), so that many can be had. Run alone, it prints one table.
"""

import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
from scipy.stats import kstest

from pseudobulk_cohorts import PseudobulkCohort, draw
from verdict import Verdict, print_table

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "bin"))
sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))
import predict_age
from immune_aging.prediction import tables, training
from immune_aging.prediction.age_features import log_rates, mean_rates, sex_indicators
from immune_aging.prediction.age_metrics import metric_values
from immune_aging.prediction.age_models import fit_nested
from immune_aging.prediction.folds import fold_table
from immune_aging.prediction.held_out import predict_held_out
from immune_aging.prediction.immune_age import acceleration_of, acceleration_tests, cross_stack, feature_table
from immune_aging.prediction.penalty_choice import INNER_FOLDS, REFERENCE_ALPHA
from immune_aging.task.checkpoints import read_json, write_h5ad
from inputs.step_options import default_options
from sampled_persons import each_its_own_donor, samples_of_persons

CELL_TYPES = [
    "CD14-positive monocyte",
    "CD4-positive, alpha-beta memory T cell",
    "naive B cell",
    "naive thymus-derived CD8-positive, alpha-beta T cell",
    "natural killer cell",
]
N_DONORS, CELLS_PER_DONOR, REPEATS = 45, 170, 3
# Measured of the reference analysis on a simulated cohort of 27 donors: ridge on log-CPM, years and R2.
REFERENCE_MAE, REFERENCE_R2 = 8.6, 0.43
MARGIN = 0.75  # our error is to be below this share of the reference's


@dataclass(frozen=True)
class Predictions:
    """Nested predictions of one cohort: by (cell type, model), and its donors."""

    held_out: dict
    folds: np.ndarray
    donors: pd.DataFrame

    def error(self, key: tuple[str, str]) -> float:
        return float(np.abs(self.held_out[key].model - self.donors["age_years"].to_numpy()).mean())

    def r2(self, key: tuple[str, str]) -> float:
        ages = self.donors["age_years"].to_numpy()
        return float(metric_values(self.held_out[key].by_name(), ages, np.ones(len(ages)))["r2"])

    def immune_ages(self, models: tuple[str, ...]) -> np.ndarray:
        """Repeats x donors."""
        rows = []
        for (cell_type, model), held_out in self.held_out.items():
            if model in models:
                facts = {"id": cell_type, "model": model}
                rows.append(tables.inner_table(held_out, self.donors.index.tolist(), self.folds, facts=facts))
        return cross_stack(feature_table(pd.concat(rows)), self.donors)[0]["model"]


def predict(
    cohort: PseudobulkCohort, *, models: tuple[str, ...], n_permutations: int = 0, seed: int = 0
) -> Predictions:
    """The pipeline's predictions with the nested choice, in every cell type."""
    donors = cohort.donors.set_index("donor_id")
    ages, covariates = donors["age_years"].to_numpy(), sex_indicators(donors["sex"])
    folds = fold_table(donors.index, n_repeats=REPEATS, n_folds=5, seed=seed)
    found = {}
    for model in models:
        inner = fold_table(donors.index, n_repeats=REPEATS, n_folds=INNER_FOLDS[model], seed=seed, level="inner")
        for name, counts in cohort.counts.items():
            found[name, model] = predict_held_out(
                counts, covariates, ages, folds, model=model, alpha=None, inner_folds=inner, composition=cohort.cells,
                n_permutations=n_permutations if model == "ridge" else 0, seed=seed,
            )  # fmt: skip
    return Predictions(found, folds, donors)


def cohort_of(seed: int, **options: object) -> PseudobulkCohort:
    """A cohort of the demo's size."""
    numbers = {"n_donors": N_DONORS, "cells_per_donor": CELLS_PER_DONOR, "cell_types": CELL_TYPES}
    return draw(seed=seed, **{**numbers, **options})


def reference(cohort: PseudobulkCohort, name: str, folds: np.ndarray) -> dict[str, np.ndarray]:
    """The reference's two predictors on log-CPM, repeats x donors: LinearSVR as scikit-learn has it, and ridge."""
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVR

    counts, ages = cohort.counts[name], cohort.donors["age_years"].to_numpy()
    features = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e6)
    features = features[:, counts.sum(axis=0) > 0]
    models = {
        "LinearSVR": LinearSVR(random_state=0, max_iter=2000),
        "ridge": make_pipeline(StandardScaler(), Ridge(alpha=1.0)),
    }
    predicted = {key: np.full(folds.shape, np.nan) for key in models}
    for repeat, fold_of_donor in enumerate(folds):
        for fold in np.unique(fold_of_donor):
            held = fold_of_donor == fold
            for key, model in models.items():
                predicted[key][repeat, held] = model.fit(features[~held], ages[~held]).predict(features[held])
    return predicted


def oracle(cohort: PseudobulkCohort, name: str) -> np.ndarray:
    """Age by whoever knows every gene's level, age effect and variance: the best linear predictor, no training."""
    counts, model = cohort.counts[name], cohort.model
    lfc, level = cohort.lfc(name), cohort.profile(name)
    expected = counts.sum(axis=1, keepdims=True) * level
    used = np.flatnonzero((lfc != 0) & (expected.mean(axis=0) > 5))
    noise = (model.donor_sd[used] ** 2 + model.pool_sd[used] ** 2 + 1 / expected[:, used]) / np.log(2) ** 2
    off = np.log2((counts[:, used] + 0.5) / (expected[:, used] + 0.5))
    precision = (lfc[used] ** 2 / noise).sum(axis=1)
    z = (off * lfc[used] / noise).sum(axis=1) / (precision + 1)
    ages = cohort.donors["age_years"]
    return ages.mean() + z * ages.std(ddof=1)


def one_cohort(seed: int) -> dict[str, float]:
    """What one cohort with signal says."""
    cohort = cohort_of(seed)
    made = predict(cohort, models=("ridge", "elastic_net", "linear_svr"))
    ages = made.donors["age_years"].to_numpy()
    row = {}
    for model in ("ridge", "elastic_net", "linear_svr"):
        keys = [(name, model) for name in CELL_TYPES]
        row[f"{model}_mae"] = np.mean([made.error(key) for key in keys])
        row[f"{model}_r2"] = np.mean([made.r2(key) for key in keys])
        row[f"{model}_best_mae"] = min(made.error(key) for key in keys)
        slopes = [metric_values(made.held_out[key].by_name(), ages, np.ones(len(ages))) for key in keys]
        row[f"{model}_slope"] = np.mean([values["calibration_slope"] for values in slopes])
    row["composition_mae"] = np.abs(made.held_out[CELL_TYPES[0], "ridge"].composition - ages).mean()
    for models in (("ridge",), ("ridge", "elastic_net")):
        immune = made.immune_ages(models)
        row[f"immune_{'_'.join(models)}_mae"] = np.abs(immune - ages).mean()
        row[f"immune_{'_'.join(models)}_r2"] = 1 - np.square(immune - ages).mean() / ages.var()
    others = [reference(cohort, name, made.folds[:1]) for name in CELL_TYPES]
    for key in others[0]:
        row[f"reference_{key}_mae"] = np.mean([np.abs(other[key] - ages).mean() for other in others])
        row[f"reference_{key}_r2"] = np.mean([1 - np.square(other[key] - ages).mean() / ages.var() for other in others])
    best = [oracle(cohort, name) for name in CELL_TYPES]
    row["oracle_mae"] = np.mean([np.abs(predicted - ages).mean() for predicted in best])
    row["oracle_r2"] = np.mean([1 - np.square(predicted - ages).mean() / ages.var() for predicted in best])
    return row


def one_null(seed: int) -> dict[str, float]:
    """What one cohort with shuffled ages says: expression as it is, ages of other donors."""
    cohort = cohort_of(1000 + seed, cell_types=CELL_TYPES[:3])
    order = np.random.default_rng(seed).permutation(N_DONORS)
    donors = cohort.donors.assign(age_years=cohort.donors["age_years"].to_numpy()[order])
    shuffled = PseudobulkCohort(donors, cohort.cells, cohort.counts, cohort.model)
    made = predict(shuffled, models=("ridge", "elastic_net", "linear_svr"), n_permutations=99)
    ages = donors["age_years"].to_numpy()
    row = {model: made.r2((CELL_TYPES[0], model)) for model in ("ridge", "elastic_net", "linear_svr")}
    immune = made.immune_ages(("ridge", "elastic_net"))
    row["immune_age"] = 1 - np.square(immune - ages).mean() / ages.var()
    ridge = made.held_out[CELL_TYPES[0], "ridge"]
    return row | {
        "p_value": ridge.r2.p_value,
        "r_p_value": ridge.r.p_value,
        "r": ridge.r.observed,
        "r_null": ridge.r.mean,
    }


def one_weak(seed: int, *, age_effect: float) -> dict[str, float]:
    """Squared error of nested ridge and of ridge with the fixed penalty, in a cohort of weak or no age effects."""
    cohort = cohort_of(4000 + seed, n_donors=40, cell_types=CELL_TYPES[:1], age_effect=age_effect)
    ages, covariates = cohort.donors["age_years"].to_numpy(), sex_indicators(cohort.donors["sex"])
    counts, donors = cohort.counts[CELL_TYPES[0]], cohort.donors["donor_id"]
    layout = {"n_repeats": REPEATS, "n_folds": 5, "seed": 0}
    folds, inner = fold_table(donors, **layout), fold_table(donors, **layout, level="inner")
    fits = {"nested": None, "fixed": REFERENCE_ALPHA}
    return {
        name: np.abs(
            predict_held_out(counts, covariates, ages, folds, model="ridge", alpha=alpha, inner_folds=inner).model
            - ages
        ).mean()
        for name, alpha in fits.items()
    }


def one_shallow(seed: int) -> dict[str, float]:
    """Mean shift of the predicted ages of new donors when they have a tenth of the counts."""
    cohort = cohort_of(5000 + seed, n_donors=90, cell_types=CELL_TYPES[:1])
    counts, ages = cohort.counts[CELL_TYPES[0]], cohort.donors["age_years"].to_numpy()
    train = np.arange(90) < 45
    thin = np.random.default_rng(seed).binomial(counts, 0.1)
    rates = mean_rates(counts[train], counts[train].sum(axis=1))
    values = {name: log_rates(table, table.sum(axis=1), rates) for name, table in (("all", counts), ("tenth", thin))}
    folds = fold_table(cohort.donors["donor_id"][train], n_repeats=1, n_folds=5, seed=0, level="inner")
    fitted = fit_nested(counts[train], values["all"][train], ages[train], folds[0], model="ridge")
    predicted = {name: fitted.predict(own[~train]) for name, own in values.items()}
    return {
        "shift": (predicted["tenth"] - predicted["all"]).mean(),
        "mae": np.abs(predicted["all"] - ages[~train]).mean(),
        "mae_tenth": np.abs(predicted["tenth"] - ages[~train]).mean(),
        "mae_mean": np.abs(ages[train].mean() - ages[~train]).mean(),
    }


def one_of_persons(seed: int, *, icc: float) -> dict[str, float]:
    """R of nested ridge on invented ages of 45 persons sampled twice, and p; and r with each sample its own donor."""
    table = samples_of_persons(seed, n_donors=N_DONORS, icc=icc)
    plan = training.Plan(
        model="ridge", alpha=None, folds=5, repeats=1, min_donors=10, bootstrap=10, permutations=99, seed=seed
    )
    facts = {"id": "t", "cell_type": "T", "model": "ridge", "alpha": "nested"}
    made = {
        name: training.train(own, None, plan, facts=facts).tables["metrics"].set_index("metric")["value"]
        for name, own in (("persons", table), ("samples", each_its_own_donor(table)))
    }
    return {
        "over_guessing": made["persons"]["r"] - made["persons"]["r_null_mean"],
        "p_value": made["persons"]["r_p_value"],
        "r_of_samples": made["samples"]["r"],
    }


def one_acceleration(seed: int) -> dict[str, float]:
    """Donors whose cells are older or younger than they are (SD 6 years), smokers 6 years older on average."""
    rng = np.random.default_rng(seed)
    n = 90
    smoker = rng.random(n) < 0.4
    ahead = rng.normal(0, 6, n) + 6 * (smoker - smoker.mean())
    cohort = cohort_of(2000 + seed, n_donors=n, years_ahead=ahead, cell_types=CELL_TYPES[:3])
    made = predict(cohort, models=("ridge",))
    immune = made.immune_ages(("ridge",)).mean(axis=0)
    donors = made.donors.assign(smoker=np.where(smoker, "yes", "no"), coin=rng.choice(["heads", "tails"], n))
    tests = acceleration_tests(immune, donors, ["smoker", "coin"]).set_index("column")
    acceleration = acceleration_of(immune, donors["age_years"].to_numpy())
    return {
        "r": np.corrcoef(acceleration, ahead)[0, 1],
        "effect": tests.loc["smoker", "effect_years"],
        "covered": tests.loc["smoker", "low"] < 6 < tests.loc["smoker", "high"],
        "found": tests.loc["smoker", "padj"] < 0.05,
        "coin": tests.loc["coin", "p_value"],
    }


def spoilt(seed: int) -> float:
    """Largest change of a donor's prediction when the other donors of its fold are turned into nonsense."""
    cohort = cohort_of(seed, cell_types=CELL_TYPES[:1])
    ages, covariates = cohort.donors["age_years"].to_numpy(), sex_indicators(cohort.donors["sex"])
    donors, counts = cohort.donors["donor_id"], cohort.counts[CELL_TYPES[0]]
    change = 0.0
    for model in ("ridge", "elastic_net", "linear_svr"):
        folds = fold_table(donors, n_repeats=1, n_folds=5, seed=0)
        options = {"model": model, "alpha": None}
        options["inner_folds"] = fold_table(donors, n_repeats=1, n_folds=INNER_FOLDS[model], seed=0, level="inner")
        before = predict_held_out(counts, covariates, ages, folds, **options).model[0]
        victim = 7
        others = (folds[0] == folds[0, victim]) & (np.arange(N_DONORS) != victim)
        nonsense, aged = counts.copy(), ages.copy()
        nonsense[others], aged[others] = nonsense[others][:, ::-1] * 5, 1.0
        after = predict_held_out(nonsense, covariates, aged, folds, **options).model[0]
        change = max(change, abs(after[victim] - before[victim]))
    return change


def new_cohort(seed: int) -> dict[str, float]:
    """A model file trained on half of 90 donors, applied to the other half, whose cells are a third as deep."""
    cohort = cohort_of(3000 + seed, n_donors=90, cell_types=CELL_TYPES[:1])
    counts = cohort.counts[CELL_TYPES[0]]
    half = np.arange(90) < 45
    obs = cohort.donors[["donor_id", "age_years", "sex"]].assign(cell_type=CELL_TYPES[0])
    obs.index = obs["donor_id"].to_numpy(dtype=object)
    genes = cohort.model.genes.set_index("gene_id")[["symbol"]]
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_h5ad(anndata.AnnData(counts[half].astype(float), obs[half], genes), folder / "train.h5ad")
        shallow = rng.binomial(counts[~half], 1 / 3).astype(float)
        write_h5ad(anndata.AnnData(shallow, obs[~half], genes), folder / "new.h5ad")
        options = ["--id", "t", "--model", "ridge", "--alpha", "nested", "--output", str(folder / "fit")]
        files = ["--pseudobulk", str(folder / "train.h5ad"), "--versions", str(folder / "v.json")]
        files += default_options("predict_age")
        predict_age.main(["train", *files, *options])
        files = ["--model", str(folder / "fit/model.json"), "--pseudobulk", str(folder / "new.h5ad")]
        predict_age.main(["apply", *files, "--output", str(folder / "new.tsv")])
        own = read_json(folder / "fit/predict_age_summary.json")["metrics"]["mae"]["value"]
        return {"own": own, "new": read_json(folder / "new.json")["mae"]}


def gathered(measure, n: int) -> pd.DataFrame:
    """One row a cohort, seeds from 0; two processes."""
    with ProcessPoolExecutor(2) as executor:
        return pd.DataFrame(list(executor.map(measure, range(n))))


def verdicts(quick: bool = False) -> Iterator[Verdict]:
    """Every target of age prediction; `quick` draws few cohorts."""
    n = 2 if quick else 8
    with_signal = gathered(one_cohort, n)
    mean = with_signal.mean()
    print(with_signal.round(2).T.to_string(), file=sys.stderr)
    share = mean["ridge_mae"] / REFERENCE_MAE
    yield Verdict(
        f"error of a cell type, nested ridge: <= {MARGIN} of the reference's 8.6 years",
        f"{mean['ridge_mae']:.1f} years ({share:.2f}); elastic net {mean['elastic_net_mae']:.1f}, SVR "
        f"{mean['linear_svr_mae']:.1f}; an oracle {mean['oracle_mae']:.1f}",
        bool(share <= MARGIN),
    )
    yield Verdict(
        "R2 of a cell type, nested ridge: at least .3 above the reference's .43",
        f"{mean['ridge_r2']:.2f}; an oracle {mean['oracle_r2']:.2f}",
        bool(mean["ridge_r2"] >= REFERENCE_R2 + 0.3),
    )
    again, svr = mean["reference_ridge_mae"], mean["reference_LinearSVR_mae"]
    yield Verdict(
        f"error against the reference's predictors on the same cohorts: <= {MARGIN} of its ridge",
        f"{mean['ridge_mae']:.1f} / {again:.1f} = {mean['ridge_mae'] / again:.2f}; its LinearSVR {svr:.1f}",
        bool(mean["ridge_mae"] <= MARGIN * again),
    )
    slopes = [mean[f"{model}_slope"] for model in ("ridge", "elastic_net", "linear_svr")]
    yield Verdict(
        "calibration slope of nested fits: .75 to 1.25",
        ", ".join(f"{slope:.2f}" for slope in slopes) + " (ridge, elastic net, SVR)",
        bool(all(0.75 <= slope <= 1.25 for slope in slopes)),
    )
    together, alone = mean["immune_ridge_mae"], mean["ridge_best_mae"]
    yield Verdict(
        "immune age (ridge): error below that of the best cell type",
        f"{together:.1f} / {alone:.1f}; with elastic net {mean['immune_ridge_elastic_net_mae']:.1f}, R2 "
        f"{mean['immune_ridge_elastic_net_r2']:.2f}",
        bool(together < alone),
    )
    null = gathered(one_null, 4 if quick else 20)
    print(null.round(3).to_string(), file=sys.stderr)
    for name in ("ridge", "elastic_net", "linear_svr", "immune_age"):
        error = null[name].std(ddof=1) / np.sqrt(len(null))
        yield Verdict(
            f"R2 with shuffled ages, {name.replace('_', ' ')}: <= 0 within 2 standard errors",
            f"{null[name].mean():.3f} ± {error:.3f} ({len(null)} cohorts)",
            bool(null[name].mean() <= 2 * error),
        )
    chance = kstest(null["p_value"], "uniform").pvalue
    yield Verdict("p of permuted ages is uniform then", f"Kolmogorov-Smirnov p {chance:.2f}", bool(chance > 0.01))
    chance = kstest(null["r_p_value"], "uniform").pvalue
    yield Verdict(
        "p of r on permuted ages is uniform then, r itself near its null and not near 0",
        f"Kolmogorov-Smirnov p {chance:.2f}; r {null['r'].mean():.2f}, on permuted ages {null['r_null'].mean():.2f}",
        bool(chance > 0.01 and null["r_null"].mean() < 0),
    )
    for age_effect in (0.0, 0.15):
        weak = gathered(partial(one_weak, age_effect=age_effect), 4 if quick else 24)
        worse = weak["nested"] - weak["fixed"]
        error = worse.std(ddof=1) / np.sqrt(len(worse))
        yield Verdict(
            f"nested ridge against a fixed penalty of 3, age effects x {age_effect:g}: no worse by 2 standard errors",
            f"{weak['nested'].mean():.2f} / {weak['fixed'].mean():.2f} years, {worse.mean():.3f} ± {error:.3f} apart",
            bool(worse.mean() <= 2 * error + 1e-9),
        )
    shallow = gathered(one_shallow, 4 if quick else 12)
    print(shallow.round(2).to_string(), file=sys.stderr)
    error = shallow["shift"].std(ddof=1) / np.sqrt(len(shallow))
    yield Verdict(
        "new donors with a tenth of the counts: predicted ages shift by <= 1 year within 2 standard errors",
        f"{shallow['shift'].mean():.2f} ± {error:.2f} years (SD {shallow['shift'].std(ddof=1):.2f}); error "
        f"{shallow['mae'].mean():.1f}, with a tenth {shallow['mae_tenth'].mean():.1f}, the training mean's "
        f"{shallow['mae_mean'].mean():.1f}",
        bool(abs(shallow["shift"].mean()) <= 1 + 2 * error),
    )
    change = spoilt(0)
    yield Verdict("donors of one's fold made nonsense change one's prediction by: 0", f"{change:g} years", change == 0)
    for icc in (0.3, 0.5, 0.8):
        persons = gathered(partial(one_of_persons, icc=icc), 6 if quick else 24)
        error = persons["over_guessing"].std(ddof=1) / np.sqrt(len(persons))
        chance = kstest(persons["p_value"], "uniform").pvalue
        yield Verdict(
            f"invented ages of persons sampled twice, intraclass correlation {icc:g}: r of guessing within 2 standard "
            "errors, p uniform",
            f"{persons['over_guessing'].mean():.3f} ± {error:.3f} above guessing, Kolmogorov-Smirnov p {chance:.2f}; "
            f"r with each sample its own donor {persons['r_of_samples'].mean():.2f}",
            bool(abs(persons["over_guessing"].mean()) <= 2 * error and chance > 0.01),
        )
    accelerated = gathered(one_acceleration, 4 if quick else 20)
    print(accelerated.round(3).to_string(), file=sys.stderr)
    found = accelerated.mean()
    yield Verdict(
        "acceleration finds years ahead (SD 6.7 years, 90 donors): r >= .7",
        f"r {found['r']:.2f}",
        bool(found["r"] >= 0.7),
    )
    spread = accelerated["effect"].std(ddof=1) / np.sqrt(len(accelerated))
    allowance = 2 * np.sqrt(0.9 * 0.1 / len(accelerated))
    yield Verdict(
        "a group 6 years ahead: estimated within 15 %, held by >= 90 % of the intervals, each within 2 standard errors",
        f"{found['effect']:.1f} ± {spread:.1f} years, held {found['covered']:.0%}, found {found['found']:.0%}",
        bool(abs(found["effect"] - 6) <= 0.9 + 2 * spread and found["covered"] >= 0.9 - allowance),
    )
    chance = kstest(accelerated["coin"], "uniform").pvalue
    yield Verdict("p of a tossed coin is uniform", f"Kolmogorov-Smirnov p {chance:.2f}", bool(chance > 0.01))
    carried = gathered(new_cohort, n).mean()
    yield Verdict(
        "model file on new donors sequenced a third as deep: error <= 1.25 of the cross-validated one",
        f"{carried['new']:.1f} / {carried['own']:.1f} years",
        bool(carried["new"] <= 1.25 * carried["own"]),
    )


if __name__ == "__main__":
    sys.exit(print_table(verdicts(quick="--quick" in sys.argv[1:])))
