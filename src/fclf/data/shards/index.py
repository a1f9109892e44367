"""What is known of all rows of many shards at once, labels and splits in a few bytes a row; embeddings stay there."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Int8, Int64, Shaped, UInt8, UInt64
from numpy.typing import NDArray

from fclf.data.checks import (
    LabelCoding,
    binary_labels,
    check_people_of_splits,
    known_splits,
    people_numbers,
    text_ids,
    unit_rows,
)
from fclf.data.embeddings import EmbeddingSet, attribute_positions, naming_line
from fclf.data.formats.parquet import arrays_of, attribute_names
from fclf.data.sampling import stratified
from fclf.data.shards.combinations import check_fits, codes_of, labels_of
from fclf.data.shards.folder import Shard, find_shards
from fclf.data.shards.reading import RUN, ShardReader, open_shard
from fclf.data.shards.splits import hashed, hashed_splits
from fclf.data.splits import SPLITS
from fclf.errors import InputError
from fclf.labels import UNKNOWN

__all__ = ["OpenShards", "ShardIndex", "attributes_of"]

NEAR = 64
"""Rows between two that are wanted, up to which reading on is cheaper than looking for the next."""
DENSE = 8
"""Where one row of so many is wanted of a shard, all of it is read."""
MOST_OPEN = 32


def attributes_of(address: str) -> tuple[str, ...]:
    """Attributes that the first shard with rows declares (`fclf.attributes`); none where it declares none."""
    for shard in find_shards(address):
        with open_shard(shard) as reader:
            if reader.rows:  # one without may be of a writer that knew nothing of them
                return tuple(_declared(reader.schema, shard))
    return ()


@dataclass(frozen=True)
class ShardIndex:
    """Where every row is, its labels as one number, and its split. Build one with `read`."""

    address: str
    shards: tuple[Shard, ...]
    starts: Int64[np.ndarray, " s1"]
    """First row of every shard among all, and the number of all."""
    dim: int
    attribute_names: tuple[str, ...]
    codes: Shaped[np.ndarray, " n"]
    """`fclf.data.shards.combinations.codes_of` the labels: 1 byte a row up to 5 attributes, at most 8."""
    split: UInt8[np.ndarray, " n"]
    """Place in `SPLITS`."""
    own_split: bool
    """Whether the shards have a column `split`."""
    split_key: str
    """What rows were split by where they have none: `identity`, `id` or `place`."""
    has_ids: bool
    has_people: bool
    fingerprint: str
    """Of names, rows, labels, ids, people and splits; the embeddings are not read for it."""
    normalize: bool = False

    def __len__(self) -> int:
        return len(self.codes)

    @classmethod
    def read(
        cls,
        address: str,
        attributes: Sequence[str] | None = None,
        *,
        split_seed: int = 0,
        labels: LabelCoding = "binary",
        normalize: bool = False,
    ) -> ShardIndex:
        """Read the labels, people and splits of all shards, a shard at a time.

        Args:
            address: of a folder or pattern (`find_shards`).
            attributes: columns of labels; those that the first shard with rows declares if absent.
            split_seed: of the split of rows that have none (`hashed_splits`).
            labels: how they are written.
            normalize: accept rows of any length.

        Raises:
            InputError: for a shard that cannot be read or does not fit the others, with its name.
        """
        shards = find_shards(address)
        names = tuple(attributes or attributes_of(address))
        if not names:
            raise InputError(
                f"{address}: the shards do not say which columns are attributes. Type --attributes A,B,..., or have "
                f"the shards say it. {naming_line(['A', 'B'])}"
            )
        check_fits(names)
        sha, codes, split = hashlib.sha256(repr((names, [s.name for s in shards])).encode()), [], []
        people: dict[str, list[NDArray[Any]]] = {name: [] for name in SPLITS}
        first, starts = _First(), [0]
        for shard in shards:
            with open_shard(shard) as reader:
                if not reader.rows:  # of which some writers do not even know the types
                    starts.append(starts[-1])
                    continue
                first.check(reader)
                table = _known(reader, names, first.columns)
            read = _read(table, names, labels, reader, starts[-1], split_seed)
            if read.people is not None and "split" in first.columns:
                for place, name in enumerate(SPLITS):
                    people[name].append(np.unique(read.people[read.split == place]))
            for part in (read.codes, read.split, read.people, read.ids):
                sha.update(b"" if part is None else np.ascontiguousarray(part).data.cast("B"))
            codes.append(read.codes)
            split.append(read.split)
            starts.append(starts[-1] + reader.rows)
        if not starts[-1]:
            raise InputError(f"{address}: none of the {len(shards)} shards has a row.")
        check_people_of_splits(people, address)
        key = next((name for name in ("identity", "id") if name in first.columns), "place")
        return cls(
            address=address,
            shards=tuple(shards),
            starts=np.array(starts),
            dim=first.dim,
            attribute_names=names,
            codes=np.concatenate(codes),
            split=np.concatenate(split),
            own_split="split" in first.columns,
            split_key=key,
            has_ids="id" in first.columns,
            has_people="identity" in first.columns,
            fingerprint=sha.hexdigest(),
            normalize=normalize,
        )

    def labels(self, rows: NDArray[np.intp] | slice) -> Int8[np.ndarray, "n K"]:
        """Labels 0, 1 or `UNKNOWN` of some rows."""
        return labels_of(self.codes[rows], len(self.attribute_names))

    @property
    def unlabelled(self) -> int:
        """Code of a row none of whose labels is known."""
        return int(codes_of(np.full((1, len(self.attribute_names)), UNKNOWN, np.int8))[0])

    def usable(self, split: str) -> Bool[np.ndarray, " n"]:
        """Rows of a split that have a known label.

        Raises:
            InputError: if there are none.
        """
        found = (self.split == SPLITS.index(split)) & (self.codes != self.unlabelled)
        if not found.any():
            raise InputError(f"{self.address}: no row of the split '{split}' has a label of the attributes.")
        return found

    def sample(self, most: Mapping[str, int], seed: int = 0) -> EmbeddingSet:
        """At most so many labelled rows of each split, in which every combination has its share (`stratified`)."""
        taken = []
        for split, count in most.items():
            rows = np.flatnonzero(self.usable(split))
            taken.append(rows[stratified(self.codes[rows], count, seed)])
        return self.take(np.sort(np.concatenate(taken)))

    def take(self, rows: Int64[np.ndarray, " r"]) -> EmbeddingSet:
        """Read some rows, in ascending order, as if they were a file of their own.

        Raises:
            InputError: for rows that are not of unit length, with the shard and the row.
        """
        of_shard = np.searchsorted(self.starts, rows, side="right") - 1
        z = np.empty((len(rows), self.dim), np.float32)
        ids: list[NDArray[Any]] = []
        people: list[NDArray[Any]] = []
        wanted = [name for name, there in (("id", self.has_ids), ("identity", self.has_people)) if there]
        for number in np.unique(of_shard).tolist():
            places = np.flatnonzero(of_shard == number)
            local = rows[places] - self.starts[number]
            with open_shard(self.shards[number]) as reader:
                for low, high in _runs(local, reader):
                    _read_into(z, places, local, low, high, reader, self.normalize)
                if wanted:
                    table = reader.table(wanted).take(pa.array(local))
                    arrays = arrays_of(table, (), reader.shard.address)
                    if self.has_ids:
                        ids.append(text_ids(arrays["ids"], len(local), reader.shard.address))
                    if self.has_people:
                        people.append(np.asarray(people_numbers(arrays, len(local), reader.shard.address)))
        return EmbeddingSet(
            z,
            attributes=self.labels(rows),
            attribute_names=self.attribute_names,
            ids=np.concatenate(ids) if ids else rows.astype(np.str_),
            identities=np.concatenate(people) if people else None,
            split=np.array(SPLITS)[self.split[rows]],
            has_ids=self.has_ids,
        )

    def select(self, names: Sequence[str]) -> ShardIndex:
        """With these attributes only, in this order."""
        columns = attribute_positions(names, self.attribute_names)
        if columns == list(range(len(self.attribute_names))):
            return self
        codes = np.concatenate([codes_of(self.labels(slice(a, b))[:, columns]) for a, b in pairwise(self.starts)])
        return replace(self, codes=codes, attribute_names=tuple(names))


class _First:
    """What the first shard is like, which all others must be."""

    def __init__(self) -> None:
        self.address, self.dim = "", 0
        self.columns: tuple[str, ...] = ()

    def check(self, reader: ShardReader) -> None:
        """Refuse a shard of another width, or without columns that the first one has, or with more."""
        here = tuple(name for name in ("identity", "id", "split") if name in reader.schema.names)
        if not self.address:
            self.address, self.dim, self.columns = reader.shard.address, reader.dim, here
        if reader.dim != self.dim:
            raise InputError(
                f"{reader.shard.address} has embeddings of width {reader.dim}, but those of {self.address} have width "
                f"{self.dim}."
            )
        if here != self.columns:
            other = sorted(set(here) ^ set(self.columns))
            both = (self.address, reader.shard.address)
            said = [
                "{1} has a column `{0}`, and {2} has not".format(name, *(both if name in self.columns else both[::-1]))
                for name in other
            ]
            raise InputError(
                f"{'; '.join(said)}. All shards need it, or none: write it into those without, or take it "
                f"out of those with it, table.drop_columns({other}), and write them again."
            )


def _declared(schema: pa.Schema, shard: Shard) -> list[str]:
    if "embedding" not in schema.names:
        schema = schema.append(pa.field("embedding", pa.float32()))
    return attribute_names(schema, shard.address)


def _known(reader: ShardReader, names: Sequence[str], others: Sequence[str]) -> pa.Table:
    missing = [name for name in names if name not in reader.schema.names]
    if missing:
        there = [name for name in reader.schema.names if name not in ("id", "identity", "split")]
        try:
            attribute_positions(missing, there)
        except InputError as error:
            kept = ",".join(name for name in names if name in there)
            raise InputError(
                f"{reader.shard.metadata or reader.shard.address}: {error} Every shard needs a column of each attribute"
                f": write it into this one, or choose what all have{f': --attributes {kept}' if kept else ''}."
            ) from error
    return reader.table([*names, *others])


class _Labels(NamedTuple):
    """What is kept or compared of one shard."""

    codes: Shaped[np.ndarray, " n"]
    split: UInt8[np.ndarray, " n"]
    people: Int64[np.ndarray, " n"] | None
    ids: UInt64[np.ndarray, " n"] | None
    """As 64 bits each."""


def _read(
    table: pa.Table, names: Sequence[str], coding: LabelCoding, reader: ShardReader, first_row: int, seed: int
) -> _Labels:
    source, rows = reader.shard.metadata or reader.shard.address, reader.rows
    arrays = arrays_of(table, list(names), source)
    nulls = np.stack([table[name].is_null().to_numpy() for name in names], axis=1)
    if nulls.any():  # they are unknown in every coding, and none of what is written becomes so by them
        arrays["attributes"] = np.where(nulls, 1, arrays["attributes"])
    known = binary_labels(arrays, rows, coding, source)[1]
    assert known is not None
    found = np.where(nulls, np.int8(UNKNOWN), known)
    people, split = people_numbers(arrays, rows, source), known_splits(arrays, rows, source)
    ids = hashed(text_ids(arrays["ids"], rows, source), 0) if "ids" in arrays else None
    if split is not None:
        order = np.argsort(SPLITS)
        parts = order[np.searchsorted(np.array(SPLITS)[order], split)]
    else:
        keys = next(k for k in (people, ids, first_row + np.arange(rows)) if k is not None)
        parts = hashed_splits(keys, seed)
    return _Labels(codes_of(found), parts.astype(np.uint8), people, ids)


def _runs(local: Int64[np.ndarray, " r"], reader: ShardReader) -> Iterator[tuple[int, int]]:
    """Rows as runs to read: near ones together, and all where many are wanted or rows cannot be looked for."""
    if reader.shard.kind == "parquet" or len(local) * DENSE > reader.rows:
        yield int(local[0]), int(local[-1]) + 1
        return
    cuts = np.flatnonzero(np.diff(local) > NEAR) + 1
    for part in np.split(local, cuts):
        yield int(part[0]), int(part[-1]) + 1


def _read_into(
    z: NDArray[np.float32],
    places: NDArray[np.intp],
    local: Int64[np.ndarray, " r"],
    low: int,
    high: int,
    reader: ShardReader,
    normalize: bool,
) -> None:
    """Fill in those rows that a run holds."""
    at = low
    for block in reader.embeddings(low, high, RUN):
        a, b = np.searchsorted(local, (at, at + len(block)))
        chosen = local[a:b] - at
        if len(chosen):
            raw = block[chosen]
            try:
                z[places[a:b]] = unit_rows(raw, reader.shard.address, normalize=normalize)
            except InputError:  # once more with all rows between, so that the message has the row of the shard
                unit_rows(block, reader.shard.address, normalize=normalize, first_row=at)
                raise
        at += len(block)


class OpenShards:
    """Shards that stay open while they are read from again and again; the ones used last do."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        self._shards = shards
        self._open: OrderedDict[int, tuple[ShardReader, ExitStack]] = OrderedDict()

    def __getitem__(self, number: int) -> ShardReader:
        if number not in self._open:
            if len(self._open) >= MOST_OPEN:
                self._open.popitem(last=False)[1][1].close()
            stack = ExitStack()
            self._open[number] = (stack.enter_context(open_shard(self._shards[number])), stack)
        self._open.move_to_end(number)
        return self._open[number][0]

    @classmethod
    @contextmanager
    def of(cls, shards: Sequence[Shard]) -> Iterator[OpenShards]:
        """Open them as they are needed, and close them at the end."""
        found = cls(shards)
        try:
            yield found
        finally:
            for _, stack in found._open.values():
                stack.close()
