"""Immune age: the predictions of all cell types put together, and age acceleration."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from immune_aging.prediction.age_features import sex_indicators
from immune_aging.prediction.age_metrics import METRICS, age_line, metric_table
from immune_aging.task.checkpoints import SAMPLE_OF_DONOR
from immune_aging.task.command_line import BadInput
from immune_aging.task.skipped import CannotFit

COLUMNS = ("donor_id", "age_years", "predicted", "corrected", "acceleration", "n_cell_types", "sd_repeats")
WEIGHTS = ("id", "model", "weight", "low", "high", "mae")
TESTS = (
    "column", "kind", "levels", "n_donors", "effect_years", "low", "high", "f", "df1", "df2", "p_value", "padj",
    "reason",
)  # fmt: skip
MIN_DONORS = 10
MIN_IN_LEVEL = 3  # donors of a level of a category; levels of fewer are left out of the test
MIN_SHARE = 0.5  # of the donors that must have a cell type, and of these cell types that a donor must have
LEVEL_SHARE = 5  # donors for each level of a category, at least


# Columns of the tables, by their files.
FILES = {
    "immune_age.tsv": COLUMNS,
    "immune_age_metrics.tsv": METRICS,
    "immune_age_weights.tsv": WEIGHTS,
    "age_acceleration_tests.tsv": TESTS,
}


@dataclass(frozen=True)
class ImmuneAges:
    """What is said of the donors' immune ages.

    Attributes
    ----------
    tables
        By the names of `FILES`.
    facts
        The summary, except `status` and `reason`.
    """

    tables: dict[str, pd.DataFrame]
    facts: dict


def joined_fits(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The nested predictions of all fits as one table.

    Raises
    ------
    CannotFit
        There is no fit, or too few donors.
    BadInput
        A fit is there twice.
    """
    if not parts:
        raise CannotFit("no cell type has an age prediction with a nested choice of penalty")
    fits = pd.concat(parts)
    if fits.duplicated(["id", "model", "repeat", "fold", "donor_id"]).any():
        raise BadInput("--fits: a cell type and model is there twice; give each fit once")
    if fits["donor_id"].nunique() < MIN_DONORS:
        raise CannotFit(f"{fits['donor_id'].nunique()} donors; at least {MIN_DONORS} are needed")
    return fits


def without_gaps(fits: pd.DataFrame) -> tuple[pd.DataFrame, dict]:
    """Leave out the cell types that few donors have, and the donors who have few of the others.

    A cell type of few donors would be weighed by what the others say of all other donors, and a donor with one or two
    cell types would have an age of much larger error beside the rest.

    Parameters
    ----------
    fits
        As of `joined_fits`.

    Returns
    -------
    The fits without these; what the summary says of them.

    Raises
    ------
    CannotFit
        Too few donors are left.
    """
    has = fits[["donor_id", "id"]].drop_duplicates()
    n_donors = has["donor_id"].nunique()
    donors_of_type = has["id"].value_counts()
    types = donors_of_type.index[donors_of_type >= MIN_SHARE * n_donors]
    n_types = has[has["id"].isin(types)]["donor_id"].value_counts()
    donors = n_types.index[n_types >= MIN_SHARE * len(types)]
    if len(donors) < MIN_DONORS:
        raise CannotFit(
            f"{len(donors)} of {n_donors} donors have half of the cell types that half of the donors have; "
            f"at least {MIN_DONORS} are needed"
        )
    facts = {
        "n_donors_left_out": n_donors - len(donors),
        "cell_types_of_few_donors": sorted(set(donors_of_type.index) - set(types)),
    }
    return fits[fits["id"].isin(types) & fits["donor_id"].isin(donors)], facts


def immune_ages(
    fits: pd.DataFrame,
    samples: Sequence[pd.DataFrame],
    *,
    columns: Sequence[str],
    n_bootstrap: int,
    seed: int,
    common: bool = True,
) -> ImmuneAges:
    """Put the predictions of all cell types together, judge them, and test what goes with age acceleration.

    Parameters
    ----------
    fits
        As of `joined_fits`.
    samples
        What is known of the samples of each cell type.
    columns
        Donor columns to test.
    common
        The cell types were analysed in the same donors, so that gaps are few; else those of `without_gaps` are left
        out.
    """
    fits, gaps = (fits, {}) if common else without_gaps(fits)
    donors = donor_table(samples, sorted(fits["donor_id"].unique()))
    features = feature_table(fits)
    predicted, weights, _ = cross_stack(features, donors)
    ages, mean = donors["age_years"].to_numpy(dtype=float), predicted["model"].mean(axis=0)
    acceleration = acceleration_of(mean, ages)
    immune = pd.DataFrame(
        {
            "donor_id": donors.index,
            "age_years": ages,
            "predicted": mean,
            "corrected": ages + acceleration,
            "acceleration": acceleration,
            "n_cell_types": fits.groupby("donor_id")["id"].nunique().reindex(donors.index).to_numpy(),
            "sd_repeats": predicted["model"].std(axis=0),
        }
    )
    metrics = metric_table(predicted, ages, n_bootstrap=n_bootstrap, seed=seed)
    of_fits = weight_table(weights, features, donors)
    tests = acceleration_tests(mean, donors, list(dict.fromkeys(columns)))
    facts = {
        "n_donors": len(donors),
        **gaps,
        "n_fits": weights.shape[1],
        "n_cell_types": int(fits["id"].nunique()),
        "best_single_mae": float(of_fits["mae"].min()),
        "acceleration_sd": float(acceleration.std(ddof=1)),
    }
    made = zip(FILES.items(), (immune, metrics, of_fits, tests), strict=True)
    return ImmuneAges({name: table[list(columns)] for (name, columns), table in made}, facts)


def feature_table(fits: pd.DataFrame) -> dict[tuple[int, int], tuple[pd.DataFrame, pd.DataFrame]]:
    """Predictions of the training and of the held-out donors of each repeat and fold, donors x (id, model).

    Parameters
    ----------
    fits
        id, model, repeat, fold, donor_id, held, predicted.
    """
    tables = {}
    for (repeat, fold), rows in fits.groupby(["repeat", "fold"]):
        wide = rows.pivot_table(index="donor_id", columns=["id", "model"], values="predicted", sort=True)
        held = rows.groupby("donor_id")["held"].first().reindex(wide.index)
        if rows.groupby("donor_id")["held"].nunique().max() > 1:
            raise BadInput(
                "--fits: a donor is held out in one cell type and trains in another; use one seed for all fits"
            )
        tables[int(repeat), int(fold)] = wide[~held.to_numpy()], wide[held.to_numpy()]
    return tables


def standardise(values: np.ndarray, mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Predictions less their mean in training (donors x fits); a missing one as far off in SDs as its others."""
    scaled = (values - mean) / sd
    known = np.isfinite(scaled)
    typical = np.where(known, scaled, 0).sum(axis=1, keepdims=True) / np.maximum(known.sum(axis=1, keepdims=True), 1)
    return np.where(known, scaled, typical) * sd


def stack(train: np.ndarray, ages: np.ndarray, held: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weigh several predictions of age: weights of least squared error that are not negative, and a free intercept.

    Parameters
    ----------
    train, held
        Donors x fits, NaN where a donor has too few cells of the type.
    ages
        Of the training donors.

    Returns
    -------
    Predicted age of the held-out donors; the weight of each fit.
    """
    from scipy.optimize import nnls

    counted = np.isfinite(train).sum(axis=0) > 1
    weights = np.zeros(train.shape[1])
    if not counted.any():
        return np.full(len(held), ages.mean()), weights
    mean, sd = np.nanmean(train[:, counted], axis=0), np.nanstd(train[:, counted], axis=0)
    sd = np.where(sd > 1e-9, sd, 1.0)
    centred = standardise(train[:, counted], mean, sd)
    offset = centred.mean(axis=0)
    weights[counted], _ = nnls(centred - offset, ages - ages.mean())
    predicted = ages.mean() + (standardise(held[:, counted], mean, sd) - offset) @ weights[counted]
    return predicted, weights


def cross_stack(
    tables: dict[tuple[int, int], tuple[pd.DataFrame, pd.DataFrame]], donors: pd.DataFrame
) -> tuple[dict[str, np.ndarray], pd.DataFrame, np.ndarray]:
    """Immune age of every donor in every repeat, without the donor's fold.

    Parameters
    ----------
    tables
        As of `feature_table`.
    donors
        Index donor_id: age_years, sex.

    Returns
    -------
    `model`, `training_mean`, `median`, `sex`: repeats x donors; weights, one row per repeat and fold, one column per
    fit; and the folds.
    """
    repeats = sorted({repeat for repeat, _ in tables})
    shape = (len(repeats), len(donors))
    predicted = {name: np.full(shape, np.nan) for name in ("model", "training_mean", "median", "sex")}
    folds = np.zeros(shape, dtype=int)
    place, ages = pd.Series(np.arange(len(donors)), index=donors.index), donors["age_years"].to_numpy(dtype=float)
    groups = np.column_stack([np.ones(len(donors)), sex_indicators(donors["sex"])])
    rows = {}
    for (repeat, fold), (train, held) in sorted(tables.items()):
        own, out, row = place[train.index].to_numpy(), place[held.index].to_numpy(), repeats.index(repeat)
        age, weights = stack(train.to_numpy(), ages[own], held.reindex(columns=train.columns).to_numpy())
        rows[repeat, fold] = pd.Series(weights, index=train.columns)
        predicted["model"][row, out], folds[row, out] = age, fold
        predicted["training_mean"][row, out] = ages[own].mean()
        predicted["median"][row, out] = np.median(ages[own])
        predicted["sex"][row, out] = groups[out] @ np.linalg.lstsq(groups[own], ages[own], rcond=None)[0]
    weights = pd.DataFrame(rows).T.fillna(0.0)
    if np.isnan(predicted["model"]).any():
        missing = donors.index[np.isnan(predicted["model"]).any(axis=0)][0]
        raise BadInput(f"--fits: donor '{missing}' is not held out in every repeat; give whole files of one run")
    return predicted, weights, folds


def acceleration_of(predicted: np.ndarray, ages: np.ndarray) -> np.ndarray:
    """Years by which a donor is predicted older than donors of that age usually are: unrelated to age itself."""
    intercept, slope = age_line(predicted, ages)
    return predicted - (intercept + slope * ages)


def design_of(column: pd.Series) -> tuple[np.ndarray, str, list[str], np.ndarray]:
    """Terms of a donor column for a linear model.

    Returns
    -------
    Which donors can be used; 'numeric' (one term, in SDs) or 'categorical' (a term for each level but the first); the
    levels; the terms of these donors.

    Raises
    ------
    CannotFit
        One value only, too many levels, or an infinite number.
    """
    numeric = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    if numeric and column.nunique() > 2:
        used = column.notna().to_numpy()
        values = column[used].to_numpy(dtype=float)
        if np.isinf(values).any():
            raise CannotFit(
                f"infinite in {int(np.isinf(values).sum())} donors; give a number, or leave the value empty"
            )
        return used, "numeric", [], ((values - values.mean()) / values.std(ddof=1))[:, None]
    labels = column.astype(object).where(column.notna(), None)
    sizes = labels.value_counts()
    levels = sorted(str(level) for level in sizes.index[sizes >= MIN_IN_LEVEL])
    if len(levels) < 2:
        raise CannotFit(f"fewer than two levels have {MIN_IN_LEVEL} donors")
    text = labels.map(lambda value: None if value is None else str(value))
    used = text.isin(levels).to_numpy()
    if used.sum() < LEVEL_SHARE * len(levels):
        raise CannotFit(f"{len(levels)} levels among {used.sum()} donors; at most one for {LEVEL_SHARE} donors")
    terms = np.column_stack([(text[used] == level).to_numpy(dtype=float) for level in levels[1:]])
    return used, "categorical", levels, terms


def tested_column(predicted: np.ndarray, ages: np.ndarray, column: pd.Series) -> dict[str, object]:
    """Whether a donor column goes with immune age beyond true age: F test of its terms in predicted ~ age + terms.

    Age stands in the model, since a column that differs with age would else be found through regression to the mean.
    """
    from scipy import stats

    used, kind, levels, terms = design_of(column)
    base = np.column_stack([np.ones(used.sum()), ages[used]])
    full = np.column_stack([base, terms])
    rank = np.linalg.matrix_rank(full)
    df1, df2 = rank - 2, len(full) - rank
    if rank < full.shape[1] or df2 < 3:
        raise CannotFit("cannot be told apart from age, or leaves too few donors to estimate the noise")
    coefficients, residual = np.linalg.lstsq(full, predicted[used], rcond=None)[:2]
    smaller = np.linalg.lstsq(base, predicted[used], rcond=None)[1]
    noise = float(residual[0]) / df2
    f = (float(smaller[0]) - float(residual[0])) / df1 / noise
    row = {"kind": kind, "levels": ";".join(levels), "n_donors": int(used.sum()), "f": f, "df1": df1, "df2": df2}
    row["p_value"] = float(stats.f.sf(f, df1, df2))
    if df1 == 1:
        error = np.sqrt(noise * np.linalg.inv(full.T @ full)[2, 2]) * stats.t.ppf(0.975, df2)
        effect = float(coefficients[2])
        row |= {"effect_years": effect, "low": effect - error, "high": effect + error}
    return row


def acceleration_tests(predicted: np.ndarray, donors: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """age_acceleration_tests.tsv: one row per column; those that cannot be tested with their reason."""
    from scipy.stats import false_discovery_control

    rows = []
    ages = donors["age_years"].to_numpy(dtype=float)
    for column in columns:
        try:
            if column not in donors:
                raise CannotFit("the donors have no such column, or it differs within a donor")
            rows.append({"column": column, **tested_column(predicted, ages, donors[column]), "reason": ""})
        except CannotFit as reason:
            rows.append({"column": column, "n_donors": len(donors), "reason": str(reason)})
    table = pd.DataFrame(rows, columns=list(TESTS))
    tested = table["p_value"].notna()
    if tested.any():
        adjusted = false_discovery_control(table.loc[tested, "p_value"].to_numpy(dtype=float))
        table["padj"] = pd.Series(adjusted, index=table.index[tested]).reindex(table.index)
    return table


def donor_table(tables: Sequence[pd.DataFrame], donors: Sequence[str]) -> pd.DataFrame:
    """What is known of the donors: columns that have one value in each donor, over the samples of all cell types.

    The age of a donor of several samples is their mean.
    """
    samples = pd.concat(tables, ignore_index=True).astype({"donor_id": str})
    samples = samples[samples["donor_id"].isin(donors)]
    if SAMPLE_OF_DONOR in samples:
        of_samples = samples.drop_duplicates(["donor_id", SAMPLE_OF_DONOR])
        samples = samples.assign(age_years=samples["donor_id"].map(of_samples.groupby("donor_id")["age_years"].mean()))
    grouped = samples.groupby("donor_id", sort=True)
    constant = [
        column for column in samples if column != "donor_id" and grouped[column].nunique(dropna=False).max() == 1
    ]
    return grouped[constant].first().reindex(sorted(donors))


def weight_table(weights: pd.DataFrame, tables: dict, donors: pd.DataFrame) -> pd.DataFrame:
    """immune_age_weights.tsv: mean weight of each fit and its range over folds, and the error of the fit by itself."""
    held = pd.concat([held for _, held in tables.values()])
    error = held.sub(donors["age_years"].reindex(held.index), axis=0).abs()
    rows = pd.DataFrame(
        {
            "weight": weights.mean(),
            "low": weights.min(),
            "high": weights.max(),
            "mae": error.mean().reindex(weights.columns),
        }
    )
    rows.index.names = ["id", "model"]
    return rows.reset_index().sort_values(["weight", "id", "model"], ascending=[False, True, True], ignore_index=True)
