"""Whom an edit is taken for: its source among all rows, and other pictures of the same person with the target value."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int8, Int64
from numpy.typing import NDArray

__all__ = ["Relevant", "average_precision", "rank_one", "relevant_rows"]

TIED = 1e-12
"""Cosines that differ by less are equal."""


def rank_one(
    edited: Float64[np.ndarray, "m d"],
    rows: Float64[np.ndarray, "n d"],
    source: NDArray[np.intp],
    chunk: int = 4096,
) -> Float64[np.ndarray, " m"]:
    """Whether the row nearest to an edit, by the inner product of unit vectors, is its own source.

    Where several rows are equally near, the source has to share the rank: an edit that sits in a heap of equal
    rows counts for one over the size of the heap.
    """
    hits = np.empty(len(edited))
    for first in range(0, len(edited), chunk):
        part = slice(first, first + chunk)
        similarity = edited[part] @ rows.T
        own = similarity[np.arange(len(similarity)), source[part]]
        best = similarity.max(axis=1)
        tied = (similarity >= best[:, None] - TIED).sum(axis=1)
        hits[part] = (own >= best - TIED) / tied
    return hits


@dataclass(frozen=True)
class Relevant:
    """Pairs of a query and a row that it should find, in order of the queries."""

    query: NDArray[np.intp]
    row: NDArray[np.intp]

    @property
    def queries(self) -> NDArray[np.intp]:
        """Those that have something to find."""
        return np.unique(self.query)

    def held_out(self) -> tuple[NDArray[np.intp], Relevant]:
        """Let every row that a query should find ask for the others: what an edit as good as a picture would find.

        Returns:
            The row that each new query is, and what it should find; queries that have nothing else to find are left
            out of the pairs.
        """
        first, count = np.unique(self.query, return_index=True, return_counts=True)[1:]
        other = np.repeat(np.arange(len(count)), count)
        sizes = count[other]  # each pair is a query that is compared with all rows of its own old query
        query = np.repeat(np.arange(len(self.row)), sizes)
        offset = np.arange(len(query)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        row = self.row[np.repeat(first[other], sizes) + offset]
        different = row != self.row[query]
        return self.row, Relevant(query[different], row[different])


def relevant_rows(
    source: NDArray[np.intp],
    flips: NDArray[np.bool_],
    target: Int8[np.ndarray, "m K"],
    y: Int8[np.ndarray, "n K"],
    identities: Int64[np.ndarray, " n"],
) -> Relevant:
    """Other rows of the source's person that have the target value of all flipped attributes; the rest is free."""
    order = np.argsort(identities, kind="stable")
    person = np.unique(identities, return_inverse=True)[1].reshape(-1)
    count = np.bincount(person)
    start = np.cumsum(count) - count
    sizes = count[person[source]]
    query = np.repeat(np.arange(len(source)), sizes)
    offset = np.arange(len(query)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    row = order[np.repeat(start[person[source]], sizes) + offset]
    right = ((y[row] == target[query]) | ~flips[query]).all(axis=1) & (row != source[query])
    return Relevant(query[right], row[right])


def average_precision(
    edited: Float64[np.ndarray, "m d"],
    rows: Float64[np.ndarray, "n d"],
    source: NDArray[np.intp],
    relevant: Relevant,
    chunk: int = 1024,
) -> Float64[np.ndarray, " q"]:
    """Average precision of each of `relevant.queries`, all rows but the source ranked by cosine.

    Mean over relevant rows of the precision among the rows that are as near or nearer; equally near rows come
    together, so that their order in the file does not matter (Manning et al., 2008, section 8.4). Blind to a lost
    spread within one person, and as low for a collapse as for noise: it says who, not how varied.
    """
    queries, starts = np.unique(relevant.query, return_index=True)
    wanted = np.split(relevant.row, starts[1:])
    out = np.zeros(len(queries))
    for first in range(0, len(queries), chunk):
        part = queries[first : first + chunk]
        similarity = edited[part] @ rows.T
        similarity[np.arange(len(part)), source[part]] = -np.inf
        for position, cosines in enumerate(similarity, first):
            own = np.sort(cosines[wanted[position]])
            above, hits = (len(x) - np.searchsorted(x, own - TIED) for x in (np.sort(cosines), own))
            out[position] = (hits / above).mean()
    return out
