"""What a row of the table says of all its groups and cells together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fclf.evaluation.groups import Measured
from fclf.evaluation.jackknife import Statistic, divide
from fclf.evaluation.results import CellScores

__all__ = ["mean_defined", "pool", "pooled_gap"]


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
