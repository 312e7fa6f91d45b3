"""What is no human gene is set apart and counted, by what the file says of it or by its name; genes never are."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from immune_aging.cohort.features import NO_GENES, feature_kinds, feature_notes, genome_prefix

GENES = ["CD3E", "ABO", "ERCC1", "SIRT1", "HTO1P-AS1", "GRNA", "PROTO", "CMOXA", "MT-ND1", "ADTRP", "CITED2", "AB-X"][
    :11
]
NAMED = {
    "ERCC-00002": "spike-ins", "ERCC_00131": "spike-ins", "SIRV101": "spike-ins", "CD3_TotalSeqB": "antibodies",
    "CD4-TotalSeqC": "antibodies", "CD279.TotalSeqA0088": "antibodies", "adt_CD3": "antibodies", "ADT-CD19": "antibodies",
    "prot_CD8a": "antibodies", "CD8a-prot": "antibodies", "AB_CD45RA": "antibodies", "Hashtag1": "hashtags",
    "HTO_3": "hashtags", "Hashtag 5": "hashtags", "CMO301": "hashtags", "sgRNA-FOXP3-1": "guides",
    "chr1:1000-2000": "peaks", "chrX-1000-2000": "peaks", "mm10_Cd3e": "genes of another species",
    "mm10___Gm1": "genes of another species", "ENSMUSG00000000001": "genes of another species",
    "CD3:SK7|CD3E|AHS0033|pAbO": "antibodies", "NegControlProbe_00042": "controls", "BLANK_0001": "controls",
    "UnassignedCodeword_0001": "controls",
    "GU280_gp01": "viral genes", "gene-GU280_gp11": "viral genes", "SARS-CoV-2": "viral genes", "sars_cov_2-ORF1ab":
    "viral genes", "2019-nCoV": "viral genes", "HIV-1_gag": "viral genes", "EBV-EBNA1": "viral genes",
    "HCMV_UL55": "viral genes", "EGFP": "transgenes", "tdTomato": "transgenes", "WPRE": "transgenes",
    "ENSSASG00005000004": "genes of another species", "GRCm39_ENSMUSG00000000001": "genes of another species",
}  # fmt: skip


def table(names, **columns):
    return pd.DataFrame(columns, index=pd.Index(names))


def kinds(names, **columns):
    var = table(names, **columns)
    return feature_kinds(var, var.index.to_numpy(dtype=object)).tolist()


@pytest.mark.parametrize("name", NAMED)
def test_a_feature_is_known_by_its_name(name):
    assert kinds([*GENES, name]) == [""] * len(GENES) + [NAMED[name]]


@pytest.mark.parametrize("text", NO_GENES)
@pytest.mark.parametrize("column", ["feature_types", "modality"])
def test_a_feature_is_known_by_what_the_file_says_in_any_case(text, column):
    said = ["Gene Expression", text.title(), f" {text} "]
    assert kinds(["CD3E", "CD3", "CD4"], **{column: pd.Categorical(said)}) == ["", NO_GENES[text], NO_GENES[text]]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("antibody_capture", "antibodies"), ("ADTs", "antibodies"), ("Antibody-Derived Tags", "antibodies"),
        ("CITE_seq", "antibodies"), ("HTOs", "hashtags"), ("Cell Hashing", "hashtags"), ("Cell Multiplexing", "hashtags"),
        ("Negative Control Codeword", "controls"), ("Unassigned Codeword", "controls"), ("IG_C_gene", ""), ("TEC", ""),
    ],
)  # fmt: skip
def test_what_the_file_says_is_read_by_words(text, kind):
    assert kinds(["CD3E", "CD3", "CD4"], feature_types=["Gene Expression", text, "gene"]) == ["", kind, ""]


def test_the_other_matrix_of_a_file_may_say_what_a_feature_is():
    var = table(["CD3E", "CD3"])
    told = table(["CD3", "CD3E"], feature_types=["Antibody Capture", "Gene Expression"])
    assert feature_kinds(var, var.index.to_numpy(dtype=object), told).tolist() == ["", "antibodies"]


def test_a_name_of_ones_own_for_the_human_genome_does_not_make_mouse_genes_human():
    found = kinds(["CD3E", "CD4", "Cd3e"], genome=["our_reference", "our_reference", "mm10"])
    assert found == ["", "", "genes of another species"]


def test_biotypes_and_unknown_types_are_genes():
    said = ["protein_coding", "lncRNA", "gene", "RNA", "nan"]
    assert kinds(["A1", "A2", "A3", "A4", "A5"], feature_type=said) == [""] * 5


def test_more_peaks_than_genes_are_still_peaks():
    assert kinds(["CD3E", "p1", "p2"], feature_types=["Gene Expression", "Peaks", "Peaks"]) == ["", "peaks", "peaks"]


def test_genes_of_the_other_genome_of_a_mixture_are_set_apart():
    names = ["GRCh38_CD3E", "GRCh38_CD4", "mm10_Cd3e"]
    assert kinds(names) == ["", "", "genes of another species"]
    assert kinds(["CD3E", "CD4", "Cd3e"], genome=["GRCh38", "hg38", "mm10"]) == ["", "", "genes of another species"]
    assert kinds(["Cd3e", "Cd4"], genome=["mm10", "mm10"]) == ["", ""], "a cohort of mice is refused as a whole"


def test_an_ensembl_id_is_a_gene_whatever_its_symbol():
    var = table(["ENSG00000000001", "ENSG00000000002.5"])
    assert feature_kinds(var, np.array(["HTO1", "AB_1"], dtype=object)).tolist() == ["", ""]


def test_no_official_symbol_of_a_human_gene_is_set_apart():
    path = next((Path(__file__).resolve().parents[2] / "assets/genes").glob("*.tsv.gz"))
    symbols = sorted({line.split("\t")[1] for line in gzip.decompress(path.read_bytes()).decode().splitlines()[1:]})
    var = table(symbols)
    apart = np.array(symbols)[feature_kinds(var, var.index.to_numpy(dtype=object)) != ""]
    assert apart.tolist() == []


def test_a_note_counts_each_kind_with_examples():
    names = np.array(["CD3E", "CD3_TotalSeqB", "ERCC-00002"], dtype=object)
    found = feature_kinds(table(names), names)
    assert feature_notes(found, names) == [
        "2 of 3 features are no human genes and are left out: 1 antibodies ('CD3_TotalSeqB'), 1 spike-ins ('ERCC-00002')"
    ]
    assert feature_notes(np.array(["", ""], dtype=object), names[:2]) == []


def test_transcripts_stay_and_are_noted():
    names = np.array(["ENST00000456328", "ENST00000450305.2", "CD3E", "ENSG00000000001"], dtype=object)
    found = feature_kinds(table(names), names)
    assert found.tolist() == [""] * 4
    (note,) = feature_notes(found, names)
    assert note.startswith("2 of 4 features are transcripts ('ENST00000456328')")


@pytest.mark.parametrize(
    ("name", "prefix"), [("GRCh38_CD3E", "GRCh38_"), ("hg19-CD3E", "hg19-"), ("GRCh38", ""), ("MT-ND1", "")]
)
def test_the_genome_before_a_name_is_seen(name, prefix):
    assert genome_prefix(name) == prefix
