"""Gene classes by exact symbol: what prefixes would catch by mistake stays out, what they would miss is in."""

import numpy as np
import pytest

from immune_aging.cells.gene_lists import is_hemoglobin, is_mitochondrial, is_ribosomal, nuisance_reason


@pytest.mark.parametrize(
    ("member", "inside", "outside"),
    [
        (is_mitochondrial, ["MT-ND1", "MT-CYB", "MT-RNR2", "MT-TL1"], ["MT1A", "MTOR", "MT-", "MTND1P23", ""]),
        (is_hemoglobin, ["HBA1", "HBB", "HBG2", "HBZ"], ["HBEGF", "HBP1", "HBS1L", ""]),
        (
            is_ribosomal,
            ["RPS6", "RPL3", "RPLP0", "RPSA", "RPS4Y1", "FAU"],
            ["RPS6KA1", "RPS6KB1", "RPS19BP1", "MRPL3", ""],
        ),
    ],
)
def test_membership_is_exact(member, inside, outside):
    assert member(inside).all()
    assert not member(outside).any()


def test_prefixes_would_catch_kinases_growth_factors_and_mitochondrial_ribosomes():
    """`^HB` and `^RP[SL]` caught these: none is hemoglobin, none a cytosolic ribosomal protein."""
    kinases = [f"RPS6K{suffix}" for suffix in ("A1", "A2", "A3", "A4", "A5", "A6", "B1", "B2", "C1", "L1")]
    assert not is_ribosomal([*kinases, "RPS19BP1", "RPL17-C18orf32", "MRPS12", "MRPL3"]).any()
    assert not is_hemoglobin(["HBEGF", "HBP1", "HBS1L", "HBBP1", "HBM1"]).any()


def test_there_are_thirteen_protein_genes_of_the_mitochondrion():
    genes = "ND1 ND2 ND3 ND4 ND4L ND5 ND6 CO1 CO2 CO3 ATP6 ATP8 CYB".split()
    assert is_mitochondrial([f"MT-{gene}" for gene in genes]).sum() == 13


NUISANCE = {
    "TRAV1-2": "T-cell receptor variable region", "TRAV29DV5": "T-cell receptor variable region",
    "TRAV29/DV5": "T-cell receptor variable region", "TRBV20-1": "T-cell receptor variable region",
    "TRGV9": "T-cell receptor variable region", "TRDV2": "T-cell receptor variable region",
    "TRAJ33": "T-cell receptor variable region", "TRBD1": "T-cell receptor variable region",
    "IGHV3-23": "immunoglobulin variable region", "IGKV1D-39": "immunoglobulin variable region",
    "IGLV2-14": "immunoglobulin variable region", "IGHJ4": "immunoglobulin variable region",
    "IGHV1OR15-9": "immunoglobulin variable region", "IGHD3-10": "immunoglobulin variable region",
    "MT-CO1": "mitochondrial", "RPS6": "ribosomal protein", "RPL13AP5": "ribosomal protein pseudogene or read-through",
    "RPS10-NUDT3": "ribosomal protein pseudogene or read-through",
}  # fmt: skip
MARKERS = "TRAC TRBC1 TRDC TRGC1 IGHM IGHD IGHA1 IGKC IGLC2 IGLL5 TRAF1 TRADD TRDMT1 TRABD HBEGF RPS6KA1 CD8A".split()


def test_nuisance_genes_are_matched_by_symbol():
    assert dict(zip(NUISANCE, nuisance_reason(list(NUISANCE)), strict=True)) == NUISANCE


def test_constant_regions_and_look_alikes_may_be_selected():
    assert (nuisance_reason(MARKERS) == "").all()


def test_ids_and_unknown_symbols_are_never_nuisance():
    assert (nuisance_reason(np.array(["ENSG00000198888", "", "ENSG00000231500"], dtype=object)) == "").all()
