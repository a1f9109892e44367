"""Distances between distributions from sums over pairs, with blocks of people left out: energy distance and MMD."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

from fclf.evaluation.jackknife import Blocks, Statistic, divide, leave_out, leave_out_pairs

__all__ = ["PairMeans", "between", "energy", "median_distance", "mmd", "rbf", "weighted_within", "within"]


@dataclass(frozen=True)
class PairMeans:
    """Means over pairs of rows of their distance and of a kernel, of all and without each block."""

    distance: Statistic
    kernel: Statistic


def rbf(distance: Float64[np.ndarray, "n m"], bandwidth: float) -> Float64[np.ndarray, "n m"]:
    r"""Mean of the kernels $\exp(-r^2 / 2\sigma^2)$ with $\sigma$ of a half, one and two bandwidths."""
    wide = np.exp(-0.125 * (distance / bandwidth) ** 2)
    middle = wide**4
    mean: Float64[np.ndarray, "n m"] = (wide + middle + middle**4) / 3
    return mean


def median_distance(distance: Float64[np.ndarray, "n n"]) -> float:
    """Median over pairs of different rows (Gretton et al., 2012, section 8)."""
    return float(np.median(distance[np.triu_indices(len(distance), 1)]))


def between(
    distance: Float64[np.ndarray, "n m"],
    bandwidth: float,
    blocks: Blocks,
    rows: NDArray[np.intp],
    columns: NDArray[np.intp],
) -> PairMeans:
    """Means over pairs of one row of each of two samples, whose rows are in these blocks."""
    left, right = blocks.members(rows), blocks.members(columns)
    pairs = leave_out(left.sum(axis=0)) * leave_out(right.sum(axis=0))
    return PairMeans(
        *(divide(leave_out_pairs(left.T @ x @ right), pairs) for x in (distance, rbf(distance, bandwidth)))
    )


def within(distance: Float64[np.ndarray, "n n"], bandwidth: float, blocks: Blocks, rows: NDArray[np.intp]) -> PairMeans:
    """Means over pairs of different rows of one sample."""
    member = blocks.members(rows)
    count = leave_out(member.sum(axis=0))
    means = []
    for x in (distance, rbf(distance, bandwidth)):
        off_diagonal = x - np.diag(np.diag(x))
        means.append(divide(leave_out_pairs(member.T @ off_diagonal @ member), count * (count - 1)))
    return PairMeans(*means)


def energy(across: PairMeans, x: PairMeans, y: PairMeans) -> Statistic:
    """Unbiased energy distance, as `spread.energy_distance`."""
    return 2 * across.distance - x.distance - y.distance


def mmd(across: PairMeans, x: PairMeans, y: PairMeans) -> Statistic:
    r"""Unbiased squared maximum mean discrepancy, without diagonals.

    $$\mathbb{E}\,k(X, X') + \mathbb{E}\,k(Y, Y') - 2\,\mathbb{E}\,k(X, Y)$$

    (Gretton et al., 2012, lemma 6, https://jmlr.org/papers/v13/gretton12a.html.) Zero in expectation
    only for equal distributions: with `rbf` it sees a lost spread, which a linear kernel does not.
    """
    return x.kernel + y.kernel - 2 * across.kernel


def weighted_within(distance: Float64[np.ndarray, "n n"], weight: Float64[np.ndarray, " n"]) -> float:
    r"""Mean distance of two different rows drawn by weights that sum to 1.

    $$\sum_{i \ne j} w_i w_j\,r_{ij} \,/\, (1 - \sum_i w_i^2)$$
    """
    return float((weight @ distance @ weight - weight**2 @ np.diag(distance)) / (1 - weight @ weight))
