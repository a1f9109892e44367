"""Maps of the edits, small enough to be lines and dots of the page itself, so that a reader can zoom in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float64, Int64
from matplotlib.ticker import MaxNLocator

from fclf.evaluation.results import PlotPoints, Report
from fclf.report.figures import UNCOLOURED, axis_titles, frequent
from fclf.report.html.markup import Child, Html, figure, join, section, tag

__all__ = ["destinations", "trajectories"]

WIDE, HIGH = 380, 330
LEFT, TOP, RIGHT, BOTTOM = 40, 8, 372, 284
"""Of the plot inside of the drawing."""
ROOM = 0.04
"""Around the outermost points, as a share of the range."""

SIZES = ((1, 3, 1.0), (4, 15, 1.8), (16, 63, 2.8), (64, 10**9, 4.0))
"""Fewest and most dots in one place, and how much wider they are drawn together."""
ONE_SIZE = (1, 10**9, 1.0)

Points = Float64[np.ndarray, "n 2"]
Limits = tuple[float, float, float, float]
"""x from, x to, y from, y to."""


def trajectories(reports: Sequence[tuple[str, Report]]) -> Html:
    """Paths from source to end, one map for each report, all with the same limits."""
    limits = _limits(x for _, r in reports for x in (r.points.original, r.points.paths.reshape(-1, 2)))
    drawn = []
    for name, report in reports:
        points = report.points
        layers = [
            _dots(points.original, limits, "backdrop", 3),
            _lines(points.paths.transpose(1, 0, 2), limits),
            _dots(points.paths[0], limits, "start", 4),
            _dots(points.paths[-1], limits, "end", 6, ends=True),
        ]
        count = points.paths.shape[1]
        label = f"Map of {count} paths of {name}, from source to end, over all sampled sources"
        drawn.append(_map(layers, limits, points, label, f"{name}: {count} paths", "trajectories"))
    lead = (
        "Each line is one edit on its way. Ends that stay as scattered as the starts are healthy; lines that run "
        "together into a few dots, larger where more end in one place, are a collapse."
    )
    key = [("start", "start"), ("end", "end"), ("path", "path"), ("backdrop", "all sampled sources")]
    return section("Trajectories", "Trajectories", lead, _key(key), tag("div", drawn, class_="pair"))


def destinations(reports: Sequence[tuple[str, Report]]) -> Html:
    """Originals by their own combination beside destinations by the target one, with the same limits and colours."""
    limits = _limits(x for _, r in reports for x in (r.points.original, r.points.flowed))
    drawn, keys = [], []
    for name, report in reports:
        points = report.points
        shown = frequent(points)
        names = [str(points.code_names[code]) for code in shown]
        key = _key(
            [
                *((f"c{k}", text) for k, text in enumerate(names)),
                ("other", "other combinations") if names else ("c0", UNCOLOURED),
            ]
        )
        if key not in keys:
            keys.append(key)
        before, after = "originals", "destinations"
        if names:
            before, after = f"{before}, by the combination they have", f"{after}, by the combination asked for"
        for title, xy, codes in (
            (before, points.original, points.original_codes),
            (after, points.flowed, points.target_codes),
        ):
            layers = _coloured(xy, codes, shown, limits, ends=title == after)
            drawn.append(_map(layers, limits, points, f"Map of {name}: {title}", f"{name}: {title}", "ends"))
    lead = (
        "In a good edit the right map looks like the left one: the same cloud, each colour where real embeddings of "
        "that combination are. A collapse leaves one large dot for each colour."
    )
    return section("Destinations", "Destinations", lead, keys, tag("div", drawn, class_="pair"))


def _limits(clouds: Iterable[Points]) -> Limits:
    """Around all points, as wide as a map is."""
    every = np.concatenate(list(clouds))
    every = every[np.isfinite(every).all(axis=1)]
    low, high = every.min(axis=0), every.max(axis=0)
    room = ROOM * np.maximum(high - low, 1e-12)
    (x0, y0), (x1, y1) = (low - room).tolist(), (high + room).tolist()
    return x0, x1, y0, y1


def _place(xy: Points, limits: Limits) -> Points:
    x0, x1, y0, y1 = limits
    x = LEFT + (xy[:, 0] - x0) / (x1 - x0) * (RIGHT - LEFT)
    y = BOTTOM - (xy[:, 1] - y0) / (y1 - y0) * (BOTTOM - TOP)
    return np.stack([x, y], axis=1)


def _dots(xy: Points, limits: Limits, kind: str, width: float, *, ends: bool = False) -> Html:
    """Lines of no length with round ends: ten bytes a dot, whose size on the screen does not change when zooming.

    Ends that fall on one another are one larger dot, so that a collapse is seen. Sources do because each is edited
    several times, which says nothing.
    """
    places, counts = np.unique(_place(xy, limits).round(1), axis=0, return_counts=True)
    paths = []
    for least, most, wider in SIZES if ends else (ONE_SIZE,):
        chosen = places[(counts >= least) & (counts <= most)].tolist()
        if chosen:
            drawn = "".join(f"M{x:g} {y:g}h0" for x, y in chosen)
            paths.append(tag("path", d=drawn, class_=f"dots {kind}", stroke_width=f"{width * wider:g}"))
    return join(paths)


def _lines(paths: Float64[np.ndarray, "p t 2"], limits: Limits) -> Html:
    path = "".join("M" + "L".join(f"{x:g} {y:g}" for x, y in _place(one, limits).round(1).tolist()) for one in paths)
    return tag("path", d=path, class_="path")


def _coloured(
    xy: Points, codes: Int64[np.ndarray, " n"], shown: Int64[np.ndarray, " c"], limits: Limits, *, ends: bool
) -> list[Html]:
    if not len(shown):
        return [_dots(xy, limits, "c0", 3, ends=ends)]
    rest = _dots(xy[~np.isin(codes, shown)], limits, "other", 3, ends=ends)
    return [rest, *(_dots(xy[codes == code], limits, f"c{k}", 4, ends=ends) for k, code in enumerate(shown.tolist()))]


def _map(layers: Sequence[Html], limits: Limits, points: PlotPoints, label: str, caption: str, group: str) -> Html:
    """One map; `data-limits` and the names of the classes are what `zoom.js` needs."""
    view = f"{LEFT} {TOP} {RIGHT - LEFT} {BOTTOM - TOP}"
    size = {"x": str(LEFT), "y": str(TOP), "width": str(RIGHT - LEFT), "height": str(BOTTOM - TOP)}
    x_title, y_title = axis_titles(points)
    middle = (TOP + BOTTOM) / 2
    drawing = tag(
        "svg",
        tag("rect", **size, class_="frame"),
        tag("svg", layers, **size, viewBox=view, class_="view", preserveAspectRatio="none"),
        tag("g", _ticks(limits), class_="ticks"),
        tag("text", x_title, x=str((LEFT + RIGHT) / 2), y=str(HIGH - 8), text_anchor="middle", class_="axis"),
        tag("text", y_title, transform=f"translate(10 {middle:g}) rotate(-90)", text_anchor="middle", class_="axis"),
        viewBox=f"0 0 {WIDE} {HIGH}",
        role="img",
        aria_label=label,
        class_="chart map",
        tabindex="0",
        data_group=group,
        data_limits=" ".join(f"{limit:.6g}" for limit in limits),
    )
    return figure(drawing, caption)


def _ticks(limits: Limits) -> list[Child]:
    x0, x1, y0, y1 = limits
    found: list[Child] = []
    for x in _round(x0, x1):
        at = LEFT + (x - x0) / (x1 - x0) * (RIGHT - LEFT)
        found.append(tag("path", d=f"M{at:.1f} {BOTTOM}v4"))
        found.append(tag("text", f"{x:g}", x=f"{at:.1f}", y=str(BOTTOM + 15), text_anchor="middle"))
    for y in _round(y0, y1):
        at = BOTTOM - (y - y0) / (y1 - y0) * (BOTTOM - TOP)
        found.append(tag("path", d=f"M{LEFT} {at:.1f}h-4"))
        found.append(tag("text", f"{y:g}", x=str(LEFT - 6), y=f"{at + 3.5:.1f}", text_anchor="end"))
    return found


def _round(low: float, high: float) -> list[float]:
    """Four or five round numbers inside."""
    places = MaxNLocator(nbins=5, steps=[1, 2, 5, 10]).tick_values(low, high)
    return [round(float(place), 12) + 0.0 for place in places if low <= place <= high]


def _key(entries: Iterable[tuple[str, str]]) -> Html:
    items = (tag("li", tag("span", class_=f"swatch {kind}", aria_hidden="true"), text) for kind, text in entries)
    return tag("ul", items, class_="key")
