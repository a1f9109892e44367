"""Rows that are the same embedding, as of a picture that stands in a folder twice: whoever sees one has seen all."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float32, Int64
from numpy.typing import NDArray

__all__ = ["copy_numbers", "who_or_same"]

READ_FIRST = 16
"""Bytes by which rows are told apart before the few that agree in them are compared as a whole."""


def copy_numbers(z: Float32[np.ndarray, "n d"]) -> Int64[np.ndarray, " n"]:
    """Number of each row's embedding: the place of the first row that is the same bit for bit."""
    whole, first = np.ascontiguousarray(z), np.arange(len(z))
    if len(whole) < 2:
        return first
    beginnings = np.ascontiguousarray(whole.view(np.uint8)[:, :READ_FIRST])
    _, which, counts = np.unique(_as_one(beginnings), return_inverse=True, return_counts=True)
    alike = np.flatnonzero(counts[which.reshape(-1)] > 1)
    if len(alike):
        _, leader, which = np.unique(_as_one(whole[alike]), return_index=True, return_inverse=True)
        first[alike] = alike[leader[which.reshape(-1)]]
    return first


def who_or_same(
    z: Float32[np.ndarray, "n d"], identities: Int64[np.ndarray, " n"] | None
) -> Int64[np.ndarray, " n"] | None:
    """Numbers of people, where those of whom the same embedding is there are one; without people, of embeddings.

    Two people are one if a chain of copies leads from one to the other: the connected components of the graph in which
    people are joined by copies. Where nothing is there twice, `identities` are given back as they came.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    numbers = copy_numbers(z)
    copied = np.flatnonzero(numbers != np.arange(len(z)))
    if not len(copied):
        return identities
    if identities is None:
        return numbers
    people, who = np.unique(identities, return_inverse=True)
    who = who.reshape(-1)
    joined = coo_array((np.ones(len(copied)), (who[copied], who[numbers[copied]])), shape=(len(people), len(people)))
    _, component = connected_components(joined, directed=False)
    _, leader = np.unique(component, return_index=True)  # people are sorted: each component is called as its first
    found: Int64[np.ndarray, " n"] = people[leader[component]][who]
    return found


def _as_one(rows: NDArray[Any]) -> NDArray[np.void]:
    """Each row as one value that can be sorted."""
    return rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).reshape(-1)
