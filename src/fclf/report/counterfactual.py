"""How far edits end from what they should have become, where that is known."""

from __future__ import annotations

from collections.abc import Iterable

from rich.table import Table

from fclf.evaluation.results import Row
from fclf.report.table import rich_table

__all__ = ["TITLE", "counterfactual_table"]

TITLE = "From the end of an edit to what it should have become"
CAPTION = (
    "Mean angle in degrees, ± half of a 95 % interval by leaving out blocks of people; mean length of the chord "
    "between the unit vectors; mean angle by edited attribute. 0 is a perfect edit; nothing was fitted to it."
)


def counterfactual_table(rows: Iterable[tuple[str, Row]]) -> Table | None:
    """One line for each row that has a counterfactual, in the order given; None if no row has one."""
    measured = [(name, row, row.counterfactual) for name, row in rows if row.counterfactual is not None]
    if not measured:
        return None
    attributes = list(measured[0][2].angles)
    lines = []
    for name, row, found in measured:
        ends = row.intervals.get("counterfactual.angle")
        within = "" if ends is None else f" ±{(ends[1] - ends[0]) / 2:.2f}"
        by_attribute = (f"{found.angles[attribute]:.1f}" for attribute in attributes)
        lines.append(
            ((name, f"{found.angle:.2f}{within}", f"{found.distance:.3f}", *by_attribute), bool(row.collapsed))
        )
    return rich_table(TITLE, CAPTION, ("", "angle", "distance", *attributes), lines)
