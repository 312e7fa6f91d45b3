"""Cell types side by side: patterns of genes, gene sets x cell types, and what each cell type could have shown."""

import numpy as np
import pandas as pd
import pytest

from compare_cell_types import main
from immune_aging.statistics.comparison import SETS, SHARED, patterns, shared_ageing
from immune_aging.statistics.power import POWER, detectable, p_threshold, power_rows
from immune_aging.task.checkpoints import read_json, read_tsv, write_json, write_tsv
from immune_aging.task.command_line import BadInput
from inputs.statistics_inputs import statistics_table

N = 400


def de_table(seed: int, effect: np.ndarray, *, se: float = 0.1) -> pd.DataFrame:
    """A de.tsv of `N` genes with true `effect`; standard errors fall with the mean count."""
    from scipy.stats import false_discovery_control, norm

    rng = np.random.default_rng(seed)
    mean = 10 ** np.linspace(0.5, 3, N)
    lfc_se = se * (1 + 3 / np.sqrt(mean))
    found = effect + lfc_se * rng.normal(size=N)
    p_value = 2 * norm.sf(np.abs(found / lfc_se))
    padj = false_discovery_control(p_value)
    table = statistics_table(n_genes=N).sort_values("gene_id", ignore_index=True)
    return table.assign(
        base_mean=mean, log2_fold_change=found, lfc_se=lfc_se, stat=found / lfc_se, p_value=p_value, padj=padj,
        robust=padj < 0.05,
    )  # fmt: skip


def effects() -> dict[str, np.ndarray]:
    """Three cell types: genes 0-9 rise in all, 10-19 fall in b alone, 20-24 rise in a and fall in c."""
    truth = {name: np.zeros(N) for name in "abc"}
    for name in "abc":
        truth[name][:10] = 1.0
    truth["b"][10:20] = -1.5
    truth["a"][20:25], truth["c"][20:25] = 1.5, -1.5
    return truth


def write_tree(folder, tables, *, sds=None, skipped=(), gsea=True):
    """Published trees of DIFFERENTIAL_EXPRESSION and GSEA."""
    rng = np.random.default_rng(0)
    for name, table in tables.items():
        place = folder / f"de-{name}/published/cell_types/{name}"
        write_tsv(table, place / "de.tsv")
        facts = {"status": "done", "cell_type": f"Cell <{name}>", "n_samples": 45, "test_term": "age"}
        facts |= {"contrast": "per SD", "test_term_sd": (sds or {}).get(name, 20.0)}
        write_json(facts, place / "de_summary.json")
        sets = pd.DataFrame(
            {"gene_set": ["ONE", "TWO", "THREE"], "nes": rng.normal(size=3), "q_value": [0.01, 0.5, 0.9]}
        ).assign(direction="down")  # whatever the sign of the score
        sets = sets.head(3 if name == "a" else 2)
        write_tsv(sets if gsea else sets.head(0), folder / f"gsea-{name}/published/cell_types/{name}/gsea.tsv")
    for name in skipped:
        place = folder / f"de-{name}/published/cell_types/{name}"
        write_tsv(next(iter(tables.values())).head(0), place / "de.tsv")
        write_json({"status": "skipped", "reason": "too few", "cell_type": name}, place / "de_summary.json")
    return [str(path / "published") for path in sorted(folder.iterdir()) if (path / "published").exists()]


def run_step(tmp_path, trees, *options):
    main(["--published", *trees, "--output", str(tmp_path / "out"), "--versions", str(tmp_path / "v.json"), *options])
    out = tmp_path / "out"
    tables = {name: read_tsv(out / f"{name}.tsv") for name in ("shared_ageing", "gsea_nes", "power")}
    return tables, read_json(out / "comparison_summary.json")


@pytest.fixture
def tables():
    return {name: de_table(i, truth) for i, (name, truth) in enumerate(effects().items())}


def test_planted_patterns_are_recognised(tmp_path, tables):
    results, summary = run_step(tmp_path, write_tree(tmp_path / "in", tables, skipped=["d"]))
    table = results["shared_ageing"]
    assert list(table.columns) == [*SHARED, "lfc_a", "lfc_b", "lfc_c"]
    number = table["symbol"].str.removeprefix("SYM").astype(int)
    kind = table.set_index(number)["pattern"].sort_index()
    assert (kind[:10] == "shared").mean() >= 0.9 and (kind[10:20] == "specific").mean() >= 0.8
    assert (kind[20:25] == "opposed").all()
    assert (kind[25:] == "none").mean() > 0.97
    row = table[number == 22].iloc[0]
    assert (row["n_up"], row["n_down"], row["cell_types_up"], row["cell_types_down"]) == (1, 1, "a", "c")
    assert summary["patterns"] == table["pattern"].value_counts().reindex(summary["patterns"], fill_value=0).to_dict()
    assert sum(summary["patterns"].values()) == len(table) == summary["n_genes"]
    assert summary["left_out"] == {"d": "too few"} and summary["cell_types"]["a"] == "Cell <a>"
    assert table["lfc_per_decade"].to_numpy() == pytest.approx(table["log2_fold_change"].to_numpy() / 2, rel=1e-4)


def test_effects_of_cell_types_with_other_spreads_of_age_are_brought_to_one_unit(tables):
    """An effect per year is what is comparable: per SD it depends on which donors have the cell type."""
    plain, _, _ = shared_ageing(tables, dict.fromkeys("abc", 20.0))
    wide = dict(tables)
    wide["b"] = tables["b"].assign(
        log2_fold_change=tables["b"]["log2_fold_change"] * 2, lfc_se=tables["b"]["lfc_se"] * 2
    )
    other, _, common = shared_ageing(wide, {"a": 20.0, "b": 40.0, "c": 20.0})
    assert common == 20
    pd.testing.assert_frame_equal(other, plain)


def test_the_first_rule_that_holds_decides():
    rows = pd.DataFrame(
        {
            "n_up": [1, 2, 1, 1, 0, 0],
            "n_down": [1, 0, 0, 0, 0, 0],
            "padj": [1, 1, 1, 1, 0.01, 0.2],
            "padj_shared": [0.01, 0.01, 0.2, 0.2, 0.2, 0.2],
            "heterogeneity_padj": [0.01, 0.01, 0.01, 0.5, 0.5, 0.5],
        }
    )
    assert list(patterns(rows)) == ["opposed", "shared", "specific", "unclear", "unclear", "none"]


def test_order_of_trees_changes_nothing(tmp_path, tables):
    trees = write_tree(tmp_path / "in", tables)
    run_step(tmp_path / "one", trees)
    run_step(tmp_path / "two", list(reversed(trees)))
    for name in ("shared_ageing.tsv", "gsea_nes.tsv", "power.tsv", "comparison_summary.json"):
        assert (tmp_path / "one/out" / name).read_bytes() == (tmp_path / "two/out" / name).read_bytes(), name


def test_gene_sets_by_cell_types_with_what_was_not_tested_missing(tmp_path, tables):
    table = run_step(tmp_path, write_tree(tmp_path / "in", tables))[0]["gsea_nes"].set_index("gene_set")
    assert list(table.columns) == [*SETS[1:], "nes_a", "nes_b", "nes_c", "q_a", "q_b", "q_c"]
    assert table.loc["THREE"].isna().sum() == 4 and table.loc["THREE", "n_cell_types"] == 1
    own = read_tsv(tmp_path / "in/gsea-b/published/cell_types/b/gsea.tsv").set_index("gene_set")
    assert table.loc["TWO", "nes_b"] == own.loc["TWO", "nes"] and table.loc["TWO", "q_b"] == 0.5
    assert table.index[0] == "ONE" and (table.loc["ONE", "n_up"], table.loc["ONE", "n_down"]) == (0, 3)
    empty = run_step(tmp_path / "none", write_tree(tmp_path / "no", tables, gsea=False))[0]["gsea_nes"]
    assert empty.empty and list(empty.columns) == list(SETS)


def test_one_cell_type_has_power_but_no_comparison(tmp_path, tables):
    trees = write_tree(tmp_path / "in", {"a": tables["a"]})
    results, summary = run_step(tmp_path, trees)
    assert summary["status"] == "skipped" and "1 cell type with tested genes" in summary["reason"]
    assert results["shared_ageing"].empty and len(results["power"]) == 4
    with pytest.raises(BadInput, match="two are needed"):
        run_step(tmp_path, trees, "--strict")
    (tmp_path / "void").mkdir()
    with pytest.raises(BadInput, match=r"holds no de\.tsv"):
        run_step(tmp_path, [str(tmp_path / "void")])


def test_the_power_table_is_right_by_simulation():
    """5 % of the genes change by the smallest effect: Benjamini-Hochberg finds 80 % of them."""
    from scipy.stats import false_discovery_control, norm

    rng = np.random.default_rng(1)
    n, found, false = 4000, [], []
    for _ in range(30):
        se = rng.uniform(0.05, 0.3, n)
        changing = np.arange(n) < n * 0.05
        effect = np.where(changing, detectable(se, threshold=p_threshold()), 0) + se * rng.normal(size=n)
        called = false_discovery_control(2 * norm.sf(np.abs(effect / se))) < 0.05
        found.append(called[changing].mean())
        false.append(called[~changing].sum() / max(called.sum(), 1))
    assert np.mean(found) == pytest.approx(0.8, abs=0.02)
    assert np.mean(false) == pytest.approx(0.05, abs=0.01)


def test_power_is_given_by_thirds_of_expression_and_the_most_powerful_type_first(tmp_path, tables):
    weak = {"a": de_table(1, np.zeros(N), se=0.3), "b": tables["b"]}
    power = run_step(tmp_path, write_tree(tmp_path / "in", weak, sds={"a": 10.0, "b": 20.0}))[0]["power"]
    assert list(power.columns) == list(POWER)
    assert power["id"].tolist() == ["b"] * 4 + ["a"] * 4
    assert power["expression"].tolist() == ["all", "low", "middle", "high"] * 2
    own = power[power["id"] == "a"].set_index("expression")
    assert own.loc["low", "smallest_lfc"] > own.loc["middle", "smallest_lfc"] > own.loc["high", "smallest_lfc"]
    assert own.loc[["low", "middle", "high"], "n_genes"].sum() == own.loc["all", "n_genes"] == N
    np.testing.assert_allclose(own["smallest_lfc_per_decade"], own["smallest_lfc"], rtol=1e-4)
    assert own.loc["all", "lfc_se"] == pytest.approx(weak["a"]["lfc_se"].median(), rel=1e-4)


def test_genes_without_a_standard_error_have_no_power():
    table = de_table(1, np.zeros(N))
    table.loc[:99, "lfc_se"] = np.nan
    assert power_rows(table)[0]["n_genes"] == N - 100
    assert power_rows(table.head(0)) == []
