"""The rule for overtraining, from the losses of every epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import median

from fclf.evaluation.readings import Decision
from fclf.evaluation.verdict.references import position

__all__ = ["overtraining_decisions"]

GIVEN_BACK = 0.25
"""Share of what training had gained on the val rows that may be lost again."""
FEWEST = 4
"""Epochs that a trend needs."""


def overtraining_decisions(history: Sequence[Mapping[str, float | None]]) -> tuple[list[Decision], list[str]]:
    r"""The decision that calls OVERTRAINED, or its name where the history does not allow one.

    Let $v_t, l_t$ be the val and train loss of epoch t and $t^*$ the epoch of the lowest $v$. Given back is
    $\min(v_T - v_{t^*},\ g_T - g_{t^*}) / (v_1 - v_{t^*})$ with the gap $g = v - l$: the val loss has risen, and the
    distance between the two has grown by as much, so that a rise of both (an unlucky step) does not count. The ends
    are medians of three epochs. The threshold is `GIVEN_BACK`, or three times the median change of v from one
    epoch to the next where that is more.
    """
    name = "validation loss given back"
    known = [(v, loss) for r in history if (v := r.get("val_loss")) is not None and (loss := r.get("loss")) is not None]
    if len(known) < FEWEST:
        return [], [name]
    val, gap = [v for v, _ in known], [v - loss for v, loss in known]
    best = min(range(len(val)), key=lambda t: val[t])
    gained = val[0] - val[best]
    if gained <= 0:
        return [], [name]  # it never learned anything that it could lose
    last = max(len(val) - 3, best)
    lost = min(median(val[last:]) - val[best], median(gap[last:]) - gap[best]) / gained
    steps = [abs(b - a) for a, b in pairwise(val[best:])] or [0.0]
    threshold = max(GIVEN_BACK, 3 * median(steps) / gained)
    return [
        Decision(
            name=name,
            calls="OVERTRAINED",
            value=lost,
            threshold=threshold,
            reference=0.0,
            margin=position(lost, threshold, 0.0),
            source=f"share of the gain up to epoch {best + 1}, the best; or three changes from epoch to epoch",
        )
    ], []
