"""Measures that see a collapse: distances between distributions, spread, coverage and distinct destinations."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

__all__ = [
    "NEIGHBOURS",
    "density",
    "distances",
    "distinct_points",
    "energy_distance",
    "linked",
    "mean_distance_within",
    "radii",
    "recall",
    "rms_spread",
    "squares_within",
    "thin",
    "total_variance",
    "unique_nearest",
    "vendi",
]

NEIGHBOURS = 5
"""The k of recall and density."""


def distances(x: Float64[np.ndarray, "n d"], y: Float64[np.ndarray, "m d"]) -> Float64[np.ndarray, "n m"]:
    """Euclidean distances between rows, by one matrix product.

    Rounding leaves about 1e-8 between equal unit vectors in float64; nothing here compares smaller distances.
    """
    squares = x @ y.T  # in place from here: with many rows this is the largest array that an evaluation holds
    squares *= -2
    squares += (x * x).sum(axis=1)[:, None]
    squares += (y * y).sum(axis=1)[None, :]
    np.maximum(squares, 0.0, out=squares)
    return np.sqrt(squares, out=squares)


def mean_distance_within(x: Float64[np.ndarray, "n d"]) -> float:
    """Mean distance of two different rows."""
    between = distances(x, x)
    np.fill_diagonal(between, 0.0)
    return float(between.sum() / (len(x) * (len(x) - 1)))


def energy_distance(x: Float64[np.ndarray, "n d"], y: Float64[np.ndarray, "m d"]) -> float:
    r"""Unbiased energy distance between two samples of at least two rows each.

    $$2\,\mathbb{E}\|X-Y\| - \mathbb{E}\|X-X'\| - \mathbb{E}\|Y-Y'\|$$

    Zero in expectation only for equal distributions, so that unlike its squared form it sees a lost spread
    (Székely & Rizzo, 2013, https://doi.org/10.1016/j.jspi.2013.03.018). It can be slightly negative.
    """
    return 2 * float(distances(x, y).mean()) - mean_distance_within(x) - mean_distance_within(y)


def total_variance(x: Float64[np.ndarray, "n d"]) -> float:
    """Unbiased variance summed over dimensions."""
    return float(x.var(axis=0, ddof=1).sum())


def rms_spread(x: Float64[np.ndarray, "n d"]) -> float:
    """Root mean squared distance of the rows to their mean."""
    return float(np.sqrt(x.var(axis=0).sum()))


def thin(n: int, m: int, rng: np.random.Generator) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows of two samples, as many of each, drawn at random from the larger one: k-NN measures depend on numbers."""
    size = min(n, m)
    return rng.permutation(n)[:size], rng.permutation(m)[:size]


def squares_within(x: Float64[np.ndarray, "n d"], member: NDArray[np.intp]) -> float:
    """Sum of squared distances of the rows to the mean of their group, for groups numbered without a gap."""
    rows = np.arange(len(x))
    sums = csr_array((np.ones(len(x)), (member, rows))) @ x
    return max(float((x * x).sum() - ((sums * sums).sum(axis=1) / np.bincount(member)).sum()), 0.0)


def radii(within: Float64[np.ndarray, "n n"], k: int = NEIGHBOURS) -> Float64[np.ndarray, " n"]:
    """Distance of every row to its k-th nearest other row; with k rows or fewer to the farthest."""
    k = min(k, len(within) - 1)
    found: Float64[np.ndarray, " n"] = np.partition(within, k, axis=1)[:, k]  # position 0 is the row itself
    return found


def recall(across: Float64[np.ndarray, "n m"], within: Float64[np.ndarray, "n n"], k: int = NEIGHBOURS) -> float:
    """Share of real rows within the k-nearest-neighbour radius of an edited row (Kynkäänniemi et al., 2019).

    https://arxiv.org/abs/1904.06991. Zero for a collapse, as the radii are.

    Args:
        across: distances of n edited to m real rows; only equal numbers compare.
        within: distances of the edited rows to one another.
        k: which neighbour.
    """
    return float((across <= radii(within, k)[:, None]).any(axis=0).mean())


def density(across: Float64[np.ndarray, "n m"], real_radii: Float64[np.ndarray, " m"], k: int = NEIGHBOURS) -> float:
    r"""Mean number of real rows whose k-NN ball an edited row is in, over k (Naeem et al., 2020).

    $$\frac{1}{kn}\sum_{i,j} 1[\|x_i - y_j\| \le r_k(y_j)]$$

    About 1 for real rows, 0 far from them. Blind to a collapse: near the mean, or at a real row amid others, it is
    larger than 1 (https://arxiv.org/abs/2002.09797).

    Args:
        across: distances of n edited to m real rows.
        real_radii: of the real rows.
        k: which neighbour the radii belong to.
    """
    return float((across <= real_radii[None, :]).sum() / (k * len(across)))


def unique_nearest(across: Float64[np.ndarray, "n m"]) -> float:
    """Number of different real rows that are nearest to an edited row, over the number of edited rows.

    Real rows in the place of edits share some neighbours too (about .5 to .6 of as many), so it is read against
    theirs. Blind to a collapse that leaves many points, each near a different real row.
    """
    return len(np.unique(across.argmin(axis=1))) / len(across)


def vendi(x: Float64[np.ndarray, "n d"]) -> float:
    r"""Effective number of different rows, the exponential of the entropy of the eigenvalues of $X X^\top / n$.

    Vendi score with the cosine kernel, not centred, of unit vectors (Friedman & Dieng, 2023,
    https://arxiv.org/abs/2210.02410). 1 for a point and n for orthogonal rows; it grows with n. On a cone real rows
    themselves are near 1, so a collapse shows less there than in the variance.
    """
    gram = x @ x.T if len(x) <= x.shape[1] else x.T @ x
    values = np.linalg.eigvalsh(gram / len(x))
    values = values[values > 0]
    values = values / values.sum()
    return float(np.exp(-(values * np.log(values)).sum()))


def distinct_points(apart: Float64[np.ndarray, "n n"], tolerance: float) -> int:
    """Number of single-linkage clusters when points within `tolerance` of one another are linked."""
    return int(linked(apart, tolerance).max()) + 1


def linked(apart: Float64[np.ndarray, "n n"], tolerance: float) -> NDArray[np.intp]:
    """Number of each point's single-linkage cluster, counted from 0 without a gap."""
    numbers = connected_components(csr_array(apart <= tolerance), directed=False)[1]
    return np.asarray(numbers, dtype=np.intp)
