"""The front of an ablation: how much of the others' predictions an edit keeps against how much of the gap it closes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter

from fclf.ablation import Ablation, Family, Measured, Method
from fclf.files import atomic_write
from fclf.report.labels import Bars, Spot, place, upright
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
    place(left, [_spot(m) for m in far], [_spot(m) for m in shown])
    place(right, [_spot(m) for m in near])
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
        xerr=upright(_error(method.measures[KEPT])),
        yerr=upright(_error(method.measures[GAP])),
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


def _spot(method: Method) -> Spot:
    return Spot(
        f"{_short(method)} {_decimal(method)}",
        _value(method, KEPT),
        _value(method, GAP),
        _error(method.measures[KEPT]),
        _error(method.measures[GAP]),
        ringed=method.collapsed,
        first=method.family == "cure",
    )


def _short(method: Method) -> str:
    return method.name.replace("cure without ", "no ") if method.family == "leave one out" else method.name


def _decimal(method: Method) -> str:
    """Success with two decimals."""
    return f"{_value(method, SUCCESS):.2f}".removeprefix("0")


def _error(measured: Measured) -> Bars | None:
    if measured.value is None or measured.low is None or measured.high is None:
        return None
    return max(measured.value - measured.low, 0), max(measured.high - measured.value, 0)


def _value(method: Method, measure: str) -> float:
    """A measure that is known to be there."""
    value = method.value(measure)
    assert value is not None
    return value
