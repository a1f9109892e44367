"""Parquet files: `embedding`, one column an attribute, `id`, `identity`, `split`, and whatever else a table holds.

The schema metadata `fclf.attributes`, a JSON list, says which columns are attributes and in which order, and
`fclf.encoder` which network made the embeddings. Two more conventions let every table and every set of arrays survive
the way there and back:

- a column with nulls is read as two arrays, `NAME` (nulls filled with 0 or an empty text) and `NAME:null` (where);
- an array that is no column (no row for each embedding, or a type that Parquet has not) is metadata,
  `fclf.array.NAME`, as base64 of an `.npy` file.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import parquet

from fclf.errors import InputError
from fclf.files import atomic_write, check_unpacked
from fclf.parsing import parse_json

__all__ = [
    "ATTRIBUTES",
    "COLUMNS",
    "OPTIONS",
    "arrays_of",
    "attribute_names",
    "check_promised",
    "clear_read_errors",
    "fixed_size_list",
    "number_column",
    "read_parquet",
    "refuse_repeated",
    "write_parquet",
]

COLUMNS = {"embeddings": "embedding", "ids": "id", "identities": "identity", "split": "split"}
"""Key of an array and the column that holds it."""

ATTRIBUTES = b"fclf.attributes"
ENCODER = b"fclf.encoder"
ARRAY = b"fclf.array."
NULL = ":null"
OPTIONS = {"compression": "zstd", "write_page_checksum": True}
"""Of every table that is written."""


def read_parquet(path: Path, what: str) -> dict[str, NDArray[Any]]:
    """Read a table as arrays: `embeddings` (n, d), `attributes` (n, K), `attribute_names` and every other column.

    Raises:
        InputError: if the file is damaged, or a column is not what its name promises.
    """
    with clear_read_errors(path, what), parquet.ParquetFile(path, page_checksum_verification=True) as file:
        check_promised(path, file.metadata)
        table = file.read()
    source = str(path)
    names = attribute_names(table.schema, source)
    arrays = arrays_of(table, names, source)
    for name in table.column_names:
        if name not in names and name not in COLUMNS.values():
            arrays |= _extra(table[name], name, source)
    for key, value in (table.schema.metadata or {}).items():
        if key.startswith(ARRAY):
            arrays[key.removeprefix(ARRAY).decode()] = _array_from_text(value, key, source)
    return arrays


WIDTHS = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "INT64": 8, "DOUBLE": 8}
"""Bytes of a value of Parquet's types in memory; of the others its texts, one byte at least."""


def check_promised(path: Path, metadata: Any) -> None:
    """Refuse a table that would fill the memory (`check_unpacked`).

    Runs and dictionaries write any number of values in a few bytes.
    """
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    columns = [group.column(place) for group in groups for place in range(group.num_columns)]
    check_unpacked(path, sum(column.num_values * WIDTHS.get(column.physical_type, 1) for column in columns))


@contextmanager
def clear_read_errors(path: Path | str, what: str) -> Iterator[None]:
    """Say what may be wrong with a file that Arrow cannot read."""
    try:
        yield
    except (FileNotFoundError, PermissionError, InputError):
        raise
    except Exception as error:  # a damaged file can raise any of Arrow's errors, and a few of Python's
        raise InputError(
            f"{what}: {path} cannot be read as .parquet ({type(error).__name__}: {str(error).splitlines()[0]}). "
            "It may be truncated; pyarrow.parquet.write_table(table, path) writes such a file."
        ) from error


def arrays_of(table: pa.Table, names: Sequence[str], source: str, first_row: int = 0) -> dict[str, NDArray[Any]]:
    """What `EmbeddingSet.from_arrays` checks, of those of its columns that the table has.

    Args:
        table: all rows of a file, or some that follow each other.
        names: of the attributes.
        source: what to call the file in messages.
        first_row: number of the first row in it.
    """
    arrays: dict[str, NDArray[Any]] = {}
    if "embedding" in table.column_names:
        arrays["embeddings"] = _embeddings(table["embedding"], source, first_row)
        encoder = (table.schema.metadata or {}).get(ENCODER)
        if encoder is not None:
            arrays["encoder"] = np.array(encoder.decode("utf-8", "replace"))
    if names:
        labels = [number_column(table[name], name, source) for name in names]
        arrays |= {"attributes": np.stack(labels, axis=1), "attribute_names": np.array(names)}
    for key, name in COLUMNS.items():
        if name in table.column_names and name != "embedding":
            _refuse_nulls(table[name], name, source, first_row)
            arrays[key] = _extra(table[name], name, source)[name]
    return arrays


def write_parquet(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays as a table, atomically, with a checksum on every page.

    Raises:
        InputError: if two arrays would need a column of the same name.
    """
    rows = len(arrays["embeddings"])
    columns: list[tuple[str, Any]] = []
    metadata: dict[bytes, bytes] = {}
    marks = {
        key + NULL
        for key, array in arrays.items()
        if array.ndim == 1 and _fits_a_column(array, rows) and _is_mask(arrays.get(key + NULL), rows)
    } - {key + NULL for key in COLUMNS}
    for key, array in arrays.items():
        if key in COLUMNS:
            columns.append((COLUMNS[key], _column(array)))
        elif key == "attributes":
            names = [str(name) for name in arrays["attribute_names"]]
            columns += [(name, _column(array[:, k])) for k, name in enumerate(names)]
            metadata[ATTRIBUTES] = json.dumps(names).encode()
        elif key == "encoder" and array.shape == () and array.dtype.kind == "U":
            metadata[ENCODER] = str(array).encode()
        elif key in marks:
            continue  # written with the column whose nulls it marks
        elif _fits_a_column(array, rows):
            columns.append((key, _column(array, arrays[key + NULL] if key + NULL in marks else None)))
        elif key != "attribute_names":
            metadata[ARRAY + key.encode()] = _text_from_array(array)
    titles = [name for name, _ in columns]
    refuse_repeated(titles, path)
    table = pa.table(dict(columns)).replace_schema_metadata(metadata)
    plain = [name for name in titles if name != "embedding"]  # of distinct floats a dictionary only costs space
    with atomic_write(path) as file:
        parquet.write_table(table, file, use_dictionary=plain, write_statistics=plain, **OPTIONS)


def refuse_repeated(titles: Sequence[str], path: Path | str) -> None:
    """Refuse a table with two columns of one name."""
    twice = sorted({name for name in titles if titles.count(name) > 1})
    if twice:
        raise InputError(
            f"{path}: two columns of this table would be called {', '.join(map(repr, twice))}. Rename the attribute or "
            "array of that name, or type a name that ends in .npz."
        )


def attribute_names(schema: pa.Schema, source: str) -> list[str]:
    """Columns that are attributes, in order; `InputError` for a schema that is not one of embeddings."""
    columns = schema.names
    names = _named_attributes((schema.metadata or {}).get(ATTRIBUTES), columns, source)
    _check_names(columns, source)
    return names


def _named_attributes(text: bytes | None, columns: list[str], source: str) -> list[str]:
    if text is None:
        return []
    try:
        names = parse_json(text)
    except ValueError:
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(
            f"{source}: the schema metadata `fclf.attributes` is {text[:60]!r}; a JSON list of column names was "
            """expected, for example ["Smiling", "Young"]."""
        )
    for name in names:
        if name not in columns or name in COLUMNS.values():
            near = get_close_matches(name, columns, n=1, cutoff=0.5)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise InputError(
                f"{source}: the schema metadata `fclf.attributes` names '{name}', which is no attribute column; "
                f"there are {', '.join(columns)}.{hint}"
            )
    return names


def _check_names(columns: list[str], source: str) -> None:
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise InputError(f"{source} has more than one column {', '.join(map(repr, twice))}; rename all but one.")
    taken = {"attributes", "attribute_names", *COLUMNS} - set(COLUMNS.values())
    for name in columns:
        if name in taken:
            right = COLUMNS.get(name, "one column an attribute, named in the schema metadata `fclf.attributes`")
            raise InputError(f"{source} has a column `{name}`; what it means is called {right} in a Parquet file.")
    if "embedding" not in columns:
        raise InputError(
            f"{source} has no column `embedding`; it holds {', '.join(columns) or 'none'}. Rename the one that holds "
            "the embeddings: table.rename_columns({'NAME': 'embedding'})."
        )


def _embeddings(column: pa.ChunkedArray, source: str, first_row: int) -> NDArray[Any]:
    kind = column.type
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind)  # how pandas writes rows of equal length
    if not (lists or pa.types.is_fixed_size_list(kind)) or not pa.types.is_floating(kind.value_type):
        raise InputError(
            f"{source}: column `embedding` has type {kind}; fixed_size_list<float>[d] was expected: "
            "pyarrow.FixedSizeListArray.from_arrays(matrix.ravel(), d)."
        )
    _refuse_nulls(column, "embedding", source, first_row)
    width = 0 if lists else kind.list_size
    if lists:
        lengths = pc.list_value_length(column).to_numpy()
        width = int(lengths[0]) if len(lengths) else 0
        other = lengths != width
        if other.any():
            row = int(other.argmax())
            raise InputError(
                f"{source}: the rows of column `embedding` must be equally long, but row {first_row} has {width} "
                f"numbers and row {first_row + row} has {lengths[row]}."
            )
    flat = pc.list_flatten(column).to_numpy()  # a null among the numbers becomes NaN, which is refused later
    return np.asarray(flat).reshape(len(column), width)


def number_column(column: pa.ChunkedArray, name: str, source: str) -> NDArray[Any]:
    """Numbers or booleans; NaN where they are null."""
    kind = column.type
    if not (pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise InputError(f"{source}: column '{name}' has type {kind}; an attribute is 0 or 1, or a boolean.")
    if not column.null_count:
        return _plain(column)
    labels = np.full(len(column), np.nan)  # unknown
    labels[column.is_valid().to_numpy()] = _plain(column.drop_null())
    return labels


def _refuse_nulls(column: pa.ChunkedArray, name: str, source: str, first_row: int) -> None:
    if column.null_count:
        row = first_row + int(column.is_null().to_numpy().argmax())
        raise InputError(
            f"{source}: column `{name}` is null in {column.null_count} of {len(column)} rows (first: row {row}). "
            "Every row needs a value: fill them, or leave the rows out."
        )


def _extra(column: pa.ChunkedArray, name: str, source: str) -> dict[str, NDArray[Any]]:
    """The column as one array, or as two where it has nulls."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    number = pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)
    date = pa.types.is_date32(kind) or (pa.types.is_timestamp(kind) and kind.tz is None)
    if pa.types.is_fixed_size_list(kind) and kind.value_type in _NUMBERS and not column.null_count:
        flat = pc.list_flatten(column)
        if not flat.null_count:
            return {name: np.asarray(flat.to_numpy()).reshape(len(column), kind.list_size)}
    if not (text or number or date):
        raise InputError(
            f"{source}: column '{name}' has type {kind}, which cannot be carried along. Leave it out: "
            f"pyarrow.parquet.write_table(table.drop_columns(['{name}']), path)."
        )
    if not column.null_count:
        return {name: _plain(column)}
    known, null = _plain(column.drop_null()), column.is_null().to_numpy()
    filled = np.zeros(len(column), dtype=known.dtype)
    filled[~null] = known
    return {name: filled, name + NULL: null}


_NUMBERS = {
    pa.from_numpy_dtype(kind) for kind in ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
}


def _plain(column: pa.ChunkedArray) -> NDArray[Any]:
    array = column.to_numpy()
    return array.astype(np.str_) if array.dtype.kind == "O" else array  # Arrow gives texts as objects


def _fits_a_column(array: NDArray[Any], rows: int) -> bool:
    if array.ndim == 0 or len(array) != rows:
        return False
    if array.ndim == 1:
        kind = array.dtype.str[1:]
        return array.dtype.kind == "U" or kind in ("M8[D]", "M8[s]", "M8[ms]", "M8[us]", "M8[ns]") or _is_number(array)
    return array.ndim == 2 and array.shape[1] > 0 and _is_number(array)


def _is_mask(array: NDArray[Any] | None, rows: int) -> bool:
    return array is not None and array.dtype == np.bool_ and array.shape == (rows,)


def _is_number(array: NDArray[Any]) -> bool:
    return array.dtype.kind in "biuf" and array.dtype.itemsize <= 8


def _column(array: NDArray[Any], null: NDArray[Any] | None = None) -> Any:
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.ndim == 2:
        return fixed_size_list(array)
    return pa.array(array, mask=null)


def fixed_size_list(matrix: NDArray[Any]) -> Any:
    """A matrix as a column of its rows."""
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(matrix).ravel()), matrix.shape[1])


def _text_from_array(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asanyarray(array), allow_pickle=False)
    return base64.b64encode(buffer.getvalue())


def _array_from_text(text: bytes, key: bytes, source: str) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.lib.format.read_array(io.BytesIO(base64.b64decode(text)), allow_pickle=False)
    except Exception as error:  # damaged base64, a damaged header, pickled objects
        raise InputError(f"{source}: the schema metadata {key.decode()!r} is no .npy array: {error}.") from error
    return array
