"""Which edits a flipbook shows: few, varied, and such that a collapse cannot hide."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64
from numpy.typing import NDArray

from fclf.data.labelling import stem
from fclf.errors import InputError
from fclf.evaluation.edits import EditPlan

__all__ = ["BOOKS", "choose", "choose_named"]

BOOKS = 8
"""Edits that are shown."""
DRAWN, LARGEST = 10_000, 100
"""Edits among which they are chosen, at most, and combinations, by the edits that end there."""


def choose(plan: EditPlan, people: NDArray[np.int64] | None, books: int = BOOKS, seed: int = 0) -> NDArray[np.intp]:
    """Choose edits to show, of different people: two halves that each end at one combination of attributes.

    A field that looks at the target alone collapses a combination at a time: eight edits to eight combinations would
    end at eight points, and look as healthy as any. Four edits from different combinations to the same one do not. The
    first combination is the one that most attributes and directions lead to, the second the one that adds most; within
    each come the attributes that were shown least, and of their directions the one shown less. Where too few people go
    to one combination, as with many attributes, any edits fill the rest by the same rule.

    Args:
        plan: edits; those that change nothing are not shown.
        people: who is on each row; without, every row is somebody.
        books: edits to choose, at most.
        seed: of the order in which equals are taken.
    """
    order = np.random.default_rng(seed).permutation(np.flatnonzero(plan.flips.any(axis=1)))[:DRAWN]
    drawn = plan.take(order)
    choice = _Choice(drawn, drawn.source if people is None else people[drawn.source], books)
    half = max(2, -(-books // 2))
    groups = _by_target(drawn)
    while groups and not choice.full:
        score, best = max((choice.promise(edits, half), -number) for number, edits in enumerate(groups))
        if score[0] < 2:
            break
        choice.take(groups.pop(-best), half)
    choice.take(np.arange(len(drawn)), books)
    return order[choice.chosen]


def choose_named(plan: EditPlan, ids: NDArray[np.str_], wanted: Sequence[str]) -> NDArray[np.intp]:
    """Choose one edit of each of some rows, in the order of their names.

    Where the plan has several of a row, one for each attribute, they are taken in turn: the first row's first, the
    second row's second. Edits of one row may share their neighbour and be healthy, so a flipbook shows a row once.

    Args:
        plan: edits; those that change nothing are not shown.
        ids: of the rows that the plan's sources are numbers of.
        wanted: ids, or what stays of them without folders and extension (`labelling.stem`).

    Raises:
        InputError: for names that no row or several rows have, that are given twice, or of rows that nothing changes.
    """
    exact = {str(name): row for row, name in enumerate(ids)}
    short: dict[str, list[int]] = {}
    for name, row in exact.items():
        short.setdefault(stem(name), []).append(row)
    rows = {name: [exact[name]] if name in exact else short.get(stem(name), []) for name in wanted}
    unknown = [name for name, found in rows.items() if len(found) != 1]
    if unknown:
        raise InputError(
            f"--rows {', '.join(unknown)}: not the name of one row. There are {len(ids):,} rows here, such as "
            f"{ids[0]}; --split reaches others."
        )
    chosen = [found[0] for found in rows.values()]
    if len(set(chosen)) < len(wanted):
        raise InputError(f"--rows {', '.join(wanted)}: a row is named twice; name each once.")
    changing = plan.flips.any(axis=1)
    edits = [np.flatnonzero(changing & (plan.source == row)) for row in chosen]
    same = [name for name, found in zip(wanted, edits, strict=True) if not len(found)]
    if same:
        raise InputError(f"--rows {', '.join(same)}: nothing would change. Leave them out, or set or flip another.")
    return np.array([found[turn % len(found)] for turn, found in enumerate(edits)])


class _Choice:
    """Edits chosen so far."""

    def __init__(self, plan: EditPlan, person: NDArray[np.int64], books: int) -> None:
        self.flips, self.given, self.person, self.books = plan.flips, plan.target == 1, person, books
        self.chosen: list[int] = []
        self.shown: Int64[np.ndarray, "K 2"] = np.zeros((plan.flips.shape[1], 2), dtype=np.int64)
        """How often each attribute was taken away and given."""
        self._free = np.ones(len(plan), dtype=np.bool_)

    @property
    def full(self) -> bool:
        """Whether as many are chosen as were asked for."""
        return len(self.chosen) >= self.books

    def promise(self, edits: NDArray[np.intp], most: int) -> tuple[int, int, int]:
        """What edits to one combination would add: different people, cells not shown yet, edits to choose from."""
        edits = edits[self._free[edits]]
        new = sum(len(self._in(edits, k, direction)) > 0 for k, direction in np.argwhere(self.shown == 0))
        return min(len(np.unique(self.person[edits])), most), new, len(edits)

    def take(self, edits: NDArray[np.intp], most: int) -> None:
        """Choose up to `most` of these edits, each of somebody else."""
        for _ in range(min(most, self.books - len(self.chosen))):
            edits = edits[self._free[edits]]
            cells = sorted(
                np.ndindex(self.shown.shape),
                key=lambda cell: (self.shown[cell[0]].sum(), self.shown[cell], self.shown[:, cell[1]].sum()),
            )
            first = next((found[0] for cell in cells if len(found := self._in(edits, *cell))), None)
            if first is None:
                return
            self.chosen.append(int(first))
            self._free &= self.person != self.person[first]
            self.shown[np.flatnonzero(self.flips[first]), self.given[first, self.flips[first]].astype(np.intp)] += 1

    def _in(self, edits: NDArray[np.intp], attribute: int, direction: int) -> NDArray[np.intp]:
        """Those that change this attribute in this direction."""
        return edits[self.flips[edits, attribute] & (self.given[edits, attribute] == direction)]


def _by_target(plan: EditPlan) -> list[NDArray[np.intp]]:
    """Positions of the edits to each combination, those with most edits first."""
    member = np.unique(plan.target, axis=0, return_inverse=True)[1].reshape(-1)
    groups = np.split(np.argsort(member, kind="stable"), np.cumsum(np.bincount(member))[:-1])
    return sorted(groups, key=len, reverse=True)[:LARGEST]
