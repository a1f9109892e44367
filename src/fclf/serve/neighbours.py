"""Nearest real rows, by one matrix product."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Int64

from fclf.data.embeddings import EmbeddingSet

__all__ = ["Neighbourhood"]

SEED = 0


class Neighbourhood:
    """The rows among which neighbours are looked for: all, or as many as may be, drawn with a seed.

    Exact among those rows, in float32: one product and a partial sort, 5 ms for 10,000 rows of width 512.

    Args:
        data: unit embeddings.
        most: rows that are held.
    """

    def __init__(self, data: EmbeddingSet, most: int) -> None:
        numbers = np.arange(len(data), dtype=np.int64)
        if len(data) > most:
            numbers = np.sort(np.random.default_rng(SEED).choice(numbers, most, replace=False))
        self._numbers = numbers
        self._z = data.embeddings if len(numbers) == len(data) else data.embeddings[numbers]

    def __len__(self) -> int:
        return len(self._numbers)

    def __call__(
        self, queries: Float32[np.ndarray, "q d"], count: int
    ) -> tuple[Int64[np.ndarray, "q c"], Float32[np.ndarray, "q c"]]:
        """Numbers of the nearest rows of the file, nearest first, and their cosines; of equals the first."""
        cosines = queries @ self._z.T
        count = min(count, len(self._z))
        if count < len(self._z):
            near = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
        else:
            near = np.broadcast_to(np.arange(count), cosines.shape)
        found = np.take_along_axis(cosines, near, axis=1)
        order = np.lexsort((near, -found), axis=1)
        near, found = np.take_along_axis(near, order, axis=1), np.take_along_axis(found, order, axis=1)
        return self._numbers[near], np.clip(found, -1, 1)
