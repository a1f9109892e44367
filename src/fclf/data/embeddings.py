"""`EmbeddingSet`: unit embeddings with labelled attributes, checked when they come in."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32, Int8, Int64
from numpy.typing import NDArray

from fclf.data.splits import SPLITS, assign_splits
from fclf.errors import InputError
from fclf.files import digest, read_npz, write_npz

__all__ = ["UNKNOWN", "EmbeddingSet", "LabelCoding", "attribute_positions"]

UNKNOWN = -1
"""Stands in `EmbeddingSet.attributes` for a label that is not known."""

LabelCoding = Literal["binary", "signed", "missing"]
"""How a file writes labels: 0/1; -1/1 for no/yes; 0/1 with -1 or NaN for unknown."""

NORM_TOLERANCE = {"float16": 5e-3, "float32": 1e-3, "float64": 1e-3}
KEYS = ("embeddings", "attributes", "attribute_names", "ids", "identities", "split")


@dataclass(frozen=True)
class EmbeddingSet:
    """Embeddings on the unit sphere with attributes, ids, identities and splits.

    Build one with `load` or `from_arrays`, which check everything; the constructor itself trusts its arguments.
    """

    embeddings: Float32[np.ndarray, "n d"]
    """Unit vectors."""
    attributes: Int8[np.ndarray, "n K"] | None = None
    """0, 1 or `UNKNOWN`; absent in files that are only edited."""
    attribute_names: tuple[str, ...] = ()
    ids: NDArray[np.str_] = field(default_factory=lambda: np.empty(0, dtype="U1"))
    identities: Int64[np.ndarray, " n"] | None = None
    """Who is shown; rows of one person never stand in two splits."""
    split: NDArray[np.str_] | None = None
    """One of `fclf.data.splits.SPLITS` a row."""
    has_ids: bool = True
    """False where `ids` are row numbers because the file names no ids."""
    extras: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """What else the file holds, carried along unread."""

    def __len__(self) -> int:
        return len(self.embeddings)

    @property
    def dim(self) -> int:
        """Width d of the embeddings."""
        return int(self.embeddings.shape[1])

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, Any], *, labels: LabelCoding = "binary", source: str = "the arrays"
    ) -> EmbeddingSet:
        """Check arrays under the keys of the file format and build a set from them.

        Args:
            arrays: `embeddings` (n, d) float16, 32 or 64 of unit norm; optionally `attributes` (n, K),
                `attribute_names` (K,), `ids` (n,), `identities` (n,), `split` (n,). Other keys are kept.
            labels: how attributes are written.
            source: what to call the input in messages.

        Raises:
            InputError: for anything else, with the first bad row.
        """
        arrays = {key: _array(key, value, source) for key, value in arrays.items()}
        if "embeddings" not in arrays:
            found = ", ".join(sorted(arrays)) or "nothing"
            raise InputError(f"{source} has no array `embeddings`; it holds {found}.")
        embeddings = _unit_rows(arrays["embeddings"], source)
        n = len(embeddings)
        names, attributes = _labels(arrays, n, labels, source)
        ids = _ids(arrays.get("ids"), n, source)
        identities = _column(arrays, "identities", n, "iu", "integers", source)
        if identities is not None and identities.size and int(identities.max()) > np.iinfo(np.int64).max:
            raise InputError(f"{source}: `identities` must fit in 64 bits with a sign, but {identities.max()} came.")
        split = _split(arrays, n, source)
        if identities is not None and split is not None:
            _check_people(identities, split, source)
        return cls(
            embeddings=embeddings,
            attributes=attributes,
            attribute_names=names,
            ids=ids,
            identities=None if identities is None else identities.astype(np.int64),
            split=split,
            has_ids="ids" in arrays,
            extras={key: value for key, value in arrays.items() if key not in KEYS},
        )

    @classmethod
    def load(cls, path: str | Path, *, labels: LabelCoding = "binary") -> EmbeddingSet:
        """Read an `.npz` file; pickled objects are never executed.

        Raises:
            InputError: for a file that is missing, damaged or breaks the format.
        """
        path = Path(path)
        if path.suffix != ".npz" and path.is_file():
            raise InputError(f"{path} ends in '{path.suffix}'; embeddings are read from .npz files.")
        arrays = read_npz(path, "Embeddings")
        return cls.from_arrays(arrays, labels=labels, source=str(path))

    def save(self, path: str | Path) -> None:
        """Write an `.npz` file that `load` reads back; the file is whole or absent."""
        path = Path(path)
        if path.suffix != ".npz":
            raise InputError(f"{path} ends in '{path.suffix}'; type a name that ends in .npz.")
        arrays: dict[str, NDArray[Any]] = {"embeddings": self.embeddings}
        if self.attributes is not None:
            arrays |= {"attributes": self.attributes, "attribute_names": np.array(self.attribute_names)}
        if self.has_ids:
            arrays["ids"] = self.ids
        for key, value in (("identities", self.identities), ("split", self.split)):
            if value is not None:
                arrays[key] = value
        write_npz(path, {**arrays, **self.extras})

    def select(self, names: Sequence[str]) -> EmbeddingSet:
        """Keep these attributes, in this order; `InputError` suggests the nearest name for one that is not there."""
        if self.attributes is None:
            raise InputError("These embeddings have no attributes, so none can be chosen by name.")
        if not names:
            raise InputError(f"No attribute is chosen; choose among {', '.join(self.attribute_names)}.")
        columns = attribute_positions(names, self.attribute_names)
        return replace(self, attributes=self.attributes[:, columns], attribute_names=tuple(names))

    def take(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> EmbeddingSet:
        """Keep some rows, given as a mask or as row numbers."""

        def pick(column: Any) -> Any:
            return None if column is None else column[rows]

        return replace(
            self,
            embeddings=self.embeddings[rows],
            attributes=pick(self.attributes),
            ids=self.ids[rows],
            identities=pick(self.identities),
            split=pick(self.split),
            extras={
                key: value[rows] if value.ndim and len(value) == len(self) else value
                for key, value in self.extras.items()
            },
        )

    def with_split(self, seed: int = 0) -> EmbeddingSet:
        """Return a set in which every row has a split: the file's own, or a seeded 56/8/16/20 one."""
        if self.split is not None:
            return self
        return replace(self, split=assign_splits(len(self), self.identities, seed))

    def part(self, split: str) -> EmbeddingSet:
        """Rows of one split.

        Raises:
            InputError: if there are none.
        """
        if split not in SPLITS:
            raise InputError(f"There is no split '{split}'; type one of {', '.join(SPLITS)}.")
        if self.split is None:
            raise InputError("These embeddings have no split column; call `with_split(seed)` first.")
        rows = self.split == split
        if not rows.any():
            counts = ", ".join(f"{name} {int((self.split == name).sum())}" for name in SPLITS)
            raise InputError(f"The split '{split}' is empty (rows: {counts}). Give rows the split '{split}'.")
        return self.take(rows)

    def labelled(self) -> EmbeddingSet:
        """Rows whose attributes are all known.

        Raises:
            InputError: if there are no attributes, or no such row.
        """
        if self.attributes is None:
            raise InputError("These embeddings have no attributes; add `attributes` and `attribute_names` to the file.")
        known = (self.attributes != UNKNOWN).all(axis=1)
        if not known.any():
            raise InputError(f"No row has all of {', '.join(self.attribute_names)} labelled; choose fewer attributes.")
        return self if known.all() else self.take(known)

    def fingerprint(self) -> str:
        """SHA-256 over embeddings, attributes, names, ids and split: the same for the same data in any file."""
        attributes = b"" if self.attributes is None else np.ascontiguousarray(self.attributes).data.cast("B")
        split = None if self.split is None else self.split.tolist()
        text = json.dumps([self.attribute_names, self.ids.tolist(), split]).encode()
        return digest(np.ascontiguousarray(self.embeddings).data.cast("B"), attributes, text)

    def row_digests(self) -> list[str]:
        """Digest of each row's content: finds the same embedding again in another file, whatever it is called."""
        return [digest(row.tobytes())[:16] for row in self.embeddings]


def attribute_positions(names: Sequence[str], available: Sequence[str]) -> list[int]:
    """Column of each name; `InputError` for unknown or repeated names, all of them at once."""
    problems = []
    for name in names:
        if name not in available:
            near = get_close_matches(name, available, n=1, cutoff=0.5)
            problems.append(f"'{name}'" + (f" (did you mean '{near[0]}'?)" if near else ""))
    if problems:
        raise InputError(
            f"Unknown attribute {', '.join(problems)}. There are {len(available)}: {', '.join(available) or 'none'}."
        )
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if list(names).count(name) > 1})
        raise InputError(f"Attributes named twice: {', '.join(twice)}.")
    return [list(available).index(name) for name in names]


def _array(key: str, value: Any, source: str) -> NDArray[Any]:
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InputError(f"{source}: `{key}` is not an array: {error}") from error
    if array.dtype.kind not in "biufcUSMm":
        raise InputError(f"{source}: `{key}` has type {array.dtype}; numbers, booleans or texts were expected.")
    return array


def _unit_rows(raw: NDArray[Any], source: str) -> Float32[np.ndarray, "n d"]:
    if raw.ndim != 2 or raw.shape[0] < 1 or raw.shape[1] < 2:
        raise InputError(f"{source}: `embeddings` has shape {raw.shape}; (rows, width) with width >= 2 was expected.")
    if raw.dtype.name not in NORM_TOLERANCE:
        raise InputError(f"{source}: `embeddings` has type {raw.dtype}; float16, float32 or float64 was expected.")
    tolerance = NORM_TOLERANCE[raw.dtype.name]
    norms = np.sqrt(np.einsum("ij,ij->i", raw, raw, dtype=np.float64))
    off = ~(np.abs(norms - 1) <= tolerance)  # negated, so that NaN counts as off
    if off.any():
        row = int(off.argmax())
        raise InputError(
            f"{source}: `embeddings` must hold unit vectors, but {int(off.sum())} of {len(raw)} rows are not "
            f"(first: row {row}, norm {norms[row]:.4g}, tolerance {tolerance:g}). "
            "Divide each row by its norm before saving."
        )
    unit = np.array(raw, dtype=np.float32, order="C")
    # A row rounded to float32 has a norm within one rounding of 1: left alone, it keeps its bits from file to file.
    inexact = np.flatnonzero(np.abs(norms - 1) > np.finfo(np.float32).eps)
    for rows in np.array_split(inexact, len(inexact) // 65536 + 1):
        unit[rows] = raw[rows].astype(np.float64) / norms[rows, None]
    return unit


def _labels(
    arrays: Mapping[str, NDArray[Any]], n: int, coding: LabelCoding, source: str
) -> tuple[tuple[str, ...], Int8[np.ndarray, "n K"] | None]:
    raw, names = arrays.get("attributes"), arrays.get("attribute_names")
    if raw is None:
        if names is not None:
            raise InputError(f"{source} has `attribute_names` but no `attributes`.")
        return (), None
    if raw.ndim != 2 or len(raw) != n or raw.shape[1] < 1:
        raise InputError(f"{source}: `attributes` has shape {raw.shape}; ({n}, K) was expected.")
    if names is None or names.shape != (raw.shape[1],) or names.dtype.kind != "U":
        came = "nothing" if names is None else f"shape {names.shape}, type {names.dtype}"
        raise InputError(f"{source}: `attribute_names` must be {raw.shape[1]} texts, but {came} came.")
    titles = tuple(str(name) for name in names)
    if len(set(titles)) < len(titles) or not all(titles):
        raise InputError(f"{source}: `attribute_names` must be distinct and not empty, but they are {titles}.")
    if raw.dtype.kind not in "biuf":
        raise InputError(f"{source}: `attributes` has type {raw.dtype}; numbers or booleans, 0 or 1, were expected.")
    yes, no = raw == 1, raw == 0
    unknown = np.zeros_like(yes)
    if coding == "signed":
        no = raw == -1
    elif coding == "missing":
        unknown = (raw == -1) | np.isnan(raw)
    bad = ~(yes | no | unknown)
    if bad.any():
        row, column = (int(i) for i in np.argwhere(bad)[0])
        meant = {"binary": "0 or 1", "signed": "-1 or 1", "missing": "0, 1, or -1 or NaN for unknown"}[coding]
        hint = (
            " If -1 means no, type --labels signed; if -1 or NaN means unknown, type --labels missing."
            if coding == "binary" and (np.isnan(raw[row, column]) or raw[row, column] == -1)
            else ""
        )
        raise InputError(
            f"{source}: `attributes` must be {meant}, but row {row}, '{titles[column]}' is {raw[row, column]} "
            f"({int(bad.sum())} such values).{hint}"
        )
    return titles, np.where(unknown, UNKNOWN, yes).astype(np.int8)


def _ids(raw: NDArray[Any] | None, n: int, source: str) -> NDArray[np.str_]:
    if raw is None:
        return np.arange(n).astype(np.str_)
    if raw.shape != (n,) or raw.dtype.kind not in "Uiu":
        raise InputError(f"{source}: `ids` must be {n} texts, but shape {raw.shape}, type {raw.dtype} came.")
    ids = raw.astype(np.str_)
    values, counts = np.unique(ids, return_counts=True)
    if len(values) < n:
        twice = values[counts > 1]
        raise InputError(f"{source}: `ids` must be unique, but {len(twice)} occur twice or more (first: '{twice[0]}').")
    return ids


def _column(
    arrays: Mapping[str, NDArray[Any]], key: str, n: int, kinds: str, what: str, source: str
) -> NDArray[Any] | None:
    raw = arrays.get(key)
    if raw is not None and (raw.shape != (n,) or raw.dtype.kind not in kinds):
        raise InputError(f"{source}: `{key}` must be {n} {what}, but shape {raw.shape}, type {raw.dtype} came.")
    return raw


def _split(arrays: Mapping[str, NDArray[Any]], n: int, source: str) -> NDArray[np.str_] | None:
    split = _column(arrays, "split", n, "U", "texts", source)
    if split is None:
        return None
    strange = ~np.isin(split, SPLITS)
    if strange.any():
        row = int(strange.argmax())
        raise InputError(f"{source}: `split` must be one of {', '.join(SPLITS)}, but row {row} is '{split[row]}'.")
    return split.astype("U5")


def _check_people(identities: NDArray[Any], split: NDArray[np.str_], source: str) -> None:
    pairs = np.unique(np.stack([identities.astype(np.int64), np.searchsorted(np.sort(SPLITS), split)]), axis=1)
    people, counts = np.unique(pairs[0], return_counts=True)
    if (counts > 1).any():
        who = people[counts > 1]
        where = sorted(set(split[identities == who[0]].tolist()))
        raise InputError(
            f"{source}: {len(who)} identities stand in more than one split (first: {who[0]}, in {', '.join(where)}). "
            "Judges must not know the people they judge: give every identity one split, or leave out `split`."
        )
