"""UMAP's layout: its edges, schedule and steps, from a graph of neighbours."""

# Own code: umap-learn takes 13.7 CPU s for 30,000 cells, this 3.5.

import numba
import numpy as np
from scipy import sparse
from scipy.optimize import curve_fit

from immune_aging.task.command_line import Progress

# umap-learn's own defaults, and scanpy's
SPREAD, LEARNING_RATE, REPULSION, NEGATIVE_SAMPLES = 1.0, 1.0, 1.0, 5
LARGEST_FORCE = np.float32(4)
SOFTENING = 0.001  # added to the squared distance in the repulsion
# The curves are tabulated from 2^-24 to 2^16 squared units, 64 straight lines an octave: they are within
# (b + 1)(b + 2) / 8 / 64^2 of the curve, 2.4e-4 at min_dist 0.5, and what is used of both tables fits the first cache.
FIRST_OCTAVE, LAST_OCTAVE, OCTAVE_BITS = -24, 16, 6
MANTISSA_BITS, EXPONENT_BIAS = 23, 127  # of a 32-bit float
PLACE_BITS = MANTISSA_BITS - OCTAVE_BITS
# The bits of a squared distance, shifted by PLACE_BITS, are the number of its line. Every number has a line, so that
# none need be compared with the ends: 128 kB a table, of which what is never met fills no cache.
N_LINES = 1 << (31 - PLACE_BITS)
FIRST_LINE, AFTER_LAST_LINE = ((EXPONENT_BIAS + octave) << OCTAVE_BITS for octave in (FIRST_OCTAVE, LAST_OCTAVE))
STREAMS = 4  # more are no faster
BLOCK = 16_384  # edges of which those that are due are picked out at a time
# SplitMix64 (Steele, Lea & Flood 2014, doi:10.1145/2660193.2660195)
GOLDEN, MIX_30, MIX_27 = (np.uint64(n) for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
DRAWS_OF_EDGE = np.uint64(16)  # kept for an edge in an epoch, of which it takes at most 11: 5 a period, of 1 or more


def starting_positions(embedding: np.ndarray, *, seed: int) -> np.ndarray:
    """The first two components, each scaled to 0-10 as umap does with a start it makes itself.

    A component that is missing or the same in all cells is replaced by random positions: umap would divide by
    zero.
    """
    random = np.random.default_rng(seed)
    start = np.empty((len(embedding), 2), dtype=np.float32)
    for axis in range(2):
        values = embedding[:, axis] if axis < embedding.shape[1] else np.zeros(len(embedding))
        low, high = values.min(), values.max()
        start[:, axis] = 10 * (values - low) / (high - low) if high > low else random.uniform(0, 10, len(embedding))
    return start


def curve_parameters(min_dist: float) -> tuple[float, float]:
    """A and b of 1 / (1 + a d^2b), fitted to a plateau up to `min_dist` and an exponential fall (umap-learn's fit)."""
    distance = np.linspace(0, 3 * SPREAD, 300)
    wanted = np.where(distance < min_dist, 1.0, np.exp(-(distance - min_dist) / SPREAD))
    (a, b), _ = curve_fit(lambda d, a, b: 1 / (1 + a * d ** (2 * b)), distance, wanted)
    return float(a), float(b)


def force_tables(a: float, b: float) -> tuple[np.ndarray, np.ndarray]:
    """Attraction and repulsion over distance by squared distance: lines x (intercept, slope), 32 bits.

    Lines beyond the ends are flat.
    """
    bits = np.arange(FIRST_LINE, AFTER_LAST_LINE + 1, dtype=np.uint32) << np.uint32(PLACE_BITS)
    squared = bits.view(np.float32).astype(np.float64)
    attraction = -2 * a * b * squared ** (b - 1) / (1 + a * squared**b)
    repulsion = 2 * REPULSION * b / ((SOFTENING + squared) * (1 + a * squared**b))
    return _lines(squared, attraction), _lines(squared, repulsion)


def _lines(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    slope = np.diff(y) / np.diff(x)
    lines = np.zeros((N_LINES, 2), dtype=np.float32)
    lines[:FIRST_LINE, 0], lines[AFTER_LAST_LINE:, 0] = y[0], y[-1]
    lines[FIRST_LINE:AFTER_LAST_LINE] = np.column_stack([y[:-1] - slope * x[:-1], slope])
    return lines


@numba.njit(inline="always")
def _force(lines: np.ndarray, squared: np.float32) -> np.float32:
    """Read a curve at a squared distance, a finite number; beyond its ends, its end."""
    line = np.float32(squared).view(np.uint32) >> np.uint32(PLACE_BITS)
    return lines[line, 0] + lines[line, 1] * squared


@numba.njit(inline="always")
def _step(force: np.float32, difference: np.float32, largest: np.float32) -> np.float32:
    return min(max(force * difference, -largest), largest)


@numba.njit(inline="always")
def _random_cell(draw: np.uint64, n_cells: int) -> np.uint64:
    """A cell by the number of the draw: the upper half of SplitMix64's output, scaled."""
    mixed = draw * GOLDEN
    mixed = (mixed ^ (mixed >> np.uint64(30))) * MIX_30
    mixed = (mixed ^ (mixed >> np.uint64(27))) * MIX_27
    return ((mixed >> np.uint64(32)) * np.uint64(n_cells)) >> np.uint64(32)


def _optimize_epoch_inplace(
    positions, head, tail, period, next_sample, next_negative, first_draw, attraction, repulsion, largest, epoch
) -> None:
    """Move the ends of each edge that is due, and its head away from random cells.

    Forces, and the largest step, come multiplied by the epoch's rate; the epoch's draws count from `first_draw`.
    """
    n_cells = len(positions)
    for block in numba.prange(-(-len(head) // BLOCK)):
        # First which edges are due, without a branch: guessed wrong, it would throw away the steps computed ahead.
        due, n_due = np.empty(BLOCK + 1, dtype=np.uint32), 0
        for edge in range(block * BLOCK, min((block + 1) * BLOCK, len(head))):
            due[n_due] = edge
            n_due += next_sample[edge] <= epoch
        for edge in due[:n_due]:
            j, k = np.uint64(head[edge]), np.uint64(tail[edge])  # unsigned: none counts from the end
            x, y = positions[j, 0], positions[j, 1]
            dx, dy = x - positions[k, 0], y - positions[k, 1]
            force = _force(attraction, dx * dx + dy * dy)
            dx, dy = _step(force, dx, largest), _step(force, dy, largest)
            x, y = x + dx, y + dy
            positions[k, 0] -= dx
            positions[k, 1] -= dy
            next_sample[edge] += period[edge]
            wait = period[edge] / NEGATIVE_SAMPLES
            n_negative = int((epoch - next_negative[edge]) / wait)
            next_negative[edge] += n_negative * wait
            draw = first_draw + DRAWS_OF_EDGE * np.uint64(edge)
            for i in range(n_negative):
                other = _random_cell(draw + np.uint64(i), n_cells)
                if other != j:
                    dx, dy = x - positions[other, 0], y - positions[other, 1]
                    force = _force(repulsion, dx * dx + dy * dy)
                    x += _step(force, dx, largest)
                    y += _step(force, dy, largest)
            positions[j, 0], positions[j, 1] = x, y


# A product and the sum that takes it are one instruction, rounded once: every processor with AVX2 has it.
_serial_epoch_inplace = numba.njit(cache=True, fastmath={"contract"})(_optimize_epoch_inplace)
_racing_epoch_inplace = numba.njit(cache=True, parallel=True, fastmath={"contract"})(_optimize_epoch_inplace)


def sampled_edges(graph: sparse.csr_matrix, n_epochs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The edges strong enough to be sampled once in `n_epochs`, and the epochs from one sample to the next.

    Both directions of an edge are sampled, each as often as its weight is a share of the largest. Sorted by head they
    would be steps of one cell after another; they are dealt out from `STREAMS` places of that order in turn.

    Returns
    -------
    Head, tail and period of each edge.
    """
    edges = graph.tocoo()
    strong = np.flatnonzero(edges.data >= edges.data.max() / float(n_epochs))
    per_stream = -(-len(strong) // STREAMS)
    turn = np.arange(STREAMS * per_stream).reshape(STREAMS, per_stream).T.ravel()
    chosen = strong[turn[turn < len(strong)]]
    weight = edges.data[chosen]
    return edges.row[chosen], edges.col[chosen], n_epochs / (n_epochs * (weight / weight.max())).astype(np.float64)


def layout(
    graph: sparse.csr_matrix, start: np.ndarray, *, n_epochs: int, min_dist: float, seed: int, threads: int = 1
) -> np.ndarray:
    """Optimise the positions.

    Parameters
    ----------
    graph
        Connectivities, cells x cells.
    start
        Cells x 2, 32 bits.
    n_epochs
        Passes over the edges.
    min_dist
        Smallest distance that UMAP leaves between neighbours.
    seed
        Of the sampling.
    threads
        With one, a seed is a layout; with more, updates race.

    Returns
    -------
    Cells x 2, 32 bits.

    Raises
    ------
    ValueError
        If a position of the start is not finite: no line of the forces would be its.
    """
    if not np.isfinite(start).all():
        raise ValueError("a position of the start is not finite")
    head, tail, period = sampled_edges(graph, n_epochs)
    attraction, repulsion = force_tables(*curve_parameters(min_dist))
    positions = np.ascontiguousarray(start, dtype=np.float32).copy()
    first_draw = np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]
    draws = first_draw + DRAWS_OF_EDGE * np.uint64(len(head)) * np.arange(n_epochs, dtype=np.uint64)
    next_sample, next_negative = period.copy(), period / NEGATIVE_SAMPLES
    move_inplace = _serial_epoch_inplace if threads == 1 else _racing_epoch_inplace
    progress = Progress(n_epochs, unit="epochs", label="UMAP")
    for epoch in range(n_epochs):
        rate = np.float32(LEARNING_RATE * (1 - epoch / n_epochs))
        move_inplace(
            positions, head, tail, period, next_sample, next_negative, draws[epoch],
            attraction * rate, repulsion * rate, LARGEST_FORCE * rate, epoch,
        )  # fmt: skip
        progress.advance(1)
    progress.close()
    return positions
