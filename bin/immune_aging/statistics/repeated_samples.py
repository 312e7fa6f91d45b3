"""Several samples of a donor are not independent: which analysis a tested term may have, and the designs for it.

A term that is constant within donors (sex, age at one visit) has as many observations as there are donors: the samples
of a donor are summed. A term that varies within them (a condition, a visit) is told by comparing a donor with itself:
the donor is a fixed term, and both engines are valid. Between the two, and with very many donors, the donor is a random
effect in voom, which uses both kinds of information; PyDESeq2 has no random effects and is left out.

References
----------
Smyth, Michaud, Scott (2005), Bioinformatics 21:2067 (duplicateCorrelation); Zimmerman, Espeland, Langefeld (2021),
Nature Communications 12:738 (what ignoring donors does).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from immune_aging.samples.cell_type_samples import CellTypeSamples, summed_by_donor
from immune_aging.statistics.contrasts import Contrast
from immune_aging.statistics.designs import MIN_RESIDUAL_DF, Design
from immune_aging.statistics.formulas import formula_columns, is_donor, source_column
from immune_aging.task.skipped import CannotFit

# Share of a contrast's information that comes from between donors: above the first the samples of a donor are summed,
# under the second donors are compared with themselves.
BETWEEN, WITHIN = 0.9, 0.1
# A negative binomial fit costs coefficients squared: with more donors than the first voom tests alone. Its cost grows
# with the third power of the coefficients: with more donors than the second they are a random effect.
MAX_DESEQ_DONORS, MAX_FIXED_DONORS = 40, 150
DIGITS = 9


@dataclass(frozen=True)
class Repeats:
    """How several samples of a donor enter.

    Attributes
    ----------
    use
        'none' (each donor has one sample), 'sum' (of the samples of a donor), 'fixed' (the donor is a term) or
        'random' (a random effect, in voom alone).
    reason
        Why, for a person.
    share_between
        Share of the leading contrast's information that comes from between donors.
    voom_alone
        Whether PyDESeq2 is left out.
    notes
        What else a person must know, of sums.
    """

    use: str
    reason: str
    share_between: float = 1.0
    voom_alone: bool = False
    notes: tuple[str, ...] = ()


ONE_EACH = Repeats("none", "each donor has one sample")


def are_repeated(samples: pd.DataFrame) -> bool:
    """Whether some donor has several samples."""
    return bool(samples["donor_id"].duplicated().any())


def share_between(design: Design, donors: np.ndarray) -> float:
    """Share of the information on the leading contrast that comes from between donors, the least over its hypotheses.

    An estimate is a sum of the samples' values with weights. Where the term is constant within donors, so are the
    weights; where it varies within them only, they add up to 0 in each donor.

    Parameters
    ----------
    donors
        Of each sample of the design.
    """
    matrix = design.matrix.to_numpy(dtype=float)
    hypotheses = design.contrasts[0].hypotheses
    weights = matrix @ np.linalg.solve(matrix.T @ matrix, hypotheses.T)
    codes = pd.factorize(donors)[0]
    sums = np.zeros((codes.max() + 1, weights.shape[1]))
    np.add.at(sums, codes, weights)
    size = np.bincount(codes)
    return float(((sums**2 / size[:, None]).sum(axis=0) / (weights**2).sum(axis=0)).min())


def choose_repeats(samples: pd.DataFrame, design: Design) -> Repeats:
    """Decide how several samples of a donor enter.

    Parameters
    ----------
    samples
        Those of the design among them.
    design
        As it was asked for, of samples.
    """
    own = samples.loc[design.matrix.index]
    if not are_repeated(own):
        return ONE_EACH
    donors = own["donor_id"].to_numpy(dtype=str)
    n_donors, n_samples = len(set(donors)), len(donors)
    share = share_between(design, donors)
    size = f"{n_samples} samples of {n_donors} donors"
    if is_donor(design.random, own):
        return Repeats("random", f"{size}: the design says (1 | donor)", share, voom_alone=True)
    if any(is_donor(name, own) for name in formula_columns(design.formula)):
        return Repeats("none", f"{size}: the donor is a term of the design", share)
    if share >= BETWEEN:
        return Repeats("sum", f"{size}: '{design.test_term}' is the same, or nearly, in all samples of a donor", share)
    if share > WITHIN:
        why = f"'{design.test_term}' varies both within donors and between them"
        return Repeats("random", f"{size}: {why}", share, voom_alone=True)
    if n_donors > MAX_FIXED_DONORS:
        why = f"'{design.test_term}' varies within donors, too many for a term each"
        return Repeats("random", f"{size}: {why}", share, voom_alone=True)
    try:
        with_donors(design, donors)
    except CannotFit as reason:
        return Repeats("random", f"{size}: {reason}", share, voom_alone=True)
    why = f"'{design.test_term}' varies within donors"
    return Repeats("fixed", f"{size}: {why}", share, voom_alone=n_donors > MAX_DESEQ_DONORS)


def left_out_of_sums(samples: pd.DataFrame, design: Design) -> pd.Series:
    """Which samples have no value for a design that another sample of their donor has values for.

    The donor's sum is of the others, as it is where a sample's age is unknown. A donor without any such sample stays.

    Parameters
    ----------
    samples
        Those of the design among them.
    """
    used = pd.Series(samples.index.isin(design.matrix.index), index=samples.index)
    donors = samples["donor_id"].astype(str)
    return ~used & donors.isin(donors[used])


def varying_columns(samples: pd.DataFrame, donors: pd.DataFrame, names: Sequence[str]) -> list[str]:
    """The names in a design that samples, but not the sums of each donor's, have a column for.

    Parameters
    ----------
    donors
        What is known of the sums: the columns that a donor's samples agree in, and their mean age.
    """
    sources = {name: source_column(name, samples) for name in names}
    return [name for name, source in sources.items() if source not in donors or source_column(name, donors) != source]


def notes_of_sums(samples: pd.DataFrame, left_out: pd.Series, averaged: Sequence[str], *, by: str) -> tuple[str, ...]:
    """What a reader must know of sums of the samples of each donor: what is not in them, and what is a mean.

    Parameters
    ----------
    left_out
        Of `left_out_of_sums`.
    averaged
        Names in the design that differ between the samples of a donor.
    by
        By what samples count in such a mean: 'counts' or 'cells'.
    """
    notes = []
    if left_out.any():
        n_donors = samples.loc[left_out, "donor_id"].nunique()
        notes.append(
            f"{int(left_out.sum())} samples of {n_donors} donors have no value for a design column and are not in "
            "their donors' sums"
        )
    if averaged:
        shown = ", ".join(f"'{name}'" for name in averaged)
        notes.append(f"{shown}: differs between the samples of a donor; the donor's is their mean, by their {by}")
    return tuple(notes)


def in_basis(
    design: Design, matrix: np.ndarray, basis: np.ndarray, *, otherwise: str = ""
) -> tuple[np.ndarray, tuple[Contrast, ...]]:
    """A design matrix in a basis of its rows, and the same contrasts of the new coefficients.

    Parameters
    ----------
    matrix
        Rows x the coefficients of `design`.
    basis
        Coefficients x new coefficients, orthonormal.
    otherwise
        The reason where a contrast cannot be told; '' says that the donors hide it.

    Raises
    ------
    CannotFit
        A contrast cannot be told from these rows.
    """

    def turned(weights: np.ndarray, contrast: Contrast) -> np.ndarray:
        new = weights @ basis
        if np.abs(new @ basis.T - weights).max() > 1e-6 * np.abs(weights).max():
            which = f" ({contrast.name})" if len(design.contrasts) > 1 else ""
            raise CannotFit(otherwise or f"'{design.test_term}'{which} cannot be told apart from the donors")
        return np.round(new, DIGITS) + 0.0

    contrasts = tuple(
        replace(
            one,
            weights=turned(one.weights, one),
            hypothesis=None if one.hypothesis is None else np.array([turned(row, one) for row in one.hypothesis]),
        )
        for one in design.contrasts
    )
    return matrix @ basis, contrasts


def row_space(matrix: np.ndarray) -> np.ndarray:
    """An orthonormal basis of the rows of a matrix, coefficients x rank; the unit vectors where its rank is full."""
    if np.linalg.matrix_rank(matrix) == matrix.shape[1]:
        return np.eye(matrix.shape[1])
    _, size, basis = np.linalg.svd(matrix, full_matrices=False)
    return basis[size > size[0] * 1e-8].T


def with_donors(design: Design, donors: np.ndarray) -> Design:
    """The design with each donor as a term, and of the other terms what varies within donors.

    Parameters
    ----------
    donors
        Of each sample of the design.

    Raises
    ------
    CannotFit
        The tested term does not vary within donors, or too few samples are left to estimate a variance.
    """
    indicator = pd.get_dummies(pd.Series(donors), dtype=float)
    size = indicator.to_numpy()
    matrix = design.matrix.to_numpy(dtype=float)
    within = matrix - size @ ((size.T @ matrix) / size.sum(axis=0)[:, None])
    within[np.abs(within) < 1e-10] = 0
    new, contrasts = in_basis(design, within, row_space_of_parts(within))
    n_coefficients = size.shape[1] + new.shape[1]
    if len(matrix) - n_coefficients < MIN_RESIDUAL_DF:
        raise CannotFit(f"{len(matrix)} samples for {n_coefficients} coefficients with each donor as a term: too few")
    columns = {f"donor {name}": indicator[name].to_numpy() for name in indicator}
    columns |= {f"within donors {place + 1}": values for place, values in enumerate(new.T)}
    pad = size.shape[1]

    def padded(weights: np.ndarray) -> np.ndarray:
        return np.concatenate([np.zeros((*weights.shape[:-1], pad)), weights], axis=-1)

    return replace(
        design,
        matrix=pd.DataFrame(columns, index=design.matrix.index),
        contrasts=tuple(
            replace(
                one,
                weights=padded(one.weights),
                hypothesis=None if one.hypothesis is None else padded(one.hypothesis),
            )
            for one in contrasts
        ),
    )


def row_space_of_parts(matrix: np.ndarray) -> np.ndarray:
    """As `row_space`, with the coefficients of columns that are 0 left out rather than turned."""
    used = np.flatnonzero(np.abs(matrix).max(axis=0) > 0)
    inner = row_space(matrix[:, used]) if len(used) else np.empty((0, 0))
    basis = np.zeros((matrix.shape[1], inner.shape[1]))
    basis[used] = inner
    return basis


def over_donors(design: Design, donors: pd.Series, library: pd.Series) -> Design:
    """A design of samples as one of donors: each donor's row is the mean of its samples' by their counts.

    Parameters
    ----------
    donors, library
        Donor and number of counts of each sample, index sample_id.

    Raises
    ------
    CannotFit
        The tested term cannot be told from the donors' means, or the donors are too few.
    """
    names = design.matrix.index
    own, weight = donors.loc[names].astype(str), library.loc[names].astype(float)
    weight = weight / weight.groupby(own).transform("sum")
    means = design.matrix.mul(weight, axis=0).groupby(own).sum()
    matrix = means.to_numpy(dtype=float)
    basis = row_space(matrix)
    new, contrasts = in_basis(design, matrix, basis)
    if len(new) - new.shape[1] < MIN_RESIDUAL_DF:
        raise CannotFit(f"{len(new)} donors for {new.shape[1]} coefficients: too few")
    kept = new.shape[1] == matrix.shape[1]
    columns = list(means.columns) if kept else [f"between donors {place + 1}" for place in range(new.shape[1])]
    return replace(design, matrix=pd.DataFrame(new, index=means.index, columns=columns), contrasts=contrasts)


def rows_of_donors(table: CellTypeSamples) -> CellTypeSamples:
    """A table of samples with one row per donor: counts added up, and the columns that its samples agree in."""
    summed = summed_by_donor(table)
    return replace(summed, samples=summed.samples.set_axis(pd.Index(summed.samples["donor_id"], name="sample_id")))
