"""The rules for edits that keep their spread: do they move, end where real rows are, and leave the rest alone?"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from fclf.evaluation.readings import Decision
from fclf.evaluation.results import Row
from fclf.evaluation.verdict.collapse import KEPT, TINY
from fclf.evaluation.verdict.references import MAX_STRENGTH, OVERSHOT, References, position, strengths

__all__ = ["distribution_decisions", "leakage_decisions", "movement_decision", "movement_decisions"]

SHIFT_FAILS = 0.25
"""Where the shift comes less far than this share of the way to held-out real rows, this share is asked for instead."""
ALLOWED = 2.0
"""Distance from shift x1 to the threshold, in distances from x1 to x1.5. What overshooting costs grows with its square,
so the threshold lies at about x1.7 and an overshoot of x2 costs twice as much as is allowed."""
ALLOWED_TO_TRADE = 1.5
"""The same in distances to the half controlled quantile shift, which gives up gap and recall for kept on purpose."""
LEAST_COST = 0.05
"""What x1.5 is taken to cost where it costs less than this."""
LEAK = 1.5
"""Leakage above this many times that of the shift of the same strength is called."""

JUDGES: tuple[tuple[Literal["linear", "mlp"], str], ...] = (("linear", "L"), ("mlp", "M"))


def movement_decision(name: str, value: float, nothing: float, shift: float, real: float | None = None) -> Decision:
    """Success against the middle between doing nothing and the cheapest control.

    Args:
        name: of the decision.
        value: success of the edits.
        nothing: success of doing nothing.
        shift: success of the least-squares shift.
        real: success of held-out real rows, where they are measured.
    """
    least = SHIFT_FAILS * ((1.0 if real is None else real) - nothing)
    reference = nothing + max(shift - nothing, least, LEAST_COST)
    threshold = (nothing + reference) / 2
    return Decision(
        name=name,
        calls="UNDER-MOVED",
        value=value,
        threshold=threshold,
        reference=reference,
        margin=position(value, threshold, reference),
        source="shift x1, and half-way from doing nothing to it",
    )


def movement_decisions(row: Row, references: References) -> tuple[list[Decision], list[str]]:
    """Decisions that call UNDER-MOVED, and the names of those that cannot be made."""
    found, missing = [], []
    for judge, letter in JUDGES:
        name = f"success ({letter})"
        if references.nothing is None or references.shift is None:
            missing.append(name)
            continue
        value, nothing, shift = (getattr(r, judge).success for r in (row, references.nothing, references.shift))
        real = None if references.real is None else getattr(references.real, judge).success
        found.append(movement_decision(name, value, nothing, shift, real))
    return found, missing


def distribution_decisions(row: Row, references: References) -> tuple[list[Decision], list[str]]:
    """Decisions that call OFF-DISTRIBUTION, and the names of those that cannot be made."""
    found, missing = [], []
    for field, name in (("gap_closed", "gap closed"), ("recall", "recall")):
        value = getattr(row, field)
        one, more = (None if r is None else getattr(r, field) for r in (references.shift, references.overshot))
        if value is None or one is None or more is None:
            missing.append(name)
            continue
        noise = 0.0 if references.real is None or field == "recall" else abs(1 - (references.real.gap_closed or 1.0))
        reference = max(one, more)
        held = None if references.controlled is None else getattr(references.controlled, field)
        traded = 0.0 if held is None else ALLOWED_TO_TRADE * (reference - held)
        threshold = reference - max(ALLOWED * max(abs(one - more), noise, LEAST_COST), traded)
        found.append(
            Decision(
                name=name,
                calls="OFF-DISTRIBUTION",
                value=value,
                threshold=threshold,
                reference=reference,
                margin=position(value, threshold, reference),
                source="the better of shift x1 and x1.5; twice their difference, or 1.5 times what control costs",
            )
        )
    known = [value for value in (row.variance_ratio, row.spread_kept) if value is not None]
    if not known:
        return found, [*missing, "excess of spread"]
    wide = max(min(known), TINY)
    found.append(
        Decision(
            name="excess of spread",
            calls="OFF-DISTRIBUTION",
            value=wide,
            threshold=1 / KEPT,
            reference=1.0,
            margin=1 - math.log(wide) / math.log(1 / KEPT),
            source="the inverse of what is a collapse, above both the real rows' and the sources' variance",
        )
    )
    return found, missing


def leakage_decisions(row: Row, references: References) -> tuple[list[Decision], list[str]]:
    """Decisions that call LEAKING, and the names of those that cannot be made."""
    found, missing = [], []
    s = max(1.0, float(np.mean(strengths(row, references) or [1.0])))
    for judge, letter in JUDGES:
        name = f"kept ({letter})"
        value, one, more = (
            None if r is None else getattr(r, judge).kept for r in (row, references.shift, references.overshot)
        )
        if value is None or one is None:
            missing.append(name)
            continue
        more = one if more is None else min(more, one)
        lost = 1 - one + (min(s, MAX_STRENGTH) - 1) / (OVERSHOT - 1) * (one - more)
        noise = 3 * math.sqrt(max(lost, 1 / row.sampled) / row.sampled)
        threshold = 1 - LEAK * lost - noise
        found.append(
            Decision(
                name=name,
                calls="LEAKING",
                value=value,
                threshold=threshold,
                reference=1 - lost,
                margin=position(value, threshold, 1 - lost),
                source=f"a shift as strong as these edits (x{s:.2f}), and half as much again as it loses",
            )
        )
    least = _own(references.shift)
    own, others = (_leak(r, least) for r in (row, references.shift))
    if own is None or others is None:
        missing.append("leakage between attributes")
    else:
        threshold = LEAK * others + LEAST_COST
        found.append(
            Decision(
                name="leakage between attributes",
                calls="LEAKING",
                value=own,
                threshold=threshold,
                reference=others,
                margin=position(own, threshold, others),
                source="others' logit shifts beside the edited one's, of shift x1, and half as much again",
            )
        )
    return found, missing


def _own(row: Row | None) -> float | None:
    """Mean shift of the edited attribute's logit."""
    if row is None or row.leakage is None:
        return None
    own = [v for k, effects in enumerate(row.leakage) if (v := effects[k]) is not None]
    return sum(own) / len(own) if own else None


def _leak(row: Row | None, least: float | None) -> float | None:
    """Mean absolute shift of the other attributes' logits over that of the edited one's, which counts as `least`."""
    own = _own(row)
    if row is None or row.leakage is None or own is None or least is None or least <= 0:
        return None
    rest = [abs(v) for k, effects in enumerate(row.leakage) for j, v in enumerate(effects) if j != k and v is not None]
    return sum(rest) / len(rest) / max(own, least) if rest else None
