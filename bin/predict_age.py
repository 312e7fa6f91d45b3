#!/usr/bin/env python3
"""How well one cell type's expression tells a donor's age, donors held out; and a trained model on a new cohort.

`predict_age.py train`. In: the cell type's pseudobulk table and, for a baseline, the list of all samples. Out:
out-of-fold predictions a donor, metrics with bootstrap intervals beside three baselines (the median age; sex alone;
composition and sex), the coefficients of the fit on all donors, the same fit as a model file, and a summary.

`predict_age.py apply`. In: a model file and a pseudobulk table of another cohort. Out: the age of each of its samples,
and a summary that counts the genes it lacks.

The models and what they learn from which donors are in age_models.py.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from immune_aging.prediction.age_metrics import METRICS, metric_table
from immune_aging.prediction.age_model_file import PortableModel, apply_model, portable, read_model, write_model
from immune_aging.prediction.age_models import (
    INNER_FOLDS,
    MODELS,
    NESTED,
    fit_age_model,
    fit_nested,
    fold_table,
    log_cpm,
    predict_held_out,
    sex_indicators,
)
from immune_aging.prediction.tables import coefficient_table, inner_table, prediction_table
from immune_aging.prediction.training import (
    APPLIED,
    COEFFICIENTS,
    PACKAGES,
    PREDICTIONS,
    alpha_of,
    cells_by_donor,
    model_facts,
    usable_donors,
)
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


def train(args: argparse.Namespace) -> None:
    """Cross-validate, fit on all donors, and write everything about one model with one penalty."""
    alpha = alpha_of(args.alpha)
    if args.folds < 2 or args.repeats < 1:
        raise BadInput(f"--folds {args.folds} --repeats {args.repeats}: at least 2 folds and 1 repeat are needed")
    whole = read_samples(args.pseudobulk)
    facts = {"id": args.id, "cell_type": whole.cell_type, "model": args.model}
    facts["alpha"] = NESTED if alpha is None else alpha
    paths = {name: args.output / f"{name}.tsv" for name in ("predictions", "metrics", "coefficients")}
    summary = args.output / "predict_age_summary.json"
    try:
        table = usable_donors(whole, min_donors=args.min_donors)
        donors = table.samples["donor_id"].tolist()
        ages = table.samples["age_years"].to_numpy(dtype=float)
        covariates = sex_indicators(table.samples["sex"])
        layout = {"n_repeats": args.repeats, "seed": args.seed}
        folds = fold_table(donors, n_folds=args.folds, **layout)
        inner_folds = fold_table(donors, n_folds=INNER_FOLDS[args.model], level="inner", **layout)
        cells = None
        if args.samples is not None:
            samples = read_tsv(args.samples, dtype={"donor_id": str, "cell_type": str})
            require_columns(samples, ["donor_id", "cell_type", "n_cells"], args.samples)
            cells = cells_by_donor(samples, donors)
        n_permutations = args.permutations if args.model == "ridge" else args.refit_permutations
        with limit_threads(1):  # other thread counts would change the last digits
            held_out = predict_held_out(
                table.counts, covariates, ages, folds, model=args.model, alpha=alpha, inner_folds=inner_folds,
                composition=cells, n_permutations=n_permutations, seed=args.seed,
            )  # fmt: skip
            features = np.hstack([log_cpm(table.counts), covariates])
            if alpha is None:
                fitted = fit_nested(table.counts, features, ages, inner_folds, model=args.model)
            else:
                fitted = fit_age_model(table.counts, features, ages, model=args.model, alpha=alpha)
            metrics = metric_table(held_out.by_name(), ages, n_bootstrap=args.bootstrap, seed=args.seed)
    except CannotFit as reason:
        tables = dict(zip(paths.values(), (PREDICTIONS, METRICS, COEFFICIENTS), strict=True))
        facts |= {"n_donors": len(whole.samples)}
        write_skipped(str(reason), tables=tables, summary=summary, strict=args.strict, facts=facts)
    else:
        p_value = pd.DataFrame([("p_value", held_out.p_value(), np.nan, np.nan)], columns=list(METRICS))
        metrics = pd.concat([metrics.iloc[:-1], p_value, metrics.iloc[-1:]], ignore_index=True)
        write_tsv(prediction_table(table, held_out.model, folds), paths["predictions"])
        write_tsv(metrics, paths["metrics"])
        write_tsv(coefficient_table(fitted, table), paths["coefficients"])
        write_model(
            portable(fitted, table, facts=model_facts(facts, fitted, held_out, table)), args.output / "model.json"
        )
        if alpha is None and args.inner is not None:
            write_parquet(inner_table(held_out, donors, folds, facts=facts), args.inner)
        values = metrics.set_index("metric")
        facts |= {
            "n_donors": len(ages),
            "n_donors_left_out": len(whole.samples) - len(ages),
            "n_genes": int((fitted.features < len(table.symbols)).sum()),
            "n_nonzero": int((fitted.coefficients != 0).sum()),
            "alpha_used": fitted.alpha,
            "alphas_chosen": {
                f"{value:g}": int(count) for value, count in zip(*np.unique(held_out.alpha, return_counts=True))
            },
            "intercept": fitted.intercept,
            "sex_coefficients": fitted.coefficients[fitted.features >= len(table.symbols)],
            "folds": args.folds,
            "repeats": args.repeats,
            "n_permutations": n_permutations,
            "metrics": {name: dict(values.loc[name]) for name in values.index if name != "n_donors"},
        }
        write_json({"status": "done", "reason": "", **facts}, summary)
    write_versions("predict_age", PACKAGES, args.versions)


def rows_of(adata, model: PortableModel, cell_type: str | None, path: str | Path) -> np.ndarray:
    """Which rows of a table are of the cell type: all where there is one, else those of its name."""
    if "cell_type" not in adata.obs:
        return np.ones(adata.n_obs, dtype=bool)
    names = adata.obs["cell_type"].astype(str)
    wanted = cell_type or (names.iloc[0] if names.nunique() == 1 else str(model.facts.get("cell_type")))
    rows = (names == wanted).to_numpy()
    if not rows.any():
        have = ", ".join(sorted(names.unique())[:8])
        raise BadInput(f"{path}: no sample of cell type '{wanted}'; name one with --cell-type: {have}")
    return rows


def apply(args: argparse.Namespace) -> None:
    """Predict the samples of another cohort by a model file."""
    model, adata = read_model(args.model), read_h5ad(args.pseudobulk)
    adata = adata[rows_of(adata, model, args.cell_type, args.pseudobulk)]
    counts = np.asarray(adata.X.toarray() if hasattr(adata.X, "toarray") else adata.X, dtype=np.float64)
    if not np.isfinite(counts).all() or (counts < 0).any() or (counts != np.floor(counts)).any():
        raise BadInput(f"{args.pseudobulk}: X holds values that are no counts; give summed raw counts")
    if (counts.sum(axis=1) == 0).any():
        empty = adata.obs_names[int(np.argmin(counts.sum(axis=1)))]
        raise BadInput(f"{args.pseudobulk}: sample '{empty}' has no counts; leave it out")
    obs = adata.obs.reset_index(names="sample_id")
    unknown = pd.Series([None] * len(obs), dtype=object)
    symbols = adata.var["symbol"].astype(object) if "symbol" in adata.var else pd.Series("", index=adata.var_names)
    symbols = symbols.where(symbols.notna(), "").astype(str)
    with limit_threads(1):
        predicted, facts = apply_model(
            model, counts, adata.var_names.astype(str), symbols, obs.get("sex", unknown), library=args.library
        )
    ages = pd.to_numeric(obs.get("age_years", unknown), errors="coerce").to_numpy(dtype=float)
    line = model.facts["regression_to_mean"]
    rows = pd.DataFrame(
        {
            "sample_id": obs["sample_id"].astype(str),
            "donor_id": obs.get("donor_id", obs["sample_id"]).astype(str),
            "age_years": ages,
            "predicted": predicted,
            "corrected": ages + predicted - (line["intercept"] + line["slope"] * ages),
        }
    )
    write_tsv(rows[list(APPLIED)].sort_values("sample_id"), args.output)
    about = {"cell_type": model.facts.get("cell_type"), "model": model.facts.get("model"), "n_samples": len(rows)}
    known = np.isfinite(ages)
    if known.sum() > 1:
        about["mae"] = float(np.abs(predicted - ages)[known].mean())
    write_json(about | facts, args.output.with_suffix(".json"))


def main(argv: list[str]) -> None:
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
        "--refit-permutations", type=int, default=0,
        help="the same for models that each permutation must fit again, first repeat only (default: %(default)s)",
    )  # fmt: skip
    trainer.add_argument("--seed", type=int, default=0, help="of folds and bootstrap (default: %(default)s)")
    trainer.add_argument("--strict", action="store_true", help="a cell type that cannot be fitted is an error")
    trainer.add_argument("--inner", type=Path, help="Parquet file for the nested predictions of training donors")
    trainer.add_argument("--output", type=Path, required=True, help="folder of the tables and the summary")
    trainer.add_argument("--versions", type=Path, default=Path("versions.json"))
    trainer.set_defaults(action=train)

    applier = commands.add_parser("apply", help="predict the samples of a new cohort by a model file")
    applier.add_argument("--model", type=Path, required=True, help="model.json of a fit")
    applier.add_argument("--pseudobulk", type=Path, required=True, help="raw count sums, samples x genes (h5ad)")
    applier.add_argument("--cell-type", help="which samples, where the table holds several cell types")
    applier.add_argument(
        "--library", choices=("all", "shared"), default="all",
        help="library size: counts of all genes, or of the model's genes for a table of few genes (default: all)",
    )  # fmt: skip
    applier.add_argument("--output", type=Path, required=True, help="table of predictions (tsv); a summary beside it")
    applier.set_defaults(action=apply)

    args = parser.parse_args(argv)
    args.action(args)


if __name__ == "__main__":
    run(main)
