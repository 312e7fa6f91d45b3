"""Which genes are mitochondrial, ribosomal, hemoglobin or nuisance genes, by exact symbol.

Prefixes lie: `^HB` catches HBEGF and HBP1, `^RP[SL]` catches the kinases RPS6KA1 and RPS6KB1, `^MT` the
metallothioneins. Symbols follow HGNC; families are spelled out from their HGNC gene groups.
"""

import re
from collections.abc import Sequence

import numpy as np

# The 13 protein-coding genes of the mitochondrial genome, then its two rRNAs (HGNC group 1972).
MITOCHONDRIAL = frozenset(
    "MT-ND1 MT-ND2 MT-ND3 MT-ND4 MT-ND4L MT-ND5 MT-ND6 MT-CO1 MT-CO2 MT-CO3 MT-ATP6 MT-ATP8 MT-CYB "
    "MT-RNR1 MT-RNR2".split()
)
_MITOCHONDRIAL_TRNA = re.compile(r"MT-T[ACDEFGHIKMNPQRSVWYL][12]?")
_RIBOSOMAL_RELATIVE = re.compile(r"(\w+?)(P\d+|-[A-Z]\w+)")

# Globin subunits (HGNC group 940); HBEGF, HBP1, HBS1L are none.
HEMOGLOBIN = frozenset("HBA1 HBA2 HBB HBD HBE1 HBG1 HBG2 HBM HBQ1 HBZ".split())

# Cytosolic ribosomal proteins (HGNC groups 728 and 729); kinases (RPS6K*), RPS6KL1, RPS19BP1 are none.
RIBOSOMAL = frozenset(
    [f"RPS{n}" for n in (2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 23, 24, 25, 26, 28, 29)]
    + "RPSA RPSA2 RPS3A RPS4X RPS4Y1 RPS4Y2 RPS10L RPS15A RPS27 RPS27A RPS27L RPS17L RPS26L1 RPS28L FAU".split()
    + [f"RPL{n}" for n in (3, 4, 5, 6, 7, 8, 9, 11, 12, 14, 15, 17, 19, 22, 23, 24, 26, 27, 28, 29, 30, 31, 32, 34)]
    + [f"RPL{n}" for n in (35, 37, 38, 39, 41)]
    + "RPL3L RPL7A RPL7L1 RPL10 RPL10A RPL10L RPL13 RPL13A RPL18 RPL18A RPL21 RPL22L1 RPL23A RPL26L1 RPL27A".split()
    + "RPL35A RPL36 RPL36A RPL36AL RPL37A RPL39L UBA52 RPLP0 RPLP1 RPLP2".split()
)

# Variable regions are rearranged in each clone, so they rank as highly variable and split clusters by clone.
# The segments of HGNC groups 352-354 and 370-373; constant regions (IGHM, TRBC1) mark types and stay.
_T_CELL_RECEPTOR = re.compile(r"TR[ABGD][VDJ]\d*(?:[-/]?(?:OR|DV|\d)[\dA-Z/-]*)*P?|TRGJP[12]?|TRGV[A-B]")
_B_CELL_RECEPTOR = re.compile(r"IG[HKL][VDJ](?:\(?[IV]+\)?-|\d+)[\dA-Z/()D-]*")


def _member(symbols: Sequence[str] | np.ndarray, genes: frozenset[str]) -> np.ndarray:
    return np.fromiter((symbol in genes for symbol in symbols), dtype=bool, count=len(symbols))


def is_mitochondrial(symbols: Sequence[str] | np.ndarray) -> np.ndarray:
    """Genes of the mitochondrial genome. Returns a boolean array, one value a symbol."""
    trna = (bool(_MITOCHONDRIAL_TRNA.fullmatch(symbol)) for symbol in symbols)
    return _member(symbols, MITOCHONDRIAL) | np.fromiter(trna, dtype=bool, count=len(symbols))


def is_ribosomal(symbols: Sequence[str] | np.ndarray) -> np.ndarray:
    """Cytosolic ribosomal proteins. Returns a boolean array, one value a symbol."""
    return _member(symbols, RIBOSOMAL)


def is_hemoglobin(symbols: Sequence[str] | np.ndarray) -> np.ndarray:
    """Globin subunits. Returns a boolean array, one value a symbol."""
    return _member(symbols, HEMOGLOBIN)


def nuisance_reason(symbols: Sequence[str]) -> np.ndarray:
    """Why a gene may not steer the embedding.

    Returns
    -------
    An array of text, one value a symbol: empty where the gene may be selected.
    """
    reason = np.full(len(symbols), "", dtype=object)
    # Processed pseudogenes (RPL13AP5) and read-throughs (RPS10-NUDT3) take the reads of the gene they copy.
    relatives = [_RIBOSOMAL_RELATIVE.fullmatch(symbol) for symbol in symbols]
    reason[[match is not None and match[1] in RIBOSOMAL for match in relatives]] = (
        "ribosomal protein pseudogene or read-through"
    )
    reason[is_ribosomal(symbols)] = "ribosomal protein"
    reason[is_mitochondrial(symbols)] = "mitochondrial"
    for pattern, text in (
        (_T_CELL_RECEPTOR, "T-cell receptor variable region"),
        (_B_CELL_RECEPTOR, "immunoglobulin variable region"),
    ):
        reason[[bool(pattern.fullmatch(symbol)) for symbol in symbols]] = text
    return reason
