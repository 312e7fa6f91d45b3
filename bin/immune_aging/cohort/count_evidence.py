"""Which matrix of a cohort's file holds the raw counts: by its values, and by asking where two could be it.

A sample of whole cells is looked at, the same ones in every matrix.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from scipy import sparse

from immune_aging.cohort.cohort_file import (
    Counts,
    candidates,
    damage,
    nearest,
    not_counts,
    read_cells,
    read_table,
    sampled_rows,
    symbols_of,
    values_of,
)
from immune_aging.cohort.features import feature_kinds
from immune_aging.cohort.spellings import letters_and_digits
from immune_aging.cohort.stated_totals import complete, doubts_of_totals
from immune_aging.task.command_line import BadInput

CELLS, PLACES = 200, 10  # cells of the sample, and places in the file that they are taken from
# Names of layers that say that they are the raw counts, letters and digits alone, in lower case.
COUNT_NAMES = frozenset(
    ("counts", "count", "rawcounts", "rawcount", "countsraw", "raw", "umi", "umis", "umicounts", "umicount", "rawumi",
     "readcounts", "originalcounts", "unnormalized", "unnormalised", "intcounts", "integercounts")
)  # fmt: skip
COUNT_WORDS = ("count", "raw", "umi")
# Layers that hold a part of the reads (velocyto, kb-python, alevin-fry, STARsolo), or another reading of them.
PARTS = frozenset(
    ("spliced", "unspliced", "ambiguous", "spanning", "mature", "nascent", "introns", "exons", "s", "u", "a")
)
ROUNDING = 1e-4  # of a value: what 32-bit numbers lose where counts are normalised and turned back
MIN_VALUES = 30  # of a cell, for judging it by itself
MIN_CELLS = 20
MOST_GENES = 0.9  # of the genes of another matrix: a matrix of fewer holds a selection
EQUAL_TOTALS = 0.1  # the middle four fifths of cells, over the median; raw depths spread by a half and more
ENSURE = "give raw counts with --counts_layer"
ROUND = "round these with --round_counts, or give the uncorrected counts with --counts_layer"


@dataclass(frozen=True)
class Found:
    """The matrix with the counts.

    Attributes
    ----------
    layer
        Its name.
    counts
        Where it is.
    notes
        What is doubtful about it.
    """

    layer: str
    counts: Counts
    notes: tuple[str, ...]


def _by_cell(block: sparse.csr_matrix, measure: Callable[[np.ndarray], float]) -> np.ndarray:
    """A number for each cell that has `MIN_VALUES` values that are not 0."""
    rows = (block.data[start:stop] for start, stop in zip(block.indptr[:-1], block.indptr[1:], strict=True))
    stored = (row[row != 0] for row in rows)
    return np.array([measure(values) for values in stored if len(values) >= MIN_VALUES])


def _most_frequent(values: np.ndarray) -> float:
    """Share of the value that occurs most often."""
    return float(np.unique(values, return_counts=True)[1].max() / len(values))


def looks_estimated(block: sparse.csr_matrix) -> bool:
    """Whether fractions are counts that were corrected or estimated, and not normalised.

    Ones of a cell stay equal when they are normalised. Ambient correction (SoupX, DecontX) makes nearly every value
    another one; estimates of transcripts (alevin, RSEM) leave many whole. Logarithms stay below 16, and imputed values
    leave no zeros.
    """
    values = block.data[block.data != 0]
    if not len(values) or values.min() < 0 or values.max() < 16 or len(values) > 0.95 * np.prod(block.shape):
        return False
    if (values == np.rint(values)).mean() >= 0.2:
        return True
    repeated = _by_cell(block, _most_frequent)
    return len(repeated) > 0 and float(np.median(repeated)) < 0.1 and not equal_totals(block)


def equal_totals(block: sparse.csr_matrix) -> bool:
    """Whether cells have about the same total although they differ in their number of genes, as after normalisation."""
    totals = np.asarray(block.sum(axis=1)).ravel()
    genes = np.diff(block.indptr)[totals > 0]
    totals = totals[totals > 0]
    if len(totals) < MIN_CELLS or np.median(genes) < MIN_VALUES:
        return False

    def spread(values: np.ndarray) -> float:
        low, middle, high = np.quantile(values, [0.1, 0.5, 0.9])
        return float((high - low) / middle)

    return spread(totals) < EQUAL_TOTALS and spread(genes) > 1.5 * spread(totals)


def normalised_and_rounded(block: sparse.csr_matrix) -> str:
    """Why whole numbers of cells are no raw counts; '' where they can be."""
    values = block.data[block.data != 0]
    if len(values) >= 1000 and values.max() == 1:
        return "holds nothing but 0 and 1, so it tells only which genes were found"
    totals = np.asarray(block.sum(axis=1)).ravel()
    least = _by_cell(block, np.min)
    if len(least) >= MIN_CELLS and (least > 1).mean() > 0.5:
        return (
            f"holds whole numbers but no 1 in {100 * (least > 1).mean():.0f} % of cells, so it is normalised or "
            "scaled, and rounded"
        )
    if equal_totals(block) and len(np.unique(totals[totals > 0])) > 1:
        return f"has nearly the same total in all cells ({np.median(totals):,.0f}), so it is normalised, and rounded"
    return ""


MIN_SAMPLES, SAME_SUMS = 5, 0.005  # the range of the samples' totals over their median
FULL_SUMS = 0.95  # a table of deep sums with fewer zeros than this leaves may hold no 1


def normalised_sums(block: sparse.csr_matrix) -> str:
    """Why whole numbers of samples are no sums of counts; '' where they can be."""
    totals = np.asarray(block.sum(axis=1, dtype=np.float64)).ravel()
    totals = totals[totals > 0]
    if len(totals) < MIN_SAMPLES or np.ptp(totals) == 0 or np.ptp(totals) > SAME_SUMS * np.median(totals):
        return ""
    return f"has nearly the same total in all samples ({np.median(totals):,.0f}), so it is normalised, and rounded"


SOME = 0.03  # of the cells that are looked at
DEEP, LARGEST = 1000, 10  # counts of a cell, and its largest one: however even genes are, some have more
FULL_GENES = 200
# Counts are drawn by chance, so that over cells a gene's variance is at least its mean: 4 to 9 times in three real
# cohorts. Rounded logarithms and roots of the same counts have .2 to .8, in genes expressed high enough to tell.
TELLING_MEAN, TELLING_GENES, TELLING_CELLS, TOO_EVEN = 2.0, 5, 100, 0.85


def evenness(block: sparse.csr_matrix, *, least: int = TELLING_CELLS) -> float:
    """Median over highly expressed genes of variance between cells over mean: 1 by chance alone; NaN for too few.

    Parameters
    ----------
    block
        Cells, or samples, x genes.
    least
        Fewer rows tell nothing.
    """
    if block.shape[0] < least:
        return np.nan
    values = block.astype(np.float64)
    mean = np.asarray(values.mean(axis=0)).ravel()
    high = mean >= TELLING_MEAN
    if high.sum() < TELLING_GENES:
        return np.nan
    variance = np.asarray(values.power(2).mean(axis=0)).ravel() - mean**2
    return float(np.median(variance[high] / mean[high]))


def doubts_of_values(block: sparse.csr_matrix) -> list[str]:
    """Why whole numbers that may be raw counts are doubtful all the same.

    Parameters
    ----------
    block
        Cells x genes.
    """
    found = []
    least = _by_cell(block, np.min)
    without_one = float((least > 1).mean()) if len(least) >= MIN_CELLS else 0.0
    if without_one > SOME:
        found.append(
            f"{100 * without_one:.0f} % of the cells that were looked at hold no 1, as after normalisation or where "
            "reads are counted and not molecules: cells of several kinds of values are no one cohort"
        )
    totals = np.asarray(block.sum(axis=1)).ravel()
    deep = totals >= DEEP
    if deep.sum() >= MIN_CELLS and (largest := float(np.median(block[deep].max(axis=1).toarray()))) <= LARGEST:
        found.append(
            f"cells of {np.median(totals[deep]):,.0f} counts have none above {largest:g}, as after logarithms, ranks "
            "or a cap; raw counts of some genes are larger"
        )
    elif (ratio := evenness(block)) < TOO_EVEN:
        found.append(
            f"highly expressed genes vary less between cells than by chance (variance {ratio:.2f} of the mean, "
            "at least 1 in raw counts), as after logarithms, ranks or a cap"
        )
    full = block.shape[1] >= FULL_GENES and len(block.data) == np.prod(block.shape) and (block.data != 0).all()
    if full and block.shape[0] >= MIN_CELLS:
        found.append("no cell has a gene without counts, as after imputation or with a constant added")
    return found


def doubts_of_sums(block: sparse.csr_matrix) -> list[str]:
    """Why whole numbers of samples that may be sums of raw counts are doubtful all the same.

    Sums of cells vary with the number of cells, so that a gene's variance between samples is far above its mean.

    Parameters
    ----------
    block
        Samples x genes.
    """
    if (ratio := evenness(block, least=MIN_SAMPLES)) < TOO_EVEN:
        return [
            f"highly expressed genes vary less between samples than by chance (variance {ratio:.2f} of the mean, at "
            "least 1 in sums of raw counts), as after logarithms"
        ]
    least = _by_cell(block, np.min)
    without_one = float((least > 1).mean()) if len(least) >= MIN_SAMPLES else 0.0
    if without_one > 0.5 and len(block.data) < FULL_SUMS * np.prod(block.shape):
        return [
            f"{100 * without_one:.0f} % of the samples that were looked at hold zeros but no 1, as after scaling; sums "
            "of raw counts hold both"
        ]
    return []


def cut_off(values: np.ndarray, dtype: np.dtype) -> str:
    """How the type of numbers in the file may have changed large counts; '' where it has not."""
    if dtype.kind in "iu" and dtype.itemsize <= 2 and len(values):
        largest = np.iinfo(dtype).max
        n = int((values == largest).sum())
        return f"{n} of the sampled counts are {largest}, the largest that its type holds" if n else ""
    if dtype == np.float16:
        n = int((values > 2048).sum())
        return f"{n} of the sampled counts are above 2,048, from where 16-bit numbers skip whole numbers" if n else ""
    return ""


def nearly_whole(values: np.ndarray) -> bool:
    """Whether values are whole but for errors of computing, as counts that were scaled and scaled back."""
    if values.dtype.kind != "f" or not np.isfinite(values).all() or values.min(initial=0) < 0:
        return False
    return bool((np.abs(values - np.rint(values)) <= ROUNDING * np.maximum(values, 1)).all())


def judged(block: sparse.csr_matrix, *, of_cells: bool, round_counts: bool) -> tuple[str, bool, bool]:
    """What a sample of a matrix shows.

    Parameters
    ----------
    block
        Cells x genes.
    of_cells
        Its rows are cells, no sums.
    round_counts
        Counts that are fractions may be rounded.

    Returns
    -------
    Why it cannot hold raw counts ('' where it can), whether they are to be rounded, and whether the reason is none that
    a person who names the matrix may overrule.
    """
    if not len(block.data) or not block.data.any():
        return not_counts(block.data) or "holds nothing but zeros", False, True
    reason = not_counts(block.data)
    if reason and nearly_whole(block.data):
        worst = block.data[np.argmax(np.abs(block.data - np.rint(block.data)))]
        text = f"holds whole numbers but for errors of computing ({worst:.9g}): {ROUND}"
        return ("", True, False) if round_counts else (text, False, True)
    if reason and block.data.dtype.kind == "f" and np.isfinite(block.data).all() and looks_estimated(block):
        example = block.data[block.data != np.rint(block.data)][0]
        text = f"holds fractions ({example:g}) as ambient correction or estimates of transcripts leave: {ROUND}"
        return ("", True, False) if round_counts else (text, False, True)
    if reason:
        return reason, False, True
    return normalised_and_rounded(block) if of_cells else normalised_sums(block), False, False


def claims_counts(name: str) -> bool:
    """Whether the name of a matrix says that it holds raw counts."""
    return name == "raw.X" or any(word in letters_and_digits(name) for word in COUNT_WORDS)


def same_values(one: sparse.csr_matrix, two: sparse.csr_matrix) -> bool:
    """Whether two blocks of the same cells and genes hold the same values."""
    return one.shape == two.shape and abs(one.astype(np.float64) - two.astype(np.float64)).sum() == 0


def follows_from(x: sparse.csr_matrix, counts: sparse.csr_matrix) -> bool | None:
    """Whether X can be `counts` normalised: within a cell, equal counts have equal X, and larger counts a larger one.

    None where X does not look like it: it has negative values, or other cells and genes.
    """
    if x.shape != counts.shape or not len(x.data) or x.data.min() < 0:
        return None
    agree = []
    for row in range(x.shape[0]):
        here, there = x[row].toarray().ravel(), counts[row].toarray().ravel()
        if (here != 0).sum() < MIN_VALUES:
            continue
        levels, place = np.unique(there, return_inverse=True)
        low, high = np.full(len(levels), np.inf), np.full(len(levels), -np.inf)
        np.minimum.at(low, place, here)
        np.maximum.at(high, place, here)
        tight = (high - low <= 1e-3 * here.max()).all() and (np.diff(low) > 0).all()
        agree.append(bool(tight))
    return float(np.mean(agree)) > 0.9 if agree else None


def _shared(block: sparse.csr_matrix, var: pd.DataFrame, other: pd.DataFrame) -> sparse.csr_matrix | None:
    """Columns of `block` in the order of the genes of `other`; None where one lacks."""
    if not (var.index.is_unique and other.index.is_unique):
        return None
    places = var.index.get_indexer(other.index)
    return block[:, places] if (places >= 0).all() else None


class Candidates:
    """The matrices that may hold counts, with a sample of each, read once."""

    def __init__(self, file: h5py.File, *, of_cells: bool, round_counts: bool):
        self.places, self.of_cells = candidates(file), of_cells
        self.var = {path: read_table(file, path) for path in {counts.var_path for counts in self.places.values()}}
        beside = {path: [other for name, other in self.var.items() if name != path] for path in self.var}
        self.genes = {
            path: feature_kinds(var, symbols_of(var), *beside[path][:1]) == "" for path, var in self.var.items()
        }
        self.block: dict[str, sparse.csr_matrix] = {}
        self.totals: dict[str, list[np.ndarray]] = {}
        self.reason: dict[str, str] = {}
        self.firm: dict[str, bool] = {}
        self.dtype: dict[str, np.dtype] = {}
        for name, counts in self.places.items():
            self.reason[name], self.firm[name] = damage(file, counts), True
            self.dtype[name] = np.dtype(float) if self.reason[name] else values_of(file, counts).dtype
            if self.reason[name]:
                continue
            block = read_cells(file, counts, cells=CELLS, places=PLACES)
            genes, whole = self.genes[counts.var_path], block
            if len(genes) == block.shape[1] and not genes.all():
                block = block[:, np.flatnonzero(genes)]
            if complete(file, counts):
                self.totals[name] = [np.asarray(one.sum(axis=1, dtype=float)).ravel() for one in (whole, block)]
            found = judged(block, of_cells=of_cells, round_counts=round_counts)
            self.reason[name], rounded, self.firm[name] = found
            self.places[name], self.block[name] = replace(counts, rounded=rounded), block

    def n_genes(self, name: str) -> int:
        """Number of genes of a matrix, without features that are none."""
        return int(self.genes[self.places[name].var_path].sum())

    def largest(self, name: str) -> str:
        """Of the matrices that hold the same counts as this one, that of most genes; itself where none has more."""
        same = [
            other for other, reason in self.reason.items() if not reason and self.n_genes(other) > self.n_genes(name)
        ]
        return max([name, *(other for other in same if not self.differ(name, other))], key=self.n_genes)

    def differ(self, one: str, two: str) -> bool:
        """Whether two matrices hold other values for the genes that both have."""
        a, b = self.block[one], self.block[two]
        if a.shape[0] != b.shape[0]:
            return True  # of a matrix by genes not all could be read
        paths = [self.places[name].var_path for name in (one, two)]
        if paths[0] == paths[1]:
            return not same_values(a, b)
        tables = [self.var[path][self.genes[path]] for path in paths]
        larger, smaller = (0, 1) if len(tables[0]) >= len(tables[1]) else (1, 0)
        part = _shared((a, b)[larger], tables[larger], tables[smaller])
        return part is None or not same_values(part, (a, b)[smaller])


def _ask(path: str | Path, names: list[str]) -> BadInput:
    return BadInput(
        f"{path}: {', '.join(names)} hold whole numbers, and other ones: any could be the raw counts; name one of them "
        "with --counts_layer"
    )


def _noted(found: Candidates, chosen: str, why: str = "") -> list[str]:
    """A note where other matrices hold other whole numbers than the chosen one."""
    others = [name for name, reason in found.reason.items() if not reason and name != chosen]
    others = [name for name in others if found.differ(chosen, name)]
    if not (others or why):
        return []
    more = f"other whole numbers are in {', '.join(others)}" if others else ""
    return [f"counts are taken from {'; '.join(part for part in (chosen + why, more) if part)} (--counts_layer)"]


def _choose(found: Candidates, path: str | Path) -> tuple[str, list[str]]:
    """The matrix with the counts among those that can be it, and what is doubtful.

    Raises
    ------
    BadInput
        None of them is likelier than another.
    """
    can = [name for name, reason in found.reason.items() if not reason]
    first = can[0]
    others = [name for name in can[1:] if found.differ(first, name)]
    if first in ("raw.X", "X"):
        rivals = [name for name in others if name == "X" or claims_counts(name)]
        if rivals:
            raise _ask(path, [first, *rivals])
        twins = [name for name in can[1:] if name not in others and letters_and_digits(name) in PARTS]
        parts = [name for name in others if letters_and_digits(name) in PARTS]
        if twins and parts:
            return first, [f"{first} holds the same as layer {twins[0]}, without the reads of {', '.join(parts)}"]
        return first, _noted(found, first)
    claiming = [name for name in can if claims_counts(name)]
    named = [name for name in claiming if letters_and_digits(name) in COUNT_NAMES] or claiming
    if named and not any(found.differ(named[0], name) for name in claiming if name != named[0]):
        return named[0], _noted(found, named[0])
    follows = {name: follows_from(found.block["X"], found.block[name]) for name in can} if "X" in found.block else {}
    sources = [name for name in can if follows.get(name)]
    if len(sources) == 1 and letters_and_digits(sources[0]) not in PARTS and not claiming:
        return sources[0], _noted(found, sources[0], ", of which X is the normalised form")
    if others:
        raise _ask(path, can)
    if letters_and_digits(first) in PARTS or follows.get(first) is False:
        raise BadInput(
            f"{path}: only layer {first} holds whole numbers, and it may be a part of the counts or none; name it with "
            "--counts_layer if it holds the raw counts"
        )
    return first, []


def find_counts(
    file: h5py.File, path: str | Path, *, counts_layer: str, round_counts: bool = False, of_cells: bool = True
) -> Found:
    """Which matrix holds raw counts.

    Parameters
    ----------
    path
        What messages begin with.
    counts_layer
        'auto', 'X', 'raw.X' or the name of a layer.
    round_counts
        Counts that are fractions, as ambient correction leaves them, are rounded where no matrix holds whole ones.
    of_cells
        The rows are cells, no sums of cells.

    Raises
    ------
    BadInput
        There is none, or several could be it.
    """
    found = Candidates(file, of_cells=of_cells, round_counts=round_counts)
    if counts_layer != "auto":
        if counts_layer not in found.places:
            raise BadInput(
                f"{path}: --counts_layer {counts_layer}: there is no such matrix; "
                f"{nearest(counts_layer, list(found.places))}"
            )
        reason = found.reason[counts_layer]
        if reason and found.firm[counts_layer]:
            raise BadInput(
                f"{path}: no raw counts found ({counts_layer} {reason}); give raw counts in X, raw.X or a layer"
            )
        noted = [f"{counts_layer} {reason}; it is taken for raw counts, as --counts_layer says"] if reason else []
        return _found(file, found, counts_layer, noted)
    if any(not reason and not found.places[name].rounded for name, reason in found.reason.items()):
        found.reason |= {name: "is to be rounded" for name, place in found.places.items() if place.rounded}
    elif all(found.reason.values()):
        sure = " (if it holds raw counts all the same, name it with --counts_layer)"
        why = "; ".join(f"{name} {reason}{'' if found.firm[name] else sure}" for name, reason in found.reason.items())
        raise BadInput(
            f"{path}: no raw counts found ({why or 'no matrix at all'}); give raw counts in X, raw.X or a layer"
        )
    name, notes = _choose(found, path)
    return _found(file, found, found.largest(name), notes)


def selection(found: Candidates, name: str) -> list[str]:
    """A note where another matrix of the file has more genes than the one with the counts."""
    other = max(found.places, key=found.n_genes)
    if found.n_genes(name) >= MOST_GENES * found.n_genes(other):
        return []
    why = found.reason[other]
    return [
        f"the counts in {name} are of {found.n_genes(name):,} genes, and {other} has {found.n_genes(other):,}"
        + (f" (no raw counts: it {why})" if why else "")
        + ": totals, mitochondrial shares, size factors and gene sets are those of a selection; give raw counts of all "
        "genes"
    ]


def _found(file: h5py.File, found: Candidates, name: str, notes: list[str]) -> Found:
    counts = found.places[name]
    if counts.rounded:
        notes = [*notes, f"the counts in {name} are fractions and are rounded to whole numbers (--round_counts)"]
    cut = cut_off(found.block[name].data, found.dtype[name])
    notes = [*notes, f"{name}: {cut}: larger counts may be wrong"] if cut else notes
    look = doubts_of_values if found.of_cells else doubts_of_sums
    doubts = [] if found.reason[name] else look(found.block[name])
    notes = [*notes, *selection(found, name), *(f"{name}: {doubt}" for doubt in doubts)]
    if found.of_cells and name in found.totals:
        rows = sampled_rows(counts.n_cells, cells=CELLS, places=PLACES)
        notes += doubts_of_totals(file, rows, found.totals[name], layer=name)
    return Found(name, counts, tuple(notes))


def judge_counts(file: h5py.File, counts: Counts, var: pd.DataFrame, path: str | Path, *, round_counts: bool) -> Found:
    """The one matrix of a file, if it holds raw counts.

    Parameters
    ----------
    var
        Its features.
    path
        What messages begin with.

    Raises
    ------
    BadInput
        It holds none, or is damaged.
    """
    if reason := damage(file, counts):
        raise BadInput(f"{path}: {counts.path} {reason}; copy or download the file again")
    block = read_cells(file, counts, cells=CELLS, places=PLACES)
    genes = feature_kinds(var, symbols_of(var)) == ""
    reason, rounded, _ = judged(block[:, np.flatnonzero(genes)], of_cells=True, round_counts=round_counts)
    if reason and not block.data.any():
        reason += " in the cells looked at, as the matrix of all droplets does; give the filtered one"
    if reason:
        raise BadInput(f"{path}: no raw counts found ({counts.path} {reason})")
    doubts = doubts_of_values(block[:, np.flatnonzero(genes)])
    return Found(counts.path, replace(counts, rounded=rounded), tuple(doubts))
