#!/usr/bin/env python3
"""Simulate a cohort of blood cells whose truth is known, as one CELLxGENE-like h5ad.

In: gene sets (Hallmark, GMT), a preset and overrides of its numbers. Out: raw counts of many donors with
pools, sexes, ages, doublets, dying cells and red cells, and tables that say what is true: which cell is what,
which gene ages where.

The model. A cell of type t from donor d has Poisson counts with mean

    size x profile[t, g] x exp(pool[g] + donor[g] + donor_type[g]) x 2 ^ (lfc_per_sd[t, g] x age_z)

where age_z is age in SDs from its mean, size is log-normal, and the noise of donors and pools is log-
normal with a variance of its own for each gene, so pseudobulk samples are overdispersed as in real
cohorts. Mitochondrial and hemoglobin genes take a share of their own of each cell, ribosomal proteins rise
and fall together, and a T or B cell expresses the variable region of its clone. Doublets are two cells of
one donor added up.

Every donor has its own random stream, so the number of processes changes no byte; a pool at a time is in
memory, so the size of the cohort does not change what it takes.
"""

import argparse
from dataclasses import fields, replace
from pathlib import Path

from immune_aging.simulation.cohort import write_cohort
from immune_aging.simulation.model import (
    PRESETS,
    Settings,
    build_model,
    draw_donors,
    option,
    read_gene_sets,
)
from immune_aging.simulation.truth import write_truth
from immune_aging.task.checkpoints import write_versions
from immune_aging.task.command_line import BadInput, available_cores, run


def parse_arguments(argv: list[str]) -> tuple[argparse.Namespace, Settings]:
    """Read the command line; settings not given are the preset's."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--preset", choices=sorted(PRESETS), default="demo", help="where the numbers start from")
    parser.add_argument("--seed", type=int, default=0, help="seed of every random stream (default 0)")
    parser.add_argument("--gene-sets", required=True, help="Hallmark gene sets by symbol, GMT")
    parser.add_argument("--output", type=Path, required=True, help="the cohort, .h5ad")
    parser.add_argument("--truth", type=Path, required=True, help="folder for the tables of what is true")
    parser.add_argument("--threads", type=int, default=1, help="processes; the result is the same for any number")
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    numbers = parser.add_argument_group("numbers that override the preset's")
    for one in fields(Settings):
        numbers.add_argument(
            option(one.name), type=type(one.default), help=f"{one.metadata['help']} (demo: {one.default})"
        )
    arguments = parser.parse_args(argv)
    given = {one.name: getattr(arguments, one.name) for one in fields(Settings)}
    overrides = {name: value for name, value in given.items() if value is not None}
    return arguments, replace(PRESETS[arguments.preset], **overrides)


def main(argv: list[str]) -> None:
    """Simulate a cohort as the command line says."""
    arguments, settings = parse_arguments(argv)
    if arguments.seed < 0:
        raise BadInput(f"option --seed: {arguments.seed} is negative; give 0 or more")
    sets = read_gene_sets(arguments.gene_sets)
    model = build_model(sets, settings, seed=arguments.seed)
    donors = draw_donors(settings, seed=arguments.seed)
    processes = max(1, min(arguments.threads, available_cores()))
    counted = write_cohort(model, donors, arguments.output, arguments.truth / "cells.parquet", processes=processes)
    write_truth(model, sets, donors.assign(n_cells=counted.to_numpy()), arguments.truth)
    write_versions("simulate_cohort", ["h5py", "numpy", "pandas", "pyarrow", "scipy"], arguments.versions)


if __name__ == "__main__":
    run(main)
