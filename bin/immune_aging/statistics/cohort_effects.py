"""The effects of one cell type in several cohorts, brought to one question, one scale and one naming of genes."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from immune_aging.cohort.file_genes import ensembl_ids
from immune_aging.cohort.spellings import plain
from immune_aging.results import Results
from immune_aging.statistics.comparison import measured
from immune_aging.statistics.contrasts import AGAINST
from immune_aging.statistics.meta_analysis import errors_of_normal_test
from immune_aging.statistics.replication import EFFECTS
from immune_aging.task.command_line import BadInput

SAMPLES, SAMPLE_COLUMNS = "pseudobulk/samples.tsv", ("sample_id", "donor_id", "n_cells", "n_counts")
# Of de_summary.json.
SAID = ("cell_type", "n_samples", "design", "test_term", "contrast", "unit", "test_term_mean", "test_term_sd")
OTHER_VERSION = "give results of this version of the pipeline"
# Functions of a formula that measure a column by each cohort's own spread.
OWN_SPREAD = re.compile(r"\b(?:scale|standardize|poly)\s*\(")
ENSEMBL, SYMBOL = "Ensembl id without version", "symbol"
MOSTLY = 0.5  # of a cohort's genes: more with an Ensembl id, and they are matched by it


@dataclass(frozen=True)
class Cohort:
    """What one cohort published of its differential expression.

    Attributes
    ----------
    label
        Short name for tables; safe in a column's name.
    names
        The name of each cell type by id, with effects or without.
    tables, summaries
        de.tsv and de_summary.json by id, of the cell types that have effects.
    contrasts
        de_contrasts.tsv by id, of those that have several contrasts.
    left_out
        By id of each other cell type, why it has none.
    samples
        samples.tsv.
    """

    label: str
    names: Mapping[str, str]
    tables: Mapping[str, pd.DataFrame]
    summaries: Mapping[str, dict]
    contrasts: Mapping[str, pd.DataFrame]
    left_out: Mapping[str, str]
    samples: pd.DataFrame


@dataclass(frozen=True)
class Question:
    """What a cell type's effects are of.

    Attributes
    ----------
    term
        The tested term, or the number per unit of which the effect is.
    contrast
        As in de_summary.json.
    per_unit
        Whether effects are per unit of a number.
    """

    term: str
    contrast: str
    per_unit: bool

    @property
    def scale(self) -> str:
        """What effects on the common scale are, in words."""
        if not self.per_unit:
            return f"log2 fold change, {self.contrast}"
        return f"log2 fold change per {'decade of age' if self.term == 'age' else f'unit of {self.term}'}"

    @property
    def turned(self) -> str:
        """The contrast with its levels exchanged; '' where it has none."""
        levels = self.contrast.split(AGAINST)
        return AGAINST.join(reversed(levels)) if len(levels) == 2 else ""


def cohort_of(label: str, results: Results, *, source: str | Path) -> Cohort:
    """A cohort from its published files.

    Parameters
    ----------
    source
        Where they are from, for the message of an error.

    Raises
    ------
    BadInput
        A file lacks what is compared, as of an earlier version.
    """
    tables, summaries, left_out = measured(results)
    for identifier, summary in summaries.items():
        lacking = [name for name in SAID if name not in summary]
        if lacking:
            raise BadInput(f"{source}: cell_types/{identifier}/de_summary.json has no '{lacking[0]}'; {OTHER_VERSION}")
    samples = results.table(SAMPLES, SAMPLE_COLUMNS)
    if samples is None:
        raise BadInput(f"{source}: has no {SAMPLES}, or no sample in it; {OTHER_VERSION}")
    ids = sorted([*tables, *left_out])
    said = {one: results.summary(f"cell_types/{one}/de_summary.json") for one in ids}
    every = {one: results.table(f"cell_types/{one}/de_contrasts.tsv") for one in tables}
    return Cohort(
        label,
        {one: str(said[one].get("cell_type", one)) for one in ids},
        tables,
        summaries,
        {one: table for one, table in every.items() if table is not None},
        left_out,
        samples,
    )


def question_of(summary: Mapping) -> Question:
    """What a cell type's effects are of, given its de_summary.json."""
    per_unit = bool(summary.get("unit")) and bool(summary.get("test_term_sd"))
    term = summary["unit"] if per_unit else summary["test_term"]
    return Question(str(term), str(summary["contrast"]), per_unit)


def contrast_table(cohort: Cohort, identifier: str, asked: Question) -> tuple[pd.DataFrame | None, int, str]:
    """The table of a cell type that answers a question, the sign by which to take its effects, or why there is none.

    Parameters
    ----------
    asked
        In a cohort with several contrasts it may be any of them; levels may be the other way round.
    """
    own = question_of(cohort.summaries[identifier])
    if (own.term, own.per_unit) != (asked.term, asked.per_unit):
        return None, 1, f"tests {own.scale} ('{own.term}'), the other {asked.scale} ('{asked.term}')"
    if own.per_unit and OWN_SPREAD.search(own.term):
        return None, 1, f"'{own.term}' is measured by each cohort's own spread; test the column as it is"
    if own.contrast == asked.contrast:
        return cohort.tables[identifier], 1, ""
    parts = {own.contrast: cohort.tables[identifier]}
    if identifier in cohort.contrasts:
        every = cohort.contrasts[identifier].groupby("contrast")
        parts = {str(name): part.drop(columns="contrast") for name, part in every} | parts
    for contrast, sign in ((asked.contrast, 1), (asked.turned, -1)):
        if contrast in parts:
            return parts[contrast], sign, ""
    return None, 1, f"tests {' and '.join(sorted(parts))}, the other {asked.contrast}; give both the same --contrast"


def on_common_scale(table: pd.DataFrame, summary: Mapping, asked: Question, *, sign: int = 1) -> pd.DataFrame:
    """gene_id, symbol and `EFFECTS` of the genes that have a p: per decade of age, per unit, or level against level.

    `se` is that of a normal test (`errors_of_normal_test`).
    """
    factor = 1.0
    if asked.per_unit:
        factor = (10.0 if asked.term == "age" else 1.0) / float(summary["test_term_sd"])
    named = {"effect": "log2_fold_change", "se": "lfc_se", "p_value": "p_value", "padj": "padj"}
    numbers = pd.DataFrame({name: table[column].astype(float) for name, column in named.items()})
    known = (numbers[["effect", "se", "p_value"]].notna().all(axis=1) & (numbers["se"] > 0)).to_numpy()
    own = numbers[known]
    se = errors_of_normal_test(own["effect"].to_numpy(), own["p_value"].to_numpy(), own["se"].to_numpy())
    scaled = own.assign(effect=own["effect"] * factor * sign, se=se * factor)
    return table.loc[known, ["gene_id", "symbol"]].join(scaled[list(EFFECTS)]).reset_index(drop=True)


def genes_matched_by(cohorts: Sequence[Cohort]) -> str:
    """`ENSEMBL` where most genes of each cohort have such an id, else `SYMBOL`."""
    for cohort in cohorts:
        ids = sorted({gene for table in cohort.tables.values() for gene in table["gene_id"].astype(str)})
        if ids and (ensembl_ids(ids) != "").mean() <= MOSTLY:
            return SYMBOL
    return ENSEMBL


def by_gene(table: pd.DataFrame, matched_by: str) -> tuple[pd.DataFrame, int, int]:
    """The genes of a table by the name that cohorts have in common.

    Parameters
    ----------
    matched_by
        Of `genes_matched_by`. By id a gene without an Ensembl id goes by the id it has.

    Returns
    -------
    The table by that name (index); numbers of genes left out because they have none, and because several share one.
    """
    ids = table["gene_id"].astype(str).to_numpy()
    if matched_by == ENSEMBL:
        found = ensembl_ids(ids)
        keys = np.where(found != "", found, ids)
    else:
        keys = table["symbol"].fillna("").astype(str).to_numpy()
    named = keys != ""
    several = pd.Series(keys).duplicated(keep=False).to_numpy() & named
    kept = table[named & ~several].set_axis(pd.Index(keys[named & ~several], name="gene"))
    return kept.sort_index(), int((~named).sum()), int(several.sum())


def match_cell_types(own: Mapping[str, str], other: Mapping[str, str]) -> dict[str, str]:
    """Which cell type of another cohort is which of this one, by id.

    By equal names; where there is none, by names that differ in case, blanks or look-alike hyphens only, if one of
    each cohort does.

    Parameters
    ----------
    own, other
        Names by id.
    """
    exact = {name: identifier for identifier, name in other.items()}
    found = {identifier: exact[name] for identifier, name in own.items() if name in exact}
    rest = {one: plain(name) for one, name in own.items() if one not in found}
    free = {one: plain(name) for one, name in other.items() if one not in found.values()}
    for identifier, name in rest.items():
        alike = [one for one, text in free.items() if text == name]
        if len(alike) == 1 and list(rest.values()).count(name) == 1:
            found[identifier] = alike[0]
    return dict(sorted(found.items()))
