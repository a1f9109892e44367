"""The table with its controls: which of them must fail, and by how much the flow is ahead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fclf.evaluation.results import Report, Row
from fclf.report.comparison import NOTE, difference_table, differences, differing
from fclf.report.html.markup import Child, Html, from_rich, join, more, section, table, tag
from fclf.report.spec import diagnoses
from fclf.report.table import COLUMNS, MEASURED, details, summary, terminal

__all__ = ["MUST_FAIL", "REAL", "controls", "mark", "tables"]

MUST_FAIL: Mapping[str, str] = {
    "do nothing": "it shows no target",
    "target mean": "it sends everybody to one point",
    "nearest real target row": "it becomes somebody else",
}
"""Controls that a good measure ranks low, and how each fails."""
REAL = "held-out real"
LEAD = (
    "Read the highlighted row against the rows below it: a flow is worth having where it beats the shifts without "
    "losing what they keep. The controls that must fail show how each number looks when something is wrong."
)
PLAIN = (
    "Success: share of edits that a judge takes for the target. Kept: other attributes unchanged. Rank 1: still "
    "the same individual. Gap closed and recall: among real rows. Variance: 1 is as different from one another as real "
    "rows, 0 a collapse."
)


def tables(reports: Sequence[tuple[str, Report]]) -> Html:
    """One table of all flows that can be compared with the first one, and one of its own for each that cannot."""
    main = reports[0][1]
    alike = [(name, report) for name, report in reports if not differing(main.metrics, report.metrics)]
    apart = [(name, report) for name, report in reports if differing(main.metrics, report.metrics)]
    parts: list[Child] = [_table(alike), _against(alike)]
    for name, report in apart:
        what = ", ".join(differing(main.metrics, report.metrics))
        warning = f"{name} was evaluated with other {what} than {reports[0][0]}: compare each with its own controls."
        parts += [tag("h3", name), tag("p", warning, class_="warning"), _table([(name, report)])]
    rows = [(name, report.flow) for name, report in alike] + controls(main)
    parts.append(more("What else was measured", from_rich(details(rows)), titled=True))
    notes = [_notes(name if len(reports) > 1 else None, report) for name, report in reports]
    fails = "; ".join(f"{name}, as {why}" for name, why in MUST_FAIL.items())
    read = tag("p", f"{PLAIN} Must fail: {fails}.")
    return section("Table", "The flow beside its controls", LEAD, read, parts, notes)


def controls(report: Report) -> list[tuple[str, Row]]:
    """Every row of the table below the flow's, by name."""
    return [(row.name, row) for row in report.metrics.table[1:]]


def _table(reports: Sequence[tuple[str, Report]]) -> Html:
    flows = [(name, report.flow) for name, report in reports]
    rows = flows + controls(reports[0][1])
    metrics = reports[0][1].metrics
    title = f"{metrics.rows['edits']} edits of {metrics.rows['evaluated']} {metrics.split} rows, mode {metrics.mode}"
    first = [_named(name, row, flow=number < len(flows)) for number, (name, row) in enumerate(rows)]
    marks = [mark(row, flow=number < len(flows)) for number, (_, row) in enumerate(rows)]
    return from_rich(terminal(title, rows), first=first, marks=marks)


def _named(name: str, row: Row, *, flow: bool) -> Html:
    tags: list[Child] = []
    if not flow and name in MUST_FAIL:
        tags.append(tag("span", "must fail", class_="badge", title=MUST_FAIL[name]))
    if not flow and name == REAL:
        tags.append(tag("span", "ceiling", class_="badge", title="real rows in the place of edits"))
    if row.collapsed:
        tags.append(tag("span", "collapsed", class_="badge bad"))
    return join(name, tags)


def mark(row: Row, *, flow: bool) -> str:
    """Classes of a row of a table: a flow, what the verdict's rule calls collapsed."""
    return " ".join(word for word, on in (("flow", flow), ("called", bool(row.collapsed))) if on)


def _against(reports: Sequence[tuple[str, Report]]) -> Html:
    """Paired differences: to the first flow where there are several, to the controls where there is one."""
    name, main = reports[0]
    if len(reports) > 1:
        made = difference_table([(other, report.flow) for other, report in reports])
        return more(str(made.title), from_rich(made), unfolded=True, titled=True)
    found = [(row.name, differences(main.flow, row)) for row in main.metrics.table[1:] if row.name != REAL]
    rows = [(other, *(ahead[m].text if m in ahead else "-" for m in MEASURED)) for other, ahead in found]
    title = f"How far {name} is ahead of each control"
    return more(title, table(title, COLUMNS, rows, note=NOTE), titled=True)


def _notes(name: str | None, report: Report) -> Html:
    lines = [*summary(report.metrics), *diagnoses(report.metrics)]
    listed = tag("ul", (tag("li", line) for line in lines))
    return more("Notes" if name is None else f"Notes on {name}", listed, unfolded=name is None)
