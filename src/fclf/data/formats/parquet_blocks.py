"""Parquet files larger than memory, written a block of rows at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from io import RawIOBase
from pathlib import Path
from typing import IO, Any, Protocol, TypeVar

import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from fclf.data.formats.parquet import (
    ATTRIBUTES,
    COLUMNS,
    OPTIONS,
    fixed_size_list,
    refuse_repeated,
)
from fclf.files import atomic_write

__all__ = ["BlockWriter", "replaced", "to_the_end", "write_blocks"]


class BlockWriter:
    """A Parquet file that is written a block at a time, with the schema of its first block."""

    def __init__(self, file: IO[bytes] | RawIOBase) -> None:
        self._file = file
        self._writer: parquet.ParquetWriter | None = None

    def write(self, table: pa.Table) -> None:
        """Write rows as a row group, with a checksum on every page."""
        if self._writer is None:
            plain = [name for name in table.column_names if name != "embedding"]
            self._writer = parquet.ParquetWriter(
                self._file, table.schema, use_dictionary=plain, write_statistics=plain, **OPTIONS
            )
        self._writer.write_table(table, row_group_size=max(1, len(table)))

    def finish(self) -> None:
        """Write the footer, without which the file cannot be read."""
        if self._writer is not None:
            self._writer.close()

    def abandon(self) -> None:
        """Let go of a file that will not be kept, so that nothing is written to it when it is closed already."""
        if self._writer is not None:
            with suppress(Exception):
                self._writer.close()
            self._writer.is_open = False


class _Writer(Protocol):
    def finish(self) -> None: ...

    def abandon(self) -> None: ...


W = TypeVar("W", bound=_Writer)


@contextmanager
def to_the_end(writer: W) -> Iterator[W]:
    """Finish a writer when the block ends without an error, and abandon it otherwise."""
    try:
        yield writer
        writer.finish()
    except BaseException:
        writer.abandon()
        raise


@contextmanager
def write_blocks(path: Path) -> Iterator[BlockWriter]:
    """A file that is whole or absent."""
    with atomic_write(path) as file, to_the_end(BlockWriter(file)) as writer:
        yield writer


def replaced(table: pa.Table, arrays: Mapping[str, NDArray[Any]], path: Path | str) -> pa.Table:
    """`table` with what `arrays` hold under the keys of `EmbeddingSet.to_arrays` in its place; the rest stays.

    Raises:
        InputError: if an attribute would be called as another column is.
    """
    metadata = dict(table.schema.metadata or {})
    own = json.loads(metadata.get(ATTRIBUTES, b"[]"))
    names = [str(name) for name in arrays.get("attribute_names", ())]
    refuse_repeated([*(name for name in table.column_names if name not in own), *names], path)
    if names:
        table = table.drop_columns([name for name in own if name not in names])
    columns = {name: pa.array(arrays["attributes"][:, k]) for k, name in enumerate(names)}
    for key, name in COLUMNS.items():
        if key in arrays:
            columns[name] = fixed_size_list(arrays[key]) if arrays[key].ndim == 2 else pa.array(arrays[key])
    for name, column in columns.items():
        place = table.schema.get_field_index(name)
        table = table.append_column(name, column) if place < 0 else table.set_column(place, name, column)
    if names:
        metadata[ATTRIBUTES] = json.dumps(names).encode()
    return table.replace_schema_metadata(metadata)
