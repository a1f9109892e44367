"""Embeddings larger than memory: the rows of a file or shard a block at a time, each checked as a whole file is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float32, Int64
from numpy.typing import NDArray

from fclf.data.checks import LabelCoding, check_people_of_splits, known_splits, people_numbers, text_ids, unique_ids
from fclf.data.embeddings import EmbeddingSet
from fclf.data.formats.parquet import COLUMNS, arrays_of, number_column
from fclf.data.shards.folder import Shard
from fclf.data.shards.reading import shard_reader
from fclf.data.splits import SPLITS
from fclf.data.targets import check_column, column_targets
from fclf.files import existing_file

__all__ = ["Block", "EmbeddingStream"]

INDEX_ROWS = 1 << 14
"""Rows whose ids, people and splits are looked at together."""


@dataclass(frozen=True)
class Block:
    """Some rows of a file that follow each other."""

    data: EmbeddingSet
    """What an edit reads of them."""
    table: pa.Table
    """All that the file holds of them."""

    def take(self, rows: NDArray[np.bool_]) -> Block:
        """Keep some rows."""
        return self if rows.all() else Block(self.data.take(rows), self.table.filter(pa.array(rows)))

    def part(self, start: int, stop: int) -> Block:
        """Keep rows that follow each other."""
        return Block(self.data.take(np.arange(start, stop)), self.table.slice(start, stop - start))

    @classmethod
    def join(cls, blocks: Sequence[Block]) -> Block:
        """All rows of blocks of one file, in order."""
        if len(blocks) == 1:
            return blocks[0]
        sets = [block.data for block in blocks]

        def joined(columns: list[Any]) -> Any:
            return None if columns[0] is None else np.concatenate(columns)

        data = replace(
            sets[0],
            **{
                name: joined([getattr(rows, name) for rows in sets])
                for name in ("embeddings", "attributes", "ids", "identities", "split")
            },
            extras={name: joined([rows.extras[name] for rows in sets]) for name in sets[0].extras},
        )
        return cls(data, pa.concat_tables([block.table for block in blocks]))


class EmbeddingStream:
    """Embeddings that are never in memory as a whole: a Parquet file, or a shard of either layout at any address.

    Columns other than the embeddings are read first and alone (`index`), for what only all rows together can tell: that
    ids are distinct and nobody stands in two splits. `blocks` then gives the rows.

    Args:
        source: the file or shard.
        labels: how attributes are written.
        normalize: project rows of any length to the unit sphere instead of refusing them.
        names: as of `fclf.data.shards.reading.shard_reader`.
    """

    def __init__(
        self,
        source: Path | Shard,
        *,
        labels: LabelCoding = "binary",
        normalize: bool = False,
        names: Sequence[str] = (),
    ) -> None:
        if isinstance(source, Path):
            source = Shard(source.stem, "parquet", str(existing_file(source, "Embeddings")))
        self.shard, self.normalize, self._labels = source, normalize, labels
        self._reader = shard_reader(source, names)
        self.rows, self.dim = self._reader.rows, self._reader.dim
        self.attribute_names = self._reader.attribute_names

    def __enter__(self) -> EmbeddingStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.close()

    @property
    def has_split(self) -> bool:
        """Whether there is a column that says which split a row is in."""
        return "split" in self._reader.schema.names

    def index(self, *, ids: bool = False, split: bool = False) -> EmbeddingSet:
        """Check ids, people and splits of all rows, and hold those that are asked for, without the embeddings.

        Ids are compared by 8 bytes a row (Python's own hash of texts) and those that agree are looked at again.

        Args:
            ids: hold ids, people and splits, to join labels to.
            split: hold what a split is read or made from. Where the file has none this reads the embeddings too: those
                of the result are not the file's but digests, which are the same for copies alone.

        Raises:
            InputError: as `EmbeddingSet.from_arrays` does.
        """
        there = [COLUMNS[key] for key in ("ids", "identities", "split") if COLUMNS[key] in self._reader.schema.names]
        contents = self._contents() if split and not self.has_split else np.empty((self.rows, 0), np.float32)
        if not there or not self.rows:
            return EmbeddingSet(contents, ids=_numbers(self.rows, ids), has_ids=False)
        source = self.shard.address
        digests = np.empty(self.rows if "id" in there else 0, np.int64)
        held: dict[str, list[NDArray[Any]]] = {"ids": [], "identities": [], "split": []}
        people: dict[str, list[NDArray[Any]]] = {name: [] for name in SPLITS}
        first = 0
        for table in self._reader.blocks(INDEX_ROWS, there):
            arrays, n = arrays_of(table, (), source, first), len(table)
            texts = text_ids(arrays["ids"], n, source) if "ids" in arrays else None
            numbers = people_numbers(arrays, n, source)
            splits = known_splits(arrays, n, source, first)
            if texts is not None:
                digests[first : first + n] = _hashes(texts)
            if numbers is not None and splits is not None:
                for name in np.unique(splits).tolist():
                    people[name].append(np.unique(numbers[splits == name]))
            for key, values, wanted in (
                ("ids", texts, ids),
                ("identities", numbers, ids or (split and not self.has_split)),
                ("split", splits, ids or split),
            ):
                if values is not None and wanted:
                    held[key].append(values)
            first += n
        self._check_ids(digests)
        check_people_of_splits(people, source)
        whole = {key: np.concatenate(parts) if parts else None for key, parts in held.items()}
        return EmbeddingSet(
            contents,
            ids=_numbers(self.rows, ids) if whole["ids"] is None else whole["ids"],
            identities=whole["identities"],
            split=whole["split"],
            has_ids="id" in there,
        )

    def _contents(self) -> Float32[np.ndarray, "n 2"]:
        """Eight bytes of each row's digest, by which `EmbeddingSet.with_split` finds copies."""
        parts, first = [np.empty((0, 2), np.float32)], 0
        for table in self._reader.blocks(INDEX_ROWS, ["embedding"]):
            arrays = arrays_of(table, (), self.shard.address, first)
            rows = EmbeddingSet.from_arrays(
                arrays, normalize=self.normalize, source=self.shard.address, first_row=first
            )
            texts = "".join(row[:16] for row in rows.row_digests())
            parts.append(np.frombuffer(bytes.fromhex(texts), np.float32).reshape(-1, 2))
            first += len(rows)
        return np.concatenate(parts)

    def _check_ids(self, digests: Int64[np.ndarray, " n"]) -> None:
        digests.sort()
        again = digests[1:][digests[1:] == digests[:-1]]
        if not len(again):
            return
        suspects = []
        for table in self._reader.blocks(INDEX_ROWS, ["id"]):
            texts = arrays_of(table, (), self.shard.address)["ids"].astype(np.str_)
            suspects.append(texts[np.isin(_hashes(texts), again)])
        found = np.concatenate(suspects)
        unique_ids(found, len(found), self.shard.address)

    def blocks(self, size: int, index: EmbeddingSet, columns: Sequence[str] = ()) -> Iterator[Block]:
        """Rows in blocks of `size`; the last has what is left.

        Args:
            size: rows of a block.
            index: of this file; attributes, ids, people and splits that were joined to it take the place of the file's.
            columns: whose targets are wanted as extras (`column_targets`).

        Raises:
            InputError: as `EmbeddingSet.from_arrays` does, with row numbers of the file.
        """
        source, names, schema = self.shard.address, self.attribute_names, self._reader.schema
        labelled = names if index.attributes is None else index.attribute_names
        others = [name for name in schema.names if name not in (*names, *COLUMNS.values())]
        for column in columns:
            check_column(column, [*labelled, *others])
        read = ["embedding", *(names if index.attributes is None else ())]
        first = 0
        for table in self._reader.blocks(size):
            arrays = arrays_of(table.select(read), read[1:], source, first)
            data = EmbeddingSet.from_arrays(
                arrays, labels=self._labels, normalize=self.normalize, source=source, first_row=first
            )
            data = self._with_index(data, index, slice(first, first + len(data)))
            numbers = {name: number_column(table[name], name, source) for name in columns if name in others}
            read_from = replace(data, extras=numbers)
            found = {name: column_targets(read_from, name, source, first) for name in dict.fromkeys(columns)}
            yield Block(replace(data, extras=found), table)
            first += len(data)

    def _with_index(self, data: EmbeddingSet, index: EmbeddingSet, rows: slice) -> EmbeddingSet:
        """With what `index` has and the file has not, or has otherwise."""
        if index.attributes is not None:
            data = replace(
                data,
                attributes=index.attributes[rows],
                attribute_names=index.attribute_names,
                ids=index.ids[rows],
                has_ids=index.has_ids,
                identities=None if index.identities is None else index.identities[rows],
            )
        return data if self.has_split or index.split is None else replace(data, split=index.split[rows])


def _numbers(rows: int, wanted: bool) -> NDArray[np.str_]:
    return np.arange(rows if wanted else 0).astype(np.str_)


def _hashes(texts: NDArray[np.str_]) -> Int64[np.ndarray, " n"]:
    return np.fromiter(map(hash, texts.tolist()), np.int64, len(texts))
