"""Measures that see a collapse: distances between distributions, spread, coverage and distinct destinations."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

__all__ = [
    "distances",
    "distinct_points",
    "energy_distance",
    "linked",
    "rank_one",
    "recall",
    "rms_spread",
    "total_variance",
]


def distances(x: Float64[np.ndarray, "n d"], y: Float64[np.ndarray, "m d"]) -> Float64[np.ndarray, "n m"]:
    """Euclidean distances between rows, by one matrix product.

    Rounding leaves about 1e-8 between equal unit vectors in float64; nothing here compares smaller distances.
    """
    squares = (x * x).sum(axis=1)[:, None] + (y * y).sum(axis=1)[None, :] - 2 * (x @ y.T)
    return np.sqrt(np.maximum(squares, 0.0))


def _mean_distance_within(x: Float64[np.ndarray, "n d"]) -> float:
    between = distances(x, x)
    np.fill_diagonal(between, 0.0)
    return float(between.sum() / (len(x) * (len(x) - 1)))


def energy_distance(x: Float64[np.ndarray, "n d"], y: Float64[np.ndarray, "m d"]) -> float:
    r"""Unbiased energy distance between two samples of at least two rows each.

    $$2\,\mathbb{E}\|X-Y\| - \mathbb{E}\|X-X'\| - \mathbb{E}\|Y-Y'\|$$

    Zero in expectation only for equal distributions, so that unlike its squared form it sees a lost spread
    (Székely & Rizzo, 2013, https://doi.org/10.1016/j.jspi.2013.03.018). It can be slightly negative.
    """
    return 2 * float(distances(x, y).mean()) - _mean_distance_within(x) - _mean_distance_within(y)


def total_variance(x: Float64[np.ndarray, "n d"]) -> float:
    """Unbiased variance summed over dimensions."""
    return float(x.var(axis=0, ddof=1).sum())


def rms_spread(x: Float64[np.ndarray, "n d"]) -> float:
    """Root mean squared distance of the rows to their mean."""
    return float(np.sqrt(x.var(axis=0).sum()))


def recall(
    edited: Float64[np.ndarray, "n d"], real: Float64[np.ndarray, "m d"], rng: np.random.Generator, k: int = 5
) -> float:
    """Share of the real rows within the k-nearest-neighbour radius of an edited row, at equal numbers of both.

    The larger sample is thinned at random, as the radius depends on the number of rows (Kynkäänniemi et al., 2019,
    https://arxiv.org/abs/1904.06991). With k rows or fewer the radius is that of the farthest.
    """
    n = min(len(edited), len(real))
    edited, real = edited[rng.permutation(len(edited))[:n]], real[rng.permutation(len(real))[:n]]
    k = min(k, n - 1)
    radius = np.partition(distances(edited, edited), k, axis=1)[:, k]  # position 0 is the row itself
    return float((distances(real, edited) <= radius[None, :]).any(axis=1).mean())


def distinct_points(x: Float64[np.ndarray, "n d"], tolerance: float) -> int:
    """Number of single-linkage clusters when points within `tolerance` of one another are linked."""
    return int(linked(x, tolerance).max()) + 1


def linked(x: Float64[np.ndarray, "n d"], tolerance: float) -> NDArray[np.intp]:
    """Number of each point's single-linkage cluster, counted from 0 without a gap."""
    numbers = connected_components(csr_array(distances(x, x) <= tolerance), directed=False)[1]
    return np.asarray(numbers, dtype=np.intp)


def rank_one(
    edited: Float64[np.ndarray, "m d"],
    rows: Float64[np.ndarray, "n d"],
    source: NDArray[np.intp],
    chunk: int = 4096,
) -> float:
    """Share of edits whose nearest row, by the inner product of unit vectors, is their own source.

    Where several rows are equally near, the source has to share the rank: an edit that sits in a heap of equal
    rows counts for one over the size of the heap.
    """
    hits = 0.0
    for first in range(0, len(edited), chunk):
        part = slice(first, first + chunk)
        similarity = edited[part] @ rows.T
        own = similarity[np.arange(len(similarity)), source[part]]
        best = similarity.max(axis=1)
        tied = (similarity >= best[:, None] - 1e-12).sum(axis=1)
        hits += float(((own >= best - 1e-12) / tied).sum())
    return hits / len(edited)
