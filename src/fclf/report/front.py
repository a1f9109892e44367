"""The front of an ablation: how much of the others' predictions an edit keeps against how much of the gap it closes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from fclf.ablation import Ablation, Family, Measured, Method
from fclf.files import atomic_write
from fclf.report.palette import COLOURS, REST

__all__ = ["draw", "figure"]

KEPT, GAP, SUCCESS = "linear.kept", "gap_closed", "linear.success"


class Style(NamedTuple):
    """How a family is drawn."""

    marker: str
    colour: str
    size: float
    text: str


STYLES: dict[Family, Style] = {
    "specification": Style("^", COLOURS[1], 8, "the specification's recipes"),
    "control": Style("s", "#6E6E6E", 7, "do nothing and other controls: what must not win"),
    "closed form": Style("o", COLOURS[0], 7, "closed forms: shifts and quantile shifts"),
    "cure": Style("D", COLOURS[6], 9, "the cure, from faithful to controlled"),
    "leave one out": Style("v", COLOURS[3], 7, "the cure without one of its parts"),
}
COLLAPSE = COLOURS[4]
DPI = 120
NEAR = 0.5
"""Gap closed from which a method is near the front."""
RADII = (11, 13, 15, 17, 20, 26, 33, 41, 50, 60, 72, 85, 100, 120)
"""Distances in points at which a label is tried."""
ANGLES = tuple(math.radians(degrees) for degrees in (0, 180, 90, 270, 30, 330, 150, 210, 60, 300, 120, 240))
LINE_FROM = 12
"""A label farther away from its point, in points, is tied to it by a line, and so is one that is near others."""


def draw(ablation: Ablation, path: str | Path) -> Path:
    """Draw the front into a PNG file."""
    matplotlib.use("Agg")
    with atomic_write(Path(path)) as file:
        figure(ablation).savefig(file, format="png", dpi=DPI, metadata={"Software": None})
    return Path(path)


def figure(ablation: Ablation) -> Figure:
    """All methods on the left, on a logarithmic scale below -1; those near the front once more on the right."""
    shown = [m for m in ablation.methods if m.family in STYLES and None not in (m.value(KEPT), m.value(GAP))]
    near = [m for m in shown if _value(m, GAP) > NEAR and not m.collapsed]
    far = [m for m in shown if m not in near]
    out = Figure(figsize=(14, 7.4), dpi=DPI, layout="constrained")  # labels are placed in pixels
    FigureCanvasAgg(out)
    left, right = out.subplots(1, 2, width_ratios=(1, 1.35))
    for axis, methods in ((left, shown), (right, near)):
        for method in methods:
            _point(axis, method)
        _walk(axis, methods)
        axis.tick_params(labelsize=8)
        axis.set_xlabel("kept: other attributes' predictions unchanged", fontsize=9)
    _whole(left, ablation, shown)
    if near:
        _zoom(right, left, near)
    if not shown:
        left.text(0.5, 0.5, "no gap was measured: too few rows", transform=left.transAxes, ha="center")
    left.set_ylabel("gap closed: 1 is among real rows, 0 where it was, negative farther away", fontsize=9)
    left.set_title("Everything (the scale is logarithmic below -1)", fontsize=10)
    right.set_title(
        "The framed part. Behind each name: success. Bars: range over seeds, or 95 % over people", fontsize=10
    )
    out.suptitle(
        "Up is closer to real rows, right is fewer side effects: the best edits are at the top right", fontsize=12
    )
    out.legend(handles=_legend(shown, ablation), loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    out.draw_without_rendering()
    _place(left, far, shown)
    _place(right, near, near)
    return out


def _whole(axis: Axes, ablation: Ablation, shown: Sequence[Method]) -> None:
    axis.set_yscale("symlog", linthresh=1, linscale=0.55)
    lowest = min([_value(m, GAP) for m in shown], default=0.0)
    axis.set_ylim(min(lowest * 2, -1.5), 1.35)
    axis.yaxis.set_major_locator(FixedLocator([-30, -10, -3, -1, -0.5, 0, 0.5, 1]))
    axis.yaxis.set_minor_locator(FixedLocator([]))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    axis.axhline(0, color=REST, linewidth=0.8, zorder=0)
    for real in (m for m in ablation.methods if m.family == "real" and m.value(GAP) is not None):
        axis.axhline(_value(real, GAP), color="black", linestyle="--", linewidth=1, zorder=0)


def _zoom(axis: Axes, whole: Axes, near: Sequence[Method]) -> None:
    """Limits around the methods near the front, and a frame where they are among all."""
    for set_limits, measure in ((axis.set_xlim, KEPT), (axis.set_ylim, GAP)):
        values = [_value(m, measure) for m in near]
        room = 0.22 * max(max(values) - min(values), 0.02)
        set_limits(min(values) - room, max(values) + room)
    (x0, x1), (y0, y1) = axis.get_xlim(), axis.get_ylim()
    whole.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor="black", linewidth=0.8))


def _point(axis: Axes, method: Method) -> None:
    style = STYLES[method.family]
    x, y = _value(method, KEPT), _value(method, GAP)
    axis.errorbar(
        x,
        y,
        xerr=_error(method.measures[KEPT]),
        yerr=_error(method.measures[GAP]),
        marker=style.marker,
        color=style.colour,
        markersize=style.size,
        elinewidth=0.8,
        alpha=0.95,
        zorder=3,
    )
    if method.collapsed:
        axis.plot(x, y, marker="o", markersize=15, fillstyle="none", color=COLLAPSE, markeredgewidth=1.8, zorder=4)


def _walk(axis: Axes, methods: Sequence[Method]) -> None:
    """Line through the operating points of the cure."""
    cure = [(_value(m, KEPT), _value(m, GAP)) for m in methods if m.family == "cure"]
    if cure:
        axis.plot(*zip(*cure, strict=True), color=STYLES["cure"].colour, linewidth=1.5, zorder=2)


def _legend(shown: Sequence[Method], ablation: Ablation) -> list[Line2D]:
    families = {m.family for m in shown}
    entries = [
        Line2D([], [], marker=s.marker, color=s.colour, markersize=s.size, linestyle="", label=s.text)
        for family, s in STYLES.items()
        if family in families
    ]
    ring = {"marker": "o", "fillstyle": "none", "color": COLLAPSE, "markersize": 13.0, "markeredgewidth": 1.8}
    if any(m.collapsed for m in shown):
        entries.append(Line2D([], [], **ring, linestyle="", label="collapsed: the spread of real rows is lost"))  # type: ignore[arg-type]
    for real in (m for m in ablation.methods if m.family == "real"):
        text = f"held-out real rows (success {_decimal(real)})"
        entries.append(Line2D([], [], color="black", linestyle="--", linewidth=1, label=text))
    return entries


def _place(axis: Axes, methods: Sequence[Method], points: Sequence[Method]) -> None:
    """Label methods where there is room: over no marker, no other label, inside of the axes; nearest place first."""
    scale = DPI / 72
    centres = {m.name: axis.transData.transform((_value(m, KEPT), _value(m, GAP))) for m in points}
    taken = [_around(centres[m.name], (11 if m.collapsed else 7) * scale) for m in points]
    taken += [_around(place, 2 * scale) for line in axis.lines if line.get_linestyle() == "-" for place in _along(line)]
    taken += [bar for m in points for bar in _bars(axis, m, 2 * scale)]
    frame = axis.get_window_extent()
    for method in sorted(methods, key=lambda m: (m.family != "cure", -centres[m.name][1], centres[m.name][0])):
        point = (_value(method, KEPT), _value(method, GAP))
        text = f"{_short(method)} {_decimal(method)}"
        label = axis.annotate(text, point, xytext=(0, 0), textcoords="offset points", fontsize=8, zorder=5)
        label.set_in_layout(False)  # the layout is settled, and labels fit in it
        size = label.get_window_extent()
        others = [centre for name, centre in centres.items() if name != method.name]
        for dx, dy in _offsets(size.width / scale, size.height / scale):
            x, y = centres[method.name] + np.array([dx, dy]) * scale
            box = Bbox.from_bounds(x, y, size.width, size.height)
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
            if inside and not any(box.padded(2 * scale).overlaps(other) for other in taken):
                taken.append(box)
                label.set_position((dx, dy))
                own = _distance(box, centres[method.name])
                if own > LINE_FROM * scale or any(_distance(box, other) < 2 * own for other in others):
                    _tie(axis, point, centres[method.name], box)
                break
        else:
            label.remove()  # no room: the table has it


def _around(centre: NDArray[np.float64], half: float) -> Bbox:
    return Bbox.from_extents(centre[0] - half, centre[1] - half, centre[0] + half, centre[1] + half)


def _along(line: Line2D) -> list[NDArray[np.float64]]:
    """Places on a line, in pixels."""
    ends: NDArray[np.float64] = line.get_transform().transform(line.get_xydata())
    return [a + share * (b - a) for a, b in pairwise(ends) for share in np.linspace(0, 1, 20)]


def _bars(axis: Axes, method: Method, half: float) -> list[Bbox]:
    """Where its error bars are, in pixels."""
    at = np.array([_value(method, KEPT), _value(method, GAP)])
    bars = []
    for coordinate, measure in enumerate((KEPT, GAP)):
        if (error := _error(method.measures[measure])) is not None:
            ends = np.array([at, at])
            ends[:, coordinate] += (-error[0][0], error[1][0])
            bars.append(Bbox(axis.transData.transform(ends)).padded(half))
    return bars


def _distance(box: Bbox, place: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(np.clip(place, box.min, box.max) - place))


def _tie(axis: Axes, point: tuple[float, float], centre: NDArray[np.float64], label: Bbox) -> None:
    """Thin line from a point to the nearest place of its label."""
    end = tuple(np.clip(centre, label.min, label.max).tolist())
    line = {"arrowstyle": "-", "color": "#6E6E6E", "linewidth": 0.6, "shrinkA": 0, "shrinkB": 3}
    axis.annotate("", point, end, textcoords="figure pixels", arrowprops=line, zorder=2).set_in_layout(False)


def _offsets(width: float, height: float) -> Iterator[tuple[float, float]]:
    """Lower left corners of a label around its point, in points, nearest first."""
    for radius in RADII:
        for angle in ANGLES:
            x, y = radius * math.cos(angle), radius * math.sin(angle)
            yield x - width * (1 - math.cos(angle)) / 2, y - height / 2


def _short(method: Method) -> str:
    return method.name.replace("cure without ", "no ") if method.family == "leave one out" else method.name


def _decimal(method: Method) -> str:
    """Success with two decimals."""
    return f"{_value(method, SUCCESS):.2f}".removeprefix("0")


def _error(measured: Measured) -> list[list[float]] | None:
    if measured.value is None or measured.low is None or measured.high is None:
        return None
    return [[max(measured.value - measured.low, 0)], [max(measured.high - measured.value, 0)]]


def _value(method: Method, measure: str) -> float:
    """A measure that is known to be there."""
    value = method.value(measure)
    assert value is not None
    return value
