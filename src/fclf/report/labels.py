"""Labels of points where there is room: over no marker, no other label, no error bar, and inside of the axes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

__all__ = ["Bars", "Spot", "place", "upright"]

RADII = (11, 13, 15, 17, 20, 26, 33, 41, 50, 60, 72, 85, 100, 120)
"""Distances in points at which a label is tried."""
ANGLES = tuple(math.radians(degrees) for degrees in (0, 180, 90, 270, 30, 330, 150, 210, 60, 300, 120, 240))
LINE_FROM = 12
"""A label farther away from its point, in points, is tied to it by a line, and so is one that is near others."""

Bars = tuple[float, float]
"""How far an error bar goes below and above."""


class Spot(NamedTuple):
    """A point with its error bars and what is written beside it."""

    text: str
    x: float
    y: float
    x_bars: Bars | None = None
    y_bars: Bars | None = None
    ringed: bool = False
    """Whether a ring is around its marker."""
    first: bool = False
    """Whether its label is placed before those of others."""


def place(axis: Axes, labelled: Sequence[Spot], spots: Sequence[Spot] | None = None, size: float = 8) -> None:
    """Label some spots of axes that are drawn already, each at the nearest free place; one without room has no label.

    Args:
        axis: whose layout is settled.
        labelled: the spots that get a label.
        spots: all that there are, if there are others.
        size: of the letters in points.
    """
    spots = labelled if spots is None else spots
    figure = axis.get_figure(root=True)
    assert figure is not None
    scale = figure.dpi / 72
    centres = [axis.transData.transform((spot.x, spot.y)) for spot in spots]
    taken = [_around(c, (11 if s.ringed else 7) * scale) for c, s in zip(centres, spots, strict=True)]
    taken += [_around(at, 2 * scale) for line in axis.lines if line.get_linestyle() == "-" for at in _along(line)]
    taken += [bar for spot in spots for bar in _bars(axis, spot, 2 * scale)]
    frame = axis.get_window_extent()
    own = [(spot, axis.transData.transform((spot.x, spot.y))) for spot in labelled]
    for spot, centre in sorted(own, key=lambda pair: (not pair[0].first, -pair[1][1], pair[1][0])):
        label = axis.annotate(
            spot.text, (spot.x, spot.y), xytext=(0, 0), textcoords="offset points", fontsize=size, zorder=5
        )
        label.set_in_layout(False)  # the layout is settled, and labels fit in it
        extent = label.get_window_extent()
        others = [c for c, other in zip(centres, spots, strict=True) if other != spot]
        for dx, dy in _offsets(extent.width / scale, extent.height / scale):
            x, y = centre + np.array([dx, dy]) * scale
            box = Bbox.from_bounds(x, y, extent.width, extent.height)
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
            if inside and not any(box.padded(2 * scale).overlaps(other) for other in taken):
                taken.append(box)
                label.set_position((dx, dy))
                away = _distance(box, centre)
                if away > LINE_FROM * scale or any(_distance(box, other) < 2 * away for other in others):
                    _tie(axis, spot, centre, box)
                break
        else:
            label.remove()  # no room: the table has it


def upright(bars: Bars | None) -> list[list[float]] | None:
    """Error bars as matplotlib takes them."""
    return None if bars is None else [[bars[0]], [bars[1]]]


def _around(centre: NDArray[np.float64], half: float) -> Bbox:
    return Bbox.from_extents(centre[0] - half, centre[1] - half, centre[0] + half, centre[1] + half)


def _along(line: Line2D) -> list[NDArray[np.float64]]:
    """Places on a line, in pixels."""
    ends: NDArray[np.float64] = line.get_transform().transform(line.get_xydata())
    return [a + share * (b - a) for a, b in pairwise(ends) for share in np.linspace(0, 1, 20)]


def _bars(axis: Axes, spot: Spot, half: float) -> list[Bbox]:
    """Where its error bars are, in pixels."""
    bars = []
    for coordinate, error in enumerate((spot.x_bars, spot.y_bars)):
        if error is not None:
            ends = np.array([[spot.x, spot.y], [spot.x, spot.y]])
            ends[:, coordinate] += (-error[0], error[1])
            bars.append(Bbox(axis.transData.transform(ends)).padded(half))
    return bars


def _distance(box: Bbox, place: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(np.clip(place, box.min, box.max) - place))


def _tie(axis: Axes, spot: Spot, centre: NDArray[np.float64], label: Bbox) -> None:
    """Thin line from a point to the nearest place of its label."""
    end = tuple(np.clip(centre, label.min, label.max).tolist())
    line = {"arrowstyle": "-", "color": "#6E6E6E", "linewidth": 0.6, "shrinkA": 0, "shrinkB": 3}
    axis.annotate("", (spot.x, spot.y), end, textcoords="figure pixels", arrowprops=line, zorder=2).set_in_layout(False)


def _offsets(width: float, height: float) -> Iterator[tuple[float, float]]:
    """Lower left corners of a label around its point, in points, nearest first."""
    for radius in RADII:
        for angle in ANGLES:
            x, y = radius * math.cos(angle), radius * math.sin(angle)
            yield x - width * (1 - math.cos(angle)) / 2, y - height / 2
