"""Whether the proportions of cell types change.

The units of the test are persons. Where donors have several samples, their cells are added up, at the mean age. A
tested term that differs between the samples of a donor (condition, visit) is tested on the samples instead, each
compared with the others of its donor: every donor has an effect of its own in the design. Where the design has a random
term, `(1 | pool)` or `(1 | donor)`, each cell type gets a mixed model.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from immune_aging.cohort.donors import one_per_donor, sample_key
from immune_aging.samples.sample_obs import read_obs
from immune_aging.statistics.designs import Design, as_labels, build_design
from immune_aging.statistics.formulas import drawn_column, formula_columns, is_donor, quoted
from immune_aging.statistics.linear_models import contrast_as_coefficient
from immune_aging.statistics.mixed_models import groups_of, mixed_fits
from immune_aging.statistics.multiple_testing import ALPHA, adjusted_p_values
from immune_aging.statistics.random_terms import group_labels, refuse_varying_groups, told_apart
from immune_aging.statistics.repeated_samples import (
    are_repeated,
    choose_repeats,
    left_out_of_sums,
    notes_of_sums,
    over_donors,
    varying_columns,
    with_donors,
)
from immune_aging.task.checkpoints import SAMPLE_OF_DONOR, read_tsv, require_columns
from immune_aging.task.command_line import BadInput
from immune_aging.task.skipped import CannotFit

PROPORTIONS = ("donor_id", "id", "cell_type", "n_cells", "proportion", "age_years", "sex")
TERM_VALUE = "test_term_value"  # a further one, where the tested term is not age and the rows tell it
COLUMNS = (
    "id", "cell_type", "n_cells", "n_donors", "mean_proportion", "log2_fold_change", "lfc_se", "ci_low", "ci_high",
    "stat", "p_value", "padj", "lfc_per_decade", "reference_weight", "share_log2_odds", "share_p_value", "share_padj",
)  # fmt: skip
PSEUDOCOUNT = 0.5  # on every count of a plain share, so that 0 has log odds too (Phipson et al. 2022)
# Abundances are modelled by a power of the counts. The mean of logarithms falls faster than the logarithm of the mean
# where cells vary as shares do (Dirichlet): 4 % of an effect, most of a standard error with 300 donors. Roots
# halve that; plain counts (power 1) have none of it, but long tails by which rare cell types are called too often.
POWER = 0.5
POWER_PSEUDOCOUNT = (1 - POWER) / 2  # with it the mean power of Poisson counts is the power of their mean, nearly
LEAST_SD = 1e-9  # log2 units; less is rounding
LARGEST_WEIGHT = 0.9  # of one cell type in the reference
# Tested are cell types that at least half of the donors have: the others tell more of presence than of abundance.
MIN_SHARE_OF_DONORS = 0.5


def read_cells(path: str | Path) -> pd.DataFrame:
    """The samples of a pseudobulk table without its counts: donor_id, cell_type, n_cells and the donor columns."""
    obs = read_obs(path)
    require_columns(obs, ["donor_id", "cell_type", "n_cells", "age_years", "sex"], path)
    samples = obs.reset_index(drop=True)
    for column in samples.columns[[isinstance(dtype, pd.CategoricalDtype) for dtype in samples.dtypes]]:
        samples[column] = samples[column].astype(object).where(samples[column].notna(), None)
    return samples.astype(dict.fromkeys([*sample_key(samples), "cell_type"], str))


def read_ids(path: str | Path, samples: pd.DataFrame, *, source: str | Path) -> pd.Series:
    """Id of each cell type (index) from cell_types.tsv.

    Parameters
    ----------
    samples
        As of `read_cells`, from the file `source`.

    Raises
    ------
    BadInput
        A cell type of the samples has no id.
    """
    types = read_tsv(path, dtype={"id": str, "cell_type": str})
    require_columns(types, ["id", "cell_type"], path)
    ids = types.set_index("cell_type")["id"]
    unknown = sorted(set(samples["cell_type"]) - set(ids.index))
    if unknown:
        raise BadInput(f"{path}: has no cell type '{unknown[0]}' of {source}; give both of one run")
    return ids


def count_table(samples: pd.DataFrame, *, unit: str = "donor_id") -> pd.DataFrame:
    """Cells of each donor (rows, sorted) in each cell type (columns, sorted); 0 where a donor has none.

    Parameters
    ----------
    unit
        Column that says whose cells are counted together.

    Raises
    ------
    CannotFit
        The table does not say how many cells a sample was summed from.
    """
    if samples["n_cells"].isna().any():
        raise CannotFit("the table of samples does not say how many cells each was summed from")
    table = samples.pivot_table(index=unit, columns="cell_type", values="n_cells", aggfunc="sum", fill_value=0)
    return table.astype(int).sort_index().sort_index(axis=1)


def donor_columns(samples: pd.DataFrame) -> pd.DataFrame:
    """What is known of each donor, indexed by donor and sorted; nothing that is a sample's own."""
    of_donors = samples.columns.difference(["cell_type", "n_cells", "n_counts"], sort=False)
    rows = samples[of_donors].drop_duplicates(sample_key(samples), ignore_index=True)
    return one_per_donor(rows).drop_duplicates("donor_id").set_index("donor_id").sort_index()


def rows_and_design(
    samples: pd.DataFrame, build: Callable[[pd.DataFrame], Design]
) -> tuple[pd.DataFrame, pd.DataFrame, Design]:
    """The rows of cells that may be taken for independent, what is known of them, and their design.

    Where a donor has several samples, these are added up for a term that is the same in all of them; for any other the
    donor is a term of the design, so that its samples are compared with each other. With `(1 | donor)` in the design
    the rows are samples.

    Parameters
    ----------
    samples
        As of `read_cells`.
    build
        The design of such rows, of their columns.

    Returns
    -------
    As `count_table`; one row per row of it, with donor_id; the design of (some of) them.

    Raises
    ------
    CannotFit
        As `build_design`; or the term cannot be told from the donors.
    """
    donors = donor_columns(samples)
    people = donors.assign(donor_id=donors.index)
    if SAMPLE_OF_DONOR not in samples:
        return count_table(samples), people, build(people)
    samples = samples.assign(sample_id=samples["donor_id"] + "|" + samples[SAMPLE_OF_DONOR].astype(str))
    units = samples.drop_duplicates("sample_id").set_index("sample_id").sort_index()
    design = build(units)
    repeats = choose_repeats(units, design)
    if repeats.use == "none" or is_donor(design.random, units):
        return count_table(samples, unit="sample_id"), units, design
    if repeats.use == "sum":
        refuse_varying_groups(design, units)
        left_out = left_out_of_sums(units, design)
        samples = samples[~samples["sample_id"].isin(left_out.index[left_out])]
        donors = donor_columns(samples)
        people = donors.assign(donor_id=donors.index)
        averaged = varying_columns(units[~left_out], people, formula_columns(design.formula))
        if averaged:
            own = over_donors(build(units[~left_out]), units["donor_id"], samples.groupby("sample_id")["n_cells"].sum())
        else:
            own = build(people)
        said = f"{repeats.reason}: a donor's samples were added up"
        notes = notes_of_sums(units, left_out, averaged, by="cells")
        return count_table(samples), people, replace(own, notes=(*own.notes, said, *notes))
    note = "each donor is a term of the design, so that its samples are compared with each other"
    own = with_donors(design, units.loc[design.matrix.index, "donor_id"].to_numpy(dtype=str))
    size = repeats.reason.partition(":")[0]
    return count_table(samples, unit="sample_id"), units, replace(own, notes=(*own.notes, f"{size}: {note}"))


def random_groups(units: pd.DataFrame, design: Design) -> tuple[pd.Series | None, tuple[str, ...]]:
    """The groups of the rows by the design's random term, None where none is needed; and what a reader must know.

    Parameters
    ----------
    units
        What is known of each row, those of the design among them.

    Raises
    ------
    CannotFit
        As `group_labels` and `told_apart`.
    """
    if not design.random:
        return None, ()
    own, term = units.loc[design.matrix.index], f"(1 | {quoted(design.random)})"
    if is_donor(design.random, own) and not are_repeated(own):
        return None, (
            f"{term}: each donor has one sample, whose own effect is what the samples vary by: it adds nothing",
        )
    labels = group_labels(own, design.random)
    groups = told_apart(design, labels, design.random)
    if groups is None:
        return None, (f"{term}: the terms of the design hold what differs between its levels: it adds nothing",)
    size = f"{labels.nunique()} levels in {len(labels)} samples"
    return groups, (f"{term}: {size}; each cell type has a mixed model of its own, with variances of its own",)


def moderated_fit(values: np.ndarray, design: np.ndarray, column: int) -> dict[str, np.ndarray]:
    """Least squares for each cell type with limma's moderated variance.

    Parameters
    ----------
    values
        Donors x cell types.
    design
        Donors x coefficients.
    column
        The coefficient.

    Returns
    -------
    effect, se, p_value and df (degrees of freedom) of each cell type.

    References
    ----------
    Smyth (2004), Stat. Appl. Genet. Mol. Biol. 3:3; Phipson et al. (2022), Bioinformatics 38:4720.
    """
    import pylimma

    fit = pylimma.lm_fit(values.T, design)
    if np.mean(fit["sigma"] > LEAST_SD) <= 0.5:
        raise CannotFit("most cell types have the same share in every donor of an age: there is no variance to test by")
    fit = pylimma.e_bayes(fit, robust=True)
    return {
        "effect": fit["coefficients"][:, column],
        "se": fit["stdev_unscaled"][:, column] * np.sqrt(fit["s2_post"]),
        "p_value": fit["p_value"][:, column],
        "df": np.broadcast_to(fit["df_total"], values.shape[1]),
    }


def log_abundances(counts: np.ndarray, design: np.ndarray) -> np.ndarray:
    """log2 abundances whose least squares are the regression of mean powers of the counts (`POWER`).

    For each cell type the mean of the power of its counts, as a part of the donor's cells, is log-linear in the
    design: a gamma regression. Returned is its working response, the fitted logarithm plus the relative deviation.

    Parameters
    ----------
    counts
        Donors x cell types, cells.
    design
        Donors x coefficients.

    References
    ----------
    McCullagh & Nelder (1989), Generalized Linear Models, 2nd ed., 2.5 and 8.3.
    """
    import statsmodels.api as sm

    powers = (counts + POWER_PSEUDOCOUNT) ** POWER
    cells = POWER * np.log(counts.sum(axis=1))
    family = sm.families.Gamma(sm.families.links.Log())
    logs = np.empty(counts.shape)
    for place, own in enumerate(powers.T):
        model = sm.GLM(own, design, family=family, offset=cells)
        # The scale does not matter for the mean; estimated, it fails on a cell type with one count in all donors.
        fit = model.fit(scale=1.0, maxiter=200, tol=1e-10, tol_criterion="params")
        logs[:, place] = design @ fit.params + own / fit.fittedvalues - 1
    return logs / (POWER * np.log(2))


def plausible_references(effect: np.ndarray, se: np.ndarray, n_donors: float) -> tuple[np.ndarray, np.ndarray]:
    """The sets of cell types that may be those that keep still, with how plausible each is.

    A set is a majority of the cell types, next to each other when sorted by effect. It is the more plausible the
    closer its effects are and the fewer cell types it says move, by the extended BIC (k log K for the log number of
    sets): each that moves costs log(donors) + 2 log(cell types).

    Parameters
    ----------
    effect, se
        Of the centred log-ratios, one per cell type; at least two.
    n_donors
        That they were estimated from.

    Returns
    -------
    Probability of each set, adding up to 1; and weights of the cell types in it (sets x cell types), by precision
    and adding up to 1, all the same where one alone would have more than `LARGEST_WEIGHT`.

    References
    ----------
    Chen & Chen (2008), Biometrika 95:759 (extended BIC); Hoeting et al. (1999), Stat. Sci. 14:382 (model averaging).
    """
    n_types = len(effect)
    order = np.argsort(effect, kind="stable")
    cost = np.log(n_donors) + 2 * np.log(n_types)
    weights, criterion = [], []
    for size in range(n_types // 2 + 1, n_types + 1):
        for first in range(n_types - size + 1):
            still = order[first : first + size]
            weight = np.zeros(n_types)
            weight[still] = 1 / se[still] ** 2
            spread = (weight * (effect - np.average(effect, weights=weight)) ** 2).sum()
            criterion.append(spread + cost * (n_types - size))
            if weight.max() > LARGEST_WEIGHT * weight.sum():
                weight[still] = 1.0
            weights.append(weight / weight.sum())
    probability = np.exp(-(np.array(criterion) - min(criterion)) / 2)
    return probability / probability.sum(), np.array(weights)


def compare_types(counts: pd.DataFrame, design: Design, labels: pd.Series | None = None) -> pd.DataFrame:
    """Test for each cell type whether it changes against the reference, and whether its share does.

    Parameters
    ----------
    counts
        Donors x cell types, cells; the donors of `design`, at least two cell types.
    design
        Of these donors.
    labels
        Group of each, whose effect is random; None for none. With groups the variances are not moderated: cell types
        differ in how much of theirs lies between groups.

    Returns
    -------
    One row per cell type (index): log2_fold_change, lfc_se, ci_low, ci_high (95 %), stat, p_value, padj,
    lfc_per_decade, reference_weight, share_log2_odds, share_p_value, share_padj.

    Notes
    -----
    The effect is the mean over the plausible references. Its variance is that of the donors plus the mean squared
    difference of the effects against two references drawn at random, which is twice their variance. Once their
    variance holds if movers lie anywhere; where two move together, a wrong majority looks better than that.

    References
    ----------
    Aitchison (1982), J. R. Stat. Soc. B 44:139 (log-ratios); Zhou, He, Chen, Zhang (2022), Genome Biology 23:95
    (effects against the majority); Buckland, Burnham, Augustin (1997), Biometrics 53:603 (variance between models);
    Phipson et al. (2022), Bioinformatics 38:4720 (moderated t on logits).
    """
    from scipy.stats import t

    matrix, column = contrast_as_coefficient(design.matrix.to_numpy(), design.contrasts[0].weights)
    groups = None if labels is None else groups_of(matrix, labels.loc[counts.index].to_numpy(dtype=str))

    def fits(values: np.ndarray) -> dict[str, np.ndarray]:
        return moderated_fit(values, matrix, column) if groups is None else mixed_fits(values, groups, column)

    logs = log_abundances(counts.to_numpy(), matrix)
    centred = fits(logs - logs.mean(axis=1, keepdims=True))
    # What groups share, they tell once: of a term that differs between groups alone there are as many values as groups.
    n_told = len(logs) if groups is None else matrix.shape[1] + float(np.median(centred["df"]))
    probability, weights = plausible_references(centred["effect"], centred["se"], n_told)
    # Divided so that each cell type is compared with the others of the reference, not also with itself.
    contrasts = (np.eye(weights.shape[1]) - weights[:, None, :]) / (1 - weights)[:, :, None]
    fit = fits(logs @ np.tensordot(probability, contrasts, axes=1).T)
    effect = fit["effect"]
    between = probability @ (contrasts @ centred["effect"] - effect) ** 2
    se = np.sqrt(fit["se"] ** 2 + 2 * between)
    p_value, reach = 2 * t.sf(np.abs(effect / se), fit["df"]), t.ppf(0.975, fit["df"]) * se
    cells = counts.to_numpy() + PSEUDOCOUNT
    share = fits(np.log2(cells / (cells.sum(axis=1, keepdims=True) - cells)))
    return pd.DataFrame(
        {
            "log2_fold_change": effect,
            "lfc_se": se,
            "ci_low": effect - reach,
            "ci_high": effect + reach,
            "stat": effect / se,
            "p_value": p_value,
            "padj": adjusted_p_values(p_value),
            "lfc_per_decade": effect / design.sd * 10 if design.of_age else np.nan,
            "reference_weight": probability @ weights,
            "share_log2_odds": share["effect"],
            "share_p_value": share["p_value"],
            "share_padj": adjusted_p_values(share["p_value"]),
        },
        index=counts.columns,
    )


def frequent_types(counts: pd.DataFrame) -> pd.Index:
    """Cell types that enough donors have to be tested."""
    return counts.columns[(counts > 0).mean() >= MIN_SHARE_OF_DONORS]


def describe_types(counts: pd.DataFrame, ids: pd.Series, donors: pd.Series) -> pd.DataFrame:
    """id, n_cells, n_donors (with a cell) and mean_proportion of each cell type (index).

    Parameters
    ----------
    donors
        Donor of each row of `counts`.
    """
    shares = counts.div(counts.sum(axis=1), axis=0)
    return pd.DataFrame(
        {
            "id": ids.reindex(counts.columns),
            "n_cells": counts.sum(),
            "n_donors": (counts > 0).groupby(donors).any().sum(),
            "mean_proportion": shares.mean(),
        }
    )


def proportions(counts: pd.DataFrame, ids: pd.Series, donors: pd.DataFrame, *, term: str = "age") -> pd.DataFrame:
    """The columns of proportions.tsv, one row per donor and cell type; shares of the cells of all cell types here.

    Where the test is of samples, one row per sample and cell type, and sample_of_donor follows donor_id. What a tested
    term other than age says of each is the last column.

    Parameters
    ----------
    counts
        Cells of each donor, or of each sample, by cell type.
    donors
        donor_id, age_years, sex of these, by the same index; sample_of_donor where they are samples.
    term
        The tested term.
    """
    table = counts.rename_axis(index="unit", columns="cell_type").stack().rename("n_cells").reset_index()
    table["proportion"] = table["n_cells"] / table.groupby("unit")["n_cells"].transform("sum")
    table["id"] = table["cell_type"].map(ids)
    known = donors[[*sample_key(donors), "age_years", "sex"]]
    columns = [*sample_key(donors), *PROPORTIONS[1:]]
    column = drawn_column(term, donors)
    if column not in ("", "age_years"):
        numeric = pd.api.types.is_numeric_dtype(donors[column]) and not pd.api.types.is_bool_dtype(donors[column])
        known = known.assign(**{TERM_VALUE: donors[column] if numeric else as_labels(donors[column])})
        columns.append(TERM_VALUE)
    table = table.join(known.rename_axis("unit"), on="unit")
    return table[columns].sort_values([*sample_key(donors), "id"], ignore_index=True)


def compare_donors(
    samples: pd.DataFrame, ids: pd.Series, *, formula: str, test_term: str, min_samples: int, contrast: str = ""
) -> tuple[pd.DataFrame, pd.DataFrame, dict]:
    """Both tables and the numbers of the summary.

    Parameters
    ----------
    samples
        As of `read_cells`.
    ids
        id of each cell type (index).

    Raises
    ------
    CannotFit
        Numbers of cells are unknown, fewer than two cell types can be tested, or the donors do not carry the design.
    """
    counts, units, design = rows_and_design(
        samples,
        partial(build_design, formula=formula, test_term=test_term, contrast=contrast, min_samples=min_samples),
    )
    if not design.signed:
        raise CannotFit(f"'{test_term}' has several coefficients; abundances are compared along one")
    used = counts.loc[design.matrix.index]
    groups, said = random_groups(units, design)
    tested = frequent_types(used)
    if len(tested) < 2:
        raise CannotFit(f"{len(tested)} of {counts.shape[1]} cell types are in half of the donors; two are needed")
    result = describe_types(used, ids, units["donor_id"].loc[used.index]).join(
        compare_types(used[tested], design, groups), how="inner"
    )
    table = result.rename_axis("cell_type").reset_index()[list(COLUMNS)]
    table = table.sort_values(["p_value", "id"], kind="stable", ignore_index=True)
    numbers = {
        "design": design.formula,
        "test_term": test_term,
        "contrast": design.contrasts[0].name,
        "meaning": design.meaning,
        "unit": design.unit,
        "test_term_mean": design.mean,
        "test_term_sd": design.sd,
        "n_donors_in": units["donor_id"].nunique(),
        "n_donors": units["donor_id"].loc[used.index].nunique(),
        **({"n_samples": len(used)} if len(used) > units["donor_id"].loc[used.index].nunique() else {}),
        "n_cells": int(used.to_numpy().sum()),
        "n_cell_types_in": counts.shape[1],
        "n_cell_types_tested": len(tested),
        "not_tested": {str(name): "in fewer than half of the donors" for name in counts.columns.difference(tested)},
        **count_calls(table),
        "notes": [*design.notes, *said],
    }
    return proportions(counts, ids, units, term=test_term), table, numbers


def count_calls(table: pd.DataFrame) -> dict[str, int]:
    """How many cell types grow, shrink, and have another share."""
    called = table["padj"] < ALPHA
    return {
        "n_up": int((called & (table["log2_fold_change"] > 0)).sum()),
        "n_down": int((called & (table["log2_fold_change"] < 0)).sum()),
        "n_share": int((table["share_padj"] < ALPHA).sum()),
    }
