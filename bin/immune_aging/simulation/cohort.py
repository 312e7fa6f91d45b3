"""A simulated cohort: its donors, pools, cells and counts."""

from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from scipy import sparse

from immune_aging.simulation import genes
from immune_aging.simulation.model import DONOR, KEYS, NAMES, POOL, TYPES, Model, Settings, stream
from immune_aging.task.checkpoints import atomic_path
from immune_aging.task.command_line import Progress
from immune_aging.task.h5ad_stream import CohortWriter

SINGLE, DOUBLET, DYING, RED = range(4)
RIBOSOMAL_SD = 0.18  # SD between cells of the log share of ribosomal proteins
LATE_DEATH = 0.15  # share of the dying cells that have also lost most of their counts


def donor_rates(model: Model, donor: pd.Series, rng: np.random.Generator) -> np.ndarray:
    """Expected counts of one cell of size 1 of each type of this donor (types x genes)."""
    n = len(model.genes)
    pool = stream(model.seed, POOL, int(donor["pool"])).normal(0, 1, n) * model.pool_sd
    # Half of a donor's variance is the same in all its cell types, half is each type's own.
    person = rng.normal(0, np.sqrt(0.5), n) + rng.normal(0, np.sqrt(0.5), (len(TYPES), n))
    log2_change = model.age_lfc * donor["age_z"] + model.sex_lfc[0 if donor["sex"] == "female" else 1]
    return model.profile * np.exp(pool + person * model.donor_sd + np.log(2) * log2_change)


def draw_composition(model: Model, donor: pd.Series, rng: np.random.Generator) -> np.ndarray:
    """The share of each cell type in a donor: Dirichlet around the cohort's, shifted by age."""
    shift = np.array([cell_type.log_share_per_sd for cell_type in TYPES]) * model.settings.composition_effect
    share = np.array([cell_type.share for cell_type in TYPES]) * np.exp(shift * donor["age_z"])
    share = rng.dirichlet(model.settings.composition * share / share.sum())
    share[np.array(NAMES) == donor["lacks"]] = 0.0
    return share / share.sum()


@dataclass(frozen=True)
class Parts:
    """The single cells that one donor's barcodes hold: one of each, then the second cell of each doublet.

    Attributes
    ----------
    owner
        Number of the barcode.
    cell_type
        Code of the cell's type.
    kind
        Kind of the barcode.
    """

    owner: np.ndarray
    cell_type: np.ndarray
    kind: np.ndarray


@dataclass(frozen=True)
class Sizes:
    """Expected counts of each part: in all, of mitochondrial genes, of hemoglobin, and of the other genes."""

    whole: np.ndarray
    mitochondrial: np.ndarray
    hemoglobin: np.ndarray
    rest: np.ndarray


# Drawn counts: of which barcodes, in which columns, how many.
Triplets = tuple[np.ndarray, np.ndarray, np.ndarray]


def draw_parts(settings: Settings, share: np.ndarray, n: int, rng: np.random.Generator) -> Parts:
    """Draw what `n` barcodes hold. A doublet's second cell is of another type but for the homotypic share.

    Parameters
    ----------
    share
        Of each cell type.
    """
    rate = [settings.doublet_rate, settings.dying_rate, settings.red_cell_rate]
    kind = rng.choice(4, n, p=[1 - sum(rate), *rate])
    first = rng.choice(len(TYPES), n, p=share)
    doublet = np.flatnonzero(kind == DOUBLET)
    others = np.where(np.eye(len(TYPES), dtype=bool), 0, share) + 1e-12
    others /= others.sum(axis=1, keepdims=True)
    partner = np.array([rng.choice(len(TYPES), p=others[code]) for code in first[doublet]], dtype=int)
    homotypic = rng.random(len(doublet)) < settings.homotypic_share
    partner[homotypic] = first[doublet][homotypic]
    owner = np.r_[np.arange(n), doublet]
    return Parts(owner, np.r_[first, partner], kind[owner])


def draw_sizes(settings: Settings, parts: Parts, rng: np.random.Generator) -> Sizes:
    """Draw how many counts each part has, and how they divide among the classes of genes."""
    n = len(parts.owner)
    library = np.array([cell_type.library for cell_type in TYPES])[parts.cell_type]
    whole = settings.counts_per_cell * library * rng.lognormal(0, settings.library_sd, n) * rng.lognormal(0, 0.1)
    mito = 1 / (1 + np.exp(-rng.normal(np.log(0.045) + rng.normal(0, 0.1), 0.3, n)))
    dying = parts.kind == DYING
    mito[dying] = rng.uniform(0.27, 0.7, dying.sum())
    whole[dying] *= np.where(rng.random(dying.sum()) < LATE_DEATH, 0.1, 0.5)
    hemoglobin = rng.lognormal(np.log(5e-4), 0.5) * rng.lognormal(0, 0.7, n)
    hemoglobin = np.where(parts.kind == RED, rng.uniform(0.3, 0.95, n), hemoglobin.clip(max=0.01))
    return Sizes(whole, whole * mito * (1 - hemoglobin), whole * hemoglobin, whole * (1 - mito) * (1 - hemoglobin))


def free_counts(rates: np.ndarray, parts: Parts, sizes: Sizes, rng: np.random.Generator) -> list[Triplets]:
    """Counts of the genes whose cells are independent.

    The sum over the cells of a type is Poisson; each of its counts falls to a cell by size. That makes the cells'
    counts independent Poisson, at a cost that follows the counts, not cells x genes.

    Parameters
    ----------
    rates
        Expected counts of a cell of size 1, types x genes; 0 for other genes.
    """
    drawn = []
    for code in np.unique(parts.cell_type):
        members = np.flatnonzero(parts.cell_type == code)
        edges = np.cumsum(sizes.rest[members])
        totals = rng.poisson(rates[code] * edges[-1])
        column = np.repeat(np.arange(len(totals), dtype=np.int32), totals)
        chosen = np.searchsorted(edges, rng.random(len(column)) * edges[-1], side="right")
        rows = parts.owner[members[chosen.clip(max=len(members) - 1)]]
        drawn.append((rows, column, np.ones(len(column), dtype=np.float32)))
    return drawn


def class_counts(
    model: Model, rates: np.ndarray, parts: Parts, sizes: Sizes, rng: np.random.Generator
) -> list[Triplets]:
    """Counts of ribosomal, mitochondrial and hemoglobin genes, which rise and fall together in a cell.

    Parameters
    ----------
    rates
        Expected counts of a cell of size 1, types x genes.
    """
    drawn = []
    ribosomal = np.flatnonzero(model.ribosomal)
    ribosome = sizes.rest * rng.lognormal(0, RIBOSOMAL_SD, len(parts.owner))
    for where, mean in (
        (ribosomal, ribosome[:, None] * rates[:, ribosomal][parts.cell_type]),
        (model.mitochondrial[0], np.outer(sizes.mitochondrial, model.mitochondrial[1])),
        (model.hemoglobin[0], np.outer(sizes.hemoglobin, model.hemoglobin[1])),
    ):
        counts = rng.poisson(mean)
        row, column = np.nonzero(counts)
        drawn.append((parts.owner[row], where[column], counts[row, column]))
    return drawn


def clonal_counts(model: Model, parts: Parts, sizes: Sizes, rng: np.random.Generator) -> list[Triplets]:
    """Counts of the variable region that the clone of each T or B cell uses."""
    drawn = []
    for key, families in genes.CLONAL_COUNTS.items():
        members = np.flatnonzero((parts.cell_type == KEYS.index(key)) & (parts.kind != RED))
        for family, mean in families.items():
            where, probability = model.usage[family]
            column = where[rng.choice(len(where), len(members), p=probability)]
            values = rng.poisson(mean * sizes.rest[members] / model.settings.counts_per_cell)
            drawn.append((parts.owner[members], column, values))
    return drawn


def labels_of(parts: Parts, sizes: Sizes, n: int) -> pd.DataFrame:
    """Truth of `n` barcodes: a doublet is labelled as the larger of its cells."""
    doublet, first, partner = parts.owner[n:], parts.cell_type[:n], parts.cell_type[n:]
    label, second = first.copy(), np.full(n, -1)
    swapped = sizes.whole[n:] > sizes.whole[doublet]
    label[doublet] = np.where(swapped, partner, first[doublet])
    second[doublet] = np.where(swapped, first[doublet], partner)
    return pd.DataFrame({"label": label, "second": second, "kind": parts.kind[:n]})


def simulate_donor(model: Model, donor: pd.Series, index: int) -> tuple[sparse.csr_matrix, pd.DataFrame]:
    """Draw the cells of one donor.

    Returns
    -------
    counts
        cells x genes, float32, indices sorted.
    truth
        One row per cell: code of its labelled type, code of its second type (-1), kind.
    """
    rng, n = stream(model.seed, DONOR, index), int(donor["n_cells"])
    rates = donor_rates(model, donor, rng)
    parts = draw_parts(model.settings, draw_composition(model, donor, rng), n, rng)
    sizes = draw_sizes(model.settings, parts, rng)
    drawn = [
        *free_counts(np.where(model.ribosomal, 0.0, rates), parts, sizes, rng),
        *class_counts(model, rates, parts, sizes, rng),
        *clonal_counts(model, parts, sizes, rng),
    ]
    rows, columns, values = (np.concatenate(part) for part in zip(*drawn, strict=True))
    shape = (n, len(model.genes))
    counts = sparse.coo_matrix((values.astype(np.float32), (rows, columns)), shape=shape).tocsr()
    counts.eliminate_zeros()
    counts.sort_indices()
    return counts, labels_of(parts, sizes, n)


def barcodes(n: int, pool: int, *, seed: int) -> np.ndarray:
    """Cell barcodes of a pool, unique and in no order: 16 bases, a dash and the number of the pool."""
    start = int(stream(seed, POOL, pool, 1).integers(2**32))
    code = (np.arange(n, dtype=np.uint64) * np.uint64(0x9E3779B1) + np.uint64(start)) % np.uint64(2**32)
    base = (code[:, None] >> np.arange(30, -1, -2, dtype=np.uint64)) & np.uint64(3)
    letters = np.frombuffer(b"ACGT", dtype="S1")[base.astype(np.intp)]
    return np.char.add(np.ascontiguousarray(letters).view("S16")[:, 0].astype("U16"), f"-{pool + 1}").astype(object)


def simulate_pool(model: Model, donors: pd.DataFrame, pool: int) -> tuple[sparse.csr_matrix, pd.DataFrame]:
    """Draw one pool, its cells shuffled. Truth as of `simulate_donor`, with cell_id and donor."""
    members = np.flatnonzero(donors["pool"] == pool)
    drawn = [simulate_donor(model, donors.iloc[i], i) for i in members.tolist()]
    truth = pd.concat([table.assign(donor=i) for i, (_, table) in zip(members, drawn, strict=True)], ignore_index=True)
    order = stream(model.seed, POOL, pool, 2).permutation(len(truth))
    truth = truth.iloc[order].reset_index(drop=True)
    truth.insert(0, "cell_id", barcodes(len(truth), pool, seed=model.seed))
    counts = sparse.vstack([counts for counts, _ in drawn], format="csr")
    del drawn
    return counts[order], truth


def simulate_pools(model: Model, donors: pd.DataFrame, *, processes: int) -> Iterator[tuple]:
    """Draw all pools in order, at most `processes` + 1 in memory."""
    n_pools = int(donors["pool"].max()) + 1
    if processes == 1:
        yield from (simulate_pool(model, donors, pool) for pool in range(n_pools))
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("fork")) as executor:
        waiting: list[Future] = []
        for pool in range(n_pools):
            waiting.append(executor.submit(simulate_pool, model, donors, pool))
            if len(waiting) > processes:
                yield waiting.pop(0).result()
        yield from (future.result() for future in waiting)


CONSTANT_COLUMNS = {
    "assay": "10x 3' v2",
    "disease": "normal",
    "organism": "Homo sapiens",
    "self_reported_ethnicity": "European",
    "suspension_type": "cell",
    "tissue": "blood",
    "tissue_type": "tissue",
}


def donor_columns(donors: pd.DataFrame) -> pd.DataFrame:
    """The obs columns that are constant within a donor, as CELLxGENE writes them, one row per donor."""
    stage = [f"{age:.0f}-year-old stage" for age in donors["age_years"]]
    width = len(str(donors["pool"].max() + 1))
    return pd.DataFrame({
        "donor_id": donors["donor_id"],
        "development_stage": np.where(donors["age_known"], stage, "unknown"),
        "sex": donors["sex"],
        "pool": [f"pool_{pool + 1:0{width}d}" for pool in donors["pool"]],
    })  # fmt: skip


def truth_of_cells(truth: pd.DataFrame, donors: pd.DataFrame) -> pd.DataFrame:
    """What is true of each cell, by name; a doublet has the true type of the larger of its cells."""
    names = np.array([*NAMES, ""], dtype=object)
    kind = truth["kind"].to_numpy()
    return pd.DataFrame({
        "cell_id": truth["cell_id"],
        "is_doublet": kind == DOUBLET,
        "is_low_quality": kind == DYING,
        "is_rbc": kind == RED,
        "true_type": np.where(kind == RED, "erythrocyte", names[truth["label"]]),
        "second_type": names[truth["second"]],
        "donor_id": donors["donor_id"].to_numpy()[truth["donor"]],
        "cell_type": names[truth["label"]],
    })  # fmt: skip


def write_cohort(model: Model, donors: pd.DataFrame, h5ad: Path, truth: Path, *, processes: int) -> pd.Series:
    """Stream all pools to the h5ad and to the truth of the cells; returns how many cells each donor has."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    per_donor = donor_columns(donors)
    categories = {column: sorted(set(per_donor[column])) for column in per_donor}
    categories["cell_type"] = sorted(NAMES)
    categories["cell_type_ontology_term_id"] = sorted(cell_type.ontology for cell_type in TYPES)
    categories |= {column: [value] for column, value in CONSTANT_COLUMNS.items()}
    to_code = {
        "cell_type": np.argsort(np.argsort(NAMES)),
        "cell_type_ontology_term_id": np.argsort(np.argsort([cell_type.ontology for cell_type in TYPES])),
    }
    donor_codes = {column: pd.Categorical(per_donor[column], categories[column]).codes for column in per_donor}
    symbols = model.genes["symbol"].where(model.genes["symbol"] != "", model.genes["gene_id"])
    var = pd.DataFrame({
        "feature_is_filtered": np.zeros(len(symbols), dtype=bool),
        "feature_name": symbols.to_numpy(),
        "feature_reference": "NCBITaxon:9606",
        "feature_biotype": "gene",
        "feature_type": model.genes["biotype"].to_numpy(),
    }, index=model.genes["gene_id"])  # fmt: skip
    counted = np.zeros(len(donors), dtype=int)
    progress = Progress(model.settings.cells, unit="cells", label="simulating")
    with ExitStack() as stack:
        handle = stack.enter_context(h5py.File(stack.enter_context(atomic_path(h5ad)), "w"))
        writer, table_writer = CohortWriter(handle, var, categories), None
        truth_path = stack.enter_context(atomic_path(truth))
        for counts, drawn in simulate_pools(model, donors, processes=processes):
            codes = {column: donor_codes[column][drawn["donor"]] for column in per_donor}
            codes |= {column: order[drawn["label"]] for column, order in to_code.items()}
            codes |= {column: np.zeros(len(drawn), dtype=np.int8) for column in CONSTANT_COLUMNS}
            writer.append(counts, drawn["cell_id"].to_numpy(), codes)
            table = pa.Table.from_pandas(truth_of_cells(drawn, donors), preserve_index=False)
            if table_writer is None:
                table_writer = stack.enter_context(pq.ParquetWriter(truth_path, table.schema, compression="zstd"))
            table_writer.write_table(table)
            counted += np.bincount(drawn["donor"], minlength=len(donors))
            progress.advance(len(drawn))
            del counts  # the next pool takes its place
    progress.close()
    return pd.Series(counted, index=donors["donor_id"])
