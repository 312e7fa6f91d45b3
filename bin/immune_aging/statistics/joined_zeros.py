"""Genes without a count in the same samples: files of different genes were perhaps joined, with zeros in the gaps.

anndata's outer join and Seurat's merge fill them so (satijalab/seurat#6793, scverse/anndata#390). A gene is then tested
as if nobody in one file expressed it.
"""

import numpy as np
import pandas as pd

from immune_aging.samples.cell_type_samples import CellTypeSamples

# A gene that is measured has no count in samples that should have 30 of it once in 10^13; several in the same samples
# have a common cause. Deleted genes (GSTM1) and rearranged ones have each their own samples.
EXPECTED, MIN_GENES, MIN_SAMPLES = 30, 5, 2


def are_one_sex(samples: pd.DataFrame, chosen: np.ndarray) -> bool:
    """Whether these samples are all of one sex: genes of the Y chromosome have no counts in women."""
    sex = samples["sex"].astype(object)
    return bool(sex[chosen].nunique(dropna=False) == 1 and chosen.sum() == (sex == sex[chosen].iloc[0]).sum())


def joined_zeros(table: CellTypeSamples) -> list[str]:
    """A note on each set of samples in which the same genes have no count though many are expected.

    Parameters
    ----------
    table
        One cell type's samples, none of them empty.
    """
    library = table.counts.sum(axis=1)
    zero = table.counts == 0
    expected = library @ zero * table.counts.sum(axis=0) / max(library.sum(), 1)
    genes = np.flatnonzero((expected >= EXPECTED) & (zero.sum(axis=0) >= MIN_SAMPLES))
    if len(genes) < MIN_GENES:
        return []
    patterns, whose, sizes = np.unique(zero[:, genes], axis=1, return_inverse=True, return_counts=True)
    notes = []
    for number in np.flatnonzero(sizes >= MIN_GENES):
        chosen = patterns[:, number]
        if are_one_sex(table.samples, chosen):
            continue
        first = genes[whose.ravel() == number][0]
        name = table.symbols.iloc[first] or table.gene_ids[first]
        donor = table.samples["donor_id"].iloc[int(np.flatnonzero(chosen)[0])]
        notes.append(
            f"{sizes[number]} genes ('{name}', ...) have no count in the same {chosen.sum()} of {len(chosen)} samples "
            f"(donor '{donor}', ...), where many are expected: if files of different genes were joined with zeros, "
            "these genes were not measured there, and their effects are those of the files; give the files themselves, "
            "as --input cohort.csv with --genes union"
        )
    return notes
