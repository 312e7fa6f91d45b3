"""Cohorts side by side: effects on one scale, what replicates, and what cannot be compared, from published folders."""

import numpy as np
import pandas as pd
import pytest

from compare_cohorts import main
from immune_aging import results
from immune_aging.statistics.cohort_comparison import EFFECT_TABLE, TABLES
from immune_aging.statistics.cohort_effects import match_cell_types
from immune_aging.statistics.other_cohorts import labels_of
from immune_aging.task.checkpoints import read_json, read_tsv, write_json, write_tsv
from immune_aging.task.command_line import BadInput

N = 400
RISING = 40
SUMMARY = {
    "status": "done", "reason": "", "n_samples": 50, "design": "~ sex + age", "test_term": "age", "contrast": "per SD",
    "unit": "age", "signed": True, "test_term_mean": 50.0, "test_term_sd": 20.0,
}  # fmt: skip


def de_table(seed: int, per_decade: np.ndarray, *, sd: float = 20.0, se: float = 0.05) -> pd.DataFrame:
    """A de.tsv of genes with a true effect per decade, in a cohort whose ages have this SD; `se` per decade."""
    from scipy.stats import false_discovery_control, norm

    rng = np.random.default_rng(seed)
    n = len(per_decade)
    found = per_decade + rng.normal(0, se, n)
    p_value = 2 * norm.sf(np.abs(found / se))
    padj = false_discovery_control(p_value)
    return pd.DataFrame(
        {
            "gene_id": [f"ENSG{number:011d}" for number in range(n)], "symbol": [f"S{number}" for number in range(n)],
            "base_mean": 10.0, "log2_fold_change": found * sd / 10, "lfc_se": se * sd / 10, "stat": found / se,
            "p_value": p_value, "padj": padj, "lfc_per_unit": found / 10, "lfc_per_decade": found,
            "robust": padj < 0.05,
        }
    )  # fmt: skip


def truth(n_rising: int = RISING, size: float = 0.3) -> np.ndarray:
    return np.where(np.arange(N) < n_rising, size, 0.0)


def samples(prefix: str, *, n: int = 6, cell_types=("T cell",), seed: int = 0) -> pd.DataFrame:
    """A samples.tsv."""
    rng = np.random.default_rng([seed, *prefix.encode()])
    rows = [(f"{prefix}{donor}", name) for donor in range(n) for name in cell_types]
    table = pd.DataFrame(rows, columns=["donor_id", "cell_type"])
    table.insert(0, "sample_id", table["cell_type"] + "|" + table["donor_id"])
    return table.assign(
        n_cells=rng.integers(50, 500, len(rows)), n_counts=rng.integers(10_000, 10_000_000, len(rows)), kept=True
    )


def write_results(folder, tables, *, facts=None, skipped=(), donors=None):
    """A results folder of cell types (name -> de.tsv), with the list of its files."""
    for number, (name, table) in enumerate(tables.items()):
        place = folder / f"cell_types/type_{number}"
        write_tsv(table, place / "de.tsv")
        write_json(SUMMARY | {"cell_type": name} | (facts or {}), place / "de_summary.json")
    for number, name in enumerate(skipped, len(tables)):
        place = folder / f"cell_types/type_{number}"
        write_tsv(next(iter(tables.values())).head(0), place / "de.tsv")
        write_json({"status": "skipped", "reason": "9 samples; too few", "cell_type": name}, place / "de_summary.json")
    write_tsv(samples(folder.name) if donors is None else donors, folder / "pseudobulk/samples.tsv")
    published = results.file_table(results.open(folder))
    write_tsv(published, folder / "pipeline_info/files.tsv")
    return folder


def compare(this, *others, strict=False):
    """Run the step; its tables and summary."""
    out = this.parent / "out"
    main(
        ["--published", str(this), "--samples", str(this / "pseudobulk/samples.tsv"), "--others", *map(str, others),
         "--shown", *map(str, others), "--output", str(out), "--versions", str(this.parent / "v.json"),
         *(["--strict"] if strict else [])]
    )  # fmt: skip
    tables = {name: read_tsv(out / f"{name}.tsv") for name in (*TABLES, "shared_donors")}
    return tables, read_json(out / "replication_summary.json")


def names_of(numbers) -> list[str]:
    """Genes by number."""
    return [f"ENSG{number:011d}" for number in numbers]


def test_effects_are_per_decade_whatever_the_ages_of_the_cohorts(tmp_path):
    """The same genes rise by .3 per decade in a cohort of SD 20 years and in one of 8; per SD they differ by 2.5."""
    one = write_results(tmp_path / "one", {"T cell": de_table(1, truth(), sd=20)})
    two = write_results(tmp_path / "two", {"T cell": de_table(2, truth(), sd=8)}, facts={"test_term_sd": 8.0})
    tables, summary = compare(one, two)
    effects = tables["effects"]
    assert list(effects.columns) == [
        *EFFECT_TABLE, "effect_this", "effect_two", "se_this", "se_two", "padj_this", "padj_two",
    ]  # fmt: skip
    rising = effects[effects["gene"].isin(names_of(range(RISING)))]
    assert set(effects["gene"].head(RISING)) == set(rising["gene"])
    assert rising[["effect_this", "effect_two", "effect"]].mean().to_numpy() == pytest.approx(0.3, abs=0.03)
    assert np.allclose(effects[["se_this", "se_two"]], 0.05, rtol=1e-3)
    assert (rising["heterogeneity_padj"] > 0.05).mean() > 0.9
    assert summary["cell_types"]["type_0"]["scale"] == "log2 fold change per decade of age"
    rates = tables["rates"]
    assert list(rates["discovery"]) == ["this", "two"] and list(rates["replication"]) == ["two", "this"]
    assert (rates["rate"] > 0.9).all() and (rates["rate"] - rates["rate_expected"]).abs().max() < 0.1
    assert rates["effect_ratio"].to_numpy() == pytest.approx(1, abs=0.1)
    assert summary["genes_matched_by"] == "Ensembl id without version" and summary["notes"] == []


def test_a_cohort_in_which_nothing_changes_replicates_nothing_though_much_was_to_be_expected(tmp_path):
    one = write_results(tmp_path / "one", {"T cell": de_table(1, truth())})
    two = write_results(tmp_path / "two", {"T cell": de_table(2, truth(0))})
    tables, summary = compare(one, two)
    there, back = tables["rates"].to_dict("records")
    assert there["n_discovered"] >= RISING and there["rate"] < 0.1 and there["rate_expected"] > 0.9
    assert there["pi1"] < 0.3 and abs(there["effect_ratio"]) < 0.1
    assert back["n_discovered"] <= 2, "and the other way round there is nothing to replicate"
    assert summary["cell_types"]["type_0"]["n_heterogeneous"] > RISING / 2


def test_opposite_effects_do_not_replicate(tmp_path):
    one = write_results(tmp_path / "one", {"T cell": de_table(1, truth())})
    two = write_results(tmp_path / "two", {"T cell": de_table(2, -truth())})
    found = compare(one, two)[0]["discoveries"]
    strong = found[found["gene"].isin(names_of(range(RISING)))]
    assert (strong["p_value_replication"] > 0.99).all() and not strong["replicated"].astype(bool).any()


def test_cell_types_of_one_cohort_only_are_counted_and_names_may_differ_in_case(tmp_path):
    tables = {name: de_table(number, truth()) for number, name in enumerate(["T cell", "B cell", "NK cell"])}
    one = write_results(tmp_path / "one", tables, skipped=["monocyte"])
    others = {name: de_table(number, truth()) for number, name in enumerate(["t  Cell", "monocyte", "platelet"], 5)}
    two = write_results(tmp_path / "two", others, skipped=["B cell"])
    _, summary = compare(one, two)
    assert list(summary["cell_types"]) == ["type_0"]
    assert summary["no_counterpart"] == {"this": ["NK cell"], "two": ["platelet"]}
    assert summary["left_out"] == {"type_1": {"two": "9 samples; too few"}, "type_3": {"this": "9 samples; too few"}}
    assert "B cell: not compared with two: 9 samples; too few" in summary["notes"]


def test_genes_of_one_cohort_only_and_those_without_a_p_are_counted(tmp_path):
    table, other = de_table(1, truth()).head(100), de_table(2, truth()).iloc[20:150]
    other.loc[other.index[:5], ["p_value", "padj"]] = np.nan
    one, two = write_results(tmp_path / "one", {"T": table}), write_results(tmp_path / "two", {"T": other})
    tables, summary = compare(one, two)
    facts = summary["cell_types"]["type_0"]
    assert facts["n_genes"] == len(tables["effects"]) == 75
    assert facts["cohorts"]["this"]["n_genes_here_only"] == 25
    assert (
        facts["cohorts"]["two"] | {"n_genes_here_only": 50, "n_without_p": 5, "n_genes": 125} == facts["cohorts"]["two"]
    )
    missing = tables["discoveries"].query("discovery == 'this'")
    missing = missing[missing["p_value_replication"].isna()]
    assert len(missing) == tables["rates"]["n_not_tested"][0] >= 20 and missing["replicated"].isna().all()


@pytest.mark.parametrize(
    ("ids", "other_ids", "matched_by"),
    [
        ("ENSG{:011d}.3", "ENSG{:011d}.12", "Ensembl id without version"),
        ("ENSG{:011d}", "GRCh38_ENSG{:011d}.1", "Ensembl id without version"),
        ("ENSG{:011d}", "S{}", "symbol"),
        ("S{}", "S{}", "symbol"),
    ],
)
def test_genes_are_matched_by_id_without_version_or_else_by_symbol(tmp_path, ids, other_ids, matched_by):
    one, two = (
        write_results(
            tmp_path / name, {"T": de_table(seed, truth()).assign(gene_id=[form.format(i) for i in range(N)])}
        )
        for seed, (name, form) in enumerate([("one", ids), ("two", other_ids)])
    )
    tables, summary = compare(one, two)
    assert summary["genes_matched_by"] == matched_by and len(tables["effects"]) == N


def test_a_symbol_of_two_genes_is_left_out_and_counted(tmp_path):
    table = de_table(1, truth()).assign(gene_id=[f"x{i}" for i in range(N)])
    table.loc[[3, 4], "symbol"] = "TWICE"
    table.loc[5, "symbol"] = None
    one, two = (
        write_results(tmp_path / "one", {"T": table}),
        write_results(tmp_path / "two", {"T": de_table(2, truth())}),
    )
    tables, summary = compare(one, two)
    facts = summary["cell_types"]["type_0"]["cohorts"]["this"]
    assert (facts["n_ambiguous"], facts["n_without_name"]) == (2, 1) and len(tables["effects"]) == N - 3


@pytest.mark.parametrize(
    ("own", "other", "said"),
    [
        ({}, {"unit": "bmi", "test_term": "bmi"}, "tests log2 fold change per unit of bmi ('bmi'), the other"),
        ({}, {"unit": "", "test_term": "sex", "contrast": "male against female", "test_term_sd": None}, "('sex'), the"),
        (
            {"unit": "", "test_term": "arm", "contrast": "a against c", "test_term_sd": None},
            {"unit": "", "test_term": "arm", "contrast": "b against c", "test_term_sd": None},
            "tests b against c, the other a against c; give both the same --contrast",
        ),
        (
            {"unit": "scale(age)", "test_term": "scale(age)"}, {"unit": "scale(age)", "test_term": "scale(age)"},
            "is measured by each cohort's own spread; test the column as it is",
        ),
    ],
)  # fmt: skip
def test_another_question_is_not_compared_and_said(tmp_path, own, other, said):
    one = write_results(tmp_path / "one", {"T": de_table(1, truth())}, facts=own)
    two = write_results(tmp_path / "two", {"T": de_table(2, truth())}, facts=other)
    tables, summary = compare(one, two)
    assert summary["status"] == "skipped" and "no cell type" in summary["reason"]
    assert said in summary["left_out"]["type_0"]["two"]
    assert {name: list(table.columns) for name, table in tables.items() if name in TABLES} == {
        name: list(columns) for name, columns in TABLES.items()
    }
    with pytest.raises(BadInput, match="no cell type of this cohort"):
        compare(one, two, strict=True)


def test_levels_are_compared_as_they_are_and_turned_where_the_other_has_them_the_other_way_round(tmp_path):
    levels = {"unit": "", "test_term": "sex", "test_term_sd": None, "test_term_mean": None}
    one = write_results(
        tmp_path / "one", {"T": de_table(1, truth(), sd=10)}, facts=levels | {"contrast": "male against female"}
    )
    two = write_results(
        tmp_path / "two", {"T": de_table(2, -truth(), sd=10)}, facts=levels | {"contrast": "female against male"}
    )
    tables, summary = compare(one, two)
    assert tables["effects"][["effect_this", "effect_two"]].head(RISING).mean().to_numpy() == pytest.approx(
        0.3, abs=0.03
    )
    assert summary["cell_types"]["type_0"]["scale"] == "log2 fold change, male against female"
    assert any("its effects are taken the other way round" in note for note in summary["notes"])


def test_one_of_several_contrasts_answers_the_other_cohorts_question(tmp_path):
    levels = {"unit": "", "test_term": "arm", "test_term_sd": None, "test_term_mean": None}
    one = write_results(
        tmp_path / "one", {"T": de_table(1, truth(), sd=10)}, facts=levels | {"contrast": "b against c"}
    )
    leading, second = de_table(2, truth(0), sd=10), de_table(3, truth(), sd=10)
    two = tmp_path / "two"
    both = pd.concat([leading.assign(contrast="a against c"), second.assign(contrast="b against c")])
    write_tsv(both, two / "cell_types/type_0/de_contrasts.tsv")
    write_results(two, {"T": leading}, facts=levels | {"contrast": "a against c"})
    rates = compare(one, two)[0]["rates"]
    assert rates["rate"].min() > 0.9


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"design": "~ age"}, "the design is '~ sex + age' here and '~ age' in two"),
        ({"test_term_sd": 240.0}, "the SD of 'age' is 20 here and 240 in two: if its units differ"),
        ({"test_term_mean": 10.0, "test_term_sd": 4.0}, "'age' is 50 ± 20 here and 10 ± 4 in two"),
    ],
)
def test_doubts_about_the_scale_are_notes(tmp_path, facts, said):
    one = write_results(tmp_path / "one", {"T": de_table(1, truth()), "B": de_table(3, truth())})
    two = write_results(tmp_path / "two", {"T": de_table(2, truth()), "B": de_table(4, truth())}, facts=facts)
    notes = compare(one, two)[1]["notes"]
    assert len(notes) == 1 and notes[0].startswith("T, B: ") and said in notes[0]


def test_three_cohorts_stand_side_by_side(tmp_path):
    folders = [
        write_results(tmp_path / name, {"T": de_table(seed, truth())})
        for seed, name in enumerate(["one", "two", "three"])
    ]
    tables, summary = compare(*folders)
    assert (tables["effects"]["n_cohorts"] == 3).all() and len(tables["rates"]) == 4
    assert summary["cohorts"] == ["this", "two", "three"]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda two: (two / "pipeline_info/files.tsv").unlink(), "has no pipeline_info/files.tsv"),
        (lambda two: (two / "cell_types/type_0/de.tsv").unlink(), "cell_types/type_0/de.tsv is not there; restore it"),
        (lambda two: (two / "cell_types/type_0/de.tsv").write_text("x"), "de.tsv is not as it was published; restore"),
    ],
)
def test_results_that_are_not_those_that_were_published_are_refused(tmp_path, damage, said):
    one, two = (write_results(tmp_path / name, {"T": de_table(1, truth())}) for name in ("one", "two"))
    damage(two)
    with pytest.raises(BadInput) as refused:
        compare(one, two)
    assert str(refused.value).startswith(f"--compare_with {two}: ") and said in str(refused.value)


def test_results_of_an_earlier_version_are_refused(tmp_path):
    one, two = (write_results(tmp_path / name, {"T": de_table(1, truth())}) for name in ("one", "two"))
    place = two / "cell_types/type_0/de_summary.json"
    write_json({name: value for name, value in read_json(place).items() if name != "unit"}, place)
    write_tsv(results.file_table(results.open(two)), two / "pipeline_info/files.tsv")
    with pytest.raises(BadInput, match=r"de_summary\.json has no 'unit'; give results of this version"):
        compare(one, two)


def test_the_same_results_give_the_same_bytes(tmp_path):
    one, two = (
        write_results(tmp_path / name, {"T": de_table(seed, truth())}) for seed, name in enumerate(["one", "two"])
    )
    compare(one, two)
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    compare(one, two)
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}


@pytest.mark.parametrize(
    ("folders", "labels"),
    [
        (["/data/OneK1K/results", "../AIDA/results/"], ["onek1k", "aida"]),
        (["results"], ["results"]),
        (["this"], ["this_1"]),
        (["a/b/results", "c/b/results"], ["a_b", "c_b"]),
        (["..", "É; touch x"], ["other", "e_touch_x"]),
        (["x/results", "x"], ["x_1", "x_2"]),
    ],
)
def test_cohorts_are_called_by_the_end_of_their_folders_path(folders, labels):
    assert labels_of(folders) == labels


def test_a_spelling_that_could_be_either_of_two_cell_types_matches_neither():
    own, other = {"a": "T cell", "b": "t cell", "c": "NK"}, {"x": "T Cell", "y": "nk"}
    assert match_cell_types(own, other) == {"c": "y"}
    assert match_cell_types({"a": "T cell", "b": "t cell"}, {"x": "t cell"}) == {"b": "x"}
