"""Evaluations of more rows than can be edited and compared in a sitting: a sample, and how far it may be off."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64
from numpy.typing import NDArray

from fclf.data.embeddings import EmbeddingSet
from fclf.data.sampling import stratified
from fclf.data.shards.index import ShardIndex
from fclf.labels import UNKNOWN

__all__ = ["EXACT", "Sampling", "sampled"]

EXACT = 100_000
"""Below so many rows, of all splits together, every row is read."""
MAX_ROWS = 10_000
"""Evaluated rows of a sample."""
MAX_EDITS = 100_000
"""Edits of a sample, every row x every attribute: with many attributes there are fewer rows."""
MAX_FITTED = 40_000
"""Rows that judges, and those that controls, are fitted on."""


@dataclass(frozen=True)
class Sampling:
    """How many rows of each split there are and were taken, in which every combination has its share."""

    population: dict[str, int]
    taken: dict[str, int]

    def note(self, split: str) -> str:
        """What a reader should know."""
        return (
            f"Evaluated on {self.taken[split]:,} of {self.population[split]:,} {split} rows, drawn at random in every "
            "combination of labels in proportion to its rows; the intervals (95 %, over blocks of people) say how far "
            f"the sample may be off. Judges learned from {self.taken['judge']:,} of {self.population['judge']:,} rows, "
            f"controls from {self.taken['train']:,} of {self.population['train']:,}."
        )


def sampled(data: EmbeddingSet | ShardIndex, split: str, seed: int) -> tuple[EmbeddingSet, Sampling | None]:
    """The rows that an evaluation looks at: all where they are less than `EXACT`, else a sample of each split.

    Every row of a split has the same chance and every combination its share (`fclf.data.sampling.stratified`), so that
    means over the sample are unbiased estimates of those over all rows, with an error no larger than that of as many
    rows drawn at random. Of shards no other embeddings are read.

    Args:
        data: with attributes and a split.
        split: whose rows are edited; of val rows only those of this split are taken.
        seed: of the sample.
    """
    count = len(data.attribute_names)
    most = {"train": MAX_FITTED, "judge": MAX_FITTED}
    most[split] = max(1, min(MAX_ROWS, MAX_EDITS // count))  # of train rows too, where those are edited
    if isinstance(data, ShardIndex):
        if len(data) < EXACT:
            return data.take(np.flatnonzero(data.codes != data.unlabelled)), None
        population = {name: int(data.usable(name).sum()) for name in most}
        sample = data.sample(most, seed)
    else:
        if len(data) < EXACT or data.attributes is None:
            return data, None
        known = (data.attributes != UNKNOWN).any(axis=1)
        codes = _codes(data.attributes)
        population, parts = {}, []
        for name, rows in most.items():
            there = np.flatnonzero(data.rows_of(name) & known)
            population[name] = len(there)
            parts.append(there[stratified(codes[there], rows, seed)])
        sample = data.take(np.sort(np.concatenate(parts)))
    taken = {name: int((np.asarray(sample.split) == name).sum()) for name in most}
    return sample, Sampling(population, taken)


def _codes(labels: NDArray[np.int8]) -> Int64[np.ndarray, " n"]:
    """A number for each combination, of labels 0, 1 or unknown."""
    rows = np.ascontiguousarray(labels)
    whole = rows.view(np.dtype((np.void, rows.shape[1]))).ravel()
    codes: Int64[np.ndarray, " n"] = np.unique(whole, return_inverse=True)[1].reshape(-1)
    return codes
