"""The rows of a cell type that tests take, its samples or the sums of each donor's, and what makes designs of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from immune_aging.samples.cell_type_samples import CellTypeSamples
from immune_aging.statistics.designs import Design, as_labels
from immune_aging.statistics.formulas import formula_columns, source_column
from immune_aging.statistics.random_terms import refuse_varying_groups
from immune_aging.statistics.repeated_samples import (
    ONE_EACH,
    Repeats,
    are_repeated,
    choose_repeats,
    left_out_of_sums,
    notes_of_sums,
    over_donors,
    rows_of_donors,
    varying_columns,
    with_donors,
)
from immune_aging.task.skipped import CannotFit


@dataclass(frozen=True)
class IndependentRows:
    """Rows that tests may take, whatever is asked of them.

    Attributes
    ----------
    table
        The rows: one per donor where a donor's samples are summed.
    samples
        The samples that they are, or are sums of; sums may be of fewer donors.
    repeats
        How several samples of a donor enter.
    of_samples
        Whether designs are made of the samples and then turned into those of their sums, because these have not all of
        the columns.
    """

    table: CellTypeSamples
    samples: CellTypeSamples
    repeats: Repeats
    of_samples: bool = False

    def described(self, rows: pd.DataFrame) -> pd.DataFrame:
        """What designs of (some of) the rows are made of."""
        if not self.of_samples:
            return rows
        samples = self.samples.samples
        return samples[samples["donor_id"].isin(rows["donor_id"])]

    def design(self, asked: Design) -> Design:
        """Any design of what `described` gives as one of the rows.

        Raises
        ------
        CannotFit
            A contrast cannot be told from the rows, or they are too few.
        """
        if self.of_samples:
            samples = self.samples.samples
            library = pd.Series(self.samples.counts.sum(axis=1), index=samples.index)
            return over_donors(asked, samples["donor_id"], library)
        if self.repeats.use == "fixed":  # what of a batch is whole donors goes into their terms
            donors = self.table.samples.loc[asked.matrix.index, "donor_id"]
            return with_donors(asked, donors.to_numpy(dtype=str))
        return asked

    def with_levels(self, column: str) -> "IndependentRows":
        """The rows for a question of the levels of a column; where they are sums, of the samples that have a value.

        Raises
        ------
        CannotFit
            The column differs between the samples of a donor, which are summed.
        """
        samples = self.samples.samples
        refuse_levels_of_samples(samples, self.repeats, column)
        source = source_column(column, samples)
        if self.repeats.use != "sum" or source not in samples or source in self.table.samples:
            return self
        left = samples["donor_id"].isin(self.table.samples["donor_id"]) & as_labels(samples[source]).notna()
        own = self.samples.of(left.to_numpy())
        return replace(self, table=rows_of_donors(own), samples=own)


def refuse_levels_of_samples(samples: pd.DataFrame, repeats: Repeats, column: str) -> None:
    """Raise `CannotFit` where effects are asked within levels that samples of a donor differ in, which are summed."""
    source = source_column(column, samples)
    if repeats.use != "sum" or source not in samples:
        return
    levels = as_labels(samples[source]).groupby(samples["donor_id"].astype(str)).nunique()
    if levels.max() > 1:
        raise CannotFit(
            f"'{column}' differs between the samples of donor '{levels.idxmax()}', which are summed "
            f"({repeats.reason}); with + (1 | donor) in --design they are not"
        )


def independent_rows(
    table: CellTypeSamples, build: Callable[..., Design], *, batch: str = "", further: Sequence[str] = ()
) -> IndependentRows:
    """The rows of a cell type's samples for the question that a design asks.

    Parameters
    ----------
    build
        The design of (some of) the samples, with a `batch` or without.
    batch
        A column that will be a term of the design in any case; '' for none.
    further
        Other columns that the rows need.

    Raises
    ------
    CannotFit
        As `build`.
    """
    samples = table.samples
    if not are_repeated(samples):
        return IndependentRows(table, table, ONE_EACH)
    asked = build(samples)
    repeats = choose_repeats(samples, asked)
    if repeats.use != "sum":
        return IndependentRows(table, table, repeats)
    refuse_varying_groups(asked, samples)
    left_out = left_out_of_sums(samples, build(samples, batch=batch) if batch else asked)
    summed = table.of(~left_out.to_numpy())
    rows = rows_of_donors(summed)
    names = [*formula_columns(asked.formula), *([batch] if batch else []), *further]
    averaged = varying_columns(summed.samples, rows.samples, names)
    notes = notes_of_sums(samples, left_out, averaged, by="counts")
    return IndependentRows(rows, summed, replace(repeats, notes=notes), bool(averaged))
