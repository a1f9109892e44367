"""Whether two reports measure the same edits, and by how much one flow is ahead of the other."""

from __future__ import annotations

from typing import NamedTuple

from fclf.evaluation.results import Metrics, Row
from fclf.report.table import MEASURED

__all__ = ["Difference", "differences", "differing"]


class Difference(NamedTuple):
    """Of one measure, with a 95 % interval where both rows were measured without the same blocks of people."""

    value: float
    low: float | None
    high: float | None

    @property
    def certain(self) -> bool:
        """Whether the interval leaves out 0; an interval of one point, as of two equal rows, says nothing."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


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
