"""Labels of pictures in a plain table, joined by file name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa
from jaxtyping import Int8, Int64
from numpy.typing import NDArray
from pyarrow import csv, parquet

from fclf.data.checks import LabelCoding, check_people, known_splits
from fclf.data.embeddings import EmbeddingSet
from fclf.data.formats.parquet import check_promised
from fclf.data.images import SUFFIXES
from fclf.errors import InputError
from fclf.files import existing_file
from fclf.labels import UNKNOWN

__all__ = ["LabelTable"]

NAMES = ("id", "file", "filename", "file_name", "name", "image", "path")
"""Columns that may hold the names; the first column where none is called so."""
YES = ("1", "1.0", "true", "yes")
NO = ("0", "0.0", "false", "no")
MINUS = ("-1", "-1.0")
"""No or unknown, as the table's coding says."""
MISSING = ("", "nan", "none", "null", "na")


@dataclass(frozen=True)
class LabelTable:
    """What a table says of pictures. Build one with `read`, which checks everything."""

    path: Path
    key: str
    """Column of the names."""
    names: tuple[str, ...]
    attribute_names: tuple[str, ...]
    attributes: Int8[np.ndarray, "n K"]
    identities: Int64[np.ndarray, " n"] | None
    """Who is shown; somebody of their own in rows that do not say."""
    split: NDArray[np.str_] | None

    @classmethod
    def read(cls, path: Path, labels: LabelCoding = "binary") -> LabelTable:
        """Read a CSV, TSV or Parquet table.

        Columns: the name of the picture, `identity` and `split` where there are, and one for each attribute, of 0 and
        1, yes and no or true and false; an empty cell is unknown.

        Args:
            path: the table.
            labels: what -1 means: with `signed` no, with `missing` unknown, and otherwise it is refused.

        Raises:
            InputError: for a table that cannot be read, names that occur twice, or other values.
        """
        table = _read(existing_file(path, "Table of labels"))
        titles = table.column_names
        key = next((name for name in titles if name.lower() in NAMES), titles[0])
        special = {name.lower(): name for name in titles if name.lower() in ("identity", "split") and name != key}
        attributes = [name for name in titles if name != key and name not in special.values()]
        if not attributes and not special:
            raise InputError(f"{path} has no column of labels; it holds {', '.join(titles)}.")
        names = tuple(str(name).replace("\\", "/").removeprefix("./") for name in _texts(table[key]))
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise InputError(f"{path}: column '{key}' names {len(names) - len(set(names))} pictures twice ({twice}).")
        columns = [_labels(_texts(table[name]), name, labels, path) for name in attributes]
        split = _texts(table[special["split"]]) if "split" in special else None
        return cls(
            path=path,
            key=key,
            names=names,
            attribute_names=tuple(attributes),
            attributes=np.stack(columns, axis=1) if columns else np.zeros((len(names), 0), np.int8),
            identities=_people(_texts(table[special["identity"]])) if "identity" in special else None,
            split=None if split is None else known_splits({"split": split}, len(split), str(path)),
        )

    def join(self, data: EmbeddingSet) -> tuple[EmbeddingSet, int]:
        """Give rows their labels, and count those that the table does not name, which are of the split train.

        Raises:
            InputError: if no row is named, or a name may mean several of them.
        """
        rows = self._rows(data.ids.tolist())
        there = rows >= 0
        if not there.any():
            raise InputError(
                f"None of the {len(data)} pictures (first: {data.ids[0]}) is named in column '{self.key}' of "
                f"{self.path} (first: {self.names[0]}). Names are those of the files, with or without folders and "
                "extension."
            )
        identities = split = None
        if self.identities is not None:
            nobody = min(0, int(self.identities.min())) - 1 - np.arange(len(data))
            identities = np.where(there, self.identities[rows], nobody)
        if self.split is not None:
            split = np.where(there, self.split[rows], "train")
        if identities is not None and split is not None:
            check_people(identities, split, str(self.path))
        labelled = replace(data, identities=identities, split=split)
        if self.attribute_names:
            attributes = np.where(there[:, None], self.attributes[rows], UNKNOWN).astype(np.int8)
            labelled = replace(labelled, attributes=attributes, attribute_names=self.attribute_names)
        return labelled, int((~there).sum())

    def _rows(self, ids: Sequence[str]) -> Int64[np.ndarray, " n"]:
        """Row of every picture, -1 where there is none: by its very name, else by the name without its extension.

        A name matches with fewer or more folders before it, as long as only one row and one picture do.
        """
        rows = self._named(ids, self.names)
        taken = set(rows[rows >= 0].tolist())
        left = [place for place, row in enumerate(rows.tolist()) if row < 0]
        free = [row for row in range(len(self.names)) if row not in taken]
        bare = self._named([_bare(ids[place]) for place in left], [_bare(self.names[row]) for row in free])
        for place, found in zip(left, bare.tolist(), strict=True):
            rows[place] = free[found] if found >= 0 else -1
        return rows

    def _named(self, ids: Sequence[str], names: Sequence[str]) -> Int64[np.ndarray, " n"]:
        whole: dict[str, list[int]] = {}
        within: dict[str, list[int]] = {}
        for row, name in enumerate(names):
            whole.setdefault(name, []).append(row)
            for part in _below(name):
                within.setdefault(part, []).append(row)
        exact = [whole[name] if len(whole.get(name, ())) == 1 else [] for name in ids]
        taken = {row for found in exact for row in found}
        rows = np.full(len(ids), -1, np.int64)
        picture_of: dict[int, str] = {}
        for place, name in enumerate(ids):
            found = exact[place] or [
                row
                for row in (*within.get(name, ()), *(r for part in (name, *_below(name)) for r in whole.get(part, ())))
                if row not in taken
            ]
            if len(found) > 1:
                listed = " and ".join(f"'{names[row]}'" for row in found[:2])
                raise InputError(f"{self.path}: {listed} may both be the picture {name}. {self._advice()}")
            if found:
                if found[0] in picture_of:
                    both = f"{picture_of[found[0]]} or {name}"
                    raise InputError(f"{self.path}: '{names[found[0]]}' may be the picture {both}. {self._advice()}")
                picture_of[found[0]] = name
                rows[place] = found[0]
        return rows

    def _advice(self) -> str:
        return f"Write paths below the folder of pictures, with extensions, into column '{self.key}'."


def _below(name: str) -> Iterator[str]:
    """`b/c.png` and `c.png` of `a/b/c.png`."""
    while "/" in name:
        name = name.partition("/")[2]
        yield name


def _bare(name: str) -> str:
    """The name without the extension of a picture; `face.1` has none."""
    suffix = PurePosixPath(name).suffix
    return name.removesuffix(suffix) if suffix.lower() in SUFFIXES else name


def _read(path: Path) -> pa.Table:
    try:
        if path.suffix.lower() == ".parquet":
            with parquet.ParquetFile(path) as file:
                check_promised(path, file.metadata)
                table = file.read()
        else:
            parse = csv.ParseOptions(delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
            with csv.open_csv(path, parse_options=parse) as lines:
                names = lines.schema.names
            # All as texts: as a number, 000001 would be 1.
            convert = csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()))
            table = csv.read_csv(path, parse_options=parse, convert_options=convert)
    except InputError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:  # names that are not UTF-8 are no error of Arrow's
        raise InputError(f"{path} cannot be read as a table: {str(error).splitlines()[0]}") from error
    if not len(table) or len(set(table.column_names)) < len(table.column_names):
        raise InputError(f"{path} holds no rows, or two columns of one name: {', '.join(table.column_names)}.")
    return table


def _texts(column: pa.ChunkedArray) -> NDArray[np.str_]:
    return np.array(["" if value is None else str(value).strip() for value in column.to_pylist()])


def _people(texts: NDArray[np.str_]) -> Int64[np.ndarray, " n"]:
    """The table's own numbers, or numbers in the order of the names; pandas writes 7 as 7.0 where some are missing."""
    missing = np.isin(np.char.lower(texts), MISSING)
    numbers = [re.fullmatch(r"(-?\d{1,18})(?:\.0+)?", text) for text in texts[~missing].tolist()]
    people = np.zeros(len(texts), np.int64)
    if all(numbers):
        people[~missing] = [int(number[1]) for number in numbers if number]
    else:
        people[~missing] = np.unique(texts[~missing], return_inverse=True)[1].reshape(-1)
    people[missing] = min(0, int(people.min())) - 1 - np.arange(int(missing.sum()))
    return people


def _labels(texts: NDArray[np.str_], name: str, coding: LabelCoding, path: Path) -> Int8[np.ndarray, " n"]:
    texts = np.char.lower(texts)
    no = (*MINUS, *NO[2:]) if coding == "signed" else NO
    missing = (*MISSING, *MINUS) if coding == "missing" else MISSING
    out = np.full(len(texts), UNKNOWN, np.int8)
    out[np.isin(texts, YES)], out[np.isin(texts, no)] = 1, 0
    odd = (out == UNKNOWN) & ~np.isin(texts, missing)
    if odd.any():
        row = int(odd.argmax())
        meant = "-1 or 1" if coding == "signed" else "0 or 1"
        advice = (
            "If -1 means no, type --labels signed; if it means unknown, type --labels missing."
            if texts[row] in MINUS
            else "Take the column out if it is no attribute."
        )
        raise InputError(
            f"{path}: column '{name}' holds '{texts[row]}' in row {row}; a label is {meant}, yes or no, or empty where "
            f"it is not known. {advice}"
        )
    return out
