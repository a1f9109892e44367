"""Seeded splits, by person where people are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64
from numpy.typing import NDArray

__all__ = ["SHARES", "SPLITS", "assign_splits"]

SPLITS = ("train", "val", "judge", "test")
"""Trained on; chosen on; the judges' own rows; reported."""

SHARES = (0.56, 0.08, 0.16, 0.20)
"""Share of the rows that each of `SPLITS` gets."""


def assign_splits(
    n: int, identities: Int64[np.ndarray, " n"] | None = None, seed: int = 0, names: Sequence[str] = SPLITS
) -> NDArray[np.str_]:
    """Split of each of `n` rows: a seeded 56/8/16/20, whole people at a time where `identities` is given.

    People are put in a random order and laid end to end; a person belongs to the split in which the middle of
    their rows falls, so that the shares hold in rows and not in people. Whoever has more rows than the smallest share
    is laid first, so that no split is swallowed by somebody's rows. With fewer `names` the rows are divided
    among those, in the same proportion to each other.
    """
    people, who = np.unique(np.arange(n) if identities is None else identities, return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(people))
    sizes = np.bincount(who, minlength=len(people))
    order = order[np.argsort(sizes[order] <= min(SHARES) * n, kind="stable")]
    sizes = sizes[order]
    middle = (np.cumsum(sizes) - sizes / 2) / n
    shares = np.cumsum([SHARES[SPLITS.index(name)] for name in names])
    parts = np.searchsorted(shares[:-1] / shares[-1], middle, side="right")
    of_person = np.empty(len(people), dtype=np.intp)
    of_person[order] = parts
    return np.array(names)[of_person[who]]
