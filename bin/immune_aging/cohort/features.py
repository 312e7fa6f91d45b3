"""Which rows of a cohort's table of features are genes of a human, and what the others are.

Antibodies, hashtags, guides, spike-ins and genes of a virus or of a mouse in the same matrix would count as expression:
58 antibodies were 61 % of all counts of a cohort (nf-core/scrnaseq#468, satijalab/seurat#2436, #9182).
"""

import re

import numpy as np
import pandas as pd

# Columns in which files say what a feature is: 10x, muon, CELLxGENE, Seurat converters.
TYPE_COLUMNS = ("feature_types", "feature_type", "featuretype", "feature_class", "modality", "feature_biotype", "assay")
# In lower case. What is none of these is a gene: CELLxGENE's feature_type holds biotypes (lncRNA, protein_coding, ...).
NO_GENES = {
    "antibody capture": "antibodies", "antibodies": "antibodies", "antibody": "antibodies", "adt": "antibodies",
    "protein": "antibodies", "proteins": "antibodies", "prot": "antibodies", "protein expression": "antibodies",
    "abseq": "antibodies", "cite": "antibodies", "cite-seq": "antibodies", "surface protein": "antibodies",
    "multiplexing capture": "hashtags", "hto": "hashtags", "hashtag": "hashtags", "hashtags": "hashtags",
    "hashing": "hashtags", "cmo": "hashtags", "sample tag": "hashtags", "crispr guide capture": "guides",
    "crispr": "guides", "guide": "guides", "guides": "guides", "grna": "guides", "sgrna": "guides",
    "antigen capture": "antigens", "custom": "custom features", "peaks": "peaks", "peak": "peaks", "atac": "peaks",
    "chromatin accessibility": "peaks", "spike-in": "spike-ins", "spike_in": "spike-ins", "spikein": "spike-ins",
    "ercc": "spike-ins", "synthetic": "spike-ins", "vdj": "receptor chains", "vdj-t": "receptor chains",
    "vdj-b": "receptor chains", "metabolite": "metabolites",
}  # fmt: skip
# Names that no human gene has.
NAMES = (
    (r"ERCC[-_.]\d{5}", "spike-ins"),
    (r"SIRV\w*\d+", "spike-ins"),
    (r".*[-_.]TotalSeq[-_.]?[ABCD]?\d*", "antibodies"),
    (r"(ADT|AB|PROT|PROTEIN|ANTIBODY|CITE)[-_:.].+", "antibodies"),
    (r".+\|PABO", "antibodies"),
    (
        r"(NEGCONTROL|UNASSIGNEDCODEWORD|DEPRECATEDCODEWORD|INTERGENIC_?REGION|NEGPRB|SYSTEMCONTROL|ANTISENSE_|BLANK[-_])"
        r".*",
        "controls",
    ),
    (r".+[-_:.](ADT|PROT|PROTEIN|ANTIBODY)", "antibodies"),
    (r"(HTO|HASHTAG|CMO)[-_:. ]?\d+\w*|(HTO|HASHTAG)[-_:.].+", "hashtags"),
    (r".+[-_:.](HTO|HASHTAG)", "hashtags"),
    (r"SAMPLETAG\d+.*", "hashtags"),
    (r"(SG|G)RNA[-_:.].+", "guides"),
    (r"CHR[\dXYM]+[:_-]\d+[-_]\d+", "peaks"),
    (r"(GENE-)?GU280_GP\d+|(2019[-_.]?N?COV|SARS[-_.]?COV[-_.]?2?)([-_.].+)?", "viral genes"),
    (
        r"(EBV|HCMV|CMV|HHV[-_.]?\d[AB]?|HIV[-_.]?[12]?|HBV|HCV|HSV[-_.]?[12]?|HPV[-_.]?\d*|IAV|RSV)[-_.:].+",
        "viral genes",
    ),
    (r"E?GFP|EYFP|M?CHERRY|TDTOMATO|WPRE|D?S?P?CAS9|RTTA3?", "transgenes"),
)
_TYPES = {re.sub(r"[\W_]+", " ", text): kind for text, kind in NO_GENES.items()}
# Words that settle it in a text of several, as 'Antibody-Derived Tags', 'Cell Hashing', 'Unassigned Codeword'.
_TYPE_WORDS = {
    "antibody": "antibodies", "adt": "antibodies", "abseq": "antibodies", "hashtag": "hashtags", "hashing": "hashtags",
    "hto": "hashtags", "multiplexing": "hashtags", "codeword": "controls", "control": "controls", "blank": "controls",
}  # fmt: skip
_NAMES = tuple((re.compile(pattern, re.IGNORECASE), kind) for pattern, kind in NAMES)
# Genomes by which Cell Ranger and others name genes of a mixture, with or without a separator.
_HUMAN_GENOME = re.compile(r"(grch3[78]|hg19|hg38|chm13|t2t|homo[\s_]?sapiens|human|hs)\w*", re.IGNORECASE)
_OTHER_GENOMES = r"mm9|mm10|mm39|GRCm3[89]|mRatBN7|rn[67]|Rnor|dm6|BDGP6|danRer\d+|GRCz\d+|macFas\d|Mmul_?\d+"
_FOREIGN_GENOME = re.compile(
    rf"{_OTHER_GENOMES}|mm\d|mm[-_.]|GRCm|mouse|mus[\s_]?musculus|rat\b|rattus|maca", re.IGNORECASE
)
_GENOME_PREFIX = re.compile(rf"(GRCh3[78]|hg19|hg38|{_OTHER_GENOMES})(?:\.\d+)?[-_]+(?=.)")
_ENSEMBL = re.compile(r"ENS([A-Z]*)G\d+", re.IGNORECASE)
_TRANSCRIPT = re.compile(r"ENS[A-Z]*T\d{6,}(\.\d+)?")
MAX_LISTED = 3


def genome_prefix(name: str) -> str:
    """The genome that a name begins with, with its separator; '' for none.

    >>> genome_prefix("GRCh38_CD3E"), genome_prefix("mm10___Cd3e"), genome_prefix("CD3E")
    ('GRCh38_', 'mm10___', '')
    """
    match = _GENOME_PREFIX.match(name)
    return match[0] if match else ""


def _by_name(gene_id: str, symbol: str) -> str:
    """What a feature is by its names; '' for a human gene."""
    for name in (gene_id, symbol):
        if (prefix := genome_prefix(name)) and not _HUMAN_GENOME.fullmatch(prefix.rstrip("-_")):
            return "genes of another species"
    if match := _ENSEMBL.match(gene_id.removeprefix(genome_prefix(gene_id))):
        return "genes of another species" if match[1] else ""
    for name in dict.fromkeys((gene_id, symbol)):
        for pattern, kind in _NAMES:
            if pattern.fullmatch(name):
                return kind
    return ""


def _kind_of_type(text: str) -> str:
    """What a feature is by a text that says its type; '' for a gene.

    >>> _kind_of_type("Antibody_Capture"), _kind_of_type("ADTs"), _kind_of_type("protein_coding")
    ('antibodies', 'antibodies', '')
    """
    plain = re.sub(r"[\W_]+", " ", text).strip().casefold()
    if kind := _TYPES.get(plain) or _TYPES.get(plain.removesuffix("s")):
        return kind
    return next((_TYPE_WORDS[word] for word in plain.split() if word in _TYPE_WORDS), "")


def _by_type(var: pd.DataFrame) -> np.ndarray:
    """What the columns of types say of each feature; '' for genes and where there is no such column."""
    kinds = np.full(len(var), "", dtype=object)
    for column in TYPE_COLUMNS:
        if column in var:
            texts = var[column].astype(str)
            said = texts.map({text: _kind_of_type(text) for text in texts.unique()}).to_numpy(dtype=object)
            kinds = np.where(said != "", said, kinds)
    return kinds


def _by_genome(var: pd.DataFrame) -> np.ndarray:
    """Which features are of another species by the column of genomes; '' for the others."""
    if "genome" not in var:
        return np.full(len(var), "", dtype=object)
    genomes = var["genome"].astype(str)
    human = genomes.map(lambda name: bool(_HUMAN_GENOME.match(name)))
    # A name of one's own may be a human genome where none of the others is.
    foreign = ~human & ~genomes.isin(["", "nan", "None"])
    if not human.any():
        foreign = genomes.map(lambda name: bool(_FOREIGN_GENOME.match(name)))
    return np.where(foreign, "genes of another species", "").astype(object)


def feature_kinds(var: pd.DataFrame, symbols: np.ndarray, beside: pd.DataFrame | None = None) -> np.ndarray:
    """What each feature is that is no human gene; '' for human genes.

    Parameters
    ----------
    var
        One row per feature; its index holds ids or symbols.
    symbols
        As far as they are known, '' elsewhere.
    beside
        The table of features of the file's other matrix, if it has one: it may say what `var` does not.

    Returns
    -------
    Texts like 'antibodies'. Genes of another species are genes where most of the genes are: that cohort is refused as a
    whole elsewhere.
    """
    ids = var.index.astype(str)
    kinds = np.array([_by_name(gene, symbol) for gene, symbol in zip(ids, symbols, strict=True)], dtype=object)
    said = _by_type(var)
    kinds = np.where(said != "", said, kinds)
    kinds = np.where(kinds == "", _by_genome(var), kinds)
    if beside is not None and not any(column in var for column in TYPE_COLUMNS):
        said = _by_type(beside)
        there = dict(zip(beside.index.astype(str), np.where(said != "", said, _by_genome(beside)), strict=True))
        kinds = np.array([kind or there.get(gene, "") for gene, kind in zip(ids, kinds, strict=True)], dtype=object)
    foreign = kinds == "genes of another species"
    return np.where(foreign, "", kinds) if foreign.sum() > (kinds == "").sum() else kinds


def feature_notes(kinds: np.ndarray, ids: np.ndarray) -> list[str]:
    """Notes on transcripts, and on the features that are set apart with the number of each kind and examples."""
    transcripts = [name for name in ids if _TRANSCRIPT.fullmatch(name)]
    notes = []
    if transcripts:
        notes.append(
            f"{len(transcripts)} of {len(ids)} features are transcripts ('{transcripts[0]}'): each is tested as a gene "
            "of its own, and gene lists and gene sets know none by its id; sum them by gene first (tximport) for genes"
        )
    apart = pd.Series(ids[kinds != ""], dtype=object).groupby(kinds[kinds != ""], sort=True)
    if len(apart):
        listed = (f"{len(names)} {kind} ({', '.join(map(repr, names.head(MAX_LISTED)))})" for kind, names in apart)
        n_apart = int((kinds != "").sum())
        notes.append(f"{n_apart} of {len(kinds)} features are no human genes and are left out: {', '.join(listed)}")
    return notes
