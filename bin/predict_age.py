#!/usr/bin/env python3
"""How well one cell type's expression tells a donor's age, donors held out; and a trained model on a new cohort.

`predict_age.py train`. In: the cell type's pseudobulk table and, for a baseline, the list of all samples. Out:
out-of-fold predictions of each donor, metrics with bootstrap intervals beside three baselines (the median age; sex
alone; composition and sex), the coefficients of the fit on all donors, the same fit as a model file, and a summary.

`predict_age.py apply`. In: a model file and a pseudobulk table of another cohort. Out: the age of each of its samples,
and a summary that counts the genes it lacks.

The models and what they learn from which donors are in `immune_aging/prediction/`.
"""

import argparse
from pathlib import Path

import pandas as pd

from immune_aging.prediction.age_model_file import read_model, write_model
from immune_aging.prediction.application import application_facts, predict_cohort, rows_of_cell_type, whole_counts
from immune_aging.prediction.penalty_choice import NESTED
from immune_aging.prediction.penalty_paths import MODELS
from immune_aging.prediction.training import PACKAGES, TABLES, Plan, alpha_of, train
from immune_aging.samples.cell_type_samples import read_samples
from immune_aging.task.checkpoints import (
    read_h5ad,
    read_tsv,
    require_columns,
    write_json,
    write_parquet,
    write_tsv,
    write_versions,
)
from immune_aging.task.command_line import BadInput, limit_threads, run
from immune_aging.task.skipped import CannotFit, write_skipped


def read_sample_list(path: Path) -> pd.DataFrame:
    """Every sample of the cohort: donor_id, cell_type, n_cells."""
    samples = read_tsv(path, dtype={"donor_id": str, "cell_type": str})
    require_columns(samples, ["donor_id", "cell_type", "n_cells"], path)
    return samples


def train_and_write(args: argparse.Namespace) -> None:
    """Cross-validate, fit on all donors, and write everything about one model with one penalty."""
    alpha = alpha_of(args.alpha)
    if args.folds < 2 or args.repeats < 1:
        raise BadInput(f"--folds {args.folds} --repeats {args.repeats}: at least 2 folds and 1 repeat are needed")
    plan = Plan(
        model=args.model,
        alpha=alpha,
        folds=args.folds,
        repeats=args.repeats,
        min_donors=args.min_donors,
        bootstrap=args.bootstrap,
        permutations=args.permutations if args.model == "ridge" else args.refit_permutations,
        seed=args.seed,
    )
    whole = read_samples(args.pseudobulk)
    sample_list = None if args.samples is None else read_sample_list(args.samples)
    facts = {"id": args.id, "cell_type": whole.cell_type, "model": args.model}
    facts["alpha"] = NESTED if alpha is None else alpha
    summary = args.output / "predict_age_summary.json"
    try:
        with limit_threads(1):  # other thread counts would change the last digits
            trained = train(whole, sample_list, plan, facts=facts)
    except CannotFit as reason:
        tables = {args.output / f"{name}.tsv": columns for name, columns in TABLES.items()}
        facts |= {"n_donors": whole.samples["donor_id"].nunique()}
        write_skipped(str(reason), tables=tables, summary=summary, strict=args.strict, facts=facts)
    else:
        for name, table in trained.tables.items():
            write_tsv(table, args.output / f"{name}.tsv")
        write_model(trained.model, args.output / "model.json")
        if trained.inner is not None and args.inner is not None:
            write_parquet(trained.inner, args.inner)
        write_json({"status": "done", "reason": "", **trained.facts}, summary)
    write_versions("predict_age", PACKAGES, args.versions)


def apply_and_write(args: argparse.Namespace) -> None:
    """Predict the samples of another cohort by a model file."""
    model, adata = read_model(args.model), read_h5ad(args.pseudobulk)
    adata = adata[rows_of_cell_type(adata.obs, model, args.cell_type, args.pseudobulk)]
    counts = whole_counts(adata.X, args.pseudobulk)
    with limit_threads(1):
        rows, facts = predict_cohort(model, counts, adata.obs, adata.var, library=args.library)
    write_tsv(rows.sort_values("sample_id"), args.output)
    write_json(application_facts(model, rows) | facts, args.output.with_suffix(".json"))


def arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)

    trainer = commands.add_parser("train", help="cross-validate and fit one model of one cell type")
    trainer.add_argument("--pseudobulk", required=True, help="the cell type's pseudobulk table (h5ad)")
    trainer.add_argument("--samples", type=Path, help="samples.tsv of all cell types, for the baseline of composition")
    trainer.add_argument("--id", required=True, help="id of the cell type")
    trainer.add_argument("--model", required=True, choices=MODELS)
    trainer.add_argument("--alpha", required=True, help="penalty over 0, or 'nested': chosen within training donors")
    trainer.add_argument("--folds", type=int, default=5, help="folds of donors (default: %(default)s)")
    trainer.add_argument("--repeats", type=int, default=5, help="repeats of the folds (default: %(default)s)")
    trainer.add_argument("--min-donors", type=int, default=10, help="fewer donors are skipped (default: %(default)s)")
    trainer.add_argument("--bootstrap", type=int, default=1000, help="draws for the intervals (default: %(default)s)")
    trainer.add_argument(
        "--permutations", type=int, default=1000, help="of ages, for ridge's p value (default: %(default)s)"
    )
    trainer.add_argument(
        "--refit-permutations", type=int, required=True,
        help="the same for models that each permutation must fit again, first repeat only",
    )  # fmt: skip
    trainer.add_argument("--seed", type=int, required=True, help="of folds and bootstrap")
    trainer.add_argument("--strict", action="store_true", help="a cell type that cannot be fitted is an error")
    trainer.add_argument("--inner", type=Path, help="Parquet file for the nested predictions of training donors")
    trainer.add_argument("--output", type=Path, required=True, help="folder of the tables and the summary")
    trainer.add_argument("--versions", type=Path, default=Path("versions.json"))
    trainer.set_defaults(action=train_and_write)

    applier = commands.add_parser("apply", help="predict the samples of a new cohort by a model file")
    applier.add_argument("--model", type=Path, required=True, help="model.json of a fit")
    applier.add_argument("--pseudobulk", type=Path, required=True, help="raw count sums, samples x genes (h5ad)")
    applier.add_argument("--cell-type", help="which samples, where the table holds several cell types")
    applier.add_argument(
        "--library", choices=("all", "shared"), default="all",
        help="library size: counts of all genes, or of the model's genes for a table of few genes (default: all)",
    )  # fmt: skip
    applier.add_argument("--output", type=Path, required=True, help="table of predictions (tsv); a summary beside it")
    applier.set_defaults(action=apply_and_write)

    return parser.parse_args(argv)


def main(argv: list[str]) -> None:
    args = arguments(argv)
    args.action(args)


if __name__ == "__main__":
    run(main)
