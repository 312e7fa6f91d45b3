"""A model of age as a JSON file that any language reads, and what it says of samples that it has never seen."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from immune_aging.prediction.age_features import PRIOR_COUNT, log_cpm, log_rates, mean_rates, sex_labels
from immune_aging.prediction.age_models import AgeModel
from immune_aging.samples.cell_type_samples import CellTypeSamples
from immune_aging.task.checkpoints import read_json, write_json
from immune_aging.task.command_line import BadInput

FORMAT, FORMAT_VERSION = "immune-aging age model", 2
READ = (1, 2)  # version 1 has no rates: its x is log2((count + 0.5) / (library + 1) * 1e6)
FORMULA = (
    "age = intercept + sum over genes and sexes of weight * (x - mean) / sd; "
    "x of a gene is log2((count + 2) / (library + 2 / rate) * 1e6), "
    "library the sum of the sample's counts over all genes; "
    "x of a sex is 1 for it and 0 for others"
)
DIGITS = 10  # of every number of a gene: six would move a prediction in its third decimal
# A model is trusted as it is while the genes of a new table are the share of its counts that they were in training.
USUAL_SHARE = (0.8, 1.25)
SHALLOW = 0.1  # of the median training sample's counts: below, a sample says little of its age


@dataclass(frozen=True)
class PortableModel:
    """What a model file holds.

    Attributes
    ----------
    facts
        cell_type, model, alpha, training, regression_to_mean and more: everything but the numbers below.
    genes
        gene_id, symbol, mean, sd, weight (years per SD of x), rate (share of all counts in training; NaN in files of
        format 1).
    sexes
        level, mean, sd, weight.
    intercept
        Years.
    """

    facts: Mapping[str, Any]
    genes: pd.DataFrame
    sexes: pd.DataFrame
    intercept: float


def portable(fitted: AgeModel, table: CellTypeSamples, *, facts: Mapping[str, object]) -> PortableModel:
    """The model of a fit on a cell type's samples."""
    n_genes = len(table.symbols)
    gene = fitted.features < n_genes
    levels = sorted(set(sex_labels(table.samples["sex"])))[1:]

    def numbers(which: np.ndarray) -> dict[str, np.ndarray]:
        return {"mean": fitted.mean[which], "sd": fitted.sd[which], "weight": fitted.coefficients[which]}

    columns = fitted.features[gene]
    names = {"gene_id": table.gene_ids[columns], "symbol": table.symbols.to_numpy()[columns]}
    sexes = {"level": [levels[column - n_genes] for column in fitted.features[~gene]]}
    rate = mean_rates(table.counts[:, columns], table.counts.sum(axis=1))
    genes = pd.DataFrame(names | numbers(gene) | {"rate": rate})
    return PortableModel(facts, genes, pd.DataFrame(sexes | numbers(~gene)), fitted.intercept)


def write_model(model: PortableModel, path: str | Path) -> None:
    """Write a model file: facts first, then one list for each column of the genes and of the sexes."""

    def lists(table: pd.DataFrame) -> dict[str, list]:
        return {
            name: [float(f"{x:.{DIGITS}g}") for x in table[name]] if table[name].dtype == float else list(table[name])
            for name in table
        }

    content = {"format": FORMAT, "format_version": FORMAT_VERSION, **model.facts, "formula": FORMULA}
    content |= {"prior_count": PRIOR_COUNT, "intercept": model.intercept}
    write_json(content | {"sexes": lists(model.sexes), "genes": lists(model.genes)}, path)


def read_model(path: str | Path) -> PortableModel:
    """Read a model file; `BadInput` if it is none, or of a format this version does not know."""
    content = read_json(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise BadInput(f"{path}: is no age model; give a model.json that predict_age.py train wrote")
    if content.get("format_version") not in READ:
        raise BadInput(
            f"{path}: format_version {content.get('format_version')}, but this version reads {READ[0]} to {READ[-1]}; "
            "use the version of the pipeline that wrote it"
        )
    try:
        genes = pd.DataFrame(content["genes"])
        if content["format_version"] == 1:
            genes["rate"] = np.nan
        genes = genes[["gene_id", "symbol", "mean", "sd", "weight", "rate"]]
        rates = genes["rate"].to_numpy(dtype=float)
        sexes = pd.DataFrame(content["sexes"])[["level", "mean", "sd", "weight"]]
        numbers = pd.concat([genes, sexes])[["mean", "sd", "weight"]].to_numpy(dtype=float)
        intercept = float(content["intercept"])
    except (KeyError, ValueError, TypeError) as error:
        raise BadInput(f"{path}: genes, sexes or intercept are incomplete ({error}); write the model anew") from error
    known = np.isfinite(numbers).all() and np.isfinite(intercept) and (numbers[:, 1] > 0).all()
    if not len(genes) or not known or (content["format_version"] > 1 and not (rates > 0).all()):
        raise BadInput(
            f"{path}: a mean, sd, weight, rate or the intercept is no number, or a sd or rate not over 0; write it anew"
        )
    facts = {key: value for key, value in content.items() if key not in ("genes", "sexes", "intercept")}
    return PortableModel(facts, genes, sexes, intercept)


def matched_columns(model: PortableModel, gene_ids: pd.Index, symbols: pd.Series) -> tuple[np.ndarray, str]:
    """Column of each of the model's genes in another table, -1 where it is missing, and what they were matched by.

    By id without the version behind its dot; by symbol where that finds more, a symbol that is there twice not at all.
    """

    def positions(wanted: pd.Series, have: pd.Index) -> np.ndarray:
        once = ~have.duplicated(keep=False) & (have != "")
        columns = pd.Series(np.flatnonzero(once), index=have[once])
        return wanted.map(columns).fillna(-1).to_numpy(dtype=int)

    stem = r"(?<=^ENS\w{12})\.\d+$|(?<=^ENS\w{15})\.\d+$"
    by_id = positions(
        model.genes["gene_id"].str.replace(stem, "", regex=True), gene_ids.str.replace(stem, "", regex=True)
    )
    by_symbol = positions(model.genes["symbol"], pd.Index(symbols.to_numpy(dtype=object)))
    return (by_id, "gene_id") if (by_id >= 0).sum() >= (by_symbol >= 0).sum() else (by_symbol, "symbol")


def apply_model(
    model: PortableModel, counts: np.ndarray, gene_ids: pd.Index, symbols: pd.Series, sex: pd.Series, *, library: str
) -> tuple[np.ndarray, dict]:
    """Predicted age of new samples, and how well the table fits the model.

    A gene that is missing counts as its mean in training, so it moves no prediction, and so does a sex that was not
    there in training or is unknown now.

    Parameters
    ----------
    counts
        Samples x genes, raw sums.
    library
        'all': a sample's library is the sum over its table, as in training. 'shared': it is taken from the genes shared
        with the model, by the share of the library that they were in training; for tables that hold only some genes.
    """
    columns, matched_by = matched_columns(model, gene_ids, symbols)
    found = columns >= 0
    if not found.any():
        raise BadInput(
            "none of the model's genes is in the table, by id or by symbol; give a table of the same species"
        )
    genes = model.genes[found]
    own = counts[:, columns[found]].astype(float)
    mean, sd, rates = (genes[name].to_numpy() for name in ("mean", "sd", "rate"))
    with_rates = np.isfinite(rates).all()
    # These genes' share of the library of an average training sample.
    usual = float(rates.sum() if with_rates else np.exp2(mean).sum() / 1e6)
    total = counts.sum(axis=1, dtype=float)
    share = own.sum(axis=1) / np.maximum(total, 1)
    if library == "shared":
        total = own.sum(axis=1) / usual
    logs = log_rates(own, total, rates) if with_rates else log_cpm(own, total)
    scaled = (logs - mean) / sd
    predicted = model.intercept + scaled @ genes["weight"].to_numpy()
    predicted, known = with_sex(predicted, model, sex)
    weight = model.genes["weight"].abs().to_numpy()
    facts = {
        "matched_by": matched_by,
        "n_genes_model": len(model.genes),
        "n_genes_missing": int((~found).sum()),
        "weight_missing": float(weight[~found].sum() / max(weight.sum(), 1e-300)),
        "library": library,
        "share_of_counts": float(np.median(share)) if len(share) else np.nan,
        "share_of_counts_in_training": usual,
        "n_sex_unknown": int((~known).sum()) if len(model.sexes) else 0,
        "n_shallow": int((total < SHALLOW * model.facts.get("training", {}).get("library_median", 0)).sum()),
    }
    return predicted, facts | {"warnings": warnings_of_a_poor_match(facts)}


def with_sex(predicted: np.ndarray, model: PortableModel, sex: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Predictions of the genes with what sex adds to them, and a mask of the samples whose sex the model knows.

    Parameters
    ----------
    predicted
        Years, one per sample.
    """
    labels = sex_labels(sex)
    known = labels.isin({*model.sexes["level"], *model.facts.get("sex_levels", [])}).to_numpy()
    for row in model.sexes.itertuples():
        predicted = predicted + row.weight * np.where(known, ((labels == row.level).to_numpy() - row.mean) / row.sd, 0)
    return predicted, known


def warnings_of_a_poor_match(facts: Mapping[str, Any]) -> list[str]:
    """What a reader must know where the table holds other genes than the model was trained on."""
    warnings = []
    usual, here = facts["share_of_counts_in_training"], facts["share_of_counts"]
    if facts["library"] == "all" and not USUAL_SHARE[0] <= here / usual <= USUAL_SHARE[1]:
        warnings.append(
            f"the model's genes are {here:.0%} of the counts here and {usual:.0%} in training: "
            "the tables do not hold the same genes, and --library shared suits better"
        )
    if facts["n_shallow"]:
        warnings.append(
            f"{facts['n_shallow']} samples have fewer than {SHALLOW:g} times the counts of the median training sample; "
            "their predictions are pulled towards the mean age of training"
        )
    if facts["weight_missing"] > 0.1:
        warnings.append(
            f"{facts['n_genes_missing']} of {facts['n_genes_model']} genes with {facts['weight_missing']:.0%} of the "
            "weight are missing; predictions are pulled towards the mean age of training"
        )
    return warnings
