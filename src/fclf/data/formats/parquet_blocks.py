"""Parquet files larger than memory: read and written a block of rows at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from fclf.data.formats.parquet import (
    ATTRIBUTES,
    COLUMNS,
    OPTIONS,
    attribute_names,
    clear_read_errors,
    fixed_size_list,
    refuse_repeated,
)

__all__ = ["BlockReader", "BlockWriter", "replaced"]

BUFFER = 1 << 20
"""Bytes read at once: elsewhere a whole column of a row group is, or with `pre_buffer` all that is ever asked for."""


class BlockReader:
    """The rows of a Parquet file, a block at a time, however they are grouped in the file."""

    def __init__(self, path: Path, what: str, threads: bool = False) -> None:
        self.path, self._what, self._threads = path, what, threads
        with clear_read_errors(path, what):
            self._file = parquet.ParquetFile(
                path, page_checksum_verification=True, buffer_size=BUFFER, pre_buffer=False
            )
        self.schema: pa.Schema = self._file.schema_arrow
        self.rows: int = self._file.metadata.num_rows
        try:
            self.attribute_names = attribute_names(self.schema, str(path))
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> BlockReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def blocks(self, size: int, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Tables of `size` rows, the last of what is left; one without rows for a file without rows."""
        batches = self._file.iter_batches(batch_size=size, columns=columns, use_threads=self._threads)
        schema = self.schema if columns is None else pa.schema([self.schema.field(name) for name in columns])
        waiting = schema.empty_table()
        first = True
        while True:
            with clear_read_errors(self.path, self._what):
                batch = next(batches, None)
            if batch is None:
                break
            waiting = pa.concat_tables([waiting, pa.Table.from_batches([batch])]) if len(waiting) else _table(batch)
            while len(waiting) >= size:  # row groups end where they like
                yield waiting.slice(0, size)
                waiting, first = waiting.slice(size), False
        if len(waiting) or first:
            yield waiting


def _table(batch: pa.RecordBatch) -> pa.Table:
    return pa.Table.from_batches([batch])


class BlockWriter:
    """A Parquet file that is written a block at a time, with the schema of its first block."""

    def __init__(self, file: IO[bytes]) -> None:
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


def replaced(table: pa.Table, arrays: Mapping[str, NDArray[Any]], path: Path) -> pa.Table:
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
