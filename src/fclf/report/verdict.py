"""A verdict in words and as a table."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table

from fclf.evaluation.readings import Verdict

__all__ = ["MARGIN", "decisions_table", "verdict_lines"]

MARGIN = (
    "Margin: 1 at the reference, 0 at the threshold, negative beyond it; in logarithms for spread and destinations."
)


def verdict_lines(verdict: Verdict) -> Sequence[str]:
    """The verdict, its reasons and what to try next."""
    margin = "" if verdict.margin is None else f" (margin {verdict.margin:.2f})"
    lines = [f"Verdict: {verdict.name}{margin}", *(f"  {reason}" for reason in verdict.reasons)]
    if verdict.not_measured:
        lines.append(f"  Not measured: {', '.join(verdict.not_measured)}.")
    return [*lines, *(f"  Next: {step}" for step in verdict.next_steps)]


def decisions_table(verdict: Verdict) -> Table:
    """Every measurement that the verdict rests on, with its threshold and where that comes from."""
    table = Table(
        title="What decides the verdict",
        title_justify="left",
        caption=MARGIN,
        caption_justify="left",
        pad_edge=False,
        box=SIMPLE_HEAD,
    )
    for column in ("", "measured", "threshold", "reference", "margin", "calls", "reference and threshold are"):
        right = column in ("measured", "threshold", "reference", "margin")
        table.add_column(column, justify="right" if right else "left", overflow="fold")
    for d in verdict.decisions:
        called = d.margin < 0
        table.add_row(
            d.name,
            *(_short(value) for value in (d.value, d.threshold, d.reference)),
            f"{d.margin:.2f}",
            d.calls if called else f"not {d.calls}",
            d.source,
            style="red" if called else None,
        )
    return table


def _short(value: float) -> str:
    """Three digits, and all of those of a count."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
