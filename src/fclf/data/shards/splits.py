"""Splits that need no look at other rows: by a hash of the person, else of the id, else of the place."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Int8, UInt64
from numpy.typing import NDArray

from fclf.data.splits import SHARES

__all__ = ["hashed", "hashed_splits"]


def hashed_splits(keys: NDArray[Any], seed: int) -> Int8[np.ndarray, " n"]:
    """Place in `fclf.data.splits.SPLITS` of each key: 56/8/16/20 of the keys, whatever other keys there are.

    So rows of one person stand in one split although they lie in different shards, and a shard that is added later
    moves nobody. The shares hold for keys up to chance, and for rows as far as people have as many.

    Args:
        keys: integers or texts.
        seed: another one splits in another way.
    """
    places = hashed(keys, seed).astype(np.float64) / 2.0**64
    return np.searchsorted(np.cumsum(SHARES)[:-1], places, side="right").astype(np.int8)


def hashed(keys: NDArray[Any], seed: int) -> UInt64[np.ndarray, " n"]:
    """64 bits of each key, the same in every process and for every width of the array of texts."""
    start = _mixed(np.array([seed], np.uint64))[0]
    if keys.dtype.kind == "U":
        width = keys.dtype.itemsize // 4
        letters = np.ascontiguousarray(keys).view(np.uint32).reshape(len(keys), width)
        total = np.full(len(keys), start, np.uint64)
        for place, factor in enumerate(_mixed(start + np.arange(1, width + 1, dtype=np.uint64)) | np.uint64(1)):
            total += letters[:, place] * factor  # the padding of shorter texts is 0 and adds nothing
        return _mixed(total)
    return _mixed((keys if keys.dtype == np.uint64 else keys.astype(np.int64).view(np.uint64)) ^ start)


def _mixed(x: UInt64[np.ndarray, " n"]) -> UInt64[np.ndarray, " n"]:
    """The output function of SplitMix64 (Steele, Lea & Flood, 2014), which wraps around on purpose."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
