#!/usr/bin/env python3
"""One immune age for each donor from the predictions of all cell types, and what goes with ageing faster.

In: the nested predictions of every fit (PREDICT_AGE), and the cell types' pseudobulk tables for what is known of the
donors. Out: `immune_age.tsv`, its metrics, the weight of each cell type, tests of
age acceleration, a figure, a summary.

In each repeat and fold a model of models learns how to weigh the cell types from the fold's training donors alone:
from predictions by fits that saw neither the donor nor anyone of the fold. It then weighs the predictions of the
donors held out. The weights are not negative and need no tuning (stacking; Breiman 1996, Machine Learning 24:49-64).
"""

import argparse
from pathlib import Path

import pandas as pd

from immune_aging.figures.immune_age import draw
from immune_aging.prediction.age_metrics import METRICS, metric_table
from immune_aging.prediction.immune_age import (
    COLUMNS,
    MIN_DONORS,
    TESTS,
    WEIGHTS,
    acceleration_of,
    acceleration_tests,
    cross_stack,
    donor_table,
    feature_table,
    read_obs,
    weight_table,
)
from immune_aging.task.checkpoints import read_parquet, write_json, write_tsv, write_versions
from immune_aging.task.command_line import BadInput, list_of, run
from immune_aging.task.skipped import CannotFit, write_skipped


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fits", type=Path, nargs="*", default=[], help="nested predictions (Parquet) of each fit")
    parser.add_argument("--tables", type=Path, nargs="+", required=True, help="pseudobulk tables of the cell types")
    parser.add_argument("--columns", type=list_of(str), default=["sex"], help="donor columns to test (default: sex)")
    parser.add_argument("--bootstrap", type=int, default=1000, help="draws for the intervals (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--strict", action="store_true", help="no immune age is an error")
    parser.add_argument("--output", type=Path, required=True, help="folder of the tables, the summary and the figure")
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    names = {"immune_age.tsv": COLUMNS, "immune_age_metrics.tsv": METRICS, "immune_age_weights.tsv": WEIGHTS}
    names["age_acceleration_tests.tsv"] = TESTS
    paths = {args.output / name: columns for name, columns in names.items()}
    summary = args.output / "immune_age_summary.json"
    try:
        if not args.fits:
            raise CannotFit("no cell type has an age prediction with a nested choice of penalty")
        fits = pd.concat([read_parquet(path) for path in sorted(args.fits, key=lambda path: path.name)])
        if fits.duplicated(["id", "model", "repeat", "fold", "donor_id"]).any():
            raise BadInput("--fits: a cell type and model is there twice; give each fit once")
        if fits["donor_id"].nunique() < MIN_DONORS:
            raise CannotFit(f"{fits['donor_id'].nunique()} donors; at least {MIN_DONORS} are needed")
        obs = [read_obs(path) for path in sorted(args.tables, key=lambda path: path.name)]
        donors = donor_table(obs, sorted(fits["donor_id"].unique()))
        tables = feature_table(fits)
        predicted, weights, _ = cross_stack(tables, donors)
    except CannotFit as reason:
        write_skipped(str(reason), tables=paths, summary=summary, strict=args.strict)
    else:
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
        metrics = metric_table(predicted, ages, n_bootstrap=args.bootstrap, seed=args.seed)
        of_fits = weight_table(weights, tables, donors)
        tests = acceleration_tests(mean, donors, list(dict.fromkeys(args.columns)))
        for (path, columns), table in zip(paths.items(), (immune, metrics, of_fits, tests), strict=True):
            write_tsv(table[list(columns)], path)
        facts = {"n_donors": len(donors), "n_fits": weights.shape[1], "n_cell_types": int(fits["id"].nunique())}
        facts |= {"best_single_mae": float(of_fits["mae"].min()), "acceleration_sd": float(acceleration.std(ddof=1))}
        write_json({"status": "done", "reason": "", **facts}, summary)
        from immune_aging.figures.style import save_figure

        save_figure(
            draw(immune, metrics, of_fits),
            args.output / "figures" / "immune_age",
            title="Immune age",
            description=f"Immune age of {len(immune)} donors held out, from {facts['n_cell_types']} cell types "
            "together, against true age; what is left of it once true age is taken out (age acceleration); and the "
            "weight of each cell type in it.",
        )
    write_versions("immune_age", ["matplotlib", "numpy", "pandas", "scipy"], args.versions)


if __name__ == "__main__":
    run(main)
