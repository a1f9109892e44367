"""Whether two reports measure the same edits, and by how much one flow is ahead of the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rich.table import Table

from fclf.evaluation.results import Metrics, Row
from fclf.report.table import COLUMNS, MEASURED, number, rich_table

__all__ = ["NOTE", "Difference", "difference_table", "differences", "differing"]

NOTE = (
    "Differences of the same edits of the same people; ± is half of the 95 % interval of the paired difference, and * "
    "says that it leaves out 0."
)


class Difference(NamedTuple):
    """Of one measure, with a 95 % interval where both rows were measured without the same blocks of people."""

    value: float
    low: float | None
    high: float | None

    @property
    def certain(self) -> bool:
        """Whether the interval leaves out 0; an interval of one point, as of two equal rows, says nothing."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)

    @property
    def text(self) -> str:
        """`+.012 ±.003 *`."""
        value = f"{'+' if self.value >= 0 else ''}{number(self.value)}"
        if self.low is None or self.high is None:
            return value
        return f"{value} ±{number((self.high - self.low) / 2)}{' *' if self.certain else ''}"


def differing(one: Metrics, other: Metrics) -> list[str]:
    """What keeps two reports from being of the same edits of the same people, in words; empty if nothing does."""
    pairs = {
        "data": (one.data_fingerprint, other.data_fingerprint),
        "attributes": (one.attributes, other.attributes),
        "split": (one.split, other.split),
        "mode": (one.mode, other.mode),
        "seed": (one.seed, other.seed),
        "rows": (one.rows.get("evaluated"), other.rows.get("evaluated")),
    }
    return [name for name, (ours, theirs) in pairs.items() if ours != theirs]


def differences(row: Row, other: Row) -> dict[str, Difference]:
    """How far `row` is ahead of `other` in each measure of the table; both are of the same edits."""
    found = {}
    for measure in MEASURED:
        if (ahead := row.ahead_of(other, measure)) is not None:
            found[measure] = Difference(ahead[0], *(ahead[1] or (None, None)))
    return found


def difference_table(flows: Sequence[tuple[str, Row]]) -> Table:
    """How far each flow is ahead of the first one; all are of the same edits."""
    first, row = flows[0]
    lines = []
    for name, other in flows[1:]:
        found = differences(other, row)
        cells = [found[measure].text if measure in found else "-" for measure in MEASURED]
        lines.append(((name, *cells), bool(other.collapsed)))
    return rich_table(f"Ahead of {first}, or behind it", NOTE, COLUMNS, lines)
