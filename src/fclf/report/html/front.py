"""The front of the table's rows: what an edit keeps against how near to real rows it ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from fclf.evaluation.results import Report, Row
from fclf.report.comparison import differing
from fclf.report.html.chart import MUTED, inline
from fclf.report.html.markup import Child, Html, figure, section, tag
from fclf.report.html.tables import MUST_FAIL, REAL
from fclf.report.labels import Bars, Spot, place, upright
from fclf.report.palette import COLOURS, REST

__all__ = ["front"]

KEPT, GAP = "linear.kept", "gap_closed"
SIZE = (4.8, 4.0)
"""Inches of 72 points: about as wide as a phone's screen is in CSS pixels, so that letters keep their size."""
NEAR = 0.5
"""Gap closed from which a row is near the front."""
LOWEST = -1.0
"""Below it the scale is logarithmic."""
POOLED = (
    "No combination has rows enough, so the gap here is that of attributes and directions. The verdict does not read "
    "it: a flow can be called HEALTHY and still lie below the shifts here."
)


class Entry(NamedTuple):
    """A row of the table as a point."""

    name: str
    row: Row
    flow: bool
    pooled: bool
    """Whether its gap is that of attributes and directions, as with many attributes no combination has rows enough."""

    @property
    def style(self) -> tuple[str, str, float]:
        """Marker, colour and size."""
        if self.flow:
            return "D", COLOURS[6], 8
        return ("X", MUTED, 7) if self.name in MUST_FAIL else ("o", COLOURS[0], 6)

    def spot(self) -> Spot:
        """Where it is and what is written beside it."""
        x, y = self.row.value(KEPT), _gap(self.row, self.pooled)
        assert x is not None
        assert y is not None
        ringed = bool(self.row.collapsed)
        return Spot(
            self.name,
            x,
            y,
            _bars(self.row, KEPT),
            None if self.pooled else _bars(self.row, GAP),
            ringed=ringed,
            first=self.flow,
        )


def front(reports: Sequence[tuple[str, Report]]) -> Html:
    """All rows, and those near the front once more."""
    main = reports[0][1].metrics
    pooled = all(row.gap_closed is None for row in main.table)
    flows = [Entry(name, r.flow, True, pooled) for name, r in reports if not differing(main, r.metrics)]
    entries = [*flows, *(Entry(row.name, row, False, pooled) for row in main.table[1:] if row.name != REAL)]
    entries = [e for e in entries if e.row.value(KEPT) is not None and _gap(e.row, pooled) is not None]
    lead = (
        "Up is closer to real rows, right is fewer side effects, so the best edits are at the top right; a flow that "
        "lies below or left of a plain shift is not worth training."
    )
    if not entries:
        note = "The gap was not measured: too few rows of any combination, or a single attribute."
        return section(
            "Front", "The front: what is kept against how real the ends are", lead, tag("p", note, class_="note")
        )
    near = [e for e in entries if e.spot().y > NEAR and not e.row.collapsed]
    real = next((_gap(row, pooled) for row in main.table[1:] if row.name == REAL), None)
    drawn: list[Child] = [
        _drawn(entries, [e for e in entries if e not in near], real, "Every row", "front-all", whole=True)
    ]
    if near:
        drawn.append(_drawn(near, near, real, "Those near the top, enlarged", "front-near", whole=False))
    key = [
        ("diamond c6", "flow"),
        ("round c0", "closed form"),
        ("cross", "control that must fail"),
        ("ring", "collapsed"),
    ]
    items = [tag("li", tag("span", class_=f"swatch {kind}", aria_hidden="true"), text) for kind, text in key]
    if real is not None:
        items.append(tag("li", tag("span", class_="swatch dashed", aria_hidden="true"), "held-out real rows"))
    return section(
        "Front",
        "The front: what is kept against how real the ends are",
        lead,
        tag("p", POOLED, class_="warning") if pooled else None,
        tag("ul", items, class_="key"),
        tag("div", drawn, class_="pair"),
    )


def _drawn(
    entries: Sequence[Entry], labelled: Sequence[Entry], real: float | None, title: str, name: str, *, whole: bool
) -> Html:
    out = Figure(figsize=SIZE, dpi=72, layout="constrained")
    axis = out.subplots()
    if real is not None:
        axis.axhline(real, color="black", linestyle="--", linewidth=1, zorder=0)
    for entry in entries:
        _point(axis, entry)
    lowest = min(entry.spot().y for entry in entries)
    if whole:
        axis.axhline(0, color=REST, linewidth=0.8, zorder=0)
        if lowest < LOWEST:
            axis.set_yscale("symlog", linthresh=1, linscale=0.55)
            axis.yaxis.set_major_locator(FixedLocator([-30, -10, -3, -1, 0, 0.5, 1]))
            axis.yaxis.set_minor_locator(FixedLocator([]))
            axis.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
            axis.set_ylim(lowest * 2, 1.35)
        else:
            axis.set_ylim(lowest - 0.2, 1.25)
    axis.margins(*((0.16, 0.16) if whole else (0.22, 0.2)))
    axis.xaxis.set_major_locator(MaxNLocator(5))
    axis.tick_params(labelsize=9)
    axis.set_xlabel("kept: share of other attributes unchanged", fontsize=10)
    pooled = " by attribute" if entries[0].pooled else ""
    axis.set_ylabel(f"gap to real rows closed{pooled} (share)", fontsize=10)
    out.draw_without_rendering()
    place(axis, [e.spot() for e in labelled], [e.spot() for e in entries], size=9)
    listed = "; ".join(f"{e.name}: kept {e.spot().x:.3f}, gap closed {e.spot().y:.3f}" for e in entries)
    scale = " (logarithmic below -1)" if whole and lowest < LOWEST else ""
    return figure(inline(out, name, f"{title}: {listed}"), f"{title}{scale}", "Bars are 95 % intervals over people.")


def _point(axis: Axes, entry: Entry) -> None:
    (marker, colour, size), spot = entry.style, entry.spot()
    axis.errorbar(
        spot.x,
        spot.y,
        xerr=upright(spot.x_bars),
        yerr=upright(spot.y_bars),
        marker=marker,
        color=colour,
        markersize=size,
        markeredgewidth=0,
        elinewidth=0.8,
        zorder=4 if entry.flow else 3,
    )
    if spot.ringed:
        ring = {"marker": "o", "markersize": 14.0, "fillstyle": "none", "markeredgewidth": 1.6}
        axis.plot(spot.x, spot.y, color=COLOURS[4], zorder=5, **ring)  # type: ignore[arg-type]


def _gap(row: Row, pooled: bool) -> float | None:
    return row.pooled_gap_closed if pooled else row.gap_closed


def _bars(row: Row, measure: str) -> Bars | None:
    value, ends = row.value(measure), row.intervals.get(measure)
    return None if value is None or ends is None else (max(value - ends[0], 0), max(ends[1] - value, 0))
