"""Local quadratic regression of many points that share few values of x: R's loess, summed by value.

Cleveland, Devlin & Grosse 1988, doi:10.1016/0304-4076(88)90077-2; the numbers are those of its Fortran library
(`dloess`), which R, scikit-misc and with it scanpy call with their defaults: tricube weights, degree 2, one x,
`surface="interpolate"` and `cell=0.2`. The curve is fitted at the corners of cells that hold at most a fifth of the
points which a fit sees, and blended between them.

The means of genes are sums of small counts, so that 27,000 genes lie on 1,400 values. The library goes one point at a
time to where a cell can be halved without parting equal values: 35 of its 40 ms a donor. Here the points of a value are
added up once.
"""

# Own code: scikit-misc takes 40 ms per donor instead of 1.5: 38 CPU s more for OneK1K.

from dataclasses import dataclass

import numpy as np

CELL = 0.2  # share of the points of a fit that a cell may hold
MARGIN = 0.005  # by which the outer cells reach beyond the points, share of their range
MIN_VALUES = 6  # that a fit sees; with fewer, or nearly as few, the library's own ways with singular fits decide
# Share of a column of a fit that the columns before it must leave. The library goes on to a condition of 2e-14.
SHORTEST_REMAINDER = 1e-6


class SingularFit(Exception):
    """A fit sees too few values of x for three coefficients, or nearly so."""


@dataclass(frozen=True)
class Values:
    """Distinct values of x in ascending order, how many points have each, and the sum of their y."""

    x: np.ndarray
    n_points: np.ndarray
    sum_y: np.ndarray


def cell_corners(values: Values, most: int) -> np.ndarray:
    """Corners of the cells, ascending.

    A cell of more than `most` points is halved where two values meet: as near to its middle point as can be, above
    rather than below. Where an end of the cell is nearer, it is halved at the value of the middle point itself, unless
    that is its corner already (the library's `ehg124`).
    """
    last = np.cumsum(values.n_points)  # number of the last point of each value, from 1
    low, high = values.x[0], values.x[-1]
    margin = MARGIN * max(high - low, max(abs(low), abs(high)) * 1e-10 + 1e-30)
    corners = [low - margin, high + margin]
    pending = [(1, int(last[-1]), corners[0], corners[1])]
    while pending:
        first, final, lower, upper = pending.pop()
        if final - first + 1 <= most:
            continue
        middle = (first + final) // 2
        value = int(np.searchsorted(last, middle))
        after, before = int(last[value]), int(last[value - 1]) if value else 0
        # It looks at the middle, one above, one below, two above, ..., and gives up at the first end of the cell.
        looks = {max(2 * (after - middle) - 1, 0): value, 2 * (middle - before): value - 1}
        if min(looks) < min(2 * (final - middle) - 1, 2 * (middle - first + 1)):
            value = looks[min(looks)]
            middle = int(last[value])
        cut = values.x[value]
        if cut in (lower, upper):
            continue
        corners.append(cut)
        pending += [(first, middle, lower, cut), (middle + 1, final, cut, upper)]
    return np.unique(corners)


def local_fit(values: Values, at: float, n_nearest: int) -> tuple[float, float]:
    """Height and slope at `at` of the quadratic through the `n_nearest` points, by weighted least squares."""
    offset = values.x - at
    distance = np.abs(offset)
    order = np.argsort(distance, kind="stable")
    bandwidth = distance[order[np.searchsorted(np.cumsum(values.n_points[order]), n_nearest)]]
    seen = distance < bandwidth
    if seen.sum() < MIN_VALUES:
        raise SingularFit(f"{seen.sum()} values")
    scaled = offset[seen] / bandwidth
    fall = 1 - np.abs(scaled * scaled * scaled)  # as products: a power's last bit depends on the processor
    # A value's points as one, at their mean; how many they are goes into the weight.
    root = np.sqrt(fall * fall * fall * values.n_points[seen])
    columns = [root, root * scaled, root * scaled**2, root * (values.sum_y / values.n_points)[seen]]
    height, slope, _ = least_squares(columns[:-1], columns[-1])
    return height, slope / bandwidth


def least_squares(columns: list[np.ndarray], y: np.ndarray) -> np.ndarray:
    """Coefficients of `y` on a few columns, by modified Gram-Schmidt: without a BLAS, the same on every processor."""
    n, rest = len(columns), [*columns, y]
    upper = np.zeros((n, n + 1))
    for i in range(n):
        length = np.sqrt((rest[i] ** 2).sum())
        if length < SHORTEST_REMAINDER * np.sqrt((columns[i] ** 2).sum()):
            raise SingularFit("near singularity")
        direction = rest[i] / length
        upper[i, i] = length
        for j in range(i + 1, n + 1):
            upper[i, j] = (direction * rest[j]).sum()
            rest[j] = rest[j] - upper[i, j] * direction
    solution = np.zeros(n)
    for i in reversed(range(n)):
        solution[i] = (upper[i, n] - (upper[i, i + 1 : n] * solution[i + 1 :]).sum()) / upper[i, i]
    return solution


def loess(x: np.ndarray, y: np.ndarray, *, span: float) -> np.ndarray:
    """Fitted value of each point.

    Parameters
    ----------
    x, y
        Coordinates of the points.
    span
        Share of the points that each fit sees, at most 1.

    Raises
    ------
    SingularFit
        Where the library would say "near singularities", or not far from it.
    """
    distinct, of_point, n_points = np.unique(x, return_inverse=True, return_counts=True)
    values = Values(distinct, n_points, np.bincount(of_point, weights=y))
    n_nearest = min(len(x), int(len(x) * span + 1e-5))
    corners = cell_corners(values, int(len(x) * span * CELL))
    heights, slopes = np.array([local_fit(values, corner, n_nearest) for corner in corners]).T
    cell = np.searchsorted(corners, distinct) - 1
    width = np.diff(corners)[cell]
    t = (distinct - corners[cell]) / width
    blended = (
        (1 - t) ** 2 * (1 + 2 * t) * heights[cell]
        + t**2 * (3 - 2 * t) * heights[cell + 1]
        + (t * (1 - t) ** 2 * slopes[cell] - t**2 * (1 - t) * slopes[cell + 1]) * width
    )
    return blended[of_point]
