"""Labels of pictures in a plain table, joined by file name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv, parquet

from fclf.data.checks import check_people, known_splits
from fclf.data.embeddings import EmbeddingSet
from fclf.data.labelling import stem
from fclf.errors import InputError
from fclf.files import existing_file
from fclf.labels import UNKNOWN

__all__ = ["join_table"]

NAMES = ("id", "file", "filename", "file_name", "name", "image", "path")
"""Columns that may hold the names; the first column where none is called so."""
YES = {"1", "1.0", "true", "yes"}
NO = {"0", "0.0", "false", "no", "-1", "-1.0"}
MISSING = {"", "nan", "none", "null", "na"}


def join_table(data: EmbeddingSet, path: Path) -> tuple[EmbeddingSet, int]:
    """Give rows the labels of a CSV, TSV or Parquet table, and count those that it does not name.

    Columns: the name of the picture, `identity` and `split` where there are, and one for each attribute, of 0 and 1,
    yes and no or true and false; an empty cell is unknown. Names match with or without folders and extension.

    Raises:
        InputError: for a table that cannot be read, names that occur twice or not at all, or other values.
    """
    table = _read(existing_file(path, "Table of labels"))
    key = next((name for name in table.column_names if name.lower() in NAMES), table.column_names[0])
    names = [stem(str(name)) for name in table[key].to_pylist()]
    row_of = {name: row for row, name in enumerate(names)}
    if len(row_of) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{path}: column '{key}' names {len(names) - len(row_of)} pictures twice (first: {twice}).")
    rows = np.array([row_of.get(stem(name), -1) for name in data.ids.tolist()])
    if (rows < 0).all():
        raise InputError(
            f"None of the {len(data)} pictures (first: {data.ids[0]}) is named in column '{key}' of {path} (first: "
            f"{table[key][0].as_py()})."
        )
    attributes = [name for name in table.column_names if name not in (key, "identity", "split")]
    if not attributes:
        raise InputError(f"{path} has no column of labels; it holds {', '.join(table.column_names)}.")
    labels = np.stack([_labels(table[name], name, path) for name in attributes], axis=1)
    there = rows >= 0
    identities = split = None
    if "identity" in table.column_names:
        people = np.unique(_texts(table["identity"]), return_inverse=True)[1].reshape(-1)
        identities = np.where(there, people[rows], -1 - np.arange(len(data)))
    if "split" in table.column_names:
        split = np.where(there, _texts(table["split"])[rows], "train")
        split = known_splits({"split": split}, len(data), str(path))
    if identities is not None and split is not None:
        check_people(identities, split, str(path))
    joined = replace(
        data,
        attributes=np.where(there[:, None], labels[rows], UNKNOWN).astype(np.int8),
        attribute_names=tuple(attributes),
        identities=identities,
        split=split,
    )
    return joined, int((~there).sum())


def _read(path: Path) -> pa.Table:
    try:
        if path.suffix.lower() == ".parquet":
            table = parquet.read_table(path)
        else:
            delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
            table = csv.read_csv(path, parse_options=csv.ParseOptions(delimiter=delimiter))
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} cannot be read as a table: {str(error).splitlines()[0]}") from error
    if not len(table) or len(set(table.column_names)) < len(table.column_names):
        raise InputError(f"{path} holds no rows, or two columns of one name: {', '.join(table.column_names)}.")
    return table


def _texts(column: pa.ChunkedArray) -> NDArray[np.str_]:
    return np.array(["" if value is None else str(value) for value in column.to_pylist()])


def _labels(column: pa.ChunkedArray, name: str, path: Path) -> NDArray[np.int8]:
    texts = np.char.lower(np.char.strip(_texts(column)))
    out = np.full(len(texts), UNKNOWN, np.int8)
    out[np.isin(texts, list(YES))], out[np.isin(texts, list(NO))] = 1, 0
    odd = (out == UNKNOWN) & ~np.isin(texts, list(MISSING))
    if odd.any():
        row = int(odd.argmax())
        raise InputError(
            f"{path}: column '{name}' holds '{texts[row]}' in row {row}; a label is 0 or 1, yes or no, or empty where "
            "it is not known. Take the column out if it is no attribute."
        )
    return out
