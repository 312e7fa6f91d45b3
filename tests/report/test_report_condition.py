"""A report that is not about age says nothing of age: its sentences, headings and captions name the tested term."""

import json
import re
from html.parser import HTMLParser

import pytest

from condition_cohorts import COLUMNS, PLANTED_SET, QUESTION, condition_results
from engine import ROOT
from immune_aging.task.checkpoints import read_json, read_tsv, write_json
from report_runs import write

OF_AGE = re.compile(r"\b(age|ages|aged|ageing|aging|older|younger|years)\b", re.IGNORECASE)
# Names that are shown as they are: those of files and parameters, and the pipeline's own.
NAMES = re.compile(r"immune-aging|[\w/.-]*\w\.(tsv|json|h5ad|html|parquet)\b|--\w+")


class Visible(HTMLParser):
    """Every text that a reader is shown or read to, one per element, but not the table of parameters."""

    def __init__(self, page):
        super().__init__()
        self.open, self.texts = [], []
        self.feed(page)
        self.close()

    def hidden(self):
        return any(tag in ("script", "style") or name == "parameters" for tag, name in self.open)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag not in ("meta", "img", "link", "br", "input"):
            self.open.append((tag, attrs.get("id", "")))
        if not self.hidden():
            self.texts += [value for name, value in attrs.items() if name in ("alt", "aria-label", "title") and value]
            self.texts += [
                attrs[name] for name in ("data-term", "data-up", "data-down", "data-unit") if attrs.get(name)
            ]

    def handle_endtag(self, _tag):
        self.open.pop()

    def handle_data(self, data):
        if data.strip() and not self.hidden():
            self.texts.append(" ".join(data.split()))


def parameters_of_run():
    """All parameters as a run of the paired cohort has them, in the form of params.json."""
    given = dict(zip(COLUMNS[::2], COLUMNS[1::2], strict=True)) | QUESTION
    changed = {name.removeprefix("--").replace("-", "_"): value for name, value in given.items()}
    schema = json.loads((ROOT / "nextflow_schema.json").read_text())
    found = {}
    for group in schema["$defs"].values():
        for name, entry in group["properties"].items():
            default = entry.get("default")
            found[name] = {"value": changed.get(name, default), "default": default, "group": group["title"]}
            found[name]["description"] = entry["description"]
    return found


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return condition_results(tmp_path_factory.mktemp("condition"))


@pytest.fixture(scope="module")
def page(tree, report_inputs_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    write_json(parameters_of_run(), folder / "params.json")
    return write(report_inputs_folder, folder, [tree], folder / "params.json")


@pytest.fixture(scope="module")
def report_inputs_folder(tmp_path_factory):
    """What a report needs besides results: versions of steps, the table of tasks, what the run was made from."""
    folder = tmp_path_factory.mktemp("beside")
    (folder / "versions").mkdir()
    write_json({"step": "pca", "python": "3.11.7", "packages": {}}, folder / "versions/pca.json")
    write_json({"pipeline": "0", "code": {}, "taken": []}, folder / "made_from.json")
    (folder / "tasks.tsv").write_text("process\ttag\tcpus\tasked_bytes\tpeak_kib\tmilliseconds\tcpu_percent\n")
    return folder


def test_no_visible_text_says_age_where_the_question_is_of_another_term(page):
    texts = Visible(page).texts
    (left_out,) = {text for text in texts if text.startswith("--age_column none")}
    said = [text for text in texts if text != left_out and OF_AGE.search(NAMES.sub("", text))]
    assert said == []


def test_the_question_is_named_with_its_levels(page):
    text = " ".join(Visible(page).texts)
    for expected in (
        "gene expression and condition (stim against ctrl) in each cell type",
        "Genes that are higher or lower in stim than in ctrl at an adjusted p below 0.05",
        "Higher in stim", "Lower in stim", "Gene sets higher in stim", "more frequent in stim: T cell",
        "less frequent in stim: B cell", "genes change alike in two or more cell types", "Genes that change alike",
        "Over-represented among genes higher in stim", "Genes by condition.", "Shares of the cell types by condition",
        "called for condition", "(red: higher in stim)", "10 donors with 20 samples. 705 cells passed", "~ donor + condition",
        "--sex_column none: figures by sex are left out", "log2 change (stim against ctrl) (95 % interval)",
        "Mean log2 fold change (stim against ctrl)", "20 samples, 395 cells, 29 genes higher in stim",
    ):  # fmt: skip
        assert expected in text, expected
    assert "Age prediction" not in text and "unknown" not in text


def test_planted_genes_come_first_and_their_set_is_found(tree):
    for name in ("t_cell", "b_cell_naive_memory"):
        genes = read_tsv(tree / f"cell_types/{name}/de.tsv")
        called = genes[genes["padj"] < 0.05]
        assert len(called) >= 25 and (called["log2_fold_change"].head(20) > 0).all()
        assert genes["lfc_per_decade"].isna().all()
        sets = read_tsv(tree / f"cell_types/{name}/gsea.tsv")
        assert sets.loc[sets["nes"].idxmax(), "gene_set"] == PLANTED_SET
        assert read_json(tree / f"cell_types/{name}/de_summary.json")["contrast"] == "stim against ctrl"


def test_nothing_is_lost_for_want_of_an_age(tree):
    filtering = read_json(tree / "cohort/filtering.json")
    assert filtering["cells"]["lost"] == filtering["donors"]["lost"] == filtering["samples"]["lost"] == {}
    donors = read_tsv(tree / "cohort/donors.tsv")
    assert donors["kept"].all() and donors[["age_years", "sex"]].isna().all(axis=None)
    assert not (tree / "cohort/figures/age_sex.png").exists()


def test_genes_and_shares_are_written_with_what_the_term_says_of_each_sample(tree):
    expression = read_tsv(tree / "cell_types/t_cell/expression_by_age.tsv")
    shares = read_tsv(tree / "composition/proportions.tsv")
    for table in (expression, shares):
        assert set(table["test_term_value"]) == {"ctrl", "stim"} and table["age_years"].isna().all()
    planted = expression.groupby("test_term_value")[
        read_tsv(tree / "cell_types/t_cell/de.tsv")["gene_id"].iloc[0]
    ].mean()
    assert planted["stim"] > planted["ctrl"] + 1
