"""Fill combinations of attributes that are rare among the train rows with edits of other train rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from fclf.applications.edits import accepted_rows, edits_at
from fclf.data.embeddings import SYNTHETIC, attribute_positions
from fclf.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float64, Int8
    from numpy.typing import NDArray

    from fclf.checkpoint import Checkpoint
    from fclf.data.embeddings import EmbeddingSet

__all__ = ["Augmented", "Filling", "augment", "group_numbers", "group_size", "plan_filling"]


@dataclass(frozen=True)
class Filling:
    """Which rows are edited, and into which group."""

    source: NDArray[np.intp]
    target: Int8[np.ndarray, "m K"]
    group: NDArray[np.intp]


@dataclass(frozen=True)
class Augmented:
    """A file with its rare groups filled."""

    data: EmbeddingSet
    groups: list[dict[str, Any]]
    """Name, real rows, edited rows, and how many were refused."""
    unseen: list[str]
    """Combinations that no train row has; they are not filled, as nothing says that they exist."""


def group_numbers(
    y: Int8[np.ndarray, "n K"], columns: Sequence[int]
) -> tuple[NDArray[np.intp], Int8[np.ndarray, "G k"]]:
    """Group of each row among the combinations of some attributes, all of them where these are two, else those seen."""
    part = y[:, list(columns)]
    if len(columns) <= 2:
        groups = np.array(list(product((0, 1), repeat=len(columns))), dtype=np.int8)
        number: NDArray[np.intp] = part.astype(np.intp) @ (2 ** np.arange(len(columns))[::-1])
        return number, groups
    groups, member = np.unique(part, axis=0, return_inverse=True)
    return member.reshape(-1), groups.astype(np.int8)


def group_size(number: NDArray[np.intp], groups: int, asked: int | None) -> int:
    """Rows that every group shall have: those asked for, or as many as the largest has."""
    return int(np.bincount(number, minlength=groups).max()) if asked is None else asked


def plan_filling(y: Int8[np.ndarray, "n K"], columns: Sequence[int], per_group: int | None, seed: int) -> Filling:
    """Draw what each group lacks from the rows that differ from it in fewest of its attributes, each at most once.

    A group without a row stays empty: nothing says that there are such embeddings.
    """
    number, groups = group_numbers(y, columns)
    wanted = group_size(number, len(groups), per_group)
    rng = np.random.default_rng(seed)
    sources, targets, members = [], [], []
    for g, labels in enumerate(groups):
        have = int((number == g).sum())
        if not 0 < have < wanted:
            continue
        apart = (y[:, list(columns)] != labels).sum(axis=1)
        order = rng.permutation(np.flatnonzero(apart))
        chosen = order[np.argsort(apart[order], kind="stable")][: wanted - have]
        target = y[chosen].copy()
        target[:, list(columns)] = labels
        sources.append(chosen)
        targets.append(target)
        members.append(np.full(len(chosen), g))
    if not sources:
        return Filling(np.zeros(0, dtype=np.intp), y[:0], np.zeros(0, dtype=np.intp))
    return Filling(np.concatenate(sources), np.concatenate(targets), np.concatenate(members))


def augment(
    model: Checkpoint,
    data: EmbeddingSet,
    names: Sequence[str] = (),
    *,
    per_group: int | None = None,
    strength: float = 1.0,
    seed: int = 0,
) -> Augmented:
    """Add edited train rows until every combination of attributes has enough.

    Edits keep the identity of their source and stand in the split train, so no person comes into two splits. Their ids
    are those of their sources and what was changed, `000001.jpg~Male=1`; the column `synthetic` marks them. Where the
    checkpoint holds a support, edits that it does not accept are left out.

    Args:
        model: the edits.
        data: labelled embeddings.
        names: attributes whose combinations are filled; all of the model's where none is named.
        per_group: train rows that each combination shall have; as many as the largest has where it is absent.
        strength: of the edits.
        seed: of the choice of sources.

    Raises:
        InputError: for unknown attributes, or a file that has been filled already.
    """
    if SYNTHETIC in data.extras:
        raise InputError(f"The file has a column `{SYNTHETIC}` already; fill the file that it was made from.")
    data = data.with_split(model.config.data.split_seed)
    rows = model.matching(data)
    names = tuple(names) or rows.attribute_names
    columns = attribute_positions(names, rows.attribute_names)
    labels = np.asarray(rows.attributes)
    train = np.flatnonzero(rows.rows_of("train") & np.isin(labels, (0, 1)).all(axis=1))
    if not len(train):
        raise InputError(f"No train row has all of {', '.join(rows.attribute_names)} labelled, so none can be edited.")
    y, z = labels[train], rows.embeddings[train].astype(np.float64)
    filling = plan_filling(y, columns, per_group, seed)
    edited = edits_at(model, strength)(z[filling.source], y[filling.source], filling.target)
    accepted = accepted_rows(model, edited, filling.target) if len(edited) else None
    kept = np.ones(len(edited), dtype=np.bool_) if accepted is None else accepted
    number, groups = group_numbers(y, columns)
    counts = [np.bincount(x, minlength=len(groups)) for x in (number, filling.group[kept], filling.group[~kept])]
    described: list[dict[str, Any]] = [
        {
            "group": ", ".join(f"{name}={value}" for name, value in zip(names, group, strict=True)),
            "rows": int(have),
            "synthetic": int(added),
            "refused": int(refused),
        }
        for group, have, added, refused in zip(groups, *counts, strict=True)
    ]
    unseen = [str(row["group"]) for row in described if not row["rows"]]
    return Augmented(
        data=_joined(data, train[filling.source[kept]], edited[kept], filling.target[kept], rows.attribute_names),
        groups=described,
        unseen=unseen,
    )


def _joined(
    data: EmbeddingSet,
    source: NDArray[np.intp],
    edited: Float64[np.ndarray, "m d"],
    target: Int8[np.ndarray, "m K"],
    names: tuple[str, ...],
) -> EmbeddingSet:
    """The file with edited rows after its own."""
    n = len(data)
    whole = data.take(np.concatenate([np.arange(n), source]))
    embeddings, attributes = whole.embeddings.copy(), np.asarray(whole.attributes).copy()
    columns = attribute_positions(names, whole.attribute_names)
    before = attributes[n:, columns]
    attributes[n:, columns] = target
    embeddings[n:] = edited
    changes = [
        "+".join(f"{name}={new}" for name, old, new in zip(names, was, becomes, strict=True) if old != new)
        for was, becomes in zip(before, target, strict=True)
    ]
    ids = whole.ids.tolist()
    ids[n:] = [f"{name}~{change}" for name, change in zip(ids[n:], changes, strict=True)]
    if len(set(ids)) < len(ids):
        raise InputError(f"Ids of edited rows, such as {ids[-1]}, are in the file already; fill the file without them.")
    marks = np.zeros(len(ids), dtype=np.int8)
    marks[n:] = 1
    return replace(
        whole,
        embeddings=embeddings,
        attributes=attributes,
        ids=np.array(ids, dtype=np.str_),
        has_ids=True,
        extras={**whole.extras, SYNTHETIC: marks},
    )
