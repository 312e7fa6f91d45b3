#!/usr/bin/env python3
"""How well one cell type's expression tells a donor's age: one model with one penalty, donors held out.

In: the cell type's pseudobulk table. Out: out-of-fold predictions a donor, metrics with bootstrap intervals
beside two baselines (the median age; sex alone), the coefficients of the fit on all donors, and a summary.

Everything that is learned (which genes, their means and SDs, the penalty's scale, the fit) is learned from
the training donors of a fold only. What a sample's log-CPM needs, its own library size, is known without the
others.
"""

import argparse
import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cell_type_samples import CellTypeSamples, read_samples
from checkpoints import write_json, write_tsv, write_versions
from command_line import BadInput, limit_threads, run
from skipped import CannotFit, write_skipped

MODELS = ("ridge", "elastic_net", "linear_svr")
PREDICTIONS = ("donor_id", "age_years", "predicted", "fold", "repeat")
METRICS = ("metric", "value", "low", "high")
COEFFICIENTS = ("gene_id", "symbol", "coefficient", "mean", "sd")
MIN_COUNT = 5  # a gene is a feature where at least MIN_SHARE of the training samples have this many counts
MIN_SHARE = 0.5
EPSILON_SD = 0.1  # width of the tube of support vector regression, in SDs of age: scikit-learn's default
L1_RATIO = 0.5
PRIOR_COUNT = 0.5  # as in voom, so that a zero has a logarithm


@dataclass(frozen=True)
class AgeModel:
    """A linear model of age, complete: `intercept + ((log_cpm - mean) / sd) @ coefficients`.

    Attributes
    ----------
    features
        Columns of the feature matrix in use.
    mean, sd
        Of the features in the training samples.
    coefficients
        Years per SD of each feature.
    intercept
        Mean age of the training donors, plus the offset of the support vectors.
    """

    features: np.ndarray
    mean: np.ndarray
    sd: np.ndarray
    coefficients: np.ndarray
    intercept: float

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Age in years of each row of a feature matrix (all columns, not only those in use)."""
        return self.intercept + (features[:, self.features] - self.mean) / self.sd @ self.coefficients


def log_cpm(counts: np.ndarray) -> np.ndarray:
    """log2 counts per million of each sample (row), with voom's offsets: finite for zeros, rows apart.

    References
    ----------
    Law, Chen, Shi, Smyth (2014), Genome Biology 15:R29.
    """
    library = counts.sum(axis=1, keepdims=True)
    return np.log2((counts + PRIOR_COUNT) / (library + 1) * 1e6)


def sex_indicators(sex: pd.Series) -> np.ndarray:
    """One 0/1 column for each sex but the first in the alphabet (a missing one is a level of its own)."""
    labels = sex.astype(object).where(sex.notna(), "unknown").astype(str)
    return pd.get_dummies(labels, drop_first=True).to_numpy(dtype=float)


def fold_of(donor_id: str, *, repeat: int, n_folds: int, seed: int) -> int:
    """The fold that holds a donor out, from the donor's name alone.

    So a donor is in the same fold in every cell type, model and penalty, and predictions of several cell
    types can be combined without a leak. The price: folds differ a little in size.
    """
    digest = hashlib.sha256(f"{seed}/{repeat}/{donor_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % n_folds


def fold_table(donor_ids: Sequence[str], *, n_repeats: int, n_folds: int, seed: int) -> np.ndarray:
    """Fold of each donor in each repeat, repeats x donors."""
    return np.array(
        [[fold_of(d, repeat=r, n_folds=n_folds, seed=seed) for d in donor_ids] for r in range(n_repeats)],
        dtype=int,
    )


def expressed_features(counts: np.ndarray, values: np.ndarray, *, n_covariates: int) -> np.ndarray:
    """Columns of the feature matrix to use: genes with enough counts, then covariates; none that is constant.

    Parameters
    ----------
    counts, values
        Of the training samples: raw counts (samples x genes); features (samples x (genes + covariates)).
    """
    enough = (counts >= MIN_COUNT).mean(axis=0) >= MIN_SHARE
    enough = np.concatenate([enough, np.ones(n_covariates, dtype=bool)])
    return np.flatnonzero(enough & (values.std(axis=0) > 1e-8))


def fit_ridge(kernel: np.ndarray, target: np.ndarray, *, alpha: float) -> tuple[np.ndarray, float]:
    """Dual weights of ridge regression: (K + alpha I) w = y, y centred. Returns the weights and 0."""
    return np.linalg.solve(kernel + alpha * np.eye(len(kernel)), target), 0.0


def fit_linear_svr(kernel: np.ndarray, target: np.ndarray, *, alpha: float) -> tuple[np.ndarray, float]:
    """Dual weights and intercept of support vector regression with C = 1 / alpha.

    libsvm, whose intercept is free; liblinear's LinearSVR penalises it and shrinks every prediction towards 0
    years.
    """
    from sklearn.svm import SVR

    machine = SVR(kernel="precomputed", C=1 / alpha, epsilon=EPSILON_SD).fit(kernel, target)
    weights = np.zeros(len(target))
    weights[machine.support_] = machine.dual_coef_[0]
    return weights, float(machine.intercept_[0])


def fit_elastic_net(features: np.ndarray, target: np.ndarray, *, alpha: float, seed: int) -> np.ndarray:
    """Coefficients of the elastic net, half L1, at a share alpha / (1 + alpha) of the largest useful penalty.

    At the largest useful penalty no feature is left. A share of it keeps the same meaning in every cell type,
    where a fixed number would leave all genes in one model and none in the next.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import ElasticNet

    largest = np.abs(features.T @ target).max() / (len(target) * L1_RATIO)
    net = ElasticNet(
        alpha=max(largest, 1e-12) * alpha / (1 + alpha), l1_ratio=L1_RATIO, max_iter=5000, random_state=seed
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a small duality gap left changes no metric
        return net.fit(features, target).coef_


def fit_age_model(
    counts: np.ndarray, features: np.ndarray, ages: np.ndarray, *, model: str, alpha: float, seed: int = 0
) -> AgeModel:
    """Fit one model on training donors.

    Features are scaled to mean 0, SD 1, ages likewise. With p features the kernel is `Z Z' / p`, so that its
    diagonal is about 1 and one `alpha` means the same shrinkage whatever the number of genes or donors' ages:
    `ridge` minimises |y - Zb|^2 + alpha p |b|^2; `linear_svr` has C = 1 / alpha on the same kernel; for
    `elastic_net` see `fit_elastic_net`.

    Parameters
    ----------
    counts
        Samples x genes, raw: chooses the genes.
    features
        Samples x (genes + covariates): log2 CPM, then covariates.
    ages
        Years.

    Raises
    ------
    CannotFit
        No gene has enough counts, or all donors are of one age.
    """
    used = expressed_features(counts, features, n_covariates=features.shape[1] - counts.shape[1])
    if not (used < counts.shape[1]).any():
        raise CannotFit(f"no gene has {MIN_COUNT} counts in {MIN_SHARE:.0%} of the samples")
    age_mean, age_sd = float(ages.mean()), float(ages.std())
    if age_sd < 1e-8:
        raise CannotFit("all donors are of one age")
    mean, sd = features[:, used].mean(axis=0), features[:, used].std(axis=0)
    scaled, target = (features[:, used] - mean) / sd, (ages - age_mean) / age_sd
    offset = 0.0
    if model == "elastic_net":
        coefficients = fit_elastic_net(scaled, target, alpha=alpha, seed=seed)
    else:
        fit = {"ridge": fit_ridge, "linear_svr": fit_linear_svr}[model]
        weights, offset = fit(scaled @ scaled.T / len(used), target, alpha=alpha)
        coefficients = scaled.T @ weights / len(used)
    return AgeModel(used, mean, sd, coefficients * age_sd, age_mean + offset * age_sd)


def predict_held_out(
    counts: np.ndarray,
    covariates: np.ndarray,
    ages: np.ndarray,
    folds: np.ndarray,
    *,
    model: str,
    alpha: float,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Predict every donor, in every repeat, from a fit without the donor's fold.

    Parameters
    ----------
    counts, covariates
        Donors x genes, raw; donors x covariates.
    ages
        Years.
    folds
        Repeats x donors.

    Returns
    -------
    `model`, `median` (of the training ages) and `sex` (mean training age of the same covariates), repeats x
    donors.
    """
    features = np.hstack([log_cpm(counts), covariates])
    predicted = {name: np.full(folds.shape, np.nan) for name in ("model", "median", "sex")}
    for repeat, fold_of_donor in enumerate(folds):
        for fold in np.unique(fold_of_donor):
            held = fold_of_donor == fold
            train = ~held
            if not train.any():
                raise CannotFit(f"{len(ages)} donors all fall into one fold")
            fitted = fit_age_model(counts[train], features[train], ages[train], model=model, alpha=alpha, seed=seed)
            predicted["model"][repeat, held] = fitted.predict(features[held])
            predicted["median"][repeat, held] = np.median(ages[train])
            groups = np.column_stack([np.ones(len(ages)), covariates])
            by_sex = np.linalg.lstsq(groups[train], ages[train], rcond=None)[0]
            predicted["sex"][repeat, held] = groups[held] @ by_sex
    return predicted


def metric_values(predicted: dict[str, np.ndarray], ages: np.ndarray, weights: np.ndarray) -> dict[str, float]:
    """Metrics over all repeats, donors weighted by `weights` (1 each, or how often a bootstrap draws them).

    mae: mean absolute error, years. r2: 1 - squared error / squared distance from the mean age; under 0 is
    worse than knowing the mean. r: Pearson correlation, NaN where the prediction is constant. baseline_mae,
    sex_mae: the error of the median and of sex alone.
    """
    share = np.broadcast_to(weights / weights.sum() / len(predicted["model"]), predicted["model"].shape)
    error = predicted["model"] - ages
    centred_age = ages - (share * ages).sum()
    centred = predicted["model"] - (share * predicted["model"]).sum()
    age_variance, variance = (share * centred_age**2).sum(), (share * centred**2).sum()
    constant = min(age_variance, variance) < 1e-12
    return {
        "mae": (share * np.abs(error)).sum(),
        "r2": np.nan if age_variance < 1e-12 else 1 - (share * error**2).sum() / age_variance,
        "r": np.nan if constant else (share * centred * centred_age).sum() / np.sqrt(age_variance * variance),
        "baseline_mae": (share * np.abs(predicted["median"] - ages)).sum(),
        "sex_mae": (share * np.abs(predicted["sex"] - ages)).sum(),
    }


def metric_table(
    predicted: dict[str, np.ndarray], ages: np.ndarray, *, n_bootstrap: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Metrics with 95 % percentile intervals from a bootstrap over donors, all repeats of a donor together.

    The intervals hold for these fits: they do not contain what other training donors would have changed.
    """
    n_donors = len(ages)
    draws = np.random.default_rng(seed).multinomial(n_donors, np.full(n_donors, 1 / n_donors), size=n_bootstrap)
    values = metric_values(predicted, ages, np.ones(n_donors))
    drawn = pd.DataFrame([metric_values(predicted, ages, weights) for weights in draws])
    low, high = drawn.quantile(0.025), drawn.quantile(0.975)
    rows = [(name, value, low[name], high[name]) for name, value in values.items()]
    return pd.DataFrame([*rows, ("n_donors", n_donors, np.nan, np.nan)], columns=list(METRICS))


def prediction_table(table: CellTypeSamples, predicted: np.ndarray, folds: np.ndarray) -> pd.DataFrame:
    """predictions.tsv: one row a donor and repeat, sorted by them; repeats and folds count from 1."""
    n_repeats = len(folds)
    rows = pd.DataFrame(
        {
            "donor_id": np.tile(table.samples["donor_id"].to_numpy(), n_repeats),
            "age_years": np.tile(table.samples["age_years"].to_numpy(dtype=float), n_repeats),
            "predicted": predicted.ravel(),
            "fold": folds.ravel() + 1,
            "repeat": np.repeat(np.arange(n_repeats) + 1, folds.shape[1]),
        }
    )
    return rows.sort_values(["repeat", "donor_id"], ignore_index=True)


def coefficient_table(fitted: AgeModel, table: CellTypeSamples) -> pd.DataFrame:
    """coefficients.tsv: genes by |years per SD|, with the mean and SD of log2 CPM that the model needs."""
    gene = fitted.features < len(table.symbols)
    columns = fitted.features[gene]
    rows = pd.DataFrame(
        {
            "gene_id": table.gene_ids[columns],
            "symbol": table.symbols.to_numpy()[columns],
            "coefficient": fitted.coefficients[gene],
            "mean": fitted.mean[gene],
            "sd": fitted.sd[gene],
        }
    )
    return rows.iloc[np.lexsort((rows["gene_id"], -rows["coefficient"].abs()))].reset_index(drop=True)


def usable_donors(table: CellTypeSamples, *, min_donors: int) -> CellTypeSamples:
    """The samples whose age is known and that have any counts; `CannotFit` where these are too few."""
    known = (table.samples["age_years"].notna() & (table.counts.sum(axis=1) > 0)).to_numpy()
    if known.sum() < min_donors:
        raise CannotFit(f"{int(known.sum())} donors; at least {min_donors} are needed")
    return CellTypeSamples(table.counts[known], table.samples[known], table.symbols)


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pseudobulk", required=True, help="the cell type's pseudobulk table (h5ad)")
    parser.add_argument("--id", required=True, help="id of the cell type")
    parser.add_argument("--model", required=True, choices=MODELS)
    parser.add_argument("--alpha", type=float, required=True, help="penalty, over 0")
    parser.add_argument("--folds", type=int, default=5, help="folds of donors (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="repeats of the folds (default: %(default)s)")
    parser.add_argument("--min-donors", type=int, default=10, help="fewer donors are skipped (default: %(default)s)")
    parser.add_argument("--bootstrap", type=int, default=1000, help="draws for the intervals (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of folds and bootstrap (default: %(default)s)")
    parser.add_argument("--strict", action="store_true", help="a cell type that cannot be fitted is an error")
    parser.add_argument("--output", type=Path, required=True, help="folder of the tables and the summary")
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)
    if not 0 < args.alpha < np.inf:
        raise BadInput(f"--alpha {args.alpha}: a penalty must be over 0")
    if args.folds < 2 or args.repeats < 1:
        raise BadInput(f"--folds {args.folds} --repeats {args.repeats}: at least 2 folds and 1 repeat are needed")

    whole = read_samples(args.pseudobulk)
    facts = {"id": args.id, "cell_type": whole.cell_type, "model": args.model, "alpha": args.alpha}
    paths = {name: args.output / f"{name}.tsv" for name in ("predictions", "metrics", "coefficients")}
    summary = args.output / "predict_age_summary.json"
    try:
        table = usable_donors(whole, min_donors=args.min_donors)
        ages = table.samples["age_years"].to_numpy(dtype=float)
        covariates = sex_indicators(table.samples["sex"])
        folds = fold_table(table.samples["donor_id"], n_repeats=args.repeats, n_folds=args.folds, seed=args.seed)
        settings = {"model": args.model, "alpha": args.alpha, "seed": args.seed}
        with limit_threads(1):  # other thread counts would change the last digits
            predicted = predict_held_out(table.counts, covariates, ages, folds, **settings)
            fitted = fit_age_model(table.counts, np.hstack([log_cpm(table.counts), covariates]), ages, **settings)
            metrics = metric_table(predicted, ages, n_bootstrap=args.bootstrap, seed=args.seed)
    except CannotFit as reason:
        tables = dict(zip(paths.values(), (PREDICTIONS, METRICS, COEFFICIENTS), strict=True))
        facts |= {"n_donors": len(whole.samples)}
        write_skipped(str(reason), tables=tables, summary=summary, strict=args.strict, facts=facts)
    else:
        write_tsv(prediction_table(table, predicted["model"], folds), paths["predictions"])
        write_tsv(metrics, paths["metrics"])
        write_tsv(coefficient_table(fitted, table), paths["coefficients"])
        values = metrics.set_index("metric")
        facts |= {
            "n_donors": len(ages),
            "n_donors_left_out": len(whole.samples) - len(ages),
            "n_genes": int((fitted.features < len(table.symbols)).sum()),
            "n_nonzero": int((fitted.coefficients != 0).sum()),
            "intercept": fitted.intercept,
            "sex_coefficients": fitted.coefficients[fitted.features >= len(table.symbols)],
            "folds": args.folds,
            "repeats": args.repeats,
            "metrics": {name: dict(values.loc[name]) for name in values.index if name != "n_donors"},
        }
        write_json({"status": "done", "reason": "", **facts}, summary)
    write_versions("predict_age", ["numpy", "pandas", "scikit-learn"], args.versions)


if __name__ == "__main__":
    run(main)
