"""Leakage as a heat map and the spread of every combination, as tables that can be read aloud and scrolled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from fclf.evaluation.results import Report, Row
from fclf.evaluation.verdict.collapse import describe
from fclf.report.html.markup import Child, Html, figure, join, more, scrolled, section, table, tag
from fclf.report.matrices import COMPARED
from fclf.report.table import number

__all__ = ["leakage", "spread"]

WRITTEN = 12
"""Attributes up to which the numbers stand in the cells."""
GAMMA = 0.7
"""Below 1, so that small shifts can be told from none."""
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
    largest = largest or 1.0
    drawn = [_heat_map(name, shifts, names, largest) for name, shifts, names in known]
    kind = "pair" if all(len(names) <= WRITTEN for _, _, names in known) else "wide"
    return section("Leakage", "Leakage between attributes", lead, tag("div", drawn, class_=kind), _scale(largest))


def _scale(largest: float) -> Html:
    """What the colours stand for."""
    steps = [_heat(share * largest, "scale", "", largest, True) for share in (-1, -0.5, -0.1, 0, 0.1, 0.5, 1)]
    row = tag("tr", tag("th", "logit shift, in standard deviations of unedited rows", scope="row"), steps)
    whole = tag("table", tag("tbody", row), class_="heat")
    note = "Positive is in the direction of the edit. All maps have this scale; a dash: no such edit."
    return join(scrolled("Scale of the heat maps", whole), tag("p", note, class_="note"))


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
    strength = f"--s:{round(share**GAMMA, 2):g}"
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

    def width(self, real: bool) -> float | None:
        """Variance over that of real rows, or over that of the sources."""
        return self.ratio if real else self.kept


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
    title = f"{name}: narrowest combinations first" if several else "Narrowest combinations first"
    if not whole:
        return tag("p", f"{name}: no combination has rows enough to compare.", class_="note")
    real = any(one.ratio is not None for one in whole)  # many attributes leave no real rows to compare with
    ordered = sorted(whole, key=lambda one: (one.width(real) is None, one.width(real) or 0.0))
    control = {one.text: one.width(real) for one in beside}
    over = "over real rows" if real else "over sources"
    head = ("edits", "number", "real rows", over, COMPARED, *(("over sources",) if real else ()), "recall")
    rows = [
        (
            one.text,
            str(one.edits),
            str(one.real),
            _bar(one.width(real)),
            number(control.get(one.text)),
            *((number(one.kept),) if real else ()),
            number(one.recall),
        )
        for one in ordered
    ]
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


def _bar(ratio: float | None) -> Child:
    if ratio is None:
        return "-"
    bar = tag("span", class_="bar", style=f"--w:{min(ratio, 1.5) / 1.5:.3f}", aria_hidden="true")
    return (tag("span", bar, class_="gauge"), " ", tag("span", number(ratio), class_="value"))
