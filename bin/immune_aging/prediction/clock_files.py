"""The files in which published clocks come."""

import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from immune_aging.prediction.estimator_file import read_scaled_ridge
from immune_aging.task.checkpoints import (
    require_columns,
)
from immune_aging.task.command_line import BadInput

INTERCEPTS = ("Intercept", "(Intercept)")
TABLES = "scImmuAging"  # these clocks, and the folder in which a wheel of omniage keeps their tables
GRN = "GRNimmuneClock"
MODELS = "grnimmuneclock/models"  # and GRNimmuneClock its models, each in a folder named for its cell type
LARGEST_MEMBER = 100 * 2**20  # bytes of a file in a wheel; the largest clock has 0.1 MB


@dataclass(frozen=True)
class Clock:
    """Age = intercept + sum of weight x log expression; `weights` by gene (Ensembl id or symbol).

    The expression is the mean over cells of log(1 + counts per 10,000), or, with `of_sums`, log(1 + counts per million)
    of the sums over cells. `family` names the clocks that were published together; '' for a table of the user's.
    """

    intercept: float
    weights: pd.Series
    of_sums: bool = False
    family: str = ""


def make_clock(intercept: float, weights: pd.Series, source: str, *, of_sums: bool = False, family: str = "") -> Clock:
    """A clock, if each of its genes stands in it once."""
    if weights.index.has_duplicates or weights.empty:
        twice = weights.index[weights.index.duplicated()]
        raise BadInput(f"{source}: {'gene ' + twice[0] + ' stands there twice' if len(twice) else 'no gene'}")
    return Clock(intercept, weights, of_sums, family)


def parse_clock(text: bytes, source: str, *, family: str = "") -> Clock:
    """A clock from a table (CSV) with the columns gene and coef, one row of which is the intercept."""
    try:
        table = pd.read_csv(io.BytesIO(text), dtype={"gene": str})
        table["coef"] = table["coef"].astype(float)
    except (ValueError, KeyError, UnicodeDecodeError) as error:
        raise BadInput(f"{source}: is no table of the columns gene and coef ({error})") from error
    require_columns(table, ["gene", "coef"], source)
    intercept = table["gene"].isin(INTERCEPTS)
    if intercept.sum() != 1 or not np.isfinite(table["coef"]).all():
        raise BadInput(
            f"{source}: {intercept.sum()} rows named Intercept, or a coef that is no number; give one and all"
        )
    weights = table[~intercept].set_index("gene")["coef"]
    return make_clock(float(table.loc[intercept, "coef"].iloc[0]), weights, source, family=family)


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """The content of a file in a wheel."""
    source = f"{archive.filename}:{name}"
    try:
        if archive.getinfo(name).file_size > LARGEST_MEMBER:
            raise BadInput(f"{source}: unpacks to more than {LARGEST_MEMBER >> 20} MB, which no clock has")
        return archive.read(name)
    except KeyError as error:
        raise BadInput(f"{source}: is not there; download the wheel again") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:  # the last: encrypted, unknown packing
        raise BadInput(f"{source}: is damaged or encrypted ({error}); download the wheel again") from error


def read_grn_clock(archive: zipfile.ZipFile, folder: str) -> Clock:
    """A clock of GRNimmuneClock, of the version that its metadata.json names.

    The package multiplies the scaled expression of the genes of `feature_names_*.txt` with the coefficients of a ridge.
    """
    source = f"{archive.filename}:{folder}"
    try:
        version = json.loads(read_member(archive, f"{folder}/metadata.json"))["version"]
        genes = read_member(archive, f"{folder}/feature_names_{version}.txt").decode().split()
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{source}: names no version, or no genes, of its clock; download the wheel again") from error
    model = f"{folder}/model_{version}.pkl"
    intercept, weights = read_scaled_ridge(read_member(archive, model), f"{archive.filename}:{model}")
    if len(genes) != len(weights):
        raise BadInput(f"{source}: names {len(genes)} genes but has {len(weights)} coefficients; download it again")
    return make_clock(intercept, pd.Series(weights, index=genes), source, of_sums=True, family=GRN)


def read_wheel(path: Path) -> dict[str, Clock]:
    """Clocks by name in a wheel of omniage (`CD4T`, ...) or of GRNimmuneClock (`GRNimmuneClock_CD4T`, ...)."""
    if not zipfile.is_zipfile(path):
        return {}
    clocks = {}
    with zipfile.ZipFile(path) as archive:
        for name in sorted(archive.namelist()):
            folder = Path(name).parent
            if folder.name == TABLES and name.endswith(".csv"):
                clocks[Path(name).stem] = parse_clock(read_member(archive, name), f"{path}:{name}", family=TABLES)
            elif folder.parent == Path(MODELS) and Path(name).name == "metadata.json":
                clocks[f"{GRN}_{folder.name}"] = read_grn_clock(archive, str(folder))
    return clocks


def read_clocks(path: Path) -> dict[str, Clock]:
    """Clocks by name: those of a wheel, or of every CSV and wheel of a folder."""
    clocks: dict[str, Clock] = {}
    for file in sorted([*path.glob("*.csv"), *path.glob("*.whl")]) if path.is_dir() else [path]:
        table = path.is_dir() and file.suffix == ".csv"
        found = {file.stem: parse_clock(file.read_bytes(), str(file))} if table else read_wheel(file)
        if twice := sorted(set(found) & set(clocks)):
            raise BadInput(f"{file}: has the clock {twice[0]}, which another file has, too; take one of the two away")
        clocks |= found
    if not clocks:
        raise BadInput(
            f"{path}: holds no clock; give a wheel of omniage or grnimmuneclock, or a folder of such wheels and of CSV "
            "files (gene, coef)"
        )
    return clocks


def weight_matrix(
    clocks: Mapping[str, Clock], gene_ids: pd.Index, symbols: pd.Series
) -> tuple[np.ndarray, dict[str, dict]]:
    """Weights of the table's genes (genes x clocks) and, by clock, what is missing of it.

    Genes are matched by id, and by symbol where that finds more. A gene that was never seen in the cohort is missing
    and counts as 0, which its log expression is.
    """
    weights, facts = np.zeros((len(gene_ids), len(clocks))), {}
    for column, (name, clock) in enumerate(clocks.items()):
        found = []
        for names in (gene_ids, pd.Index(symbols.to_numpy(dtype=object))):
            own = clock.weights.reindex(names).fillna(0.0).to_numpy()
            found.append(np.where(names.duplicated(), 0.0, own))
        best = max(found, key=lambda own: (own != 0).sum())
        weights[:, column] = best
        used = clock.weights != 0
        size = np.abs(clock.weights[used]).sum()
        facts[name] = {
            "n_genes": int(used.sum()),
            "n_genes_missing": int(used.sum() - (best != 0).sum()),
            "weight_missing": float(1 - np.abs(best).sum() / size),
        }
    return weights, facts
