"""Genes that a file names by Ensembl id alone get their symbols from a table; what the file says stands."""

import gzip
import importlib.util
import re
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from immune_aging.cells.gene_lists import HEMOGLOBIN, MITOCHONDRIAL, is_ribosomal
from immune_aging.cohort.cohort_file import symbols_of
from immune_aging.cohort.gene_symbols import (
    NO_SYMBOLS,
    NO_TABLE,
    SymbolTable,
    gene_names,
    parse_symbol_table,
    read_symbol_table,
    without_version,
)
from immune_aging.statistics.gene_sets import read_gmt
from immune_aging.task.command_line import BadInput

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "assets/genes/gencode_v48_human.tsv.gz"
CD14, HBB, LYZ, UNNAMED = "ENSG00000170458", "ENSG00000244734", "ENSG00000090382", "ENSG00000308361"
TABLE = SymbolTable("table.tsv", {CD14: "CD14", HBB: "HBB", LYZ: "LYZ"})
IDS = [CD14, HBB, LYZ, UNNAMED]


def var(ids=IDS, **columns):
    return pd.DataFrame(columns, index=pd.Index(ids, dtype=object))


# What the file says of its genes, what their symbols then are, and how many of them come from the table.
FILES = {
    "no symbol column": (var(), ["CD14", "HBB", "LYZ", ""], 3),
    "versioned ids": (var([f"{gene}.12" for gene in IDS]), ["CD14", "HBB", "LYZ", ""], 3),
    "a copy on Y": (var([f"{CD14}.15_PAR_Y"]), ["CD14"], 1),
    "symbols all empty": (var(feature_name=["", None, " ", np.nan]), ["CD14", "HBB", "LYZ", ""], 3),
    "symbols are the ids": (var(feature_name=IDS), ["CD14", "HBB", "LYZ", ""], 3),
    "symbols are the ids without version": (var([f"{gene}.3" for gene in IDS], symbol=IDS), ["CD14", "HBB", "LYZ", ""], 3),
    "symbols are categories": (var(feature_name=pd.Categorical([None, "HBB", None, None])), ["CD14", "HBB", "LYZ", ""], 2),
    "some symbols missing": (var(feature_name=["OWN", "", LYZ, ""]), ["OWN", "HBB", "LYZ", ""], 2),
    "text that stands for missing": (var(feature_name=["NA", "HBB", "NA", "NA"]), ["CD14", "HBB", "LYZ", ""], 2),
    "a symbol that another gene has": (var(feature_name=["", "CD14", "", ""]), ["", "CD14", "LYZ", ""], 1),
    "an index of symbols, with ids where there are none": (var(["CD3E", HBB, "NKG7"]), ["CD3E", "HBB", "NKG7"], 1),
    "an index of symbols, repeated in a column": (var(["CD3E", "NKG7"], symbol=["CD3E", "NKG7"]), ["CD3E", "NKG7"], 0),
    "symbols in the second column": (var(feature_name=[""] * 4, gene_name=["A", "B", "C", "D"]), ["A", "B", "C", "D"], 0),
    "symbols of its own": (var(feature_name=["A", "B", "C", "D"]), ["A", "B", "C", "D"], 0),
    "genes of the mouse": (var(["ENSMUSG00000064351", "ENSMUSG00000051439.8"]), ["", ""], 0),
    "no genes": (var([]), [], 0),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_only_what_the_file_does_not_name_is_named_by_the_table(name):
    given, symbols, n_from_table = FILES[name]
    before = given.copy(deep=True)
    names = gene_names(given, TABLE)
    assert names.symbols.tolist() == symbols and names.ids.tolist() == given.index.tolist()
    assert (names.n_from_table, names.n_symbols) == (n_from_table, sum(map(bool, symbols)))
    pd.testing.assert_frame_equal(given, before)
    own = symbols_of(given)
    assert all(new == old for new, old in zip(names.symbols, own, strict=True) if old not in ("", "NA"))


def test_the_notes_count_what_comes_from_the_table_and_name_it():
    assert gene_names(FILES["some symbols missing"][0], TABLE).notes == (
        "the symbols of 2 of 4 genes come from table.tsv (--gene_symbols)",
    )
    assert gene_names(FILES["symbols of its own"][0], TABLE).notes == ()


def test_ids_that_the_table_does_not_know_are_said_and_not_passed_over():
    [note] = gene_names(FILES["genes of the mouse"][0], TABLE).notes
    assert "table.tsv (--gene_symbols) knows none of its genes ('ENSMUSG00000064351', ...)" in note
    assert "leave out what they cannot do" in note
    assert gene_names(var(), NO_TABLE).notes == (NO_SYMBOLS,)
    assert gene_names(var(), NO_TABLE).symbols.tolist() == [""] * 4


def test_versions_are_taken_off_ensembl_ids_alone():
    ids = ["ENSG00000170458.15", "ENSMUSG00000051439.8", "ENSG00000182378.15_PAR_Y", "AC000001.2", "HLA-A", "Y_RNA"]
    assert [without_version(gene) for gene in ids] == [
        "ENSG00000170458", "ENSMUSG00000051439", "ENSG00000182378", "AC000001.2", "HLA-A", "Y_RNA"
    ]  # fmt: skip


@pytest.mark.parametrize("write", [lambda data: data, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_table_is_read_plain_or_compressed_with_or_without_header(write, end, tmp_path):
    lines = [f"{CD14}.3\tCD14", f"{HBB}\tHBB", f"{HBB}.9\tHBB", f"{UNNAMED}\t", ""]
    for header in ([], ["gene_id\tsymbol"]):
        (tmp_path / "mine.tsv").write_bytes(write(("\ufeff" + end.join(header + lines)).encode()))
        table = read_symbol_table(tmp_path / "mine.tsv")
        assert table == SymbolTable("mine.tsv", {CD14: "CD14", HBB: "HBB"})
    assert read_symbol_table(None) == NO_TABLE


BAD_TABLES = {
    "three columns": (b"ENSG00000170458\tCD14\t15\n", "line 1: 3 tab-separated fields ('ENSG00000170458\tCD14"),
    "commas": (b"ENSG00000170458,CD14\n", "line 1: 1 tab-separated fields"),
    "no id": (b"gene_id\tsymbol\n\tCD14\n", "line 2: 2 tab-separated fields"),
    "two symbols": (b"ENSG00000170458.1\tCD14\nENSG00000170458.2\tLYZ\n", "line 2: gene 'ENSG00000170458' has two symbols, 'CD14' and 'LYZ'"),
    "empty": (b"", "holds no gene with a symbol"),
    "a header alone": (b"gene_id\tsymbol\n", "holds no gene with a symbol"),
    "no text": (b"\xff\xfe\x00\x01", "is no text (byte 0)"),
    "cut off": (gzip.compress(b"ENSG00000170458\tCD14\n" * 9)[:-9], "cannot be read"),
    "damaged": (gzip.compress(bytes(range(32, 127)) * 9)[:20] + b"\x00" * 40, "cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_TABLES)
def test_a_table_that_cannot_be_used_is_one_clear_line(name, tmp_path):
    content, message = BAD_TABLES[name]
    (tmp_path / "mine.tsv").write_bytes(content)
    with pytest.raises(BadInput, match=re.escape(message)) as caught:
        read_symbol_table(tmp_path / "mine.tsv")
    assert str(caught.value).startswith("--gene_symbols mine.tsv: ") and "\n" not in str(caught.value)


def test_a_table_that_is_not_there_is_one_clear_line(tmp_path):
    with pytest.raises(BadInput, match=r"--gene_symbols none\.tsv: cannot be read"):
        read_symbol_table(tmp_path / "none.tsv")


# --- the table that ships ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shipped():
    return gzip.decompress(SHIPPED.read_bytes()).decode()


def test_the_shipped_table_is_sorted_and_has_one_symbol_for_each_id(shipped):
    header, *lines = shipped.splitlines()
    ids = [line.split("\t")[0] for line in lines]
    assert header == "gene_id\tsymbol" and ids == sorted(set(ids)) and len(ids) == 42968
    assert all(re.fullmatch(r"ENSG\d{11}\t[\w/-]+", line) for line in lines), "ids without version, and no clones"
    assert not any(line.split("\t")[1].startswith("ENSG") for line in lines)
    assert f"{len(ids):,} genes" in (SHIPPED.parent / "README.md").read_text()


def test_the_shipped_table_carries_no_date(shipped):
    assert SHIPPED.read_bytes()[4:8] == bytes(4), "another making of it would be another file"


def test_the_shipped_table_names_the_genes_that_the_pipeline_goes_by(shipped):
    symbols = set(parse_symbol_table(shipped, "shipped").values())
    assert symbols >= MITOCHONDRIAL | HEMOGLOBIN
    assert is_ribosomal(sorted(symbols)).sum() >= 80
    hallmark = {gene for genes in read_gmt(next(ROOT.glob("assets/gene_sets/*.gmt"))).values() for gene in genes}
    assert (len(hallmark), len(hallmark - symbols)) == (4383, 12), "README.md says so"


def test_the_shipped_table_is_the_newest_release_with_the_ids_retired_since(shipped):
    symbols = parse_symbol_table(shipped, "shipped")
    assert symbols["ENSG00000170458"] == "CD14" and symbols["ENSG00000107201"] == "RIGI", "once DDX58"
    assert symbols["ENSG00000291237"] == symbols["ENSG00000112096"] == "SOD2", "its id of now and of before"


def wheel(path, lines):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/gencode_files/genes_homo_sapiens.csv.gz", gzip.compress("\n".join(lines).encode()))
    return path


def test_the_table_is_made_of_the_newest_names_and_of_retired_ids_without_clones(tmp_path):
    spec = importlib.util.spec_from_file_location("make_gene_symbols", ROOT / "docs/make_gene_symbols.py")
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    new = wheel(
        tmp_path / "new.whl", ["ENSG2,NEW,3,9,lncRNA", "ENSG00000000001,ENSG00000000001,1,9,TEC", "ENSG4,B_ENSG4,1,9,x"]
    )
    old = wheel(
        tmp_path / "old.whl", ["ENSG2,OLD,1,9", "ENSG00000000001,NAMED,1,9", "ENSG3,GONE,1,9", "ENSG5,RP11-1A.2,1,9"]
    )
    made = maker.compressed(maker.merged([maker.genes_in(new), maker.genes_in(old)]))
    assert gzip.decompress(made).decode() == "gene_id\tsymbol\nENSG2\tNEW\nENSG3\tGONE\nENSG4\tB\n"
    assert maker.TABLE == SHIPPED


def test_a_table_with_its_columns_the_other_way_round_is_refused():
    with pytest.raises(BadInput, match="its second column holds the gene ids"):
        parse_symbol_table("symbol\tgene_id\nCD3E\tENSG00000198851\nCD4\tENSG00000010610\n", "t.tsv")


@pytest.mark.parametrize("missing", ["NA", "nan", "-", ".", ""])
def test_what_stands_for_no_symbol_is_none_and_quotation_marks_are_left_off(missing):
    """Many genes without a name shared the symbol 'NA'"""
    text = f'"gene_id"\t"symbol"\n"ENSG00000198851"\t"CD3E"\nENSG00000198852\t{missing}\nENSG00000198853\t{missing}\n'
    assert parse_symbol_table(text, "t.tsv") == {"ENSG00000198851": "CD3E"}
