"""The rows of a split as batches: from memory, or from shards that are read while they are trained on."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from numpy.typing import NDArray
from torch import Tensor, nn

from fclf.data.checks import check_unit_rows
from fclf.data.embeddings import EmbeddingSet
from fclf.data.shards.index import OpenShards, ShardIndex
from fclf.data.shards.order import EpochOrder, Lane, Piece, Window
from fclf.data.shards.reading import RUN, open_shard
from fclf.errors import InputError
from fclf.labels import UNKNOWN, ExclusiveGroup
from fclf.ranks import Ranks

__all__ = ["Batch", "MemoryRows", "ShardRows", "TrainingRows"]

BUFFER = 1 << 27
"""Bytes of embeddings among which rows are shuffled; as many are read ahead."""


class Batch(NamedTuple):
    """Rows that are trained on together."""

    z: Float[Tensor, "m d"]
    """This process's rows of the batch."""
    y: Float[Tensor, "n K"]
    """0, 1 or `UNKNOWN`, of all its rows."""
    complete: Bool[Tensor, " n"] | None
    """Rows whose labels are all known; None where all are."""


class TrainingRows(Protocol):
    """What an epoch visits."""

    def batches(self, size: int, generator: torch.Generator, ranks: Ranks) -> Iterator[Batch]:
        """Whole batches only, as a contrastive loss depends on the size; all rows at once if they are fewer."""
        ...


@dataclass(frozen=True)
class MemoryRows:
    """Embeddings and attributes of one split, on the device."""

    z: Float[Tensor, "n d"]
    y: Float[Tensor, "n K"]
    """0, 1 or `UNKNOWN`."""
    exclusive: tuple[ExclusiveGroup, ...] = ()

    @classmethod
    def of(cls, data: EmbeddingSet, device: torch.device) -> MemoryRows:
        """Copy them to the device."""
        return cls(
            torch.from_numpy(data.embeddings).to(device),
            torch.from_numpy(np.asarray(data.attributes)).to(device, torch.float32),
            data.exclusive,
        )

    @cached_property
    def complete(self) -> Bool[Tensor, " n"] | None:
        """Rows whose labels are all known; None where all are."""
        return _complete(self.y)

    def completed(self) -> tuple[Tensor, Tensor]:
        """Embeddings and labels of the rows whose labels are all known."""
        return (self.z, self.y) if self.complete is None else (self.z[self.complete], self.y[self.complete])

    def batches(self, size: int, generator: torch.Generator, ranks: Ranks) -> Iterator[Batch]:
        """In an order that the generator draws."""
        order = torch.randperm(len(self.z), generator=generator).to(self.z.device)
        size = min(size, len(order))
        for first in range(0, len(order) - size + 1, size):
            rows = order[first : first + size]
            known = None if self.complete is None else self.complete[rows]
            yield Batch(self.z[ranks.mine(rows)], self.y[rows], known)


class ShardRows:
    """Rows of one split of shards, which are read while they are trained on, `BUFFER` bytes ahead.

    A process reads its own rows alone; the labels of the others' are in the index.
    """

    def __init__(self, index: ShardIndex, split: str, device: torch.device) -> None:
        self._index, self._device = index, device
        self._wanted = index.usable(split)
        self._pieces, width = [], 1
        for number, shard in enumerate(index.shards):
            with open_shard(shard) as reader:
                cuts, first = [*reader.starts(), reader.rows], int(index.starts[number])
                if reader.rows != index.starts[number + 1] - first:
                    raise InputError(f"{shard.address} has changed while it was read: it has {reader.rows} rows now.")
                if reader.rows:
                    width = next(iter(reader.embeddings(0, 1, 1))).nbytes
            for low, high in pairwise(cuts):
                wanted = int(self._wanted[first + low : first + high].sum())
                self._pieces += [Piece(first + low, first + high, wanted)] if wanted else []
        self.rows = int(self._wanted.sum())
        self._window = max(1, BUFFER // width)

    def __len__(self) -> int:
        return self.rows

    def batches(self, size: int, generator: torch.Generator, ranks: Ranks) -> Iterator[Batch]:
        """In an order of pieces and buffers that the generator draws the seed of."""
        seed = int(torch.randint(1 << 62, (), generator=generator))
        size = min(size, self.rows)
        order = EpochOrder.draw(self._pieces, size, ranks.count, (seed,))
        with OpenShards.of(self._index.shards) as shards, ThreadPoolExecutor(1) as ahead:
            lanes = [
                _Visit(
                    self._loaded(lane, shards, ahead)
                    if rank == ranks.rank
                    else ((window, None) for window in lane.windows(self._wanted, self._window))
                )
                for rank, lane in enumerate(order.lanes)
            ]
            for _ in range(order.batches):
                rows = np.empty(size, np.int64)
                for rank, lane in enumerate(lanes):
                    rows[rank :: ranks.count] = lane.take(len(range(rank, size, ranks.count)))
                y = torch.from_numpy(self._index.labels(rows)).to(self._device, torch.float32)
                yield Batch(self._unit(lanes[ranks.rank].embeddings()), y, _complete(y))

    def _loaded(self, lane: Lane, shards: OpenShards, ahead: Executor) -> Iterator[tuple[Window, NDArray[Any]]]:
        """Windows of a lane with their embeddings; the next one is read while this one is used."""
        windows, stream = lane.windows(self._wanted, self._window), self._stream(lane, shards)
        left: NDArray[Any] | None = None

        def load() -> tuple[Window, NDArray[Any]] | None:
            nonlocal left
            window = next(windows, None)
            if window is None:
                return None
            parts, missing = [], len(window.read)
            while missing:
                block = next(stream) if left is None else left
                parts.append(block[:missing])
                left = block[missing:] if len(block) > missing else None
                missing -= len(parts[-1])
            return window, np.concatenate(parts)

        coming = ahead.submit(load)
        while (found := coming.result()) is not None:
            coming = ahead.submit(load)
            yield found

    def _stream(self, lane: Lane, shards: OpenShards) -> Iterator[NDArray[Any]]:
        """Embeddings of a lane as they are stored, in the order in which they are read."""
        for rows in lane.runs(self._wanted):
            number = int(np.searchsorted(self._index.starts, rows[0], side="right")) - 1
            local, reader = rows - self._index.starts[number], shards[number]
            at = int(local[0])
            for block in reader.embeddings(at, int(local[-1]) + 1, RUN):
                check_unit_rows(block, reader.shard.address, normalize=self._index.normalize, first_row=at)
                low, high = np.searchsorted(local, (at, at + len(block)))
                chosen = local[low:high] - at
                at += len(block)
                yield block if len(chosen) == len(block) else block[chosen]

    def _unit(self, raw: NDArray[Any]) -> Tensor:
        return nn.functional.normalize(torch.from_numpy(raw).to(self._device, torch.float32), dim=1, eps=0.0)


class _Visit:
    """The rows of a lane, one after the other."""

    def __init__(self, windows: Iterator[tuple[Window, NDArray[Any] | None]]) -> None:
        self._windows = windows
        self._order: Int64[np.ndarray, " r"] = np.empty(0, np.int64)
        self._taken: list[NDArray[Any]] = []

    def take(self, count: int) -> Int64[np.ndarray, " c"]:
        """The next so many rows."""
        found, self._taken = [np.empty(0, np.int64)], []
        while count:
            if not len(self._order):
                self._window, self._z = next(self._windows)
                self._order = self._window.order
            places, self._order = self._order[:count], self._order[count:]
            found.append(self._window.read[places])
            if self._z is not None:
                self._taken.append(self._z[places])
            count -= len(places)
        return np.concatenate(found)

    def embeddings(self) -> NDArray[Any]:
        """Those of the rows that were just taken, as they are stored."""
        return np.concatenate(self._taken)


def _complete(y: Float[Tensor, "n K"]) -> Bool[Tensor, " n"] | None:
    known = (y != UNKNOWN).all(dim=1)
    return None if known.all() else known
