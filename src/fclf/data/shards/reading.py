"""One shard, opened: how many rows it has, what is said of them, and any run of its embeddings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import fsspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from fclf.data.checks import NORM_TOLERANCE
from fclf.data.formats.parquet import arrays_of, attribute_names, clear_read_errors
from fclf.data.shards.folder import Shard
from fclf.errors import InputError

__all__ = ["RUN", "ShardReader", "open_shard"]

RUN = 4096
"""Rows that are read together where any may be."""
BUFFER = 1 << 20
"""Bytes read at once where a column of a row group would be otherwise."""


class ShardReader(Protocol):
    """What is asked of an open shard, whatever its files are."""

    shard: Shard
    rows: int
    dim: int
    schema: pa.Schema
    """Of what is said of the rows: all columns but the embeddings."""

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """These columns of all rows (all but the embeddings where none are named)."""
        ...

    def embeddings(self, start: int, stop: int, size: int) -> Iterator[NDArray[Any]]:
        """Rows `start` to `stop` as they are stored, unchecked, in blocks of `size`; the last has what is left."""
        ...

    def starts(self) -> Sequence[int]:
        """First rows from which reading is no dearer than from anywhere before, of runs of some thousands."""
        ...

    def close(self) -> None:
        """Close the files."""
        ...


@contextmanager
def open_shard(shard: Shard) -> Iterator[ShardReader]:
    """Open a shard; nothing but headers and footers is read.

    Raises:
        InputError: if it is damaged, or its two files do not have the same number of rows.
    """
    reader: ShardReader = _Parquet(shard) if shard.kind == "parquet" else _Array(shard)
    try:
        yield reader
    finally:
        reader.close()


class _ParquetFile:
    """A Parquet file anywhere, read without holding more of it than was asked for."""

    def __init__(self, address: str) -> None:
        self.address = address
        with clear_read_errors(address, "Shard"), _missing(address):
            self._stream = fsspec.open(address, "rb").open()
            try:
                self.file = parquet.ParquetFile(
                    self._stream, page_checksum_verification=True, buffer_size=BUFFER, pre_buffer=False
                )
            except BaseException:
                self._stream.close()
                raise
        self.rows: int = self.file.metadata.num_rows
        self.schema: pa.Schema = self.file.schema_arrow

    def table(self, columns: Sequence[str]) -> pa.Table:
        with clear_read_errors(self.address, "Shard"):
            return self.file.read(columns=list(columns), use_threads=False)

    def close(self) -> None:
        self.file.close()
        self._stream.close()


class _Parquet:
    """A Parquet file with a column `embedding`."""

    def __init__(self, shard: Shard) -> None:
        self.shard = shard
        self._parquet = _ParquetFile(shard.address)
        try:
            attribute_names(self._parquet.schema, shard.address)
            self.rows = self._parquet.rows
            places = [name for name in self._parquet.schema.names if name != "embedding"]
            self.schema = pa.schema(
                [self._parquet.schema.field(name) for name in places], self._parquet.schema.metadata
            )
            self.dim = self._width()
        except BaseException:
            self.close()
            raise

    def _width(self) -> int:
        kind = self._parquet.schema.field("embedding").type
        if pa.types.is_fixed_size_list(kind):
            return int(kind.list_size)
        first = next(self.embeddings(0, min(1, self.rows), 1), np.empty((0, 0)))
        return int(first.shape[1])

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        return self._parquet.table(self.schema.names if columns is None else columns)

    def embeddings(self, start: int, stop: int, size: int) -> Iterator[NDArray[Any]]:
        file, groups, first = self._parquet.file, [], 0
        skipped = 0
        for group in range(file.metadata.num_row_groups):
            last = first + file.metadata.row_group(group).num_rows
            if first < stop and last > start:
                groups.append(group)
            elif last <= start:
                skipped = last
            first = last
        batches = file.iter_batches(batch_size=size, row_groups=groups, columns=["embedding"], use_threads=False)
        at, waiting = skipped, None
        while at < stop:
            with clear_read_errors(self.shard.address, "Shard"):
                batch = next(batches)
            table = pa.Table.from_batches([batch])
            low, high = max(start - at, 0), min(stop - at, len(table))
            at += len(table)
            if high <= low:
                continue
            table = table.slice(low, high - low)
            waiting = table if waiting is None else pa.concat_tables([waiting, table])
            while len(waiting) >= size:  # row groups end where they like
                yield self._raw(waiting.slice(0, size), at)
                waiting = waiting.slice(size)
        if waiting is not None and len(waiting):
            yield self._raw(waiting, at)

    def starts(self) -> Sequence[int]:
        metadata = self._parquet.file.metadata
        sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        return [int(first) for first in np.cumsum([0, *sizes[:-1]])] if sizes else []

    def _raw(self, table: pa.Table, stop: int) -> NDArray[Any]:
        raw: NDArray[Any] = arrays_of(table, (), self.shard.address, stop - len(table))["embeddings"]
        return raw

    def close(self) -> None:
        self._parquet.close()


class _Array:
    """An `.npy` file of embeddings, with the metadata of its rows in a Parquet file where there is one."""

    def __init__(self, shard: Shard) -> None:
        self.shard = shard
        with _missing(shard.address):
            self._stream = fsspec.open(shard.address, "rb", block_size=BUFFER).open()
        self._metadata: _ParquetFile | None = None
        try:
            self.rows, self.dim, self._type = self._header()
            self._start = self._stream.tell()
            self._check_size()
            self._metadata = None if shard.metadata is None else _ParquetFile(shard.metadata)
            self.schema = pa.schema([]) if self._metadata is None else self._metadata.schema
            self._check_metadata()
        except BaseException:
            self.close()
            raise

    def _header(self) -> tuple[int, int, np.dtype[Any]]:
        try:
            version = np.lib.format.read_magic(self._stream)
            read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
            shape, fortran, kind = read(self._stream)
        except (ValueError, KeyError, OSError, EOFError) as error:
            raise InputError(
                f"Shard: {self.shard.address} cannot be read as .npy ({error}). numpy.save(path, array) writes one."
            ) from error
        if len(shape) != 2 or fortran or kind.name not in NORM_TOLERANCE:
            order = "column by column" if fortran else "row by row"
            raise InputError(
                f"Shard: {self.shard.address} holds {kind} of shape {shape}, {order}; rows x width of "
                f"{', '.join(NORM_TOLERANCE)}, row by row, were expected."
            )
        return shape[0], shape[1], kind

    def _check_size(self) -> None:
        there = self._stream.seek(0, 2) - self._start
        promised = self.rows * self.dim * self._type.itemsize
        if there != promised:
            raise InputError(
                f"Shard: {self.shard.address} is damaged: its header promises {self.rows} x {self.dim} numbers "
                f"({promised} bytes), but {there} bytes follow. Fetch or write it again."
            )

    def _check_metadata(self) -> None:
        if self._metadata is None:
            return
        if self._metadata.rows != self.rows:
            raise InputError(
                f"Shard: {self.shard.address} has {self.rows} rows, but {self.shard.metadata} has "
                f"{self._metadata.rows}. Both must be of the same rows."
            )
        if "embedding" in self.schema.names:
            raise InputError(
                f"Shard: {self.shard.metadata} has a column `embedding`, and {self.shard.address} has the embeddings "
                "too. Drop one of them."
            )

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        if self._metadata is None:
            return pa.table({})
        return self._metadata.table(self.schema.names if columns is None else columns)

    def embeddings(self, start: int, stop: int, size: int) -> Iterator[NDArray[Any]]:
        width = self.dim * self._type.itemsize
        for first in range(start, stop, size):
            last = min(first + size, stop)
            block = np.empty((last - first, self.dim), self._type)
            self._stream.seek(self._start + first * width)
            view = memoryview(block).cast("B")  # type: ignore[arg-type]
            done = 0
            while done < len(view):
                got = self._stream.readinto(view[done:])
                if not got:
                    raise InputError(f"Shard: {self.shard.address} ended while it was read; fetch or write it again.")
                done += got
            yield block

    def starts(self) -> Sequence[int]:
        return range(0, self.rows, RUN)

    def close(self) -> None:
        self._stream.close()
        if self._metadata is not None:
            self._metadata.close()


@contextmanager
def _missing(address: str) -> Iterator[None]:
    """Say that a file has gone."""
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"Shard: there is no file {address}.") from error
