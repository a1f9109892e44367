"""Intervals of every measure by leaving out blocks of people: repeated rows would break k-NN and energy measures.

Every statistic is an array of B + 1 values: of all rows, then without each of B blocks. Sums over rows or over pairs
are taken once, by block, and what a block adds is subtracted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64
from numpy.typing import NDArray
from scipy.stats import t as student

__all__ = ["Blocks", "Statistic", "divide", "interval", "leave_out", "leave_out_pairs", "standard_error"]

MAX_BLOCKS = 20

Statistic = Float64[np.ndarray, " B+1"]


@dataclass(frozen=True)
class Blocks:
    """Blocks of about as many people each; a row without an identity is a person."""

    number: NDArray[np.intp]
    """Of each evaluated row."""
    count: int

    @classmethod
    def draw(cls, rows: int, identities: Int64[np.ndarray, " n"] | None, seed: int) -> Blocks:
        """Deal the people out at random, into fewer blocks than `MAX_BLOCKS` where there are fewer people."""
        person = np.arange(rows) if identities is None else np.unique(identities, return_inverse=True)[1].reshape(-1)
        people = int(person.max()) + 1
        count = min(MAX_BLOCKS, people)
        return cls((np.random.default_rng(seed).permutation(people) % count)[person], count)

    def sums(self, values: NDArray[np.float64], number: NDArray[np.intp]) -> NDArray[np.float64]:
        """Sums of `values` (n, ...) by block, (B, ...), for rows in the blocks `number`."""
        summed: NDArray[np.float64] = np.tensordot(self.members(number), values, axes=(0, 0))
        return summed

    def members(self, number: NDArray[np.intp]) -> Float64[np.ndarray, "n B"]:
        """One-hot."""
        return np.eye(self.count)[number]

    def mean(self, values: NDArray[np.float64] | NDArray[np.bool_], number: NDArray[np.intp]) -> Statistic:
        """Mean of one value a row."""
        count = np.bincount(number, minlength=self.count)
        return divide(leave_out(np.bincount(number, values, self.count)), leave_out(count))


def divide(a: NDArray[np.float64], b: NDArray[np.float64] | NDArray[np.intp]) -> NDArray[np.float64]:
    """Quotient; NaN where nothing is left to divide by."""
    return np.divide(a, b, out=np.full(np.broadcast(a, b).shape, np.nan), where=np.asarray(b) > 0)


def leave_out(sums: NDArray[np.float64] | NDArray[np.intp]) -> NDArray[np.float64]:
    """Sum of all blocks (B, ...), then of all but each, (B + 1, ...)."""
    total = sums.sum(axis=0, keepdims=True)
    return np.concatenate([total, total - sums]).astype(np.float64)


def leave_out_pairs(sums: Float64[np.ndarray, "B B"]) -> Statistic:
    """Sum over all pairs of blocks, then over the pairs without each."""
    total = sums.sum(keepdims=True).reshape(1)
    return np.concatenate([total, total - sums.sum(axis=0) - sums.sum(axis=1) + np.diag(sums)])


def standard_error(replicates: NDArray[np.float64] | list[float]) -> float | None:
    r"""Standard error of a statistic from its values without each of B blocks: the delete-a-group jackknife.

    $$\sqrt{\tfrac{B-1}{B}\sum_b (\hat\theta_{(b)} - \bar\theta)^2}$$

    (Kott, 2001, *The Delete-a-Group Jackknife*, Journal of Official Statistics 17:521-526.) None with fewer than two
    blocks or where the statistic is not defined without one of them.
    """
    left = np.asarray(replicates, dtype=np.float64)
    blocks = len(left)
    if blocks < 2 or not np.isfinite(left).all():
        return None
    return float(np.sqrt((blocks - 1) / blocks * ((left - left.mean()) ** 2).sum()))


def interval(value: float, replicates: NDArray[np.float64] | list[float]) -> tuple[float, float] | None:
    r"""95 % interval $\hat\theta \pm t_{B-1}\,s$ with the `standard_error` s; None where there is none."""
    error = standard_error(replicates)
    if error is None:
        return None
    half = float(student.ppf(0.975, len(replicates) - 1) * error)
    return value - half, value + half
