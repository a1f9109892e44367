"""The checks that arrays pass on their way into an `EmbeddingSet`: each names the first bad row and what to type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32, Float64, Int8
from numpy.typing import NDArray

from fclf.data.splits import SPLITS
from fclf.errors import InputError
from fclf.labels import UNKNOWN

__all__ = [
    "NORM_TOLERANCE",
    "LabelCoding",
    "binary_labels",
    "check_people",
    "check_people_of_splits",
    "check_unit_rows",
    "column",
    "known_splits",
    "one_text",
    "people_numbers",
    "plain_array",
    "row_norms",
    "text_ids",
    "unique_ids",
    "unit_rows",
]

LabelCoding = Literal["binary", "signed", "missing"]
"""How a file writes labels: 0/1; -1/1 for no/yes, with NaN for unknown; 0/1 with -1 or NaN for unknown."""

NORM_TOLERANCE = {"float16": 5e-3, "float32": 1e-3, "float64": 1e-3}
"""How far a norm may be from 1, by type of the embeddings."""


def one_text(value: NDArray[Any] | None, key: str, source: str) -> str | None:
    """A single text, where there is one."""
    if value is None:
        return None
    if value.ndim or value.dtype.kind != "U":
        raise InputError(f"{source}: `{key}` must be one text, but type {value.dtype} of shape {value.shape} came.")
    return str(value)


def plain_array(key: str, value: Any, source: str) -> NDArray[Any]:
    """`value` as an array of numbers, booleans or texts; anything else is refused."""
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InputError(f"{source}: `{key}` is not an array: {error}") from error
    if array.dtype.kind not in "biufcUSMm":
        raise InputError(f"{source}: `{key}` has type {array.dtype}; numbers, booleans or texts were expected.")
    return array


def row_norms(raw: NDArray[Any]) -> Float64[np.ndarray, " n"]:
    """Euclidean norm of every row, in float64 whatever the type; NaN and infinity stay what they are."""
    norms = np.sqrt(np.einsum("ij,ij->i", raw, raw, dtype=np.float64))
    # The square of a float64 above 1e154 is infinite and one below 1e-162 is 0: those rows are scaled first.
    extreme = np.flatnonzero(np.isinf(norms) | (norms == 0))
    if len(extreme):
        rows = raw[extreme].astype(np.float64)
        peak = np.abs(rows).max(axis=1)
        usable = np.isfinite(peak) & (peak > 0)
        scaled = rows[usable] / peak[usable, None]
        norms[extreme[usable]] = peak[usable] * np.sqrt((scaled * scaled).sum(axis=1))
    return norms


def unit_rows(
    raw: NDArray[Any], source: str, *, normalize: bool = False, first_row: int = 0
) -> Float32[np.ndarray, "n d"]:
    r"""Rows as float32 on the unit sphere, $z / \|z\|$.

    Args:
        raw: (n, d) float16, 32 or 64.
        source: what to call the input in messages.
        normalize: project rows of any finite length but 0; otherwise a norm may differ from 1 by 1e-3 (float16:
            5e-3), so that an encoder's unnormalised output is noticed and not silently bent.
        first_row: number of the first of these rows in `source`, for messages.
    """
    if raw.ndim != 2 or raw.shape[0] < 1 or raw.shape[1] < 2:
        raise InputError(f"{source}: `embeddings` has shape {raw.shape}; (rows, width) with width >= 2 was expected.")
    if raw.dtype.name not in NORM_TOLERANCE:
        raise InputError(f"{source}: `embeddings` has type {raw.dtype}; float16, float32 or float64 was expected.")
    tolerance = NORM_TOLERANCE[raw.dtype.name]
    norms = row_norms(raw)
    hopeless = ~((norms > 0) & np.isfinite(norms))  # no direction; negated, so that NaN counts
    off = hopeless if normalize else ~(np.abs(norms - 1) <= tolerance)
    if off.any():
        row = int(off.argmax())
        first = f"first: row {first_row + row}, norm {norms[row]:.4g}"
        if normalize:
            raise InputError(
                f"{source}: {int(off.sum())} of {len(raw)} rows of `embeddings` cannot be projected to the unit sphere "
                f"({first}): they are zero or hold NaN or infinity. Leave these rows out of the file."
            )
        advice = (
            f" {int(hopeless.sum())} of them are zero or hold NaN or infinity: leave those out."
            if hopeless.any()
            else ""
        )
        raise InputError(
            f"{source}: `embeddings` must hold unit vectors, but {int(off.sum())} of {len(raw)} rows are not "
            f"({first}, tolerance {tolerance:g}).{advice} "
            "Divide each row by its norm before saving, or type --normalize."
        )
    with np.errstate(over="ignore"):  # rows too long for float32 are projected below
        unit = np.array(raw, dtype=np.float32, order="C")
    # A row rounded to float32 has a norm within one rounding of 1: left alone, it keeps its bits from file to file.
    inexact = np.flatnonzero(np.abs(norms - 1) > np.finfo(np.float32).eps)
    for rows in np.array_split(inexact, len(inexact) // 65536 + 1):
        unit[rows] = raw[rows].astype(np.float64) / norms[rows, None]
    return unit


def check_unit_rows(raw: NDArray[Any], source: str, *, normalize: bool = False, first_row: int = 0) -> None:
    """Refuse rows that `unit_rows` refuses, without computing any; in float32, several times as fast."""
    rows = raw.astype(np.float32, copy=False)
    with np.errstate(over="ignore"):
        norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    usable = (norms > 0) & np.isfinite(norms) if normalize else np.abs(norms - 1) <= NORM_TOLERANCE[raw.dtype.name]
    if not usable.all():  # or are so near the limit that it takes float64 to tell
        unit_rows(raw, source, normalize=normalize, first_row=first_row)


def binary_labels(
    arrays: Mapping[str, NDArray[Any]], n: int, coding: LabelCoding, source: str, first_row: int = 0
) -> tuple[tuple[str, ...], Int8[np.ndarray, "n K"] | None]:
    """Names and labels 0, 1 or `UNKNOWN`; no names and None where the file has neither."""
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
        no, unknown = raw == -1, np.isnan(raw)
    elif coding == "missing":
        unknown = (raw == -1) | np.isnan(raw)
    bad = ~(yes | no | unknown)
    if bad.any():
        row, column = (int(i) for i in np.argwhere(bad)[0])
        meant = {
            "binary": "0 or 1",
            "signed": "-1, 1, or NaN for unknown",
            "missing": "0, 1, or -1 or NaN for unknown",
        }[coding]
        hint = (
            " If -1 means no, type --labels signed; if -1 or NaN means unknown, type --labels missing."
            if coding == "binary" and (np.isnan(raw[row, column]) or raw[row, column] == -1)
            else ""
        )
        raise InputError(
            f"{source}: `attributes` must be {meant}, but row {first_row + row}, '{titles[column]}' is "
            f"{raw[row, column]} ({int(bad.sum())} such values).{hint}"
        )
    return titles, np.where(unknown, UNKNOWN, yes).astype(np.int8)


def unique_ids(raw: NDArray[Any] | None, n: int, source: str) -> NDArray[np.str_]:
    """One distinct text a row; row numbers where the file names none."""
    if raw is None:
        return np.arange(n).astype(np.str_)
    ids = text_ids(raw, n, source)
    values, counts = np.unique(ids, return_counts=True)
    if len(values) < n:
        twice = values[counts > 1]
        raise InputError(f"{source}: `ids` must be unique, but {len(twice)} occur twice or more (first: '{twice[0]}').")
    return ids


def text_ids(raw: NDArray[Any], n: int, source: str) -> NDArray[np.str_]:
    """One text a row, of texts or integers."""
    if raw.shape != (n,) or raw.dtype.kind not in "Uiu":
        raise InputError(f"{source}: `ids` must be {n} texts, but shape {raw.shape}, type {raw.dtype} came.")
    return raw.astype(np.str_)


def people_numbers(arrays: Mapping[str, NDArray[Any]], n: int, source: str) -> NDArray[np.int64] | None:
    """One integer a row, or None."""
    identities = column(arrays, "identities", n, "iu", "integers", source)
    if identities is not None and identities.size and int(identities.max()) > np.iinfo(np.int64).max:
        raise InputError(f"{source}: `identities` must fit in 64 bits with a sign, but {identities.max()} came.")
    return None if identities is None else identities.astype(np.int64)


def column(
    arrays: Mapping[str, NDArray[Any]], key: str, n: int, kinds: str, what: str, source: str
) -> NDArray[Any] | None:
    """The array under `key`, one value a row of one of these kinds of type, or None."""
    raw = arrays.get(key)
    if raw is not None and (raw.shape != (n,) or raw.dtype.kind not in kinds):
        raise InputError(f"{source}: `{key}` must be {n} {what}, but shape {raw.shape}, type {raw.dtype} came.")
    return raw


def known_splits(
    arrays: Mapping[str, NDArray[Any]], n: int, source: str, first_row: int = 0
) -> NDArray[np.str_] | None:
    """One of `SPLITS` a row, or None."""
    split = column(arrays, "split", n, "U", "texts", source)
    if split is None:
        return None
    strange = ~np.isin(split, SPLITS)
    if strange.any():
        row = int(strange.argmax())
        where = f"row {first_row + row} is '{split[row]}'"
        raise InputError(f"{source}: `split` must be one of {', '.join(SPLITS)}, but {where}.")
    return split.astype("U5")


def check_people(identities: NDArray[Any], split: NDArray[np.str_], source: str) -> None:
    """Refuse a person who stands in two splits."""
    pairs = np.unique(np.stack([identities.astype(np.int64), np.searchsorted(np.sort(SPLITS), split)]), axis=1)
    people, counts = np.unique(pairs[0], return_counts=True)
    if (counts > 1).any():
        who = people[counts > 1]
        where = sorted(set(split[identities == who[0]].tolist()))
        raise InputError(
            f"{source}: {len(who)} identities stand in more than one split (first: {who[0]}, in {', '.join(where)}). "
            "Judges must not know the people they judge: give every identity one split, or leave out `split`."
        )


def check_people_of_splits(people: Mapping[str, Sequence[NDArray[Any]]], source: str) -> None:
    """`check_people` where the people of each split are known, in parts."""
    of_split = {name: np.unique(np.concatenate(parts)) for name, parts in people.items() if parts}
    if of_split:
        numbers = np.concatenate(list(of_split.values()))
        if len(np.unique(numbers)) < len(numbers):
            where = np.repeat(list(of_split), [len(part) for part in of_split.values()])
            check_people(numbers, where, source)
