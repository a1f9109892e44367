"""The order in which an epoch visits rows: pieces of shards shuffled, and rows shuffled in a buffer.

A row's place depends on the seed, the epoch and the number of readers alone, so that every process of a run knows the
whole order without asking, and reads none but its own rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64

__all__ = ["EpochOrder", "Lane", "Piece", "Window"]


@dataclass(frozen=True)
class Piece:
    """Rows that are read one after the other."""

    start: int
    stop: int
    wanted: int
    """How many of them are trained on."""


@dataclass(frozen=True)
class Lane:
    """What one reader visits: pieces, some rows of the first left out, and so many rows in all."""

    pieces: tuple[Piece, ...]
    skip: int
    rows: int
    seed: tuple[int, ...]

    def runs(self, wanted: Bool[np.ndarray, " n"]) -> Iterator[Int64[np.ndarray, " r"]]:
        """Rows in the order in which they are read, those of a piece at a time."""
        skip, left = self.skip, self.rows
        for piece in self.pieces:
            rows = piece.start + np.flatnonzero(wanted[piece.start : piece.stop])[skip:][:left]
            skip, left = 0, left - len(rows)
            if len(rows):
                yield rows

    def windows(self, wanted: Bool[np.ndarray, " n"], size: int) -> Iterator[Window]:
        """Rows in buffers of `size`, the last of what is left."""
        waiting: list[Int64[np.ndarray, " r"]] = []
        count = number = 0
        for rows in self.runs(wanted):
            while len(rows):
                part, rows = rows[: size - count], rows[size - count :]
                waiting.append(part)
                count += len(part)
                if count == size:
                    yield self._window(waiting, number)
                    waiting, count, number = [], 0, number + 1
        if waiting:
            yield self._window(waiting, number)

    def _window(self, parts: Sequence[Int64[np.ndarray, " r"]], number: int) -> Window:
        rows = np.concatenate(parts)
        return Window(rows, np.random.default_rng((*self.seed, number)).permutation(len(rows)))


@dataclass(frozen=True)
class Window:
    """Rows that are in memory together."""

    read: Int64[np.ndarray, " r"]
    """In the order in which they are read."""
    order: Int64[np.ndarray, " r"]
    """Places in `read`, in the order in which they are visited."""


@dataclass(frozen=True)
class EpochOrder:
    """All lanes of an epoch.

    The shuffled pieces are laid end to end and cut into lanes by rows, not by shards, so that no reader has fewer
    batches than another, however uneven the shards are: what is left over at the end is not visited in this epoch.
    """

    lanes: tuple[Lane, ...]
    batches: int

    @classmethod
    def draw(cls, pieces: Sequence[Piece], batch: int, lanes: int, seed: tuple[int, ...]) -> EpochOrder:
        """Shuffle and cut.

        Args:
            pieces: of all shards.
            batch: rows of a batch, of which lane r has every `lanes`-th from r on.
            lanes: number of readers.
            seed: of the run and the epoch.
        """
        rng = np.random.default_rng(seed)
        order = [pieces[place] for place in rng.permutation(len(pieces))]
        ends = np.cumsum([piece.wanted for piece in order])
        batches = int(ends[-1]) // batch if len(ends) else 0
        cut, at = [], 0
        for lane in range(lanes):
            rows = batches * len(range(lane, batch, lanes))
            first, last = np.searchsorted(ends, at, side="right"), np.searchsorted(ends, at + rows, side="left")
            skip = at - (int(ends[first - 1]) if first else 0)
            cut.append(Lane(tuple(order[first : last + 1]), skip, rows, (*seed, lane)))
            at += rows
        return cls(tuple(cut), batches)
