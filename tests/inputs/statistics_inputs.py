#!/usr/bin/env python3
"""Small pseudobulk tables with a known truth for the tests of the per-cell-type statistics.

Run as `python tests/inputs/statistics_inputs.py OUTDIR`: writes the inputs of the modules' nf-tests.
"""

import io
import json
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import anndata
import joblib
import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bin"))
from immune_aging.statistics.gene_fits import GeneFits, write_gene_fits
from immune_aging.statistics.gene_sets import write_gmt
from immune_aging.task.checkpoints import write_h5ad, write_json, write_parquet, write_tsv

# A name that would do harm in a shell, break a path or a table: names are data.
CELL_TYPE = "CD4+ T 'cell'; $(touch harm) \"x\"/y"
SET_SIZE = 25


def simulate_samples(
    *,
    seed: int = 1,
    n_donors: int = 40,
    n_genes: int = 400,
    lfc_per_sd: float = 0.6,
    donor_sd: float = 0.2,
    depth: float = 60.0,
) -> tuple[anndata.AnnData, pd.DataFrame]:
    """Negative binomial pseudobulk counts of one cell type, in which two gene sets move with age.

    Genes 0-24 rise and genes 25-49 fall by `lfc_per_sd` (log2 per SD of age), genes 50-59 differ by sex, the
    last 40 have hardly any counts.

    Returns
    -------
    The table as MERGE_PSEUDOBULK writes it, and the truth: gene_id, lfc_per_sd.
    """
    rng = np.random.default_rng(seed)
    ages = np.sort(rng.integers(20, 95, n_donors)).astype(float)
    ages = ages[rng.permutation(n_donors)]
    male = np.arange(n_donors) % 2 == 0
    age_effect, sex_effect = np.zeros(n_genes), np.zeros(n_genes)
    age_effect[:SET_SIZE], age_effect[SET_SIZE : 2 * SET_SIZE] = lfc_per_sd, -lfc_per_sd
    sex_effect[2 * SET_SIZE : 2 * SET_SIZE + 10] = 1.0
    mean = depth * rng.lognormal(0, 0.8, n_genes)
    mean[-40:] = 0.02
    scaled = (ages - ages.mean()) / ages.std(ddof=1)
    log2_mean = np.log2(mean) + np.outer(scaled, age_effect) + np.outer(male, sex_effect)
    # A gamma of mean 1 makes the counts negative binomial with dispersion donor_sd^2, by gene up to twice
    # that.
    shape = 1 / (donor_sd**2 * rng.uniform(0.5, 2, n_genes))
    library = rng.lognormal(0, 0.3, n_donors)[:, None]
    counts = rng.poisson(2**log2_mean * library * rng.gamma(shape, 1 / shape, (n_donors, n_genes)))
    donors = [f"donor {i:03d}" for i in range(n_donors)]
    obs = pd.DataFrame(
        {
            "donor_id": donors,
            "cell_type": CELL_TYPE,
            "n_cells": rng.integers(10, 200, n_donors),
            "age_years": ages,
            "sex": np.where(male, "male", "female"),
            "pool": [f"pool{i // 3 % 4}" for i in range(n_donors)],
        },
        index=pd.Index([f"{donor}_t" for donor in donors], name="sample_id"),
    )
    gene_ids = pd.Index([f"ENSG{i:011d}" for i in range(n_genes)], name="gene_id")
    var = pd.DataFrame({"symbol": [f"SYM{i}" for i in range(n_genes)]}, index=gene_ids)
    adata = anndata.AnnData(sparse.csr_matrix(counts.astype(np.int64)), obs=obs, var=var)
    return adata, pd.DataFrame({"gene_id": gene_ids, "lfc_per_sd": age_effect})


def planted_sets(*, n_genes: int = 400, seed: int = 2) -> dict[str, list[str]]:
    """The two planted sets and ten of random genes that do not change."""
    rng = np.random.default_rng(seed)
    sets = {
        "RISES": [f"SYM{i}" for i in range(SET_SIZE)],
        "FALLS": [f"SYM{i}" for i in range(SET_SIZE, 2 * SET_SIZE)],
    }
    for number in range(10):
        chosen = np.sort(rng.choice(np.arange(2 * SET_SIZE, n_genes - 40), 30, replace=False))
        sets[f"STILL_{number}"] = [f"SYM{i}" for i in chosen]
    return sets


def statistics_table(*, n_genes: int = 400, seed: int = 3) -> pd.DataFrame:
    """A de.tsv with the planted sets on top and at the bottom, without any fit."""
    from scipy.stats import false_discovery_control, norm

    stat = np.random.default_rng(seed).normal(size=n_genes)
    stat[:SET_SIZE] += 5
    stat[SET_SIZE : 2 * SET_SIZE] -= 5
    p_value = 2 * norm.sf(np.abs(stat))
    table = pd.DataFrame(
        {
            "gene_id": [f"ENSG{i:011d}" for i in range(n_genes)],
            "symbol": [f"SYM{i}" for i in range(n_genes)],
            "base_mean": 100.0,
            "log2_fold_change": stat / 10,
            "lfc_se": 0.1,
            "stat": stat,
            "p_value": p_value,
            "padj": false_discovery_control(p_value),
            "lfc_per_decade": stat / 20,
            "log2_fold_change_companion": stat / 10,
            "p_value_companion": p_value,
            "padj_companion": false_discovery_control(p_value),
            "robust": false_discovery_control(p_value) < 0.05,
        }
    )
    return table.sort_values(["p_value", "gene_id"], ignore_index=True)


def statistics_fits(table: pd.DataFrame, *, n_samples: int = 40, n_coefficients: int = 3, seed: int = 8) -> GeneFits:
    """Fits of the genes of `statistics_table` on samples in which genes move independently."""
    genes = table.sort_values("gene_id").drop_duplicates("gene_id")
    df = n_samples - n_coefficients
    residuals = np.random.default_rng(seed).normal(size=(len(genes), n_samples))
    residuals *= np.sqrt(df / np.maximum((residuals**2).sum(axis=1, keepdims=True), 1e-12))
    z = genes["stat"].fillna(0.0).to_numpy(float)
    ids = genes["gene_id"].to_numpy(str)
    return GeneFits(ids, z, residuals, df, np.ones(len(genes)))


def simulate_composition(*, seed: int = 4, n_donors: int = 40) -> tuple[anndata.AnnData, pd.DataFrame]:
    """Cells of four cell types, of which the last grows with age, as a table of samples and the table of types."""
    rng = np.random.default_rng(seed)
    ages = rng.integers(20, 95, n_donors).astype(float)
    names = ["B cell", CELL_TYPE, "monocyte", "NK cell"]
    rows = []
    for number, age in enumerate(ages):
        mean = np.array([1.0, 1.5, 2.0, 1.0 * np.exp(0.03 * (age - 60))])
        cells = rng.multinomial(300, rng.dirichlet(100 * mean / mean.sum()))
        sex = "male" if number % 2 else "female"
        rows += [(f"donor {number:03d}", name, n, age, sex) for name, n in zip(names, cells, strict=True) if n]
    obs = pd.DataFrame(rows, columns=["donor_id", "cell_type", "n_cells", "age_years", "sex"])
    obs.index = [f"sample{i}" for i in range(len(obs))]
    types = pd.DataFrame({"id": ["b_cell", "cd4", "monocyte", "nk_cell"], "cell_type": names, "kept": True})
    adata = anndata.AnnData(sparse.csr_matrix((len(obs), 1), dtype=np.int64), obs=obs, var=pd.DataFrame(index=["g"]))
    return adata, types


def prediction_summary(identifier: str, model: str, alpha: float, *, mae: float | None = None) -> dict:
    """What PREDICT_AGE says of one fit; without `mae`, of a skipped one."""
    row = {
        "id": identifier,
        "cell_type": f"Cell {identifier}",
        "model": model,
        "alpha": alpha,
        "n_donors": 40,
    }
    if mae is None:
        return {"status": "skipped", "reason": "8 donors; at least 10 are needed", **row, "n_donors": 8}
    metrics = {
        name: {"value": mae, "low": mae - 1, "high": mae + 1} for name in ("mae", "r2", "r", "baseline_mae", "sex_mae")
    }
    return {"status": "done", "reason": "", **row, "metrics": metrics}


def sample_list(adata: anndata.AnnData, *, seed: int = 4) -> pd.DataFrame:
    """samples.tsv of the table's donors with two more cell types, one of which grows with age."""
    rng, age = np.random.default_rng(seed), adata.obs["age_years"].to_numpy()
    shares = {CELL_TYPE: 3 * np.ones(len(age)), "grows": 1 + age / 30, "stays": np.ones(len(age))}
    tables = [
        pd.DataFrame(
            {"donor_id": adata.obs["donor_id"].astype(str), "cell_type": name, "n_cells": rng.poisson(40 * mean)}
        )
        for name, mean in shares.items()
    ]
    table = pd.concat(tables, ignore_index=True)
    table.insert(0, "sample_id", table["cell_type"].str[:5] + "|" + table["donor_id"])
    return table.assign(kept=True, reason="")


def nested_fit(
    adata: anndata.AnnData,
    identifier: str,
    *,
    model: str = "ridge",
    error: float = 6.0,
    seed: int = 0,
    n_repeats: int = 2,
) -> pd.DataFrame:
    """What PREDICT_AGE hands to IMMUNE_AGE of one fit: true ages with errors of their own, in the pipeline's folds."""
    from immune_aging.prediction.folds import fold_table

    donors, ages = adata.obs["donor_id"].astype(str).to_numpy(), adata.obs["age_years"].to_numpy()
    rng, rows = np.random.default_rng(seed), []
    noise = rng.normal(0, error, len(donors))
    for repeat, folds in enumerate(fold_table(donors, n_repeats=n_repeats, n_folds=5, seed=0)):
        for fold in range(5):
            predicted = ages + noise + rng.normal(0, 1, len(donors))
            rows.append(
                pd.DataFrame(
                    {"id": identifier, "model": model, "repeat": repeat + 1, "fold": fold + 1, "donor_id": donors,
                     "held": folds == fold, "predicted": predicted}
                )
            )  # fmt: skip
    return pd.concat(rows, ignore_index=True)


CD4_T_CELL = "naive thymus-derived CD4-positive, alpha-beta T cell"


def clock_cells(*, n_donors: int = 6, n_genes: int = 30, seed: int = 0) -> tuple[anndata.AnnData, pd.DataFrame]:
    """Cells of some donors and three cell types, and their quality control with the donors' ages."""
    rng = np.random.default_rng(seed)
    n = n_donors * 40
    counts = sparse.csr_matrix(rng.poisson(rng.lognormal(0, 1, n_genes), (n, n_genes)).astype(np.float32))
    barcodes = pd.Index([f"cell{i}" for i in range(n)])
    genes = pd.Index([f"ENSG{i:011d}" for i in range(n_genes)], name="gene_id")
    adata = anndata.AnnData(
        counts,
        obs=pd.DataFrame(index=barcodes),
        var=pd.DataFrame({"symbol": [f"S{i}" for i in range(n_genes)]}, index=genes),
    )
    donors = np.repeat(np.arange(n_donors), 40)
    cells = pd.DataFrame({"cell_id": barcodes, "donor_id": [f"d{i}" for i in donors]})
    cells["cell_type"] = rng.choice(["naive B cell", "memory B cell", "natural killer cell", CD4_T_CELL], n)
    return adata, cells.assign(kept=rng.random(n) < 0.8, age_years=30.0 + 10 * donors)


def write_clocks(folder: Path, adata: anndata.AnnData, *, seed: int = 1) -> None:
    """Three clocks as CSV: of B cells (with a gene that the cells lack), NK cells, and monocytes, which are not there."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for name in ("B", "NK", "MONO"):
        genes = list(rng.choice(adata.var_names, 8, replace=False)) + (["ENSG_absent"] if name == "B" else [])
        rows = pd.DataFrame({"gene": ["Intercept", *genes], "coef": [50.0, *rng.normal(0, 5, len(genes))]})
        rows.to_csv(folder / f"{name}.csv", index=False)


def fit_scaled_ridge(n_genes: int, *, seed: int = 2) -> Pipeline:
    """A model of the kind that GRNimmuneClock holds, of random expression and ages."""
    rng = np.random.default_rng(seed)
    expression = rng.normal(rng.uniform(0, 9, n_genes), rng.uniform(0.2, 1, n_genes), (50, n_genes))
    model = Pipeline([("standardscaler", StandardScaler()), ("ridge", Ridge(alpha=5.0, random_state=42))])
    return model.fit(expression, rng.integers(20, 90, 50))


def write_grn_wheel(path: Path, model: object, genes: Sequence[str], *, cell_type: str = "CD4T") -> None:
    """A wheel with one clock, laid out and pickled as GRNimmuneClock's."""
    pickled = io.BytesIO()
    joblib.dump(model, pickled)
    with zipfile.ZipFile(path, "w") as archive:
        folder = f"grnimmuneclock/models/{cell_type}"
        archive.writestr(f"{folder}/model_V1.pkl", pickled.getvalue())
        archive.writestr(f"{folder}/feature_names_V1.txt", "".join(f"{gene}\n" for gene in genes))
        archive.writestr(f"{folder}/metadata.json", json.dumps({"version": "V1"}))


def main(argv: list[str]) -> None:
    folder = Path(argv[0])
    shard, cells = clock_cells()
    write_h5ad(shard, folder / "clock_cells.h5ad")
    write_parquet(cells, folder / "clock_cells.parquet")
    write_parquet(cells[["donor_id", "age_years"]].drop_duplicates(), folder / "clock_donors.parquet")
    write_json({"source": {"title": "A cohort"}}, folder / "clock_check.json")
    write_clocks(folder / "clocks", shard)
    write_grn_wheel(folder / "clocks/grn.whl", fit_scaled_ridge(20), shard.var["symbol"][:20])
    adata, _ = simulate_samples()
    write_tsv(sample_list(adata), folder / "samples.tsv")
    write_parquet(nested_fit(adata, "cd4"), folder / "inner_cd4.parquet")
    write_parquet(nested_fit(adata, "b", seed=1), folder / "inner_b.parquet")
    write_h5ad(adata, folder / "cell_type.h5ad")
    write_h5ad(adata[:5].copy(), folder / "few_donors.h5ad")
    composition, types = simulate_composition()
    write_h5ad(composition, folder / "all_cell_types.h5ad")
    write_tsv(types, folder / "cell_types.tsv")
    write_gmt(planted_sets(), folder / "gene_sets.gmt")
    (folder / "broken.gmt").write_text("FIRST\t\tSYM1\nSECOND SYM2\n")
    table = statistics_table()
    write_tsv(table, folder / "de.tsv")
    write_gene_fits(statistics_fits(table), folder / "gene_fits.h5")
    write_gene_fits(statistics_fits(table, n_samples=6), folder / "gene_fits_of_few_samples.h5")
    write_tsv(table.assign(symbol=""), folder / "de_without_symbols.tsv")
    fits = [
        ("b", "ridge", 1.0, 8.5),
        ("a", "ridge", 10.0, 9.5),
        ("a", "ridge", 0.1, 7.5),
        ("c", "ridge", 1.0, None),
    ]
    for number, (identifier, model, alpha, mae) in enumerate(fits):
        path = folder / f"fit{number}" / "predict_age_summary.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(prediction_summary(identifier, model, alpha, mae=mae)))


if __name__ == "__main__":
    main(sys.argv[1:])
