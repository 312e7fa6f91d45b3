"""A pseudobulk table that the user gives instead of cells: how it is read, and brought into the pipeline's own form."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
from scipy import sparse

from immune_aging.cohort.ages import MIDPOINT
from immune_aging.cohort.cell_origins import mixed_kinds
from immune_aging.cohort.cohort_file import (
    Counts,
    column_names,
    open_cohort,
    prove_counts,
    read_blocks,
    read_table,
    source_texts,
    symbols_of,
)
from immune_aging.cohort.count_evidence import find_counts
from immune_aging.cohort.donor_doubts import (
    ages_apart,
    missing_kept,
    one_under_several_names,
    spelt_alike_elsewhere,
)
from immune_aging.cohort.donor_facts import with_donor_table
from immune_aging.cohort.donors import OWN_COLUMNS, donor_table, match, one_per_donor, plain, repeated, sample_key
from immune_aging.cohort.examination import age_doubts, column_problems, key_problems, notes_on_unused
from immune_aging.cohort.features import feature_kinds, feature_notes
from immune_aging.cohort.filtering import choose_cell_types, lacking, of_unknown_age
from immune_aging.cohort.gene_symbols import GeneNames, SymbolTable, gene_names
from immune_aging.cohort.number_codes import note_far_codes, without_missing_numbers
from immune_aging.cohort.spool import of_genes
from immune_aging.cohort.tidy_labels import tidied
from immune_aging.samples.pseudobulk_table import sample_table, totals
from immune_aging.samples.sample_rules import reasons_to_leave_out
from immune_aging.samples.some_files import note_on, read_some_files
from immune_aging.task.checkpoints import SAMPLE_OF_DONOR, VARYING, unique_slugs
from immune_aging.task.command_line import BadInput

# Number of cells of a sample: ours, decoupler's, Seurat's and people's; the first that is there counts.
CELL_NUMBERS = (
    "n_cells", "psbulk_cells", "psbulk_n_cells", "ncells", "n_cell", "num_cells", "cell_count", "cell_counts",
    "number_of_cells",
)  # fmt: skip
AGE_COLUMNS = ("age_years", "age")  # our own tables have the first, many others the second


@dataclass(frozen=True)
class GivenTable:
    """What the user's file says.

    Attributes
    ----------
    where
        How messages name the file.
    layer
        The name of the matrix with the sums.
    sums
        Samples x genes, raw sums, 64-bit integers.
    obs, var
        Its samples and genes; names of donors, samples and cell types without hidden characters.
    columns
        Name of the obs column of each role: donor, cell_type, age and sex where they are used, and sample where donors
        have several.
    age_ranges
        What becomes of ages given as intervals: 'midpoint' or 'drop'.
    notes
        What was changed in the labels of its samples.
    source
        What the file says of itself (`source_texts`).
    some_files
        Sums of genes that not all samples were measured for, samples x genes, and their names; None for none.
    """

    where: str
    layer: str
    sums: sparse.csr_matrix
    obs: pd.DataFrame
    var: pd.DataFrame
    columns: dict[str, str]
    age_ranges: str
    notes: tuple[str, ...]
    source: dict[str, str]
    some_files: tuple[sparse.csr_matrix, dict] | None = None


@dataclass(frozen=True)
class GivenSamples:
    """A given table in the pipeline's own form.

    Attributes
    ----------
    table
        The samples that have a donor, a cell type and, where ages are used, a known age, as `sample_table` makes it.
    types
        The table of cell types.
    donors
        One row per donor of the file: donor_id, age_years, sex, n_cells, kept, reason.
    samples
        The same of each sample of a donor, with sample_of_donor and the columns that are constant within samples; None
        where donors have no samples of their own.
    in_few_donors
        Names of the cell types that the rule about donors leaves out.
    genes
        How its genes are called.
    notes
        What a person should know of its donors and ages.
    """

    table: anndata.AnnData
    types: pd.DataFrame
    donors: pd.DataFrame
    samples: pd.DataFrame | None
    in_few_donors: tuple[str, ...]
    genes: GeneNames
    notes: tuple[str, ...]


def columns_in(names: list[str], wanted: Mapping[str, str], *, where: str) -> dict[str, str]:
    """The obs column of each role; the age may also be in a column that is called as our tables call it.

    Raises
    ------
    BadInput
        Columns are missing; all of them are named.
    """
    columns = dict(wanted)
    if "age" in wanted:
        columns["age"] = next((name for name in (wanted["age"], *AGE_COLUMNS) if name in names), wanted["age"])
    problems = column_problems(columns, names)
    if problems:
        raise BadInput(f"{where}: " + " | ".join(problems))
    return columns


def read_sums(file: h5py.File, counts: Counts, genes: np.ndarray, *, where: str) -> sparse.csr_matrix:
    """The sums of a matrix, samples x genes, 64-bit integers; what is no gene has none.

    Parameters
    ----------
    genes
        Mask of the matrix's columns.
    where
        How messages name the matrix.

    Raises
    ------
    BadInput
        A value is no count.
    """
    blocks = [
        prove_counts(of_genes(block, genes, here), where=where, rounded=counts.rounded)
        for _, here, block in read_blocks(file, counts)
    ]
    # A file by genes comes in blocks of genes, any other in blocks of samples.
    stack = sparse.hstack if counts.layout == "csc" else sparse.vstack
    return stack(blocks, format="csr").astype(np.int64)


def read_given_table(
    path: Path,
    *,
    columns: Mapping[str, str],
    counts_layer: str,
    age_ranges: str = MIDPOINT,
    round_counts: bool = False,
    donor_facts: Path | None = None,
) -> GivenTable:
    """Read a table of samples x genes.

    Parameters
    ----------
    columns
        Name of the obs column of each role: donor, cell_type, age, sex, and sample where donors have several.
    counts_layer
        'auto', 'X', 'raw.X' or the name of a layer.
    age_ranges
        What becomes of ages given as intervals: 'midpoint' or 'drop'.
    round_counts
        Counts that are fractions may be rounded.
    donor_facts
        A table of facts about donors that the file need not have; None for none.

    Raises
    ------
    BadInput
        A column is missing, the table contradicts the file, or no matrix holds raw sums.
    """
    where = f"--pseudobulk {path.name}"
    with open_cohort(path) as file:
        ages = (columns["age"], *AGE_COLUMNS) if "age" in columns else ()
        given, wrong, joining = with_donor_table(
            read_table(file, "obs"), donor_facts, columns, unit="samples", ages=ages
        )
        if wrong:
            raise BadInput(f"{where}: " + " | ".join(wrong))
        names = list(dict.fromkeys([*column_names(file, "obs"), *given.columns]))
        columns = columns_in(names, columns, where=where)
        found = find_counts(file, where, counts_layer=counts_layer, round_counts=round_counts, of_cells=False)
        layer, counts = found.layer, found.counts
        obs, changes = tidied(given, columns, unit="samples")
        var, source = read_table(file, counts.var_path), source_texts(file)
        genes = feature_kinds(var, symbols_of(var)) == ""
        some_files = read_some_files(file, var.index, where)
        sums = read_sums(file, counts, genes, where=f"{where}: {layer}")
    notes = [
        *notes_on_unused(columns),
        *joining,
        *changes,
        *found.notes,
        *notes_of_cell_numbers(obs),
        *mixed_kinds(obs, columns),
        *feature_notes(feature_kinds(var, symbols_of(var)), var.index.astype(str).to_numpy(dtype=object)),
    ]
    if some_files is not None:
        notes.append(note_on(some_files[1]))
    if not genes.all():
        sums, var = sums[:, np.flatnonzero(genes)], var[genes]
    return GivenTable(where, layer, sums, obs, var, columns, age_ranges, tuple(notes), source, some_files)


def donors_of(given: GivenTable) -> tuple[pd.DataFrame, list[str]]:
    """One row per donor, or per sample of a donor, as `donor_table` makes it; and notes on donors and ages.

    Raises
    ------
    BadInput
        A donor has two ages or sexes, no age can be read, or a gene's name occurs twice.
    """
    columns = given.columns
    notes: list[str] = []
    donors, problems = donor_table(
        given.obs, donor=columns["donor"], age=columns.get("age"), sex=columns.get("sex"),
        sample=columns.get("sample"), age_ranges=given.age_ranges,
    )  # fmt: skip
    problems += key_problems(donors)
    if not problems and len(donors) and ("age" not in columns or donors["age_years"].notna().any()):
        if "age" in columns:
            problems, notes = age_doubts(donors, columns["age"], age_ranges=given.age_ranges, numbers=False)
        own = [*OWN_COLUMNS, columns.get("age", "")]
        donors, changes = without_missing_numbers(donors, own)
        notes = [*notes, *changes, *note_far_codes(donors, own)]
        notes += [*one_under_several_names(donors), *ages_apart(donors), *missing_kept(donors, OWN_COLUMNS)]
        notes += spelt_alike_elsewhere(donors, OWN_COLUMNS)
    if name := repeated(given.var.index.astype(str).to_numpy(dtype=object)):
        problems.append(f"var names: '{name}' occurs twice; make them unique with adata.var_names_make_unique()")
    if problems:
        raise BadInput(f"{given.where}: " + " | ".join(problems))
    return donors, notes


def cell_numbers(obs: pd.DataFrame) -> pd.Series | None:
    """The column that tells of how many cells each sample is the sum, by its name; None where there is none.

    Numbers may be written as text.
    """
    for name in CELL_NUMBERS:
        if name not in obs:
            continue
        values = plain(obs[name])
        numbers = values if pd.api.types.is_numeric_dtype(values) else pd.to_numeric(values, errors="coerce")
        if numbers.notna().sum() == values.notna().sum() > 0:
            return numbers.rename(name)
    return None


def notes_of_cell_numbers(obs: pd.DataFrame) -> list[str]:
    """A note on a column of cell numbers that is not called n_cells, and on a table without one."""
    sizes = cell_numbers(obs)
    if sizes is None:
        return [
            "the table does not tell of how many cells each sample is the sum (n_cells): small samples are not left "
            "out by --min_cells_per_sample"
        ]
    return [] if sizes.name == "n_cells" else [f"column '{sizes.name}' is taken for the number of cells of each sample"]


def usable_samples(given: GivenTable, donors: pd.DataFrame) -> tuple[pd.DataFrame, sparse.csr_matrix, np.ndarray]:
    """The samples that have a donor, a cell type and, where ages are used, a known age.

    Returns
    -------
    donor_id, sample_of_donor where donors have several samples, cell_type, n_cells (NaN where the file does not say),
    one row per sample; their sums; and which rows of the file they are.

    Raises
    ------
    BadInput
        No sample is left, or a donor, or a sample of a donor, has two rows of one cell type.
    """
    obs, columns = given.obs, given.columns
    roles = {"donor_id": "donor", SAMPLE_OF_DONOR: "sample", "cell_type": "cell_type"}
    labels = {name: obs[columns[role]] for name, role in roles.items() if role in columns}
    samples = pd.DataFrame({name: label.astype(str).to_numpy(dtype=object) for name, label in labels.items()})
    sizes = cell_numbers(obs)
    samples["n_cells"] = np.full(len(obs), np.nan) if sizes is None else sizes.to_numpy()
    used = np.logical_and.reduce([label.notna().to_numpy() for label in labels.values()])
    if "age" in columns:
        used &= match(samples, donors, ["age_years"])["age_years"].notna().to_numpy()
    samples = samples[used].reset_index(drop=True)
    key = sample_key(samples)
    twice = samples.duplicated([*key, "cell_type"])
    if twice.any():
        row = samples[twice].iloc[0]
        whose = f"donor '{row['donor_id']}'" + (f", sample '{row[SAMPLE_OF_DONOR]}'," if len(key) > 1 else "")
        others = " or name the column that tells them apart with --sample_column" if len(key) == 1 else ""
        raise BadInput(
            f"{given.where}: {whose} has two samples of cell type '{row['cell_type']}'; sum them first{others}"
        )
    if not len(samples):
        lacking = "a donor and a cell type; check --donor_column and --cell_type_column"
        if "age" in columns:
            lacking = f"a donor, a cell type and a known age; check --age_column {columns['age']}"
        raise BadInput(f"{given.where}: no sample has {lacking}")
    return samples, given.sums[used], used


@dataclass(frozen=True)
class DonorRule:
    """In which donors the cell types of a table are analysed.

    Attributes
    ----------
    common
        Whether all are analysed in the donors that have every cell type that stays.
    min_cells, min_fraction
        A cell type stays that so many cells of, or an unknown number, are in such a share of the donors; None for any.
    """

    common: bool = False
    min_cells: int = 0
    min_fraction: float | None = None

    def judge(self, samples: pd.DataFrame) -> tuple[dict[str, str], dict[str, str]]:
        """Why cell types go, by name, and why donors go, by donor_id; those that stay are in neither.

        Parameters
        ----------
        samples
            donor_id, cell_type, n_cells (NaN where unknown).
        """
        if self.min_fraction is None:
            return {}, {}
        known = samples.assign(n_cells=samples["n_cells"].fillna(np.inf))
        table = known.pivot_table(index="donor_id", columns="cell_type", values="n_cells", aggfunc="sum", fill_value=0)
        stays = choose_cell_types(table, min_cells=self.min_cells, min_fraction=self.min_fraction)
        n_donors = (table >= self.min_cells).sum()
        types = {
            str(name): f"{self.min_cells} cells in only {n_donors[name]} of {len(table)} donors"
            for name in table.columns[~stays]
        }
        return types, lacking(table.loc[:, stays]).to_dict() if self.common else {}


def cell_type_table(
    samples: pd.DataFrame, *, min_samples: int, in_few_donors: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """The table of cell types of a pseudobulk table; kept are those with at least `min_samples` usable samples.

    Parameters
    ----------
    samples
        donor_id, cell_type, n_cells (NaN where unknown), and reason of `reasons_to_leave_out`.
    in_few_donors
        Why the rule about donors leaves out cell types, by name.
    """
    out = in_few_donors or {}
    rows = []
    for name, identifier in sorted(unique_slugs(samples["cell_type"]).items(), key=lambda item: item[1]):
        own = samples[samples["cell_type"] == name]
        n_samples = int((own["reason"] == "").sum())
        reason = out.get(name, "" if n_samples >= min_samples else f"{n_samples} samples, fewer than {min_samples}")
        rows.append(
            {
                "id": identifier,
                "cell_type": name,
                "n_cells": own["n_cells"].sum(min_count=1),
                "n_donors": own["donor_id"].nunique(),
                "n_samples": n_samples,
                "kept": reason == "",
                "reason": reason,
            }
        )
    return pd.DataFrame(rows)


def donor_rows(donors: pd.DataFrame, samples: pd.DataFrame, left_out: Mapping[str, str]) -> pd.DataFrame:
    """What is published about donors or samples of donors: their key, age_years, sex, n_cells, kept, reason.

    Parameters
    ----------
    donors
        One row for each that is told of.
    samples
        donor_id, sample_of_donor where donors have several, n_cells of each row of the table.
    left_out
        Why the rule about donors leaves out donors, by donor_id.
    """
    key = sample_key(donors)
    of_rule = donors["donor_id"].astype(str).map(left_out).fillna("").to_numpy(dtype=object)
    reason = np.where(of_unknown_age(donors), "age unknown", of_rule)
    n_cells = match(donors, samples.groupby(key)["n_cells"].sum(min_count=1).reset_index(), ["n_cells"])["n_cells"]
    return donors[[*key, "age_years", "sex"]].assign(n_cells=n_cells, kept=reason == "", reason=reason)


def sample_rows(donors: pd.DataFrame, samples: pd.DataFrame, left_out: Mapping[str, str]) -> pd.DataFrame:
    """The same of each sample of a donor, followed by the columns that are constant within samples."""
    rows = donor_rows(donors, samples, left_out)
    others = [name for name in donors if name not in (*rows.columns, "age_text", VARYING)]
    return pd.concat([rows, donors[others]], axis=1)


FLOOR_OF_CELLS = 5  # a table without any smaller sample was very probably made without small ones


def gap_notes(samples: pd.DataFrame) -> list[str]:
    """A note where donors lack cell types in a table that seems to hold no small samples.

    Parameters
    ----------
    samples
        donor_id, cell_type, n_cells (NaN where unknown).
    """
    least = samples["n_cells"].min()
    n_pairs = samples["donor_id"].nunique() * samples["cell_type"].nunique()
    n_gaps = n_pairs - len(samples[["donor_id", "cell_type"]].drop_duplicates())
    if not n_gaps or not least >= FLOOR_OF_CELLS:
        return []
    return [
        f"{n_gaps} of {n_pairs} pairs of donor and cell type have no sample, and no sample has fewer than {least:g} "
        "cells: if small samples were left out of the table, the composition takes their cells for 0; give a table "
        "with all samples, --min_cells_per_sample leaves the small ones out of the tests"
    ]


def notes_of_common(in_few_donors: Mapping[str, str], without: Mapping[str, str]) -> list[str]:
    """A note on what `--donors common` leaves out of a table, which may be one that this rule has made."""
    if not (in_few_donors or without):
        return []
    return [
        f"--donors common leaves out {len(in_few_donors)} cell types and {len(without)} donors of the table; if it is "
        "of an earlier run with --donors common, these have passed the rule there, before quality control took cells "
        "from them: --donors each keeps them"
    ]


def bring_into_form(
    given: GivenTable,
    *,
    min_cells: int,
    min_depth_share: float,
    min_samples: int,
    known: SymbolTable,
    rule: DonorRule = DonorRule(),
) -> GivenSamples:
    """The table as `MERGE_PSEUDOBULK` would have made it.

    Parameters
    ----------
    known
        Symbols for genes that the file does not name.
    rule
        About the donors of a cell type. Where the donors are to be the same for all, the samples of other donors and
        cell types are left out of the table.

    Raises
    ------
    BadInput
        Its samples cannot be used, or no cell type has enough of them.
    """
    donors, notes = donors_of(given)
    samples, sums, rows = usable_samples(given, donors)
    in_few_donors, without = rule.judge(samples)
    notes = [*notes, *gap_notes(samples), *(notes_of_common(in_few_donors, without) if rule.common else [])]
    reasons = np.full(len(samples), "donor or cell type left out", dtype=object)
    out = samples["cell_type"].isin(in_few_donors) | samples["donor_id"].isin(without)
    used = ~(out & rule.common).to_numpy()
    samples = samples.assign(n_counts=totals(sums))
    reasons[used] = reasons_to_leave_out(samples[used], min_cells=min_cells, min_depth_share=min_depth_share)
    types = cell_type_table(samples.assign(reason=reasons), min_samples=min_samples, in_few_donors=in_few_donors)
    if not types["kept"].any():
        raise BadInput(f"{given.where}: {why_no_type(types, reasons, rule, min_samples=min_samples)}")
    genes = gene_names(given.var, known)
    var = pd.DataFrame({"symbol": genes.symbols}, index=pd.Index(genes.ids, name="gene_id"))
    some = None if given.some_files is None else (given.some_files[0][rows][used], given.some_files[1])
    return GivenSamples(
        sample_table(sums[used], samples[used].reset_index(drop=True), donors, types, var, some),
        types,
        donor_rows(one_per_donor(donors), samples, without),
        sample_rows(donors, samples, without) if SAMPLE_OF_DONOR in donors else None,
        tuple(in_few_donors),
        genes,
        tuple(notes),
    )


def why_no_type(types: pd.DataFrame, reasons: np.ndarray, rule: DonorRule, *, min_samples: int) -> str:
    """What to say where no cell type of a table can be analysed.

    Parameters
    ----------
    types
        Of `cell_type_table`.
    reasons
        Why each sample is not used, '' where it is.
    """
    left_out = pd.Series(reasons[reasons != ""]).value_counts()
    why = "".join(f"; {n} samples have {reason}" for reason, n in sorted(left_out.items()))
    if rule.min_fraction is not None and types["reason"].str.contains(" cells in only ", regex=False).all():
        return (
            f"no cell type has {rule.min_cells} cells in {100 * rule.min_fraction:g} % of the donors; lower "
            "--min_cells_per_type or --min_donor_fraction, or give --donors each"
        )
    return (
        f"no cell type has {min_samples} samples (the largest has {types['n_samples'].max()}{why}); "
        "lower --min_samples_per_type"
    )


def donor_funnel(found: GivenSamples, rule: DonorRule) -> dict:
    """What filtering.json says of a given table: the rule about donors, and the donors and cell types it left out."""
    reasons = found.donors["reason"]
    n_types, n_out = len(found.types), len(found.in_few_donors)
    return {
        "rules": {"min_cells_per_type": rule.min_cells, "min_donor_fraction": rule.min_fraction},
        "donors": {
            "input": len(reasons),
            "lost": reasons[reasons != ""].value_counts().sort_index().to_dict(),
            "kept": int((reasons == "").sum()),
        },
        "cell_types": {"input": n_types, "lost": {"in too few donors": n_out}, "kept": n_types - n_out},
    }


def table_summary(given: GivenTable, found: GivenSamples) -> dict:
    """What check.json says of a given table: where its sums are, how much is used, what the file says, and notes."""
    of_samples = {} if found.samples is None else {"n_samples_of_donors": len(found.samples)}
    return {
        "counts_layer": given.layer,
        "n_samples": found.table.n_obs,
        "n_genes": found.table.n_vars,
        "n_donors": len(found.donors),
        **of_samples,
        "n_cell_types": len(found.types),
        "n_symbols": found.genes.n_symbols,
        "n_symbols_from_table": found.genes.n_from_table,
        **({"cell_types_in_few_donors": list(found.in_few_donors)} if found.in_few_donors else {}),
        "source": given.source,
        "notes": [*given.notes, *found.notes, *found.genes.notes],
    }
