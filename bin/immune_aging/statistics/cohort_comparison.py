"""Two or more cohorts side by side: each gene's effects put together, and what of one replicates in another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from immune_aging.samples import shared_donors
from immune_aging.statistics import across_cohorts, replication
from immune_aging.statistics.cohort_effects import (
    Cohort,
    Question,
    by_gene,
    contrast_table,
    genes_matched_by,
    match_cell_types,
    on_common_scale,
    question_of,
)
from immune_aging.statistics.meta_analysis import normal_score
from immune_aging.statistics.multiple_testing import ALPHA
from immune_aging.task.listing import first_of

PLACE = ("id", "cell_type")  # the first columns of every table but that of donors
DIRECTION = ("discovery", "replication")
EFFECT_TABLE = (*PLACE, "gene", "symbol", *across_cohorts.COLUMNS)  # then effect_, se_ and padj_COHORT of each cohort
DISCOVERY_TABLE = (*PLACE, *DIRECTION, "gene", "symbol", *replication.DISCOVERIES)
RATE_TABLE = (*PLACE, *DIRECTION, *replication.RATES)
CONCORDANCE_TABLE = (*PLACE, *DIRECTION, *replication.CONCORDANCE)
TABLES = {
    "effects": EFFECT_TABLE, "discoveries": DISCOVERY_TABLE, "rates": RATE_TABLE, "concordance": CONCORDANCE_TABLE,
}  # fmt: skip
MAX_LISTED = 5
UNITS_APART = 5.0  # SDs of a tested column that differ more may be of other units


@dataclass(frozen=True)
class CohortComparison:
    """What cohorts say of each other.

    Attributes
    ----------
    effects, discoveries, rates, concordance, donors
        The tables of the folder replication/.
    facts
        The summary, except `status` and `reason`.
    reason
        Why no cell type is compared; '' where one is.
    """

    effects: pd.DataFrame
    discoveries: pd.DataFrame
    rates: pd.DataFrame
    concordance: pd.DataFrame
    donors: pd.DataFrame
    facts: dict
    reason: str = ""


def effects_side_by_side(genes: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The genes that at least two cohorts test: put together, and each cohort's own effect.

    Parameters
    ----------
    genes
        By cohort: symbol and `EFFECTS` by gene.
    """
    columns = {name: pd.DataFrame({label: one[name] for label, one in genes.items()}) for name in replication.EFFECTS}
    effect, se, p_value = (columns[name].sort_index() for name in ("effect", "se", "p_value"))
    table = across_cohorts.combine_cohorts(effect, se, normal_scores(p_value, effect))
    for name in ("effect", "se", "padj"):
        table = table.join(columns[name].add_prefix(f"{name}_"))
    symbols = pd.concat([one["symbol"] for one in genes.values()])
    symbols = symbols[symbols.notna() & (symbols != "")]
    table.insert(0, "symbol", symbols[~symbols.index.duplicated()].reindex(table.index))
    order = table.rename_axis("gene").reset_index()
    return order.sort_values(["p_value", "gene"], kind="stable", ignore_index=True)


def normal_scores(p_value: pd.DataFrame, effect: pd.DataFrame) -> pd.DataFrame:
    """The normal scores of two-sided p values, with the sign of the effects; both of one shape."""
    scores = normal_score(p_value.to_numpy(dtype=float))
    return pd.DataFrame(scores * np.sign(effect.to_numpy(dtype=float)), index=effect.index, columns=effect.columns)


def doubts(this: Mapping, other: Mapping, asked: Question, label: str) -> list[str]:
    """What a reader must know of a cell type's samples in two cohorts, given their de_summary.json."""
    notes = []
    if this["design"] != other["design"]:
        notes.append(f"the design is '{this['design']}' here and '{other['design']}' in {label}")
    if asked.per_unit:
        means, sds = ([float(one[f"test_term_{what}"]) for one in (this, other)] for what in ("mean", "sd"))
        if max(sds) > UNITS_APART * min(sds):
            notes.append(
                f"the SD of '{asked.term}' is {sds[0]:.4g} here and {sds[1]:.4g} in {label}: if its units differ, so "
                "do those of the effects"
            )
        elif abs(means[0] - means[1]) > sum(sds):
            notes.append(
                f"'{asked.term}' is {means[0]:.4g} ± {sds[0]:.2g} here and {means[1]:.4g} ± {sds[1]:.2g} in {label} "
                "(mean ± SD): the effects are slopes over other ranges, which need not be equal"
            )
    return notes


@dataclass(frozen=True)
class CellTypeGenes:
    """The genes of one cell type in the cohorts that have it.

    Attributes
    ----------
    genes
        By cohort, this one first: symbol and `EFFECTS` by gene.
    facts
        By cohort: samples, genes tested, genes that no other cohort tests, and genes left out.
    left_out
        By cohort with the cell type whose effects cannot be compared: why.
    notes
        What a reader must know.
    """

    genes: dict[str, pd.DataFrame]
    facts: dict[str, dict]
    left_out: dict[str, str]
    notes: list[str]


def genes_of_cell_type(
    cohorts: Sequence[Cohort], ids: Mapping[str, str], asked: Question, matched_by: str
) -> CellTypeGenes:
    """Bring one cell type's effects of each cohort to one scale.

    Parameters
    ----------
    cohorts
        This one first.
    ids
        The cell type's id in each cohort that has it, by label.
    """
    genes, facts, left_out, notes = {}, {}, {}, []
    own_summary: Mapping = {}
    for cohort in cohorts:
        if cohort.label not in ids:
            continue
        identifier = ids[cohort.label]
        if identifier in cohort.left_out:
            left_out[cohort.label] = cohort.left_out[identifier]
            continue
        table, sign, why_not = contrast_table(cohort, identifier, asked)
        if table is None:
            left_out[cohort.label] = why_not
            continue
        summary = cohort.summaries[identifier]
        scaled = on_common_scale(table, summary, asked, sign=sign)
        genes[cohort.label], n_nameless, n_ambiguous = by_gene(scaled, matched_by)
        facts[cohort.label] = {
            "id": identifier,
            "n_samples": summary["n_samples"],
            "n_genes": len(genes[cohort.label]),
            "n_without_p": len(table) - len(scaled),
            "n_without_name": n_nameless,
            "n_ambiguous": n_ambiguous,
        }
        if own_summary:
            notes += doubts(own_summary, summary, asked, cohort.label)
        else:
            own_summary = summary
        if sign < 0:
            notes.append(f"{cohort.label} compares '{asked.turned}': its effects are taken the other way round")
    for label in genes:
        elsewhere = {gene for name, one in genes.items() if name != label for gene in one.index}
        facts[label]["n_genes_here_only"] = int((~genes[label].index.isin(elsewhere)).sum())
    return CellTypeGenes(genes, facts, left_out, notes)


def both_ways(genes: Mapping[str, pd.DataFrame], this: str) -> list[tuple[str, str]]:
    """Pairs of cohorts, discovery and replication: this one and each other, both ways."""
    return [pair for label in genes if label != this for pair in ((this, label), (label, this))]


def _placed(table: pd.DataFrame, **place: str) -> pd.DataFrame:
    """A table with what it is of as its first columns."""
    return pd.concat([pd.DataFrame(place, index=table.index), table], axis=1)


def joined(tables: Sequence[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    """Tables one below another; these columns where there is none."""
    filled = [table for table in tables if len(table)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=list(columns))


def donors_in_common(cohorts: Sequence[Cohort]) -> tuple[pd.DataFrame, list[str]]:
    """Donors that this cohort (the first) shares with another, and a note on each such cohort."""
    this, *others = cohorts
    parts, notes = [], []
    for other in others:
        found = shared_donors.shared_donors(this.samples, other.samples)
        found.insert(0, "cohort", this.label)
        found.insert(2, "other_cohort", other.label)
        parts.append(found)
        notes.append(shared_donors.note_on_shared(found, other.label))
    return joined(parts, shared_donors.COLUMNS), [note for note in notes if note]


def unmatched(cohorts: Sequence[Cohort], matches: Mapping[str, Mapping[str, str]]) -> dict[str, list[str]]:
    """Names of the cell types that no other cohort (of the first) or the first (of others) has, by cohort."""
    this, *others = cohorts
    anywhere = {one for own in matches.values() for one in own}
    found = {this.label: [name for one, name in this.names.items() if one not in anywhere]}
    for other in others:
        there = set(matches[other.label].values())
        found[other.label] = [name for one, name in other.names.items() if one not in there]
    return found


def compared_tables(
    genes: Mapping[str, pd.DataFrame], this: str, place: Mapping[str, str]
) -> dict[str, list[pd.DataFrame]]:
    """Everything that is computed of one cell type, as rows of the tables of replication/.

    None where this cohort or every other has no effects to compare, or no gene is in two of them.

    Parameters
    ----------
    genes
        Of `CellTypeGenes`.
    this
        Label of this cohort.
    place
        The cell type's id and name.
    """
    tables: dict[str, list[pd.DataFrame]] = {name: [] for name in TABLES}
    effects = effects_side_by_side(genes) if this in genes and len(genes) > 1 else pd.DataFrame()
    if not len(effects):
        return tables
    tables["effects"].append(_placed(effects, **place))
    for first, second in both_ways(genes, this):
        discoveries, rates, concordance = replication.replicate(genes[first], genes[second])
        direction = {**place, "discovery": first, "replication": second}
        called = discoveries.assign(symbol=genes[first]["symbol"].reindex(discoveries.index)).rename_axis("gene")
        called = called.reset_index().sort_values(["p_value_replication", "gene"], kind="stable", ignore_index=True)
        tables["discoveries"].append(_placed(called[["gene", "symbol", *replication.DISCOVERIES]], **direction))
        tables["rates"].append(_placed(pd.DataFrame([rates])[list(replication.RATES)], **direction))
        tables["concordance"].append(_placed(concordance, **direction))
    return tables


def compare_cohorts(cohorts: Sequence[Cohort]) -> CohortComparison:
    """Compare this cohort (the first) with others, cell type by cell type."""
    this, *others = cohorts
    matches = {other.label: match_cell_types(this.names, other.names) for other in others}
    matched_by = genes_matched_by(cohorts)
    tables: dict[str, list[pd.DataFrame]] = {name: [] for name in TABLES}
    facts: dict[str, dict] = {}
    left_out: dict[str, dict[str, str]] = {}
    said: list[tuple[str, str]] = []  # cell type, note
    for identifier, name in this.names.items():
        ids = {label: own[identifier] for label, own in matches.items() if identifier in own}
        if not ids:
            continue
        if identifier in this.left_out:
            left_out[identifier] = {this.label: this.left_out[identifier]}
            continue
        asked = question_of(this.summaries[identifier])
        found = genes_of_cell_type(cohorts, {this.label: identifier, **ids}, asked, matched_by)
        own = compared_tables(found.genes, this.label, {"id": identifier, "cell_type": name})
        reasons = dict(found.left_out)
        if len(found.genes) > 1 and not own["effects"]:
            reasons |= {label: f"no gene in common, by {matched_by}" for label in found.genes if label != this.label}
        if reasons:
            left_out[identifier] = reasons
        if not own["effects"]:
            continue
        for table, parts in own.items():
            tables[table] += parts
        effects = own["effects"][0]
        facts[identifier] = {
            "cell_type": name,
            "scale": asked.scale,
            "cohorts": found.facts,
            "n_genes": len(effects),
            "n_common": int((effects["padj"] < ALPHA).sum()),
            "n_heterogeneous": int((effects["heterogeneity_padj"] < ALPHA).sum()),
        }
        said += [(name, note) for note in found.notes]
    for identifier, reasons in left_out.items():
        said += [
            (this.names[identifier], f"not compared{'' if label == this.label else f' with {label}'}: {reason}")
            for label, reason in reasons.items()
        ]
    donors, notes = donors_in_common(cohorts)
    only = unmatched(cohorts, matches)
    summary = {
        "cohorts": [cohort.label for cohort in cohorts],
        "genes_matched_by": matched_by,
        "cell_types": facts,
        "left_out": left_out,
        "no_counterpart": only,
        "shared_donors": {other.label: _how_shared(donors, other.label) for other in others},
        "notes": [*notes, *_notes_on_unmatched(only), *_notes_on_cell_types(said)],
    }
    reason = "" if facts else "no cell type of this cohort has effects of the same question in another"
    every = {name: joined(tables[name], columns) for name, columns in TABLES.items()}
    return CohortComparison(**every, donors=donors, facts=summary, reason=reason)


def _how_shared(donors: pd.DataFrame, label: str) -> dict[str, int]:
    """How many pairs of donors this cohort shares with another, by how they were found."""
    own = donors[donors["other_cohort"] == label]
    return {how: int(n) for how, n in sorted(own["how"].value_counts().items())}


def _notes_on_unmatched(only: Mapping[str, Sequence[str]]) -> list[str]:
    """A note for each cohort that has cell types without a counterpart."""
    return [
        f"{len(names)} cell types of {label} have no counterpart ({first_of(names, MAX_LISTED)})"
        for label, names in only.items()
        if names
    ]


def _notes_on_cell_types(said: Sequence[tuple[str, str]]) -> list[str]:
    """Notes of cell types, those that say the same in one."""
    of: dict[str, list[str]] = {}
    for name, note in said:
        of.setdefault(note, []).append(name)
    return [f"{first_of(names, MAX_LISTED)}: {note}" for note, names in of.items()]
