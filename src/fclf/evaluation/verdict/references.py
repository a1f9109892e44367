"""What a row of the table is read against: the controls, and how strong the edits are beside the shift."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fclf.evaluation.results import Row

__all__ = ["MAX_STRENGTH", "References", "overshoot", "position", "strengths"]

OVERSHOT = 1.5
"""Strength of the stronger of the two shifts among the controls."""
MAX_STRENGTH = 2.0
"""The shift's behaviour is not extrapolated beyond this strength."""


@dataclass(frozen=True)
class References:
    """Rows of the controls, each None where the table lacks it."""

    nothing: Row | None
    shift: Row | None
    overshot: Row | None
    real: Row | None
    controlled: Row | None

    @classmethod
    def of(cls, table: Sequence[Row]) -> References:
        """Find them by name."""
        rows = {row.name: row for row in table}
        names = ("do nothing", "shift x1", "shift x1.5", "held-out real", "quantile shift, half controlled")
        return cls(*(rows.get(name) for name in names))


def strengths(row: Row, references: References) -> list[float]:
    """Strength at which the shift moves each attribute's own logit as far as the row's edits do, 0 to `MAX_STRENGTH`.

    Linear between do nothing (0), shift x1 and shift x1.5, and beyond. 1 where it cannot be known, and 0 for rows
    that are no edits.
    """
    shift, overshot = _own(references.shift), _own(references.overshot)
    if row.leakage is None:
        return [0.0] * len(shift)
    found = []
    for own, one, more in zip(_own(row), shift or [None] * len(row.leakage), overshot or shift, strict=False):
        if own is None or one is None or more is None or one <= 0 or more <= one:
            found.append(1.0)
        else:
            s = own / one if own <= one else 1 + (OVERSHOT - 1) * (own - one) / (more - one)
            found.append(float(np.clip(s, 0.0, MAX_STRENGTH)))
    return found or [1.0] * len(row.leakage)


def _own(row: Row | None) -> list[float | None]:
    return [] if row is None or row.leakage is None else [effects[k] for k, effects in enumerate(row.leakage)]


def overshoot(strength: float) -> float:
    r"""Size of second-order effects of a shift by `strength`, in units of those of x1.5: $s\,(s - 1) / .75$.

    A shift of $s$ times the effect $a$ from the mean of rows without to that of rows with an attribute puts rows
    that stood at $-a/2$ at $(s - 1/2)\,a$, so its squared norm, and with it the contraction of the projection,
    grows by $s\,(s - 1)\,\|a\|^2$. Nothing below strength 1.
    """
    return max(strength * (strength - 1), 0.0) / (OVERSHOT * (OVERSHOT - 1))


def position(value: float, threshold: float, reference: float) -> float:
    """Margin of a measurement: 0 at the threshold, 1 at the reference, negative on the other side."""
    return (value - threshold) / (reference - threshold)
