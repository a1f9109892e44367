"""One shard, opened: how many rows it has, what is said of them, any run of its embeddings, and blocks of all of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import fsspec
import numpy as np
import pyarrow as pa
from fsspec.implementations.local import LocalFileSystem
from numpy.typing import NDArray
from pyarrow import parquet

from fclf.data.checks import NORM_TOLERANCE
from fclf.data.formats.parquet import ATTRIBUTES, arrays_of, attribute_names, clear_read_errors, fixed_size_list
from fclf.data.shards.folder import Shard
from fclf.errors import InputError

__all__ = ["RUN", "ShardReader", "open_shard", "readable", "shard_reader"]

RUN = 4096
"""Rows that are read together where any may be."""
BUFFER = 1 << 20
"""Bytes read at once: elsewhere a whole column of a row group is, or with `pre_buffer` all that is ever asked for."""
REMOTE = 1 << 23
"""Bytes asked of a remote place at once: 100 MB of Parquet in row groups of 4,096 rows come in 14 answers, not 200."""


class ShardReader(Protocol):
    """What is asked of an open shard, whatever its files are."""

    shard: Shard
    rows: int
    dim: int
    schema: pa.Schema
    """Of what is said of the rows: all columns but the embeddings."""
    attribute_names: tuple[str, ...]
    """Columns that are attributes."""

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """These columns of all rows (all but the embeddings where none are named)."""
        ...

    def embeddings(self, start: int, stop: int, size: int) -> Iterator[NDArray[Any]]:
        """Rows `start` to `stop` as they are stored, unchecked, in blocks of `size`; the last has what is left."""
        ...

    def starts(self) -> Sequence[int]:
        """First rows from which reading is no dearer than from anywhere before, of runs of some thousands."""
        ...

    def blocks(self, size: int, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """These columns (all, `embedding` too, if none are named) in tables of `size` rows; the last has what is left.

        A shard without rows gives one table without rows.
        """
        ...

    def close(self) -> None:
        """Close the files."""
        ...


@contextmanager
def open_shard(shard: Shard) -> Iterator[ShardReader]:
    """`shard_reader`, and the files closed at the end."""
    reader = shard_reader(shard)
    try:
        yield reader
    finally:
        reader.close()


def shard_reader(shard: Shard, names: Sequence[str] = ()) -> ShardReader:
    """Open a shard; nothing but headers and footers is read.

    Args:
        shard: what to open.
        names: a shard that does not say which columns are attributes has these, as far as they are there: nobody
            writes `fclf.attributes` into the metadata of clip-retrieval.

    Raises:
        InputError: if it is damaged, or its two files do not have the same number of rows.
    """
    if shard.flaw:
        raise InputError(f"Shard: {shard.flaw}")
    return _Parquet(shard, names) if shard.kind == "parquet" else _Array(shard, names)


class _ParquetFile:
    """A Parquet file anywhere, read without holding more of it than was asked for."""

    def __init__(self, address: str) -> None:
        self.address = address
        fs, path = fsspec.core.url_to_fs(address)
        local = type(fs) is LocalFileSystem  # which Arrow reads itself, and twice as fast
        with readable(address), clear_read_errors(address, "Shard"):
            self._stream = None if local else fs.open(path, "rb", block_size=REMOTE, cache_type="readahead")
            try:
                self.file = parquet.ParquetFile(
                    path if local else self._stream,
                    page_checksum_verification=True,
                    buffer_size=BUFFER if local else REMOTE,
                    pre_buffer=False,
                )
            except BaseException:
                self._close_stream()
                raise
        self.rows: int = self.file.metadata.num_rows
        self.schema: pa.Schema = self.file.schema_arrow

    def table(self, columns: Sequence[str]) -> pa.Table:
        with readable(self.address), clear_read_errors(self.address, "Shard"):
            return self.file.read(columns=list(columns), use_threads=False)

    def blocks(self, size: int, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        batches = self.file.iter_batches(batch_size=size, columns=columns, use_threads=False)
        schema = self.schema if columns is None else pa.schema([self.schema.field(name) for name in columns])
        waiting = schema.empty_table()
        first = True
        while True:
            with readable(self.address), clear_read_errors(self.address, "Shard"):
                batch = next(batches, None)
            if batch is None:
                break
            table = pa.Table.from_batches([batch])
            waiting = pa.concat_tables([waiting, table]) if len(waiting) else table
            while len(waiting) >= size:  # row groups end where they like
                yield waiting.slice(0, size)
                waiting, first = waiting.slice(size), False
        if len(waiting) or first:
            yield waiting

    def close(self) -> None:
        self.file.close()
        self._close_stream()

    def _close_stream(self) -> None:
        if self._stream is not None:
            self._stream.close()


class _Parquet:
    """A Parquet file with a column `embedding`."""

    def __init__(self, shard: Shard, names: Sequence[str] = ()) -> None:
        self.shard = shard
        self._parquet = _ParquetFile(shard.address)
        try:
            whole = _naming(self._parquet.schema, names)
            self.attribute_names = tuple(attribute_names(whole, shard.address))
            self.rows = self._parquet.rows
            self.schema = pa.schema([whole.field(name) for name in whole.names if name != "embedding"], whole.metadata)
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
            with readable(self.shard.address), clear_read_errors(self.shard.address, "Shard"):
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

    def blocks(self, size: int, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        for table in self._parquet.blocks(size, columns):
            yield table.replace_schema_metadata(self.schema.metadata)

    def close(self) -> None:
        self._parquet.close()


class _Array:
    """An `.npy` file of embeddings, with the metadata of its rows in a Parquet file where there is one."""

    def __init__(self, shard: Shard, names: Sequence[str] = ()) -> None:
        self.shard = shard
        fs, path = fsspec.core.url_to_fs(shard.address)
        with readable(shard.address):
            self._stream = fs.open(path, "rb", block_size=REMOTE, cache_type="readahead")
        self._metadata: _ParquetFile | None = None
        try:
            self.rows, self.dim, self._type = self._header()
            self._start = self._stream.tell()
            self._check_size()
            self._metadata = None if shard.metadata is None else _ParquetFile(shard.metadata)
            self.schema = _naming(pa.schema([]) if self._metadata is None else self._metadata.schema, names)
            self._check_metadata()
            kind = pa.from_numpy_dtype(self._type.newbyteorder("="))
            whole = self.schema.append(pa.field("embedding", pa.list_(kind, self.dim)))
            self.attribute_names = tuple(attribute_names(whole, shard.metadata or shard.address))
        except BaseException:
            self.close()
            raise

    def _header(self) -> tuple[int, int, np.dtype[Any]]:
        try:
            version = np.lib.format.read_magic(self._stream)
            read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
            shape, fortran, kind = read(self._stream)
        except Exception as error:  # numpy reads the header with Python's own parser, which has errors of its own
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
                with readable(self.shard.address):
                    got = self._stream.readinto(view[done:])
                if not got:
                    raise InputError(f"Shard: {self.shard.address} ended while it was read; fetch or write it again.")
                done += got
            yield block

    def starts(self) -> Sequence[int]:
        return range(0, self.rows, RUN)

    def blocks(self, size: int, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        said = [name for name in self.schema.names if columns is None or name in columns]
        tables = iter(()) if self._metadata is None or not said else self._metadata.blocks(size, said)
        if columns is not None and "embedding" not in columns:
            yield from tables
            return
        for first in range(0, max(self.rows, 1), size):
            raw = next(self.embeddings(first, min(first + size, self.rows), size), np.empty((0, self.dim), self._type))
            rows = fixed_size_list(raw.astype(raw.dtype.newbyteorder("="), copy=False))
            table = next(tables, None)
            whole = pa.table({"embedding": rows}) if table is None else table.append_column("embedding", rows)
            yield whole.replace_schema_metadata(self.schema.metadata)

    def close(self) -> None:
        self._stream.close()
        if self._metadata is not None:
            self._metadata.close()


def _naming(schema: pa.Schema, names: Sequence[str]) -> pa.Schema:
    """The schema, saying which of these names are attributes where it says nothing."""
    said, there = schema.metadata or {}, [name for name in names if name in schema.names]
    return schema if ATTRIBUTES in said or not there else schema.with_metadata({**said, ATTRIBUTES: json.dumps(there)})


@contextmanager
def readable(address: str) -> Iterator[None]:
    """Say that a file has gone, or a network: the fault is of the input and not of what is written at the same time."""
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"Shard: there is no file {address}.") from error
    except InputError:
        raise
    except Exception as error:  # those of object stores are of many kinds
        reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        raise InputError(f"Shard: {address} cannot be read ({reason}).") from error
