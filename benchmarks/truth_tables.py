#!/usr/bin/env python3
"""Tables of samples as people have them: one sample without counts, and genes with Ensembl ids alone.

The steps' own scripts run on simulated tables with their defaults, from the check of the table to differential
expression, gene sets and predicted ages. What must not matter does not: files are compared to the last byte. Run
alone, it prints one table.
"""

import contextlib
import io
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

import anndata
import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "bin"), str(ROOT / "benchmarks")]
sys.path.append(str(ROOT / "tests"))

import check_pseudobulk  # noqa: E402
import differential_expression  # noqa: E402
import gsea  # noqa: E402
import predict_age  # noqa: E402
from immune_aging.cohort.gene_symbols import read_symbol_table  # noqa: E402
from immune_aging.simulation.model import NAMES  # noqa: E402
from immune_aging.task.checkpoints import read_json, read_tsv, write_h5ad  # noqa: E402
from inputs.step_options import default_options  # noqa: E402
from pseudobulk_cohorts import HALLMARK, draw  # noqa: E402
from verdict import Verdict, print_table  # noqa: E402

SEED = 20261128
SYMBOLS = ROOT / "assets/genes/gencode_v48_human.tsv.gz"
N_DONORS, CELLS_PER_DONOR, N_GENES = 45, 400, 3000
TYPES = {"cd14_positive_monocyte": "CD14-positive monocyte", "natural_killer_cell": "natural killer cell"}
TYPE = "cd14_positive_monocyte"  # the one that is analysed
EMPTY = 7  # the sample of this cell type that loses its counts


def simulated_table() -> anndata.AnnData:
    """Samples of two cell types; genes by Ensembl id with the simulator's symbol (`symbol`), where GENCODE knows it.

    Genes whose symbols GENCODE does not know get an id that it does not know either.
    """
    drawn = draw(
        n_donors=N_DONORS,
        cells_per_donor=CELLS_PER_DONOR,
        cell_types=list(TYPES.values()),
        seed=SEED,
        genes=N_GENES,
    )
    known = read_symbol_table(SYMBOLS).symbols
    # By symbol: the first id of the few that share one, so that a table has each symbol once.
    ids = {symbol: gene for gene, symbol in sorted(known.items(), reverse=True)}
    symbols = drawn.model.genes["symbol"].to_numpy(dtype=object)
    names = [ids.get(symbol, f"ENSG9{number:010d}") for number, symbol in enumerate(symbols)]
    obs = [
        drawn.donors[["donor_id", "age_years", "sex"]].assign(cell_type=name, n_cells=drawn.cells[:, NAMES.index(name)])
        for name in TYPES.values()
    ]
    obs = pd.concat(obs, ignore_index=True).set_index(pd.Index([f"s{i}" for i in range(N_DONORS * len(TYPES))]))
    var = pd.DataFrame({"symbol": symbols}, index=pd.Index(names, name="gene_id"))
    return anndata.AnnData(np.concatenate([drawn.counts[name] for name in TYPES.values()]), obs=obs, var=var)


def analysed(table: anndata.AnnData, folder: Path, *, ages: bool = True) -> dict[str, bytes]:
    """The check of a table, and tests, gene sets and predicted ages of `TYPE`: content by path."""
    versions = ["--versions", str(folder / "v.json")]
    folder.mkdir(parents=True)
    write_h5ad(table, folder / "given.h5ad")
    out = folder / "out"
    with contextlib.redirect_stdout(io.StringIO()):
        check_pseudobulk.main(
            [*default_options("check_pseudobulk"), "--table", str(folder / "given.h5ad"), "--age-column", "age_years",
             "--gene-symbols", str(SYMBOLS), "--prefix", str(folder / "x"), "--output", str(out), *versions]
        )  # fmt: skip
        counts = f"{folder}/x_{TYPE}_step-pseudobulk_counts.h5ad"
        differential_expression.main(
            [*default_options("differential_expression"), "--pseudobulk", counts, "--output", str(out / "de.tsv"),
             "--summary", str(out / "de.json"), "--fits", str(folder / "fits.h5"), *versions]
        )  # fmt: skip
        gsea.main(
            [*default_options("gsea"), "--de", str(out / "de.tsv"), "--fits", str(folder / "fits.h5"), "--gene-sets",
             str(HALLMARK), "--output", str(out / "gsea.tsv"), "--summary", str(out / "gsea.json"), *versions]
        )  # fmt: skip
        if ages:
            predict_age.main(
                ["train", *default_options("predict_age"), "--pseudobulk", counts, "--id", TYPE, "--model", "ridge",
                 "--alpha", "nested", "--output", str(out / "ridge"), *versions]
            )  # fmt: skip
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def equal_files(one: dict[str, bytes], other: dict[str, bytes], names: list[str]) -> list[str]:
    """Which of these files are the same to the last byte."""
    return [name for name in names if one[name] == other[name]]


def sample_without_counts(table: anndata.AnnData, folder: Path, *, with_cells: bool) -> Iterator[Verdict]:
    """One sample loses its counts, against the table without this sample."""
    table = table.copy()
    if not with_cells:
        del table.obs["n_cells"]
    kept = np.arange(table.n_obs) != EMPTY
    emptied = table.copy()
    emptied.X = table.X * kept[:, None]
    found = analysed(emptied, folder / "emptied")
    without = analysed(table[kept].copy(), folder / "without")
    samples = read_tsv(folder / "emptied/out/pseudobulk/samples.tsv").fillna({"reason": ""})
    types = read_tsv(folder / "emptied/out/cohort/cell_types.tsv").set_index("id")
    lost = samples[samples["reason"] == "no counts"]
    where = "a sample without counts" if with_cells else "the same in a table without n_cells"
    yield Verdict(
        f"{where}: counted with its reason, its cell type stays",
        f"{len(lost)} 'no counts'; {types.loc[TYPE, 'n_samples']} of {N_DONORS} samples used, "
        f"{int(types['kept'].sum())} of {len(types)} cell types kept",
        len(lost) == 1
        and lost["donor_id"].iloc[0] == table.obs["donor_id"].iloc[EMPTY]
        and bool(types["kept"].all())
        and types.loc[TYPE, "n_samples"] == N_DONORS - 1,
    )
    names = ["de.tsv", "gsea.tsv", "ridge/predictions.tsv", "ridge/coefficients.tsv"]
    equal = equal_files(found, without, names)
    n_genes = len(read_tsv(folder / "emptied/out/de.tsv"))
    yield Verdict(
        f"{where}: tests, gene sets and predicted ages equal, to the last byte, those of the table without it",
        f"{len(equal)} of {len(names)} files equal ({n_genes:,} genes tested)",
        equal == names and n_genes > 0,
    )


def ensembl_ids_alone(table: anndata.AnnData, folder: Path) -> Iterator[Verdict]:
    """A table without symbols, against one that has GENCODE's symbols, and the simulator's own, older ones."""
    known = read_symbol_table(SYMBOLS).symbols
    alone, same = table.copy(), table.copy()
    del alone.var["symbol"]
    same.var["symbol"] = [symbol if known.get(gene) == symbol else "" for gene, symbol in table.var["symbol"].items()]
    found, expected, own = (
        analysed(one, folder / name, ages=False) for name, one in (("alone", alone), ("same", same), ("own", table))
    )
    check = read_json(folder / "alone/out/cohort/check.json")
    n_sets, n_own = (
        int(read_tsv(folder / name / "out/gsea.tsv")["p_value"].notna().sum()) for name in ("alone", "own")
    )
    yield Verdict(
        "Ensembl ids alone: gene sets are tested",
        f"{n_sets} sets ({n_own} with the table's own symbols); symbols for {check['n_symbols_from_table']:,} of "
        f"{check['n_genes']:,} genes from GENCODE",
        n_sets > 0,
    )
    names = ["de.tsv", "gsea.tsv"]
    equal = equal_files(found, expected, names)
    yield Verdict(
        "Ensembl ids alone: tests and gene sets equal, to the last byte, those of a table with symbols where these are "
        "the same",
        f"{len(equal)} of {len(names)} files equal",
        equal == names and own["de.tsv"] != b"",
    )


def verdicts(quick: bool = False) -> Iterator[Verdict]:
    """Every target; `quick` leaves out the table without numbers of cells."""
    table = simulated_table()
    for with_cells in (True,) if quick else (True, False):
        with tempfile.TemporaryDirectory() as folder:
            yield from sample_without_counts(table, Path(folder), with_cells=with_cells)
    with tempfile.TemporaryDirectory() as folder:
        yield from ensembl_ids_alone(table, Path(folder))


if __name__ == "__main__":
    sys.exit(print_table(verdicts(quick="--quick" in sys.argv[1:])))
