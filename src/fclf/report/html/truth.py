"""Edits beside what they should have become."""

from __future__ import annotations

from collections.abc import Sequence

from fclf.evaluation.results import Report
from fclf.report.counterfactual import counterfactual_table
from fclf.report.html.markup import Html, from_rich, section
from fclf.report.html.tables import controls, mark

__all__ = ["truth"]

LEAD = (
    "These embeddings were made, so each can be made again with other attributes and all else the same. No classifier "
    "is asked here: the measure is the angle between an edit and what it should have become."
)


def truth(reports: Sequence[tuple[str, Report]]) -> Html | None:
    """The table of all flows and the first report's controls; None where nobody knows the truth."""
    rows = [(name, report.flow) for name, report in reports]
    rows += controls(reports[0][1])
    table = counterfactual_table(rows)
    if table is None:
        return None
    known = [(number, row) for number, (_, row) in enumerate(rows) if row.counterfactual is not None]
    marks = [mark(row, flow=number < len(reports)) for number, row in known]
    return section("Truth", "Beside the truth", LEAD, from_rich(table, marks=marks))
