#!/usr/bin/env python3
"""Take a pseudobulk table that someone else made and bring it into the pipeline's own form.

In: an h5ad of samples x genes with raw sums in X, raw.X or a layer, and obs columns for donor, cell type, age and
sex (n_cells is taken over where it is there). Out: the same files as MERGE_PSEUDOBULK writes, `cell_types.tsv` and
`donors.tsv`, so that the statistics start from it.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from immune_aging.cohort.cohort_file import (
    column_names,
    find_counts,
    nearest,
    open_cohort,
    prove_counts,
    read_blocks,
    read_table,
    symbols_of,
)
from immune_aging.cohort.donors import donor_table, plain, repeated
from immune_aging.cohort.hostile_names import clean_genes, clean_labels
from immune_aging.samples.given_table import cell_type_table
from immune_aging.samples.pseudobulk_table import sample_table, write_pseudobulk
from immune_aging.task.checkpoints import write_tsv, write_versions
from immune_aging.task.command_line import BadInput, run


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", type=Path, required=True, help="h5ad of samples x genes")
    parser.add_argument("--counts-layer", default="auto")
    parser.add_argument("--donor-column", default="donor_id")
    parser.add_argument("--cell-type-column", default="cell_type")
    parser.add_argument("--age-column", default="age_years")
    parser.add_argument("--sex-column", default="sex")
    parser.add_argument("--min-cells-per-sample", type=int, default=10)
    parser.add_argument("--min-samples-per-type", type=int, default=10)
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    where = f"--pseudobulk {args.table.name}"
    with open_cohort(args.table) as file:
        names = column_names(file, "obs")
        # Our own tables, and many others, call it age_years or age; the default for cells is development_stage.
        age = next((name for name in (args.age_column, "age_years", "age") if name in names), args.age_column)
        wanted = {"donor": args.donor_column, "cell_type": args.cell_type_column, "age": age, "sex": args.sex_column}
        problems = [
            f"--{what}_column {column}: obs has no such column, {nearest(column, names)}"
            for what, column in wanted.items()
            if column not in names
        ]
        if problems:
            raise BadInput(f"{where}: " + " | ".join(problems))
        layer, counts = find_counts(file, where, counts_layer=args.counts_layer)
        obs, var = read_table(file, "obs"), read_table(file, counts.var_path)
        for column, what in ((args.donor_column, "donor"), (args.cell_type_column, "cell type")):
            obs[column], _ = clean_labels(obs[column], what=what)
        blocks = [
            (genes.start, prove_counts(block, where=f"{where}: {layer}"))
            for _, genes, block in read_blocks(file, counts)
        ]
    by_columns = counts.layout == "csc"
    sums = (sparse.hstack if by_columns else sparse.vstack)([block for _, block in blocks], format="csr").astype(
        np.int64
    )

    donors, problems = donor_table(obs, donor=args.donor_column, age=age, sex=args.sex_column)
    if name := repeated(var.index.astype(str).to_numpy(dtype=object)):
        problems.append(f"var names: '{name}' occurs twice; make them unique with adata.var_names_make_unique()")
    if problems:
        raise BadInput(f"{where}: " + " | ".join(problems))
    labelled = (obs[args.donor_column].notna() & obs[args.cell_type_column].notna()).to_numpy()
    samples = pd.DataFrame(
        {
            "donor_id": obs[args.donor_column].astype(str).to_numpy(dtype=object),
            "cell_type": obs[args.cell_type_column].astype(str).to_numpy(dtype=object),
            "n_cells": plain(obs["n_cells"]).to_numpy() if "n_cells" in names else np.full(len(obs), np.nan),
        }
    )
    known_age = samples["donor_id"].isin(donors.loc[donors["age_years"].notna(), "donor_id"]).to_numpy()
    used = labelled & known_age
    samples, sums = samples[used].reset_index(drop=True), sums[used]
    twice = samples.duplicated(["donor_id", "cell_type"])
    if twice.any():
        row = samples[twice].iloc[0]
        raise BadInput(
            f"{where}: donor '{row['donor_id']}' has two samples of cell type '{row['cell_type']}'; sum them first"
        )
    if not len(samples):
        raise BadInput(f"{where}: no sample has a donor, a cell type and a known age; check --age_column {age}")
    types = cell_type_table(samples, min_cells=args.min_cells_per_sample, min_samples=args.min_samples_per_type)
    if not types["kept"].any():
        raise BadInput(
            f"{where}: no cell type has {args.min_samples_per_type} samples (the largest has "
            f"{types['n_samples'].max()}); lower --min_samples_per_type"
        )
    gene_ids, symbols = clean_genes(var.index.astype(str), symbols_of(var))
    table_var = pd.DataFrame({"symbol": symbols}, index=pd.Index(gene_ids, name="gene_id"))
    table = sample_table(sums, samples, donors, types, table_var)
    write_pseudobulk(table, types, min_cells=args.min_cells_per_sample, folder=args.output, prefix=args.prefix)

    reason = np.where(donors["age_years"].isna(), "age unknown", "")
    write_tsv(
        donors[["donor_id", "age_years", "sex"]].assign(
            n_cells=donors["donor_id"].map(samples.groupby("donor_id")["n_cells"].sum(min_count=1)),
            kept=reason == "",
            reason=reason,
        ),
        args.output / "cohort/donors.tsv",
    )
    write_tsv(types, args.output / "cohort/cell_types.tsv")
    write_versions("check_pseudobulk", ["anndata", "pandas", "scipy"], args.versions)


if __name__ == "__main__":
    run(main)
