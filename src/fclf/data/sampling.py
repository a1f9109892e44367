"""Samples of rows in which every combination of labels has its share."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Int64, Shaped
from numpy.typing import NDArray

__all__ = ["stratified"]


def stratified(codes: Shaped[np.ndarray, " n"], most: int, seed: int) -> Int64[np.ndarray, " r"]:
    """At most so many of n rows, in order, drawn at random within each combination (proportional allocation).

    Rows are laid out by combination, shuffled within each, and taken at equal distances from a random start: every row
    has the same chance, so means of the sample are unbiased means of all rows, and a combination of m rows has
    between floor and ceil of m r / n of them (Cochran, Sampling Techniques, 1977, chapters 5A and 8).

    Args:
        codes: combination of each row.
        most: rows of the sample; all rows where there are no more.
        seed: of the draw.
    """
    n = len(codes)
    if n <= most:
        return np.arange(n)
    rng = np.random.default_rng(seed)
    order: NDArray[Any] = rng.permutation(n)
    order = order[np.argsort(codes[order], kind="stable")]
    places = ((np.arange(most) + rng.random()) * (n / most)).astype(np.int64)
    return np.sort(order[places])
