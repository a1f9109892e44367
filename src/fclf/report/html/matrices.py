"""Leakage as a heat map and the spread of every combination, as tables that can be read aloud and scrolled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from fclf.evaluation.results import Report, Row
from fclf.evaluation.verdict.collapse import describe
from fclf.report.html.markup import Child, Html, figure, more, scrolled, section, table, tag
from fclf.report.matrices import COMPARED
from fclf.report.table import number

__all__ = ["leakage", "spread"]

WRITTEN = 12
"""Attributes up to which the numbers stand in the cells."""
SHOWN = 12
"""Combinations that are shown unfolded, the narrowest first."""


def leakage(reports: Sequence[tuple[str, Report]]) -> Html:
    """Each flow's heat map, and the shift's beside it, with one scale."""
    maps = [(name, report.flow, report.metrics.attributes) for name, report in reports]
    main = reports[0][1].metrics
    maps += [(row.name, row, main.attributes) for row in main.table[1:] if row.name == COMPARED]
    known = [(name, row.leakage, names) for name, row, names in maps if row.leakage is not None]
    largest = max((abs(v) for _, shifts, _ in known for line in shifts for v in line if v is not None), default=0.0)
    lead = (
        "Strong colour belongs on the diagonal, which is the attribute that was edited. Colour elsewhere is an "
        f"attribute that changed without being asked; where {COMPARED} has it too, the data link the two."
    )
    if not known:
        return section("Leakage", "Leakage between attributes", lead, tag("p", "Not measured.", class_="note"))
    drawn = [_heat_map(name, shifts, names, largest or 1.0) for name, shifts, names in known]
    scale = (
        f"Logit shift in standard deviations of unedited rows, from {-largest:.1f} (orange, away from the edit's "
        f"direction) over 0 to {largest:.1f} (purple); all maps have this scale. A dash: no such edit."
    )
    return section(
        "Leakage", "Leakage between attributes", lead, tag("div", drawn, class_="pair"), tag("p", scale, class_="note")
    )


def _heat_map(name: str, shifts: list[list[float | None]], names: Sequence[str], largest: float) -> Html:
    written = len(names) <= WRITTEN
    top = tag(
        "tr",
        tag("th", "edited ↓ judged →", scope="col"),
        (tag("th", tag("span", attribute), scope="col", class_="turned") for attribute in names),
    )
    rows = []
    for edited, line in zip(names, shifts, strict=True):
        cells = (_heat(value, edited, judged, largest, written) for judged, value in zip(names, line, strict=True))
        rows.append(tag("tr", tag("th", edited, scope="row"), cells))
    kind = "heat" if written else "heat dense"
    whole = tag("table", tag("thead", top), tag("tbody", rows), class_=kind)
    return figure(scrolled(f"Leakage of {name}", whole), name)


def _heat(value: float | None, edited: str, judged: str, largest: float, written: bool) -> Html:
    if value is None:
        return tag("td", "-")
    share = min(abs(value) / largest, 1.0)
    strength = f"--s:{round(share, 2):g}"
    kind = ("up" if value >= 0 else "down") + (" own" if edited == judged else "")
    if written:
        return tag("td", f"{value:+.2f}", class_=kind, style=strength)
    return tag("td", class_=kind, style=strength, title=f"{edited} edited, {judged} judged: {value:+.2f}")


class Spread(NamedTuple):
    """What is known of the spread of one combination."""

    text: str
    edits: int
    real: int
    ratio: float | None
    kept: float | None
    recall: float | None


def spread(reports: Sequence[tuple[str, Report]]) -> Html:
    """A table for each report, the narrowest combination first."""
    lead = (
        "How different from one another the edits of each combination end, over how different real rows of it are: 1 "
        "is right, and a short bar is a combination that has collapsed even where the average looks well."
    )
    several = len(reports) > 1
    return section("Spread", "Spread of each combination", lead, [_spread(n, r, several) for n, r in reports])


def _spread(name: str, report: Report, several: bool) -> Child:
    whole, beside = _combinations(report.flow), _combinations(_control(report))
    collapsed = {describe(lost) for lost in report.metrics.verdict.collapsed}
    ordered = sorted(whole, key=lambda one: one.ratio if one.ratio is not None else one.kept or 0.0)
    title = "Narrowest combinations first" if not several else f"{name}: narrowest combinations first"
    if not ordered:
        return tag("p", f"{name}: no combination has rows enough to compare.", class_="note")
    control = {one.text: one.ratio for one in beside}
    head = ("edits", "number", "real rows", "variance", f"of {COMPARED}", "of the sources", "recall")
    rows = [_cells(one, control.get(one.text)) for one in ordered]
    marks = ["called" if one.text in collapsed else "" for one in ordered]
    parts: list[Child] = [table(title, head, rows[:SHOWN], marks=marks)]
    if len(rows) > SHOWN:
        rest = len(rows) - SHOWN
        parts.append(
            more(f"{rest} more combinations", table(f"{title}, the others", head, rows[SHOWN:], marks=marks[SHOWN:]))
        )
    return parts


def _control(report: Report) -> Row | None:
    return next((row for row in report.metrics.table[1:] if row.name == COMPARED), None)


def _combinations(row: Row | None) -> list[Spread]:
    """Groups, and where there are none the edits of each attribute and direction."""
    if row is None:
        return []
    groups = [*row.groups, *row.rare]
    if groups:
        return [Spread(describe(g), g.edits, g.real, g.variance_ratio, g.spread_kept, g.recall) for g in groups]
    return [
        Spread(f"{c.attribute} to {c.to}", c.edits, round(c.effective_real), c.variance_ratio, c.spread_kept, None)
        for c in row.pooled
    ]


def _cells(one: Spread, control: float | None) -> tuple[Child, ...]:
    return (
        one.text,
        str(one.edits),
        str(one.real),
        _bar(one.ratio),
        number(control),
        number(one.kept),
        number(one.recall),
    )


def _bar(ratio: float | None) -> Child:
    if ratio is None:
        return "-"
    bar = tag("span", class_="bar", style=f"--w:{min(ratio, 1.5) / 1.5:.3f}", aria_hidden="true")
    return (tag("span", bar, class_="gauge"), " ", tag("span", number(ratio), class_="value"))
