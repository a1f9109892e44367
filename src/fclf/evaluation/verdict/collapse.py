"""The rule for collapse: spread is lost, of all edits or of one combination, or destinations are few.

The spread of a group of edits is compared with the *smaller* of the variance of real rows of the target and that of
their own sources: sources that were narrow before the edit have not collapsed, and neither have those that become as
narrow as real rows are. Two things that are no collapse are allowed for: the spread that the shift itself loses at
the same strength, as projection to the sphere contracts whatever is pushed far; and sampling, which makes the variance
of few rows uncertain by what random halves of the real rows show. What is left is called collapsed below `KEPT`,
half-way in logarithms between all of the spread and half of it.

An attribute and direction of which no edit is in any group, as happens with many attributes, is judged as a whole:
by the spread of its edits that their labels do not explain, over that of their sources or of real rows weighted to be
like them, whichever ratio is larger.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from fclf.evaluation.readings import CollapsedCombination, Decision
from fclf.evaluation.results import GroupScores, Row
from fclf.evaluation.verdict.references import References, overshoot, strengths

__all__ = [
    "KEPT",
    "TINY",
    "GroupMargin",
    "collapse_decisions",
    "collapse_signs",
    "collapsed_combinations",
    "describe",
    "group_margins",
]

KEPT = 0.5**0.5
"""Share of the expected spread below which edits have collapsed: the geometric mean of all and half of it."""
MIN_CELL = 20
"""Fewest edits of an attribute and direction whose spread is judged."""
FEW = 0.25
"""Share of the sources' distinct points below which destinations are few."""
FALSE_ALARM = 1e-3
"""Probability that sampling alone calls any of the groups collapsed."""
TINY = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True)
class GroupMargin:
    """One group of edits and how far it is from a collapse."""

    group: GroupScores
    kept: float
    """Variance over the smaller of real rows' and sources'."""
    reference: float
    """What a healthy edit of this strength keeps."""
    threshold: float

    @property
    def margin(self) -> float:
        """1 at the reference, 0 at the threshold, in logarithms."""
        return _log_position(self.kept, self.threshold, self.reference)


def group_margins(row: Row, references: References) -> list[GroupMargin]:
    """How far every group of the row is from a collapse."""
    strength = strengths(row, references)
    unit = _relative_noise(references.real)
    groups = [*row.groups, *row.rare]
    cells, names = _ungrouped(row), list(dict.fromkeys(c.attribute for c in row.pooled))
    worst = float(norm.isf(FALSE_ALARM / max(len(groups) + len(cells), 1)))
    ones, overshots = (_by_key(control) for control in (references.shift, references.overshot))
    found = []
    for g in groups:
        own = list(g.target)
        s = float(np.mean([strength[own.index(name)] for name in g.change])) if strength and g.change else 0.0
        one, more = (_kept(known.get(_key(g))) for known in (ones, overshots))
        reference = _expected(one, more, s)
        noise = unit * math.sqrt(1 / g.edits + 1 / g.real)
        found.append(GroupMargin(g, _kept(g), reference, reference * min(KEPT, math.exp(-worst * noise))))
    for g in cells:
        s = strength[names.index(g.change[0])] if strength and g.change[0] in names else 0.0
        one, more = (_kept(known.get(_key(g))) for known in (ones, overshots))
        reference = _expected(one, more, s)
        noise = unit * math.sqrt(2 / g.edits)
        found.append(GroupMargin(g, _kept(g), reference, reference * min(KEPT, math.exp(-worst * noise))))
    return found


def collapse_decisions(row: Row, references: References) -> tuple[list[Decision], list[str]]:
    """Decisions that call COLLAPSED, and the names of those that cannot be made."""
    found, missing = [], []
    pooled = _pooled(row)
    if pooled is None:
        missing.append("spread")
    else:
        s = float(np.mean(strengths(row, references) or [0.0]))
        one, more = (
            None if control is None else _pooled(control) for control in (references.shift, references.overshot)
        )
        reference = _expected(one or 1.0, more or 1.0, s)
        found.append(
            Decision(
                name="spread",
                calls="COLLAPSED",
                value=pooled,
                threshold=KEPT * reference,
                reference=reference,
                margin=_log_position(pooled, KEPT * reference, reference),
                source=f"what a shift as strong as these edits (x{s:.2f}) keeps, and {KEPT:.0%} of it",
            )
        )
    groups = group_margins(row, references)
    if groups:
        least = min(groups, key=lambda g: g.margin)
        found.append(
            Decision(
                name="spread of the worst combination",
                calls="COLLAPSED",
                value=least.kept,
                threshold=least.threshold,
                reference=least.reference,
                margin=least.margin,
                source=f"the same of {describe(least.group)}; lower where halves of the real rows differ by more",
            )
        )
    else:
        missing.append("spread of the worst combination")
    if references.nothing is None or references.nothing.sampled == 0:
        missing.append("distinct destinations")
    else:
        reference = references.nothing.distinct_destinations * row.sampled / references.nothing.sampled
        found.append(
            Decision(
                name="distinct destinations",
                calls="COLLAPSED",
                value=row.distinct_destinations,
                threshold=FEW * reference,
                reference=reference,
                margin=_log_position(row.distinct_destinations, FEW * reference, reference),
                source="distinct points among the sources of as many edits, and a quarter of them",
            )
        )
    return found, missing


def collapsed_combinations(row: Row, references: References) -> list[CollapsedCombination]:
    """Groups that have collapsed, the worst first."""
    lost = sorted((g for g in group_margins(row, references) if g.margin < 0), key=lambda g: g.margin)
    return [
        CollapsedCombination(
            change=g.group.change,
            target=g.group.target,
            edits=g.group.edits,
            variance_ratio=g.group.variance_ratio,
            spread_kept=g.group.spread_kept,
            recall=g.group.recall,
            margin=g.margin,
        )
        for g in lost
    ]


def collapse_signs(row: Row, table: Sequence[Row]) -> list[str]:
    """Signs of collapse in words, of any row of a table; empty where there are none."""
    references = References.of(table)
    found = []
    for decision in collapse_decisions(row, references)[0]:
        if decision.margin >= 0:
            continue
        if decision.name == "distinct destinations":
            one = row.distinct_destinations == 1
            ends = f"{row.sampled} edits end at {row.distinct_destinations} distinct points"
            found.append("all destinations are one point" if one else ends)
        elif decision.name == "spread":
            of = "the variance of their sources" if row.variance_ratio is None else "the variance expected of them"
            found.append(f"edits keep {decision.value:.1%} of {of}")
    for lost in collapsed_combinations(row, references):
        found.append(f"{describe(lost)}: {lost.variance_ratio:.1%} of the real variance")
    return found


def describe(group: GroupScores | CollapsedCombination) -> str:
    """A group in words."""
    change = ", ".join(f"{name} to {group.target[name]}" for name in group.change)
    target = "+".join(name for name, value in group.target.items() if value) or "no attribute"
    return f"{change}, ending at {target}"


def _kept(group: GroupScores | None) -> float:
    return 1.0 if group is None else max(group.variance_ratio, group.spread_kept)


def _pooled(row: Row) -> float | None:
    known = [value for value in (row.variance_ratio, row.spread_kept) if value is not None]
    return max(known, default=None)


def _expected(one: float, more: float, strength: float) -> float:
    """Share of the spread that a shift of `strength` keeps, from what shifts of 1 and 1.5 keep; at most all of it."""
    first, second = (math.log(max(value, TINY)) for value in (one, more))
    return math.exp(min(min(strength, 1.0) * first + overshoot(strength) * min(second - first, 0.0), 0.0))


def _log_position(value: float, threshold: float, reference: float) -> float:
    return (math.log(max(value, TINY)) - math.log(threshold)) / (math.log(reference) - math.log(threshold))


def _relative_noise(real: Row | None) -> float:
    r"""Standard deviation of the logarithm of a ratio of variances, times $(1/n_1 + 1/n_2)^{-1/2}$: of real halves."""
    groups = [] if real is None else [*real.groups, *real.rare]
    squares = [math.log(g.variance_ratio) ** 2 / (1 / g.edits + 1 / g.real) for g in groups if g.variance_ratio > 0]
    return math.sqrt(np.mean(squares)) if squares else 0.0


def _key(group: GroupScores) -> tuple[tuple[str, ...], tuple[int, ...]]:
    return tuple(group.change), tuple(group.target.values())


def _ungrouped(row: Row) -> list[GroupScores]:
    """Cells none of whose edits are in a group, as groups without real rows."""
    grouped = {(name, g.target[name]) for g in (*row.groups, *row.rare) for name in g.change}
    return [
        GroupScores(
            change=[c.attribute],
            target={c.attribute: c.to},
            edits=c.edits,
            real=0,
            energy_source=0.0,
            energy_edited=0.0,
            variance_ratio=c.spread_kept if c.variance_ratio is None else c.variance_ratio,
            spread_kept=c.spread_kept,
            recall=0.0,
        )
        for c in row.pooled
        if (c.attribute, c.to) not in grouped and c.edits >= MIN_CELL and c.spread_kept is not None
    ]


def _by_key(row: Row | None) -> dict[tuple[tuple[str, ...], tuple[int, ...]], GroupScores]:
    return {} if row is None else {_key(g): g for g in (*row.groups, *row.rare, *_ungrouped(row))}
