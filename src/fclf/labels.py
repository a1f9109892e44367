"""How labels are written in memory: 0, 1 or unknown; and attributes that exclude each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int8

__all__ = ["UNKNOWN", "ExclusiveGroup", "settled"]

UNKNOWN = -1
"""A label that is not known, in the place of 0 or 1."""


@dataclass(frozen=True)
class ExclusiveGroup:
    """Attributes of which a row has one at most, such as colours of hair: one choice, and not several labels."""

    columns: tuple[int, ...]
    always: bool = False
    """Whether a row always has one of them."""

    def among(self, columns: Sequence[int]) -> ExclusiveGroup:
        """The group where these columns are all that is left, in this order."""
        kept = tuple(place for place, column in enumerate(columns) if column in self.columns)
        return ExclusiveGroup(kept, self.always and len(kept) == len(self.columns))


def settled(
    original: Int8[np.ndarray, "n K"], target: Int8[np.ndarray, "n K"], groups: Sequence[ExclusiveGroup]
) -> Int8[np.ndarray, "n K"]:
    """Targets in which a group is one choice: who gains an attribute of it loses the one that was there.

    Of several that are gained the first one is. Where a row always has one, who would lose it and gain none keeps it.
    """
    if not groups:
        return target
    out = target.copy()
    for group in groups:
        columns = list(group.columns)
        before, after = original[:, columns], out[:, columns]
        gained = (after == 1) & (before != 1)
        rows = np.flatnonzero(gained.any(axis=1))
        after[rows] = 0
        after[rows, gained[rows].argmax(axis=1)] = 1
        if group.always:
            none = (after == 0).all(axis=1)
            after[none] = before[none]
        out[:, columns] = after
    return out
