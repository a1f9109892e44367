"""Labels for embeddings that have none: found by id, or by the order of the annotation list."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int8, Int64
from numpy.typing import NDArray

from fclf.data.annotations import Annotations
from fclf.data.checks import check_people
from fclf.data.embeddings import EmbeddingSet
from fclf.data.splits import SPLITS, assign_splits
from fclf.errors import InputError
from fclf.labels import UNKNOWN

__all__ = ["PARTITIONS", "Labelled", "label", "official_split", "stem"]

PARTITIONS = ("train", "val", "test")
"""Names of the official parts 0, 1 and 2."""

REFERENCE_CUTS = {"train": slice(0, 162_000), "val": slice(162_000, 182_000), "test": slice(182_000, None)}
CELEBA_ROWS = 202_599
NAMED = re.compile(r"(?<![a-z])(train|val|valid|validation|test|all)(?![a-z])")


@dataclass(frozen=True)
class Labelled:
    """Embeddings with labels, and how they came to them."""

    data: EmbeddingSet
    joined_by: Literal["id", "order"]
    rule: str
    """Which rows of the list were taken, in words."""
    unmatched: int
    """Rows whose id is not in the list; their labels are `UNKNOWN`."""
    split_from: Literal["file", "official", "none"]


def label(
    data: EmbeddingSet,
    annotations: Annotations,
    present: Bool[np.ndarray, " n"],
    *,
    seed: int = 0,
    partition: str | None = None,
    name: str = "",
) -> Labelled:
    """Join attributes, identities and the official split to embeddings.

    Rows with ids are joined by id, which may be a path and may lack its extension; rows without are taken to be in
    the order of the list. The attributes and identities of `data` are replaced, its own split is kept.

    Args:
        data: embeddings.
        annotations: the list.
        present: which of the listed images are there, for embeddings of a partial copy.
        seed: of the part of the official split that is drawn (`official_split`).
        partition: `train`, `val`, `test` or `all`: the part of the list that rows without ids are in the order of;
            told from the file's name or their number where it is absent.
        name: of the embedding file.

    Raises:
        InputError: if no id is in the list, or rows without ids fit no part of it, or more than one.
    """
    if data.has_ids and partition is not None:
        raise InputError(f"--partition {partition}: the rows have ids and are joined by those; leave it out.")
    if data.has_ids:
        rows, rule = _rows_by_id(data, annotations), "the whole list"
    else:
        rows, rule = _rows_in_order(len(data), annotations, present, partition, name)
    joined = replace(data, ids=data.ids if data.has_ids else annotations.ids[rows], has_ids=True)
    unmatched = rows < 0
    attributes = np.where(unmatched[:, None], UNKNOWN, annotations.attributes[rows]).astype(np.int8)
    identities = data.identities
    if annotations.identities is not None:  # somebody of their own for each row of whom nothing is known
        identities = np.where(unmatched, -1 - np.arange(len(data)), annotations.identities[rows])
    split = data.split
    if split is None and annotations.partition is not None:
        split = official_split(np.where(unmatched, -1, annotations.partition[rows]), identities, seed)
    if identities is not None and split is not None:
        check_people(identities, split, name or "the embeddings, with these labels")
    return Labelled(
        data=replace(
            joined,
            attributes=attributes,
            attribute_names=annotations.attribute_names,
            identities=identities,
            split=split,
        ),
        joined_by="id" if data.has_ids else "order",
        rule=rule,
        unmatched=int(unmatched.sum()),
        split_from="file" if data.split is not None else "none" if split is None else "official",
    )


def official_split(
    partition: Int8[np.ndarray, " n"], identities: Int64[np.ndarray, " n"] | None, seed: int
) -> NDArray[np.str_] | None:
    """The official parts as train, val and test, with judge rows, which CelebA has not, drawn from the first of them.

    The first part that occurs gives up rows to every split that does not occur, whole people at a time where they
    are known, in the proportion of 56/8/16/20: with all three parts, judge gets 16/72 of the train rows. None
    where only one part occurs, so that all of it is split 56/8/16/20. Rows of part -1 (unknown) go with the first.
    """
    occurring = [k for k in range(len(PARTITIONS)) if (partition == k).any()]
    if len(occurring) < 2:
        return None
    first = occurring[0]
    partition = np.where(partition < 0, first, partition)
    split = np.array(PARTITIONS, dtype="U5")[partition]
    official = {PARTITIONS[k] for k in occurring[1:]}
    names = [name for name in SPLITS if name not in official]
    rows = partition == first
    people = None if identities is None else identities[rows]
    split[rows] = assign_splits(int(rows.sum()), people, seed, names)
    return split


def stem(name: str) -> str:
    """What an id and a listed name must share: `000001` of `img_align_celeba/000001.jpg`."""
    return name.rpartition("/")[2].partition(".")[0]


def _rows_by_id(data: EmbeddingSet, annotations: Annotations) -> Int64[np.ndarray, " n"]:
    """Row of the list for every row of `data`, -1 where there is none."""
    row_of = {stem(name): row for row, name in enumerate(annotations.ids.tolist())}
    rows = np.array([row_of.get(stem(name), -1) for name in data.ids.tolist()], dtype=np.int64)
    if (rows < 0).all():
        raise InputError(
            f"None of the {len(data):,} ids (first: '{data.ids[0]}') is among the {len(annotations):,} listed images "
            f"(first: '{annotations.ids[0]}'). Ids must be the names of the images, with or without their extension."
        )
    return rows


def _rows_in_order(
    n: int, annotations: Annotations, present: Bool[np.ndarray, " n"], partition: str | None, name: str
) -> tuple[Int64[np.ndarray, " n"], str]:
    """The one part of the list with `n` rows, chosen by option, file name and count."""
    known = (*PARTITIONS, "all")
    if partition is not None and partition not in known:
        raise InputError(f"--partition {partition}: type one of {', '.join(known)}.")
    told = {"valid": "val", "validation": "val"}
    found = {told.get(word, word) for word in NAMED.findall(name.lower())}
    part = partition or (found.pop() if len(found) == 1 else None)
    parts = [(who, rule, rows) for who, rule, rows in _parts(annotations, present) if part in (None, who)]
    fitting = {rows.tobytes(): (rows, rule) for _, rule, rows in reversed(parts) if len(rows) == n}
    if len(fitting) == 1:
        return next(iter(fitting.values()))
    because = "" if part is None else f" of '{part}'" + ("" if partition else ", which the file's name says,")
    if fitting:
        rules = "; ".join(rule for _, rule in fitting.values())
        raise InputError(
            f"The {n:,} rows have no ids, and more than one part of the list{because} has as many: {rules}. "
            f"Type --partition with one of {', '.join(known)}, or add `ids` to the file."
        )
    counts = "; ".join(f"{rule} has {len(rows):,}" for _, rule, rows in parts) or "no such part is listed"
    raise InputError(
        f"The {n:,} rows have no ids, so labels are joined by order, but no part of the list{because} has as many "
        f"rows: {counts}. Type --partition with the part that the file holds, or add `ids` to the file."
    )


def _parts(
    annotations: Annotations, present: Bool[np.ndarray, " n"]
) -> Iterator[tuple[str, str, Int64[np.ndarray, " n"]]]:
    """Name, description and rows of every part of the list that a file may be in the order of."""
    everything = np.ones(len(annotations), dtype=np.bool_)
    masks = {"all": everything}
    if annotations.partition is not None:
        masks |= {name: annotations.partition == k for k, name in enumerate(PARTITIONS)}
    for name, mask in masks.items():
        words = "the whole list" if name == "all" else f"the official {name} part"
        if mask.any():
            yield name, words, np.flatnonzero(mask)
        if 0 < (mask & present).sum() < mask.sum():
            yield name, f"{words} of which the image is there", np.flatnonzero(mask & present)
    if len(annotations) == CELEBA_ROWS:  # the reference cut the list here instead of at the official partition
        for name, cut in REFERENCE_CUTS.items():
            rows = np.arange(CELEBA_ROWS)[cut]
            yield name, f"the reference's {name} rows {rows[0]:,} to {rows[-1]:,}", rows
