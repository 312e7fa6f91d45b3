"""What the user's file says is data: no name in it is run, leaves its place, is lost, or is taken for another."""

import ast
import html.parser
import re

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest

from engine import ROOT, nextflow
from fault_runs import CELL_TYPES, DONORS
from immune_aging.cohort import examination
from immune_aging.cohort.cohort_file import open_cohort
from immune_aging.cohort.hostile_names import clean_genes, clean_labels, visible, visible_names
from immune_aging.statistics import enrichr
from immune_aging.task.checkpoints import read_h5ad, read_json, read_parquet, read_tsv, write_tsv
from immune_aging.task.command_line import BadInput
from immune_aging.task.web import open_url
from small_cohorts import small_cohort, write_cohort

# --- names, in the results of the undisturbed run ------------------------------------------------------------------


@pytest.mark.long
def test_nothing_in_a_name_is_run_or_leaves_its_folder(reference):
    """The names say `touch pwned` in every way that a shell knows, and `../../../pwned`."""
    places = [*reference.folder.parents[:4], ROOT]
    assert not [place for place in places if (place / "pwned").exists()] and not list(reference.folder.rglob("pwned*"))


@pytest.mark.long
def test_every_cell_type_has_its_own_folder_and_keeps_its_name(reference):
    types = reference.table("cohort/cell_types.tsv")
    assert set(types["cell_type"]) == {visible(name) for name in CELL_TYPES} and types["id"].is_unique
    assert types["kept"].all() and types["id"].str.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*").all()
    assert {path.name for path in (reference.outdir / "cell_types").iterdir()} == set(types["id"])
    for name in types["id"]:
        summary = read_json(reference.outdir / f"cell_types/{name}/de_summary.json")
        assert summary["status"] == "done" and summary["cell_type"] in set(types["cell_type"])


@pytest.mark.long
def test_no_donor_is_lost_or_taken_for_another(reference):
    donors = reference.table("cohort/donors.tsv")
    expected = sorted(
        visible(name) if name != "d\n1" else visible_names(DONORS)[name] for name in DONORS if name != "NA"
    )
    assert sorted(donors["donor_id"]) == expected and donors["kept"].all()
    funnel = read_json(reference.outdir / "cohort/filtering.json")["cells"]
    cohort = anndata.read_h5ad(reference.cohort)
    assert funnel["input"] == cohort.n_obs and funnel["lost"]["no donor"] == (cohort.obs["donor_id"] == "NA").sum()
    assert funnel["input"] - sum(funnel["lost"].values()) == funnel["kept"]
    samples = reference.table("pseudobulk/samples.tsv")
    assert samples.groupby("cell_type")["donor_id"].nunique().eq(len(expected)).all()
    for path in reference.outdir.glob("cell_types/*/prediction/*/predictions.tsv"):
        assert set(read_tsv(path, dtype={"donor_id": str})["donor_id"]) == set(expected)


@pytest.mark.long
def test_no_gene_is_lost_or_taken_for_another(reference):
    """The sums of each gene of each sample are those of the input, gene by gene, whatever its id."""
    cohort = anndata.read_h5ad(reference.cohort)
    ids, symbols = clean_genes(cohort.var_names, cohort.var["feature_name"])
    assert len(set(ids)) == len(ids)
    table = read_h5ad(reference.outdir / "pseudobulk/pseudobulk.h5ad")
    cells = read_parquet(reference.outdir / "qc/cells.parquet").query("kept")
    kept = cohort[cells["cell_id"].to_numpy()]
    expected = dict(zip(ids, np.asarray(kept.X.sum(axis=0)).ravel(), strict=True))
    found = dict(zip(table.var_names, np.asarray(table.X.sum(axis=0)).ravel(), strict=True))
    assert found == {name: total for name, total in expected.items() if total}
    named = dict(zip(ids, symbols, strict=True))
    for path in reference.outdir.glob("cell_types/*/de.tsv"):
        de = read_tsv(path, dtype={"gene_id": str, "symbol": str})
        assert de["gene_id"].is_unique and all(named[row.gene_id] == row.symbol for row in de.itertuples())


class Scripts(html.parser.HTMLParser):
    """What a browser would run in a page: scripts, handlers, addresses that are code."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.scripts, self.data, self.handlers, self.text = [], [], [], []
        self._into = self.text

    def handle_starttag(self, tag, attrs):
        if tag == "script":  # a browser runs none of a type that it does not know
            self._into = self.data if dict(attrs).get("type") == "application/gzip" else self.scripts
        self.handlers += [
            name for name, value in attrs if name.startswith("on") or "javascript:" in (value or "").lower()
        ]

    def handle_endtag(self, tag):
        self._into = self.text

    def handle_data(self, data):
        self._into.append(data)


@pytest.mark.long
def test_the_report_shows_names_and_runs_none(reference):
    page = Scripts()
    page.feed((reference.outdir / "report.html").read_text())
    template = Scripts()
    template.feed((ROOT / "assets/report/report.html.j2").read_text())
    assert page.scripts == [(ROOT / "assets/report/report.js").read_text()]
    assert all(re.fullmatch("[A-Za-z0-9+/=]+", text) for text in page.data) and len(page.data) > 1
    assert page.handlers == template.handlers
    text = re.sub(r"\s+", " ", "".join(page.text))
    for name in CELL_TYPES:
        assert re.sub(r"\s+", " ", visible(name)).strip()[:200] in text


@pytest.mark.parametrize("numeric", [False, True])
def test_names_that_look_like_numbers_or_blanks_stay_apart(numeric):
    names = ["1", "01", "1.0", "1e0"] if numeric else ["d 1", "d\u00a01", "d\u20091", "d  1"]
    column, notes = clean_labels(pd.Series(names), what="donor")
    assert column.tolist() == names and not notes


def test_a_written_out_name_never_becomes_another_name():
    names = ["a\nb", "a\\nb", "a\n\\n", "a\\n\n", "\u202ea"]
    shown = visible_names(names)
    assert len({shown.get(name, name) for name in names}) == len(names)
    assert all(text.isprintable() for text in shown.values())


def test_tables_keep_names_apart_that_differ_in_their_blanks(tmp_path):
    names = ["d 1", "d\u00a01", "d\u20091", "'\"\\"]
    write_tsv(pd.DataFrame({"name": names}), tmp_path / "t.tsv")
    assert read_tsv(tmp_path / "t.tsv", dtype=str)["name"].tolist() == names


# --- the file ------------------------------------------------------------------------------------------------------


def link_out(file):
    file["layers/other"] = h5py.ExternalLink("/etc/passwd", "/")


def link_within(file):
    file["layers/other"] = h5py.SoftLink("/X")


def refer(file):
    file["uns/reference"] = file["X"].ref


def refer_in_fields(file):
    record = np.zeros(1, dtype=[("n", "i4"), ("r", h5py.ref_dtype)])
    record["r"] = file["X"].ref
    file.create_dataset("uns/record", data=record)


def refer_from_an_attribute(file):
    file["obs/sex"].attrs["other"] = file["X"].ref


def keep_values_elsewhere(file):
    file.create_dataset("uns/raw", (16,), dtype="u1", external=[("/etc/passwd", 0, 16)])


def borrow_values(file):
    layout = h5py.VirtualLayout(shape=(4,), dtype="f4")
    layout[:] = h5py.VirtualSource("/etc/other.h5", "x", shape=(4,))
    file.create_virtual_dataset("uns/virtual", layout)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (link_out, "/layers/other: is a link to /etc/passwd"),
        (link_within, "/layers/other: is a link to /X"),
        (refer, "/uns/reference: holds object references"),
        (refer_in_fields, "/uns/record: holds object references"),
        (refer_from_an_attribute, "/obs/sex: its attribute 'other' holds object references"),
        (keep_values_elsewhere, "/uns/raw: keeps its values in another file"),
        (borrow_values, "/uns/virtual: keeps its values in another file"),
    ],
)
def test_a_file_that_points_elsewhere_is_refused(change, message, tmp_path):
    path = write_cohort(small_cohort(), tmp_path / "cohort.h5ad")
    with h5py.File(path, "a") as file:
        change(file)
    with pytest.raises(BadInput, match=re.escape(f"{path}: {message}")):
        open_cohort(path)
    with h5py.File(path, "r") as file:  # closed again, and a file of its own making is read
        assert "obs" in file


def test_old_files_whose_columns_refer_to_their_own_categories_are_read(tmp_path):
    """Before its version 0.8 anndata kept categories apart and pointed to them; any other place is refused."""
    path = write_cohort(small_cohort(), tmp_path / "cohort.h5ad")
    with h5py.File(path, "a") as file:
        obs = file["obs"]
        codes, names = obs["sex/codes"][:], obs["sex/categories"].asstr()[:]
        del obs["sex"]
        obs.create_dataset("__categories/sex", data=names.astype(object), dtype=h5py.string_dtype())
        obs.create_dataset("sex", data=codes)
        obs["sex"].attrs["categories"] = obs["__categories/sex"].ref
        obs.attrs["encoding-version"] = "0.1.0"
    with open_cohort(path) as file:
        assert set(examination.read_table(file, "obs")["sex"]) == {"female", "male"}
    with h5py.File(path, "a") as file:
        file["obs/sex"].attrs["categories"] = file["var"].ref
    with pytest.raises(BadInput, match="holds object references"):
        open_cohort(path)


def test_a_file_that_contains_itself_is_read_once(tmp_path):
    path = write_cohort(small_cohort(), tmp_path / "cohort.h5ad")
    with h5py.File(path, "a") as file:
        file["uns/again"] = file["uns"]
    open_cohort(path).close()


def test_no_script_can_load_a_pickle():
    """No call in bin/ reads pickled data, nor turns numpy's protection off."""
    forbidden = {"pickle", "cPickle", "dill", "joblib", "cloudpickle", "shelve", "marshal"}
    for path in sorted((ROOT / "bin").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
                assert not {name.split(".")[0] for name in names} & forbidden, path
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                assert name not in {"read_pickle", "eval", "exec"}, path
                assert not any(keyword.arg == "allow_pickle" for keyword in node.keywords), path


@pytest.mark.long
def test_the_name_of_a_file_must_be_one_line(tmp_path):
    done = nextflow(tmp_path, "--input", "a\nb.h5ad")
    assert done.returncode == 2 and "has a line break in its name; rename it" in done.stdout + done.stderr


# --- the network ---------------------------------------------------------------------------------------------------


def test_only_https_is_downloaded_unless_asked_for():
    for url in ("http://example.org/x.h5ad", "ftp://example.org/x.h5ad", "file:///etc/passwd"):
        with pytest.raises(BadInput, match="only https:// is protected on the way"):
            open_url(url, named=f"--input {url}")
    with pytest.raises(BadInput, match="only https:// is protected"):
        open_url("ftp://example.org/x", named="--input", allow_http=True)
    with pytest.raises(BadInput, match="only https:// is protected"):
        enrichr.download_library("H", url="http://example.org")


@pytest.mark.long
def test_a_run_sends_nothing_and_needs_no_network(reference):
    """The undisturbed run had a network of its own without a way out: nothing tried to leave, and a probe was seen."""
    assert reference.packets_of_run == 0
    assert reference.packets_of_probe > 0
