"""What a row of the table says of all its groups and cells together, and in words whether it has collapsed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fclf.evaluation.groups import Measured
from fclf.evaluation.jackknife import Statistic, divide
from fclf.evaluation.results import LOST_SPREAD, CellScores, GroupScores

__all__ = ["collapses", "mean_defined", "pool", "pooled_gap"]

MIN_CELL = 20
"""Fewest edits of a cell whose spread is a sign of anything."""


def mean_defined(values: NDArray[np.float64]) -> Statistic:
    """Mean over the first axis of the values that are defined: a block can be all that a group or cell has."""
    return divide(np.nan_to_num(values).sum(axis=0), np.isfinite(values).sum(axis=0))


def pool(measured: list[Measured]) -> dict[str, Statistic]:
    """Share of the energy distance and of the MMD closed, weighted by edits; plain means of the others."""
    if not measured:
        return {}
    weights = np.stack([m.edits for m in measured])

    def closed(after: list[Statistic], before: list[Statistic]) -> Statistic:
        both = np.stack(after), np.stack(before)
        known = np.isfinite(both[0]) & np.isfinite(both[1])
        end, start = (np.where(known, weights * x, 0).sum(axis=0) for x in both)
        return 1 - divide(end, start)

    return {
        "gap_closed": closed([m.energy for m in measured], [m.energy_source for m in measured]),
        "mmd_closed": closed([m.mmd for m in measured], [m.mmd_source for m in measured]),
        "variance_ratio": mean_defined(np.stack([m.variance_ratio for m in measured])),
        "recall": mean_defined(np.stack([m.recall for m in measured])),
    }


def pooled_gap(cells: list[CellScores]) -> float | None:
    """Share of the energy distance closed, summed over cells by the number of edits compared."""
    known = [c for c in cells if c.energy_edited is not None and c.energy_source is not None]
    before = sum(c.compared * (c.energy_source or 0) for c in known)
    return 1 - sum(c.compared * (c.energy_edited or 0) for c in known) / before if before > 0 else None


def collapses(
    groups: list[GroupScores],
    cells: list[CellScores],
    spread_kept: float | None,
    distinct: int,
    combinations: int,
    origins: int,
) -> list[str]:
    """Signs of collapse in words; empty where there are none.

    A group counts where it has lost its spread by both measures, against real rows and against its own sources:
    sources that are narrower than the real rows of their target were so before the edit. A cell counts, by the same
    two measures, where none of its edits are in a group. Distinct points count where there are fewer combinations
    than `origins`, the different rows that the points come from.
    """
    found = []
    if distinct == 1:
        found.append("all destinations are one point")
    elif distinct <= combinations < origins:
        found.append(f"edits of {origins} rows end at {distinct} distinct points, no more than there are combinations")
    if spread_kept is not None and spread_kept < LOST_SPREAD:
        found.append(f"edits keep {spread_kept:.1%} of the variance of their sources")
    grouped = set()
    for g in groups:
        grouped |= {(name, g.target[name]) for name in g.change}
        if max(g.variance_ratio, g.spread_kept) < LOST_SPREAD:
            change = ", ".join(f"{name} to {g.target[name]}" for name in g.change)
            target = "+".join(name for name, value in g.target.items() if value) or "no attribute"
            found.append(f"{change}, ending at {target}: {g.variance_ratio:.1%} of the real variance")
    for c in cells:
        if (c.attribute, c.to) in grouped or c.edits < MIN_CELL or c.spread_kept is None:
            continue
        if max(c.spread_kept, c.variance_ratio or 0.0) < LOST_SPREAD:
            found.append(f"{c.attribute} to {c.to}: {c.spread_kept:.1%} of the variance of the sources")
    return found
