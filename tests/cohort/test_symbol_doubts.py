"""Symbols are found wherever a file has them, and those that no gene list knows are counted by what became of them."""

import numpy as np
import pandas as pd
import pytest

from immune_aging.cohort.symbol_doubts import (
    by_id,
    column_of_symbols,
    joined_symbols,
    made_names,
    symbol_doubts,
    symbols_found,
)

MITOCHONDRIAL = ["MT-ND1", "MT-CO1", "MT-ATP6", "MT-CYB"]
KNOWN = frozenset([*MITOCHONDRIAL, "CD3E", "HLA-A", "HLA-B", "7SK", "SEPTIN2", *(f"GENE{i}" for i in range(200))])
IDS = [f"ENSG{i:011d}" for i in range(len(KNOWN))]
SYMBOLS = sorted(KNOWN)


def var(index=IDS, **columns):
    return pd.DataFrame(columns, index=pd.Index(index))


@pytest.mark.parametrize("name", ["feature_name", "gene_short_name", "hgnc", "features", "Symbol", "V2"])
def test_symbols_come_from_whatever_column_holds_them(name):
    found, _ = symbols_found(var(**{"n_cells": range(len(IDS)), "biotype": "lncRNA", name: SYMBOLS}), KNOWN)
    assert found.tolist() == SYMBOLS


def test_a_column_of_other_text_is_no_column_of_symbols():
    assert (
        column_of_symbols(var(biotype=["lncRNA"] * len(IDS), chromosome=[str(i % 22) for i in range(len(IDS))]), KNOWN)
        == ""
    )


def test_symbols_are_recognised_without_a_table_of_them():
    assert column_of_symbols(var(names=SYMBOLS), frozenset()) == "names"


@pytest.mark.parametrize("beside", [var(IDS[:100], feature_name=SYMBOLS[:100]), var(SYMBOLS[:100], gene_ids=IDS[:100])])
def test_symbols_come_from_the_table_of_the_other_matrix(beside):
    found, notes = symbols_found(var(), KNOWN, beside)
    assert found.tolist() == [*SYMBOLS[:100], *[""] * (len(IDS) - 100)]
    assert notes == [f"the symbols of 100 of {len(IDS)} genes are taken from the table of the other matrix"]


@pytest.mark.parametrize(
    "join",
    [
        "{id}_{symbol}", "{id}.3_{symbol}", "{symbol}_{id}", "{id}|{symbol}", "{symbol}|{id}",
        "{symbol}-{id}", "{symbol}.{id}", "{id}-{symbol}", "{id}.{symbol}", "{id}__{symbol}", "{symbol}__{id}.12",
        "{id}.1|{symbol}|protein_coding", "{symbol}|{id}|lncRNA", "{id}; {symbol}", "{symbol}__chr1", "{symbol}__chrM",
        "{symbol}__chrKI270728.1",
    ],
)  # fmt: skip
def test_symbols_joined_to_ids_are_read(join):
    names = [join.format(id=gene, symbol=symbol) for gene, symbol in zip(IDS, SYMBOLS, strict=True)]
    found, notes = symbols_found(var(names), KNOWN)
    assert found.tolist() == SYMBOLS and "join ids and symbols" in notes[0]


def test_a_name_that_joins_nothing_keeps_its_symbol_beside_those_that_do():
    names = [f"{gene}_{symbol}" for gene, symbol in zip(IDS, SYMBOLS, strict=True)]
    found, _ = symbols_found(var([*names[:-2], "CD3D", IDS[-1]]), KNOWN)
    assert found.tolist() == [*SYMBOLS[:-2], "CD3D", ""]


def test_an_id_behind_a_genome_is_no_joined_name():
    assert joined_symbols(["GRCh38_ENSG00000198888", "mm10___ENSMUSG00000064341.1"]).tolist() == ["", ""]


def test_the_id_that_tells_two_genes_of_a_symbol_apart_stays():
    column = [*SYMBOLS[:-3], f"CD4_{IDS[-3]}", "TBCE", f"TBCE_{IDS[-1]}"]
    found, notes = symbols_found(var(feature_name=column), KNOWN)
    assert found.tolist() == [*SYMBOLS[:-3], "CD4", "TBCE", f"TBCE_{IDS[-1]}"] and notes == []


@pytest.mark.parametrize("text", ["nan", "NaN", "NA", "<NA>", "None", "#N/A", "-", ".", " nan ", ""])
def test_text_for_a_missing_value_is_no_symbol(text):
    found, _ = symbols_found(var(feature_name=[text, *SYMBOLS[1:-1], "NANOG"]), KNOWN)
    assert found.tolist() == ["", *SYMBOLS[1:-1], "NANOG"]


def test_a_versioned_id_and_a_copy_on_y_are_no_joined_names():
    assert joined_symbols(pd.Index(["ENSG00000182378.15_PAR_Y", "ENSG00000182378.15"])).tolist() == ["", ""]


def test_entrez_ids_are_no_symbols():
    found, _ = symbols_found(var([str(i) for i in range(len(IDS))]), KNOWN)
    assert (found == "").all()


def test_the_genome_is_left_off_a_symbol():
    found, notes = symbols_found(var([f"GRCh38_{symbol}" for symbol in SYMBOLS]), KNOWN)
    assert found.tolist() == SYMBOLS and "begin with the name of a genome ('GRCh38_')" in notes[0]


def doubts(symbols):
    return symbol_doubts(np.array(symbols, dtype=object), KNOWN)


def test_good_symbols_raise_no_doubt():
    assert doubts(SYMBOLS) == [] and doubts([*SYMBOLS, "", "AC012345.1", "C1orf112"]) == []


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            lambda s: s.replace("-", ".") if s[0] != "7" else f"X{s}",
            f"7 of {len(SYMBOLS)} symbols are names that R's make.names",
        ),
        (str.lower, "only in upper case"),
        (str.title, "only in upper case"),
    ],
)
def test_changed_symbols_are_counted(change, text):
    notes = doubts([change(symbol) for symbol in SYMBOLS])
    assert any(text in note for note in notes) and any("mitochondrial" in note for note in notes)


@pytest.mark.parametrize("date", ["1-Mar", "2-Sep", "Sep-02", "2023-03-01", "2023-03-01 00:00:00", "1/Dec", "44256"])
def test_dates_instead_of_symbols_are_counted(date):
    assert f"1 of {len(SYMBOLS) + 1} symbols are dates" in doubts([*SYMBOLS, date])[0]


@pytest.mark.parametrize("name", ["MT.ND1", "mt-nd1", "MTND1", "MT_ND1"])
def test_mitochondrial_genes_of_another_name_are_told(name):
    others = [symbol for symbol in SYMBOLS if symbol not in MITOCHONDRIAL]
    assert any(f"1 have other names for them, like '{name}'" in note for note in doubts([*others, name]))


def test_genes_are_found_by_the_ids_of_any_column():
    assert by_id(var(["CD3E"], ids=["ENSG00000198851"]), np.array(["CD3E"], dtype=object))["ENSG00000198851"] == "CD3E"


def test_a_name_of_r_that_two_symbols_give_is_nobodys():
    assert made_names(["C-D", "C/D", "7SK", "A1"]) == {"X7SK": "7SK"}
