"""Which edits an evaluation asks for, and in which groups their destinations are compared with real rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Int8
from numpy.typing import NDArray

from fclf.data.embeddings import EmbeddingSet
from fclf.data.targets import check_known, edit_targets, own_labels
from fclf.errors import InputError
from fclf.labels import ExclusiveGroup, settled

__all__ = [
    "MIN_EDITED",
    "MIN_REAL",
    "EditPlan",
    "Group",
    "Mode",
    "all_groups",
    "combination_name",
    "comparable_groups",
    "plan_edits",
]

Mode = Literal["each", "single", "multi", "smiling"]

MIN_EDITED = 40
"""Fewest edits of a group that is compared with real rows."""
MIN_REAL = 60
"""Fewest real rows of such a group's target combination."""


@dataclass(frozen=True)
class EditPlan:
    """One edit a row: which source goes to which attributes."""

    source: NDArray[np.intp]
    """Row number of the source among the evaluated rows."""
    original: Int8[np.ndarray, "m K"]
    target: Int8[np.ndarray, "m K"]
    complete: NDArray[np.bool_] | None = None
    """Whether all labels of the source are known; None where all are."""

    def __len__(self) -> int:
        return len(self.source)

    @property
    def flips(self) -> NDArray[np.bool_]:
        """Where target and original differ, (m, K)."""
        return self.original != self.target

    def take(self, edits: NDArray[np.intp]) -> EditPlan:
        """Choose edits by their row numbers in the plan."""
        complete = None if self.complete is None else self.complete[edits]
        return EditPlan(self.source[edits], self.original[edits], self.target[edits], complete)


@dataclass(frozen=True)
class Group:
    """Edits that make the same change and end at the same combination."""

    change: tuple[int, ...]
    """Positions of the flipped attributes."""
    target: tuple[int, ...]
    """The combination they go to."""
    edits: NDArray[np.intp]
    """Row numbers in the plan."""
    real: NDArray[np.intp]
    """Evaluated rows that have the target combination by themselves."""


def plan_edits(
    y: Int8[np.ndarray, "n K"],
    names: tuple[str, ...],
    mode: Mode = "each",
    seed: int = 0,
    known: NDArray[np.bool_] | None = None,
    exclusive: Sequence[ExclusiveGroup] = (),
) -> EditPlan:
    """Plan edits of rows with attributes `y`.

    `each`: every row once per attribute, that attribute flipped; the mode that decides. `single`: every row once,
    one random attribute. `multi`: every row once, two or three random attributes. `smiling`: every row once, the
    attribute named Smiling. Where only some labels are `known`, (n, K), no other is flipped, and `y` holds what the
    rest are taken for. A group of `exclusive` attributes is one choice: who gains one loses the one that was there, and
    an edit that would only lose one that every row has is left out.
    """
    n, k = y.shape
    rows = np.arange(n)
    rng = np.random.default_rng(seed)
    flips: NDArray[np.bool_]
    if mode == "each":
        source = np.tile(rows, k)
        flips = np.repeat(np.eye(k, dtype=bool), n, axis=0)
    else:
        source = rows
        if mode == "smiling":
            if "Smiling" not in names:
                raise InputError(f"--mode smiling needs an attribute named Smiling; there are {', '.join(names)}.")
            flips = np.tile(np.array(names) == "Smiling", (n, 1))
        else:
            low, high = (1, 1) if mode == "single" else (min(2, k), min(3, k))
            counts = rng.integers(low, high + 1, (n, 1))
            flips = rng.random((n, k)).argsort(axis=1) < counts
    partly = known is not None and not known.all()
    flips = flips & known[source] if known is not None and partly else flips
    original = y[source]
    target = settled(original, np.where(flips, 1 - original, original).astype(np.int8), exclusive)
    plan = EditPlan(source, original, target, _all_of(known)[source] if known is not None and partly else None)
    return plan.take(np.flatnonzero(plan.flips.any(axis=1))) if partly or exclusive else plan


def _all_of(known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Rows of which all is known."""
    return np.asarray(known.all(axis=1))


def ask_edits(rows: EmbeddingSet, assign: Mapping[str, int], flip: Sequence[str]) -> EditPlan:
    """Plan every row once, with some attributes set and some turned over; or as `each`, where none is named.

    Raises:
        InputError: for labels that are not known, unknown or contradictory attributes, or where nothing would change.
    """
    y, names = own_labels(rows, rows.attribute_names), rows.attribute_names
    check_known(y, names, "A flipbook starts from them")
    if not assign and not flip:
        return plan_edits(y, names, exclusive=rows.exclusive)
    plan = EditPlan(np.arange(len(y)), y, edit_targets(y, names, assign, flip, rows.exclusive))
    if not plan.flips.any():
        wanted = ", ".join(f"{name}={value}" for name, value in assign.items())
        raise InputError(f"All {len(y)} rows have {wanted} already, so nothing would change. Set or flip another.")
    return plan


def combination_name(names: tuple[str, ...], labels: Int8[np.ndarray, " K"]) -> str:
    """The attributes that a row has, such as `Smiling+Young`; `none` without any."""
    return "+".join(name for name, value in zip(names, labels, strict=True) if value) or "none"


def all_groups(plan: EditPlan, y: Int8[np.ndarray, "n K"]) -> list[Group]:
    """Groups of the plan, with the real rows that each has among those with labels `y`.

    Edits that make different changes are kept apart even where they end at the same combination: mixed together,
    they have a larger spread than any real combination. Neither edits nor rows with an unknown label are in a group.
    """
    chosen = np.arange(len(plan)) if plan.complete is None else np.flatnonzero(plan.complete)
    keys, edits = _members(np.concatenate([plan.flips, plan.target], axis=1)[chosen])
    k = y.shape[1]
    having = {key.tobytes(): rows for key, rows in zip(*_members(y.astype(np.int8)), strict=True)}
    nobody = np.zeros(0, dtype=np.intp)
    return [
        Group(
            change=tuple(int(i) for i in np.flatnonzero(key[:k])),
            target=tuple(int(v) for v in key[k:]),
            edits=chosen[rows],
            real=having.get(key[k:].tobytes(), nobody),
        )
        for key, rows in zip(keys.astype(np.int8), edits, strict=True)
    ]


def _members(keys: NDArray[np.int8]) -> tuple[NDArray[np.int8], list[NDArray[np.intp]]]:
    """Different rows of `keys` and where each occurs: sorted once, as there can be as many as rows."""
    different, member = np.unique(keys, axis=0, return_inverse=True)
    member = member.reshape(-1)
    order = np.argsort(member, kind="stable")
    return different, np.split(order, np.cumsum(np.bincount(member))[:-1])


def comparable_groups(
    plan: EditPlan, y: Int8[np.ndarray, "n K"], min_edited: int = MIN_EDITED, min_real: int = MIN_REAL
) -> list[Group]:
    """The groups of the plan that have at least this many edits and real rows."""
    return [g for g in all_groups(plan, y) if len(g.edits) >= min_edited and len(g.real) >= min_real]
