"""Write a small results folder with known numbers, in the trees of the tasks that would have published it.

    python tests/inputs/report_inputs.py OUTDIR

OUTDIR/<task>/published/... holds what one task publishes; OUTDIR/params.json and OUTDIR/versions/*.json go to
the report as well. One cell type has a name that would be a script in HTML, one could not be fitted.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bin"))
sys.path.append(str(Path(__file__).resolve().parents[1]))
import anndata

import compare_cell_types
import compare_cohorts
from immune_aging import results
from immune_aging.cells.losses import rule_table
from immune_aging.embedding.map_sample import sample_table
from immune_aging.figures.genes_by_age import expression_by_age
from immune_aging.samples.cell_type_samples import read_samples
from immune_aging.statistics.composition import compare_donors
from immune_aging.statistics.gene_sets import write_gmt
from immune_aging.task.checkpoints import (
    read_json,
    read_tsv,
    unique_slugs,
    write_h5ad,
    write_json,
    write_parquet,
    write_tsv,
)
from inputs.step_options import default_bounds

# Genes whose names plotly would read as tags and a link, or a column of the same table is called.
GENES = ("LYZ", "<b>X</b> & <a href='javascript:alert(1)'>Y</a>", "cell_type", "A" * 200)
SCRIPT_NAME = '<script>alert("age")</script> & co'
KEPT = (
    "B cell",
    "CD14-positive monocyte",
    "CD4-positive, alpha-beta T cell",
    "natural killer cell",
    SCRIPT_NAME,
)
UNFITTED = "natural killer cell"
RARE = ("erythrocyte", "plasmacytoid dendritic cell")
SLUGS = unique_slugs([*KEPT, *RARE])
N_DONORS = 30
HALLMARKS = (
    "TNFA_SIGNALING_VIA_NFKB",
    "INTERFERON_GAMMA_RESPONSE",
    "INFLAMMATORY_RESPONSE",
    "OXIDATIVE_PHOSPHORYLATION",
    "MYC_TARGETS_V1",
    "G2M_CHECKPOINT",
    "HYPOXIA",
    "APOPTOSIS",
    "P53_PATHWAY",
    "EPITHELIAL_MESENCHYMAL_TRANSITION",
)
MODELS, ALPHAS = ("elastic_net", "ridge"), (0.1, 1.0, 10.0)
DE_COLUMNS = (
    "gene_id",
    "symbol",
    "base_mean",
    "log2_fold_change",
    "lfc_se",
    "stat",
    "p_value",
    "padj",
    "lfc_per_decade",
    "log2_fold_change_companion",
    "p_value_companion",
    "padj_companion",
    "robust",
)
GSEA_COLUMNS = (
    "gene_set", "es", "nes", "direction", "correlation", "p_value", "q_value", "p_value_preranked",
    "q_value_preranked", "size", "leading_edge",
)  # fmt: skip
ORA_COLUMNS = ("gene_set", "overlap", "size", "odds_ratio", "p_value", "padj", "genes")


def make_donors(rng: np.random.Generator) -> pd.DataFrame:
    """Donors: the last has no age, the one before too few cells."""
    donors = pd.DataFrame({"donor_id": [f"donor-{i:02d}" for i in range(N_DONORS)]})
    donors["age_years"] = np.append(rng.integers(19, 97, N_DONORS - 1), np.nan)
    donors["sex"] = rng.choice(["female", "male"], N_DONORS)
    donors["kept"] = True
    donors["reason"] = ""
    donors.loc[N_DONORS - 1, ["kept", "reason"]] = [False, "age unknown"]
    donors.loc[N_DONORS - 2, ["kept", "reason"]] = [False, "fewer than 40 cells (percentile 1)"]
    return donors


def make_cells(donors: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Cells of the kept donors and cell types with QC columns whose reasons obey the default thresholds."""
    rows = []
    for donor in donors.loc[donors["kept"], "donor_id"]:
        for cell_type, mean in zip(KEPT, (20, 30, 60, 15, 15), strict=True):
            rows += [(donor, cell_type)] * int(10 + rng.poisson(mean))
    cells = pd.DataFrame(rows, columns=["donor_id", "cell_type"])
    n = len(cells)
    cells.insert(0, "cell_id", [f"cell-{i:05d}" for i in range(n)])
    cells["n_counts"] = np.round(rng.lognormal(8, 0.5, n)).astype(int)
    cells["n_genes"] = np.round(cells["n_counts"] ** 0.8 * rng.lognormal(0.3, 0.1, n)).astype(int)
    cells["pct_mito"] = 20 * rng.beta(2, 8, n)
    cells["pct_ribo"] = 60 * rng.beta(4, 6, n)
    cells["pct_hb"] = np.where(rng.random(n) < 0.9, 0, rng.exponential(0.5, n))
    dying, red = rng.random(n) < 0.03, rng.random(n) < 0.02
    cells.loc[dying, "pct_mito"] = rng.uniform(20.5, 70, dying.sum())
    cells.loc[red, "pct_hb"] = rng.uniform(5.5, 60, red.sum())
    cells["doublet_score"] = rng.beta(2, 20, n)
    cells["is_doublet"] = rng.random(n) < 0.05
    cells.loc[cells["is_doublet"], "doublet_score"] = rng.uniform(0.3, 0.7, cells["is_doublet"].sum())
    cells.loc[cells["is_doublet"], ["n_counts", "n_genes"]] = (
        cells.loc[cells["is_doublet"], ["n_counts", "n_genes"]] * 1.6
    ).astype(int)
    bad = cells[["pct_mito", "pct_hb", "n_counts", "n_genes"]].to_numpy()
    rules = {
        "too few counts": bad[:, 2] < 500,
        "too many genes": bad[:, 3] > 6000,
        "high mitochondrial share": bad[:, 0] > 20,
        "high hemoglobin share": bad[:, 1] > 5,
    }
    thresholds_broken = np.logical_or.reduce(list(rules.values()))
    cells.loc[thresholds_broken, "doublet_score"] = np.nan
    cells["is_doublet"] &= ~thresholds_broken
    rules["doublet"] = cells["is_doublet"].to_numpy()
    reasons = [""] * n
    for rule, broken in rules.items():
        reasons = [
            f"{old}; {rule}" if old and hit else rule if hit else old for old, hit in zip(reasons, broken, strict=True)
        ]
    cells["reason"] = reasons
    cells["kept"] = cells["reason"] == ""
    order = ["cell_id", "donor_id", "cell_type", "n_genes", "n_counts", "pct_mito", "pct_ribo", "pct_hb"]
    return cells[[*order, "doublet_score", "is_doublet", "kept", "reason"]]


def write_cohort(out: Path, donors: pd.DataFrame, cells: pd.DataFrame) -> None:
    """Cohort tables of `cells`, 8 cells of each dropped donor and 5 of each rare type in each kept donor."""
    n_cells = cells["donor_id"].value_counts()
    n_kept_donors = int(donors["kept"].sum())
    rare = 5 * len(RARE) * n_kept_donors
    donors = donors.assign(n_cells=[n_cells.get(d, 8 - 5 * len(RARE)) + 5 * len(RARE) for d in donors["donor_id"]])
    donors = donors.assign(n_cells_kept=[n_cells.get(d, 0) for d in donors["donor_id"]])
    order = ["donor_id", "age_years", "sex", "n_cells", "n_cells_kept", "kept", "reason"]
    write_tsv(donors[order], out / "filter_cohort/published/cohort/donors.tsv")
    write_json(
        {
            "rules": {
                "donor_percentile": 1.0,
                "min_cells_of_a_donor": 40.0,
                "min_cells_per_type": 10,
                "min_donor_fraction": 0.95,
            },
            "cells": {
                "input": len(cells) + 16 + rare,
                "lost": {
                    "cell type in too few donors": rare,
                    "donor left out: age unknown": 8,
                    "donor left out: too few cells": 8,
                },
                "kept": len(cells),
            },
            "donors": {
                "input": len(donors),
                "lost": {"age unknown": 1, "fewer than 40 cells (percentile 1)": 1},
                "kept": n_kept_donors,
            },
            "cell_types": {
                "input": len(KEPT) + len(RARE),
                "lost": {"in too few donors": len(RARE)},
                "kept": len(KEPT),
            },
            "shards": 2,
        },
        out / "filter_cohort/published/cohort/filtering.json",
    )
    write_parquet(donors[["donor_id", "age_years", "sex"]], out / "check_cohort/donors.parquet")
    write_json(
        {
            "counts_layer": "raw.X",
            "n_cells": len(cells) + 16 + rare,
            "n_genes": 1200,
            "n_symbols": 1200,
            "notes": [],
        },
        out / "check_cohort/published/cohort/check.json",
    )
    write_json(
        {
            "genes": {"input": 1200, "lost": {"expressed in no kept cell": 200}, "kept": 1000},
            "cells": len(cells),
        },
        out / "split_cohort/published/cohort/genes.json",
    )


def write_qc(out: Path, cells: pd.DataFrame) -> None:
    """The merged QC tables and the final table of cell types."""
    rows = [
        {
            "rule": rule,
            "cells": int(cells["reason"].str.contains(rule).sum()),
            "alone": int((cells["reason"] == rule).sum()),
        }
        for rule in (
            "too few counts",
            "too many genes",
            "high mitochondrial share",
            "high hemoglobin share",
            "doublet",
        )
    ]
    several = int(cells["reason"].str.contains(";").sum())
    rows += [{"rule": "several rules", "cells": several, "alone": several}]
    lost = {row["rule"]: row["alone"] for row in rows if row["alone"]}
    kept = int(cells["kept"].sum())
    rows += [
        {"rule": "kept", "cells": kept, "alone": kept},
        {"rule": "all", "cells": len(cells), "alone": len(cells)},
    ]
    tree = out / "merge_qc/published"
    write_parquet(cells, tree / "qc/cells.parquet")
    write_tsv(pd.DataFrame(rows), tree / "qc/summary.tsv")
    bounds = {name: (value, value) for name, value in vars(default_bounds()).items()}
    write_tsv(rule_table(cells, bounds), tree / "qc/rules.tsv")
    write_json(
        {
            "cells": {"input": len(cells), "lost": lost, "kept": kept},
            "notes": ["1 of 28 donors were not scored for doublets"],
        },
        tree / "qc/qc.json",
    )
    types = [
        {
            "id": SLUGS[name],
            "cell_type": name,
            "n_cells": int((cells["cell_type"] == name).sum()),
            "n_donors": 28,
            "n_samples": 28,
            "kept": True,
            "reason": "",
        }
        for name in KEPT
    ] + [
        {
            "id": SLUGS[name],
            "cell_type": name,
            "n_cells": 140,
            "n_donors": 28,
            "n_samples": 0,
            "kept": False,
            "reason": "10 cells in only 0 of 28 donors",
        }
        for name in RARE
    ]
    write_tsv(pd.DataFrame(types).sort_values("id"), tree / "cohort/cell_types.tsv")


def write_embedding(out: Path, cells: pd.DataFrame, donors: pd.DataFrame, rng: np.random.Generator) -> None:
    """PCA, UMAP, genes, two resolutions of clusters and the sample to draw for the kept cells."""
    kept = cells[cells["kept"]].reset_index(drop=True)
    code = kept["cell_type"].map({name: i for i, name in enumerate(KEPT)}).to_numpy()
    centres = rng.normal(0, 6, (len(KEPT), 10))
    pcs = pd.DataFrame(centres[code] + rng.normal(0, 1, (len(kept), 10)), columns=[f"PC{i + 1}" for i in range(10)])
    ids = kept[["cell_id"]]
    write_parquet(pd.concat([ids, pcs.astype(np.float32)], axis=1), out / "pca/published/embedding/pca.parquet")
    harmony = pcs.rename(columns=lambda name: name.replace("PC", "H"))
    write_parquet(
        pd.concat([ids, harmony.astype(np.float32)], axis=1), out / "harmony/published/embedding/harmony.parquet"
    )
    umap = np.array([(0, 0), (8, 1), (3, 8), (10, 9), (-5, 7)])[code] + rng.normal(0, 1, (len(kept), 2))
    umap = pd.DataFrame(umap.astype(np.float32), columns=["UMAP1", "UMAP2"])
    write_parquet(pd.concat([ids, umap], axis=1), out / "umap/published/embedding/umap.parquet")
    clusters = {}
    for resolution, cluster in (("0.5", code), ("1.0", 2 * code + (umap["UMAP1"] % 2 > 1))):
        by_size = {c: str(i) for i, c in enumerate(pd.Series(cluster).value_counts(sort=True).index)}
        table = ids.assign(cluster=pd.Series(cluster).map(by_size))
        clusters[resolution] = table["cluster"]
        write_parquet(table, out / f"cluster-{resolution}/published/clusters/resolution-{resolution}/clusters.parquet")
    own = np.random.default_rng(2)
    expression = pd.DataFrame({gene: own.exponential(1, len(kept)) * (own.random(len(kept)) < 0.5) for gene in GENES})
    known = kept.merge(donors[["donor_id", "age_years", "sex"]], on="donor_id", how="left")
    points = umap.to_numpy(dtype=float)
    sample = sample_table(points, known, clusters, expression, inside=np.ones(len(kept), dtype=bool))
    write_tsv(sample, out / "plot_embedding/published/embedding/umap_sample.tsv")
    genes = pd.DataFrame(
        {"gene_id": [f"ENSG{i:011d}" for i in range(1000)], "symbol": [f"GENE{i}" for i in range(1000)]}
    )
    genes["rank"], genes["variance_norm"], genes["selected"] = (
        np.arange(1, 1001),
        np.linspace(9, 0.1, 1000),
        np.arange(1000) < 210,
    )
    genes["reason"] = np.where(np.arange(1000) < 210, "", "not among the most variable")
    genes.loc[:9, ["selected", "reason"]] = [False, "mitochondrial"]
    write_tsv(genes, out / "select_genes/published/embedding/genes.tsv")


def write_pseudobulk(out: Path, cells: pd.DataFrame) -> None:
    """Sizes of the samples."""
    sizes = cells[cells["kept"]].groupby(["cell_type", "donor_id"]).size().rename("n_cells").reset_index()
    sizes["n_counts"] = 3000 * sizes["n_cells"]
    sizes.insert(0, "sample_id", sizes["cell_type"].map(SLUGS) + "_" + sizes["donor_id"])
    sizes["kept"] = sizes["n_cells"] >= 15
    sizes["reason"] = np.where(sizes["kept"], "", "fewer than 15 cells")
    write_tsv(sizes, out / "merge_pseudobulk/published/pseudobulk/samples.tsv")


def write_statistics(out: Path, name: str, rng: np.random.Generator) -> None:
    """Differential expression, enrichment and over-representation of one cell type."""
    identifier = SLUGS[name]
    folder = f"published/cell_types/{identifier}"
    facts = {"cell_type": name, "n_samples_in": 28}
    if name == UNFITTED:
        reason = "age and sex cannot be told apart in these samples"
        for task, tables in (
            ("de", {"de.tsv": DE_COLUMNS}), ("gsea", {"gsea.tsv": GSEA_COLUMNS}),
            ("ora", {"ora_up.tsv": ORA_COLUMNS, "ora_down.tsv": ORA_COLUMNS}),
        ):  # fmt: skip
            for file, columns in tables.items():
                write_tsv(pd.DataFrame(columns=list(columns)), out / f"{task}-{identifier}" / folder / file)
            write_json(
                {"status": "skipped", "reason": reason, **(facts if task == "de" else {})},
                out / f"{task}-{identifier}" / folder / f"{task}_summary.json",
            )
        return
    n = 600
    z = rng.normal(0, 1, n)
    z[:40] += rng.choice([-6, 6], 40)
    de = pd.DataFrame({"gene_id": [f"ENSG{i:011d}" for i in range(n)], "symbol": [f"GENE{i}" for i in range(n)]})
    de["base_mean"], de["lfc_se"], de["stat"] = rng.lognormal(4, 1.5, n), rng.uniform(0.03, 0.1, n), z
    de["log2_fold_change"] = de["stat"] * de["lfc_se"]
    de["p_value"] = np.exp(-(z**2) / 2)
    de["padj"] = np.minimum(1, de["p_value"] * n / de["p_value"].rank())
    de["lfc_per_decade"] = de["log2_fold_change"] * 0.6
    de["log2_fold_change_companion"], de["p_value_companion"] = (
        de["log2_fold_change"] * 0.97,
        de["p_value"] ** 0.9,
    )
    de["padj_companion"] = de["padj"] ** 0.9
    de["robust"] = (de["padj"] < 0.05) & (de["padj_companion"] < 0.05)
    de.loc[de["base_mean"] < 5, "padj"] = np.nan
    de.loc[de["padj"].isna(), "robust"] = False
    de = de[list(DE_COLUMNS)].sort_values(["p_value", "gene_id"], ignore_index=True)
    called = de["padj"] < 0.05
    write_tsv(de, out / f"de-{identifier}" / folder / "de.tsv")
    write_json(
        {
            "status": "done",
            "reason": "",
            **facts,
            "design": "~ sex + age",
            "test_term": "age",
            "contrast": "per SD",
            "unit": "age",
            "test_term_mean": 61.2,
            "test_term_sd": 16.7,
            "method": "pydeseq2",
            "companion": "voom",
            "n_samples": 28,
            "n_genes_in": 1000,
            "n_tested": n,
            "n_low_count": 400,
            "n_padj_missing": int(de["padj"].isna().sum()),
            "n_up": int((called & (de["stat"] > 0)).sum()),
            "n_down": int((called & (de["stat"] < 0)).sum()),
            "n_robust": int(de["robust"].sum()),
            "warnings": ["28 samples: rely on the robust calls"],
        },
        out / f"de-{identifier}" / folder / "de_summary.json",
    )
    gsea = pd.DataFrame(
        {
            "gene_set": [f"HALLMARK_{name}" for name in HALLMARKS],
            "nes": np.linspace(2.4, -2.2, len(HALLMARKS)),
        }
    )
    gsea["es"], gsea["p_value"] = gsea["nes"] / 4, np.maximum(0.001, np.exp(-(gsea["nes"] ** 2)))
    gsea["q_value"], gsea["size"], gsea["leading_edge"] = (
        gsea["p_value"] * 1.5,
        np.arange(20, 120, 10),
        "GENE1;GENE2",
    )
    gsea["direction"], gsea["correlation"] = np.where(gsea["nes"] > 0, "up", "down"), 0.02
    gsea["p_value_preranked"], gsea["q_value_preranked"] = (
        gsea["p_value"].clip(lower=0.002),
        np.maximum(0.002, gsea["p_value"] / 2),
    )
    gsea = gsea[list(GSEA_COLUMNS)].sort_values(["q_value", "p_value"], ignore_index=True)
    write_tsv(gsea, out / f"gsea-{identifier}" / folder / "gsea.tsv")
    write_json(
        {"status": "done", "reason": "", "n_up": 2, "n_down": 2, "preranked_floor": 0.002},
        out / f"gsea-{identifier}" / folder / "gsea_summary.json",
    )
    for direction, sets in (("up", HALLMARKS[:4]), ("down", HALLMARKS[-3:] if name != "B cell" else ())):
        ora = pd.DataFrame({"gene_set": [f"HALLMARK_{name}" for name in sets]})
        ora["overlap"], ora["size"], ora["odds_ratio"] = (
            np.arange(12, 12 - len(sets), -1),
            80,
            np.linspace(6, 2, len(sets)),
        )
        ora["p_value"] = 10.0 ** -np.arange(6, 6 - len(sets), -1)
        ora["padj"], ora["genes"] = ora["p_value"] * 20, "GENE1;GENE2;GENE3"
        ora["padj"] = ora["padj"].clip(upper=1)
        write_tsv(ora[list(ORA_COLUMNS)], out / f"ora-{identifier}" / folder / f"ora_{direction}.tsv")
    write_json(
        {"status": "done", "reason": "", "n_called_up": 20},
        out / f"ora-{identifier}" / folder / "ora_summary.json",
    )


def write_expression(out: Path, donors: pd.DataFrame) -> None:
    """Counts of the fitted cell types, gene sets of their symbols, and the expression of their first genes."""
    rng = np.random.default_rng(1)
    kept = donors[donors["kept"]].reset_index(drop=True)
    genes = pd.DataFrame(
        {"symbol": [f"GENE{i}" for i in range(600)]},
        index=pd.Index([f"ENSG{i:011d}" for i in range(600)], name="gene_id"),
    )
    write_gmt(
        {f"HALLMARK_{name}": [f"GENE{i}" for i in rng.choice(600, 30, replace=False)] for name in HALLMARKS},
        out / "gene_sets.gmt",
    )
    for name in KEPT:
        if name == UNFITTED:
            continue
        identifier = SLUGS[name]
        obs = kept[["donor_id", "age_years", "sex"]].assign(cell_type=name, n_cells=50)
        obs.index = pd.Index(identifier + "|" + obs["donor_id"], name="sample_id")
        counts = rng.poisson(rng.lognormal(3, 1, 600), (len(obs), 600)).astype(np.int64)
        path = out / f"counts/{identifier}.h5ad"
        write_h5ad(anndata.AnnData(X=counts, obs=obs, var=genes), path)
        folder = f"published/cell_types/{identifier}"
        de = read_tsv(out / f"de-{identifier}" / folder / "de.tsv", dtype={"gene_id": str})
        table = expression_by_age(read_samples(path), de, [])
        write_tsv(table, out / f"expression-{identifier}" / folder / "expression_by_age.tsv")


def write_predictions(out: Path, name: str, ages: pd.Series, rng: np.random.Generator) -> list[dict]:
    """Predictions of one cell type for each model and alpha; returns rows of prediction_summary.tsv."""
    identifier, rows = SLUGS[name], []
    baseline = float((ages - ages.mean()).abs().mean())
    for model in MODELS:
        for alpha in ALPHAS:
            noise = 6 + 3 * abs(np.log10(alpha) - (model == "ridge"))
            predicted = ages.mean() + 0.7 * (ages.to_numpy() - ages.mean()) + rng.normal(0, noise, len(ages))
            error = np.abs(predicted - ages.to_numpy())
            mae, r2 = error.mean(), 1 - (error**2).sum() / ((ages - ages.mean()) ** 2).sum()
            r = np.corrcoef(predicted, ages)[0, 1]
            tree = out / f"predict-{identifier}-{model}-{alpha:g}/published/cell_types/{identifier}"
            folder = tree / f"prediction/model-{model}_alpha-{alpha:g}"
            table = pd.DataFrame({"donor_id": ages.index, "age_years": ages.to_numpy(), "predicted": predicted})
            write_tsv(table.assign(fold=np.arange(len(ages)) % 5 + 1, repeat=1), folder / "predictions.tsv")
            metrics = {"mae": (mae, 0.8, 1.2), "r2": (r2, 0.7, 1.1), "r": (r, 0.9, 1.05)}
            metrics |= {"baseline_mae": (baseline, 0.9, 1.1), "sex_mae": (baseline * 1.01, 0.9, 1.1)}
            metrics = {k: {"value": v, "low": v * a, "high": v * b} for k, (v, a, b) in metrics.items()}
            write_tsv(pd.DataFrame([{"metric": k, **v} for k, v in metrics.items()]), folder / "metrics.tsv")
            facts = {
                "id": identifier,
                "cell_type": name,
                "model": model,
                "alpha": alpha,
                "n_donors": len(ages),
            }
            write_json(
                {"status": "done", "reason": "", **facts, "metrics": metrics},
                folder / "predict_age_summary.json",
            )
            write_tsv(
                pd.DataFrame({"gene_id": ["ENSG00000000001"], "symbol": ["GENE1"], "coefficient": [0.5]}),
                folder / "coefficients.tsv",
            )
            row = facts | {metric: v["value"] for metric, v in metrics.items()}
            row |= {f"{metric}_{end}": metrics[metric][end] for metric in ("mae", "r2", "r") for end in ("low", "high")}
            null = (-0.2, 0.14, 0.001) if model == "ridge" else (np.nan,) * 3  # other models are not fitted again
            row |= dict(zip(("r_null_mean", "r_null_sd", "r_p_value"), null, strict=True))
            rows.append(row | {"status": "done", "reason": ""})
    return rows


def write_comparison(out: Path, donors: pd.DataFrame, cells: pd.DataFrame) -> None:
    """What COMPOSITION and COMPARE_CELL_TYPES make of the cells and tables written before."""
    sizes = cells[cells["kept"]].groupby(["cell_type", "donor_id"]).size().rename("n_cells").reset_index()
    samples = sizes.merge(donors[["donor_id", "age_years", "sex"]], on="donor_id")
    shares, table, numbers = compare_donors(
        samples, pd.Series(SLUGS), formula="~ sex + age", test_term="age", min_samples=10
    )
    folder = out / "composition/published/composition"
    write_tsv(shares, folder / "proportions.tsv")
    write_tsv(table, folder / "composition.tsv")
    write_json({"status": "done", "reason": "", **numbers}, folder / "composition_summary.json")
    trees = [str(path / "published") for path in sorted(out.iterdir()) if path.name.startswith(("de-", "gsea-"))]
    folder = out / "compare_cell_types"
    compare_cell_types.main(
        ["--published", *trees, "--output", str(folder / "published/comparison"), "--versions", str(folder / "v.json")]
    )


def write_other_cohort(out: Path) -> None:
    """A results folder of another cohort, which has B cells and half of their effects; and what comparing it gives."""
    folder, own = out / "other_cohort/results", out / f"de-{SLUGS['B cell']}/published/cell_types/{SLUGS['B cell']}"
    table = read_tsv(own / "de.tsv", dtype={"gene_id": str, "symbol": str})
    table["log2_fold_change"] /= 2
    write_tsv(table, folder / "cell_types/b_cell/de.tsv")
    write_json(read_json(own / "de_summary.json"), folder / "cell_types/b_cell/de_summary.json")
    samples = read_tsv(out / "merge_pseudobulk/published/pseudobulk/samples.tsv", dtype={"donor_id": str})
    samples = samples.assign(donor_id="other" + samples["donor_id"], n_counts=samples["n_counts"] + 1)
    write_tsv(samples, folder / "pseudobulk/samples.tsv")
    write_tsv(results.file_table(results.open(folder)), folder / "pipeline_info/files.tsv")
    trees = [str(path / "published") for path in sorted(out.iterdir()) if path.name.startswith("de-")]
    compared = out / "other_cohort/compared"
    compare_cohorts.main(
        ["--published", *trees, "--samples", str(out / "merge_pseudobulk/published/pseudobulk/samples.tsv"), "--others",
         str(folder), "--shown", "other_cohort/results", "--output", str(compared / "published/replication"), "--versions",
         str(compared / "v.json")]
    )  # fmt: skip


def write_inputs(out: Path) -> None:
    """Write all of it."""
    rng = np.random.default_rng(0)
    donors = make_donors(rng)
    cells = make_cells(donors, rng)
    write_cohort(out, donors, cells)
    write_qc(out, cells)
    write_embedding(out, cells, donors, rng)
    write_pseudobulk(out, cells)
    ages = donors[donors["kept"]].set_index("donor_id")["age_years"]
    summary = []
    for name in KEPT:
        write_statistics(out, name, rng)
        if name != UNFITTED:
            summary += write_predictions(out, name, ages, rng)
        else:
            facts = {"id": SLUGS[name], "cell_type": name, "model": "ridge", "alpha": 1.0, "n_donors": 6}
            facts |= {"status": "skipped", "reason": "6 donors; at least 10 are needed"}
            folder = f"predict-{SLUGS[name]}/published/cell_types/{SLUGS[name]}/prediction/model-ridge_alpha-1"
            for table, columns in (
                ("predictions", ("donor_id", "age_years", "predicted", "fold", "repeat")),
                ("metrics", ("metric", "value", "low", "high")),
            ):
                write_tsv(pd.DataFrame(columns=list(columns)), out / folder / f"{table}.tsv")
            write_json(facts, out / folder / "predict_age_summary.json")
            summary.append(facts)
    write_expression(out, donors)
    write_comparison(out, donors, cells)
    write_other_cohort(out)
    write_tsv(pd.DataFrame(summary), out / "summarize_predictions/published/prediction_summary.tsv")
    defaults = {
        "donor_percentile": 1,
        "min_cells_per_type": 10,
        "min_donor_fraction": 0.95,
        "min_genes": 200,
        "max_genes": 6000,
        "min_counts": 500,
        "max_counts": 30000,
        "max_pct_mito": 20,
        "max_pct_hb": 5,
        "expected_doublet_rate": 0.06,
        "n_top_genes": 3000,
        "hvg_span": 0.8,
        "target_sum": 10000,
        "n_pcs": 50,
        "n_neighbors": 30,
        "n_neighbors_components": 40,
        "umap_epochs": 200,
        "umap_min_dist": 0.5,
        "leiden_resolutions": "1.0",
        "min_cells_per_sample": 10,
        "min_depth_share": 0.1,
        "min_samples_per_type": 10,
        "design": "~ sex + age",
        "test_term": "age",
        "de_method": "pydeseq2",
        "gene_sets": "h.all.v7.5.1.symbols.gmt",
        "gsea_permutations": 1000,
        "gene_set_min_size": 10,
        "gene_set_max_size": 1000,
        "ora_backend": "local",
        "prediction_models": "ridge",
        "ridge_alphas": "0.1,1,10",
        "seed": 0,
        "dataset": "cohort",
        "input": None,
    }
    changed = {
        "dataset": "small-example",
        "input": "/data/<cohort>.h5ad",
        "n_top_genes": 200,
        "leiden_resolutions": [0.5, 1.0],
        "prediction_models": ["ridge", "elastic_net"],
        "min_cells_per_sample": 15,
    }
    parameters = {
        name: {
            "value": changed.get(name, default),
            "default": default,
            "group": "Parameters",
            "description": f"About {name}.",
        }
        for name, default in defaults.items()
    }
    write_json(parameters, out / "params.json")
    for step, packages in (
        ("qc_cells", {"numpy": "2.4.6", "scrublet": "0.2.3"}),
        ("differential_expression", {"numpy": "2.4.6", "pydeseq2": "0.5.4", "pylimma": "0.2.0"}),
    ):
        write_json({"step": step, "python": "3.11.7", "packages": packages}, out / f"versions/{step}.json")
    taken = ["Goes on from the results in earlier: the pseudobulk sums are taken from it."]
    write_json({"pipeline": "0", "code": {}, "taken": taken}, out / "made_from.json")
    (out / "tasks.tsv").write_text(
        "process\ttag\tcpus\tasked_bytes\tpeak_kib\tmilliseconds\tcpu_percent\n"
        "QC_CELLS\tshard-000\t1\t2147483648\t1048576\t90000\t100.0\n"
        "PCA\tall\t1\t4294967296\t524288\t600000\t50.0\n"
    )


if __name__ == "__main__":
    write_inputs(Path(sys.argv[1]))
