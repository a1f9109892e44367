"""Flipbooks: the real row nearest to an edit at each step, to see what the flow passes through."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64
from numpy.typing import NDArray

__all__ = ["BOOKS", "Flipbook", "flipbook"]

BOOKS = 8
"""Edits that are shown."""


@dataclass(frozen=True)
class Flipbook:
    """Nearest real rows of b edits at t times."""

    edits: Int64[np.ndarray, " b"]
    """Positions of the edits among those that were given; their sources are different rows."""
    source: Int64[np.ndarray, " b"]
    """Row number of each source among the evaluated rows."""
    rows: Int64[np.ndarray, "t b"]
    """Row number of the nearest evaluated row, which may be the source."""
    distances: Float64[np.ndarray, "t b"]
    """Cosine distance to it, 1 - cosine."""
    unique: Float64[np.ndarray, " t"]
    """Share of different rows among the nearest, 1 where every edit is near a row of its own."""


def flipbook(
    paths: Float64[np.ndarray, "t p d"],
    source: NDArray[np.intp],
    z: Float64[np.ndarray, "n d"],
    books: int = BOOKS,
) -> Flipbook:
    """Find the nearest of the rows `z` for the first edits with different sources, at every time of their paths.

    The source is not left out: an edit that still is nearest to its source has not left it, and the page shows
    that. The last pages of a collapsed flow are the same few rows in every book.

    Args:
        paths: unit vectors of p edits at t times.
        source: row number of each edit's source in `z`.
        z: the evaluated rows, unit vectors.
        books: how many edits are followed, at most.
    """
    edits = np.sort(np.unique(source, return_index=True)[1])[:books].astype(np.int64)
    similarity = np.stack([points @ z.T for points in paths[:, edits]])
    rows = similarity.argmax(axis=2)
    nearest = np.take_along_axis(similarity, rows[..., None], axis=2)[..., 0]
    return Flipbook(
        edits=edits,
        source=source[edits].astype(np.int64),
        rows=rows.astype(np.int64),
        distances=np.maximum(1 - nearest, 0.0),
        unique=np.array([len(np.unique(page)) / len(edits) for page in rows]),
    )
