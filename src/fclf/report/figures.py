"""Figures of a report: maps of the edits here, curves and matrices beside; the same limits in paired plots."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fclf.evaluation.results import PlotPoints, Report
from fclf.files import atomic_write
from fclf.report.curves import loss_curves, path_curve
from fclf.report.flipbook import sheet, write_png
from fclf.report.matrices import combinations, leakage
from fclf.report.palette import COLOURS, REST

__all__ = ["UNCOLOURED", "axis_titles", "draw", "frequent"]

UNCOLOURED = "too many combinations to colour"

COLOURED = 0.2
"""Least share of the points that have a colour."""
START, END, PATH = "#0072B2", "#009E73", "#8C8C8C"


def draw(report: Report, folder: str | Path) -> list[Path]:
    """Draw every figure of the report into `folder`.

    `loss_curves.png` only where the run kept a history, `flipbook.png` only where the flipbooks have pictures.
    """
    matplotlib.use("Agg")
    figures = {
        "destinations": _destinations(report),
        "trajectories": _trajectories(report),
        "leakage": leakage(report),
        "paths": path_curve(report),
        "combinations": combinations(report),
    }
    if report.metrics.history:
        figures["loss_curves"] = loss_curves(report.metrics)
    paths = []
    for name, figure in figures.items():
        path = Path(folder) / f"{name}.png"
        with atomic_write(path) as file:
            figure.savefig(file, format="png", dpi=120, metadata={"Software": None})
        paths.append(path)
    book = sheet(report.points)
    if book is not None:
        paths.append(Path(folder) / "flipbook.png")
        write_png(book, paths[-1])
    return paths


def _destinations(report: Report) -> Figure:
    """Originals and destinations, each coloured by original and by target combination."""
    points = report.points
    figure = Figure(figsize=(11, 9.6), layout="constrained")
    axes = figure.subplots(2, 2, sharex=True, sharey=True)
    shown = frequent(points)
    for row, (state, xy) in enumerate((("Originals", points.original), ("Destinations", points.flowed))):
        for column, (by, codes) in enumerate((("original", points.original_codes), ("target", points.target_codes))):
            axis = axes[row, column]
            _scatter(axis, xy, codes, shown, points.code_names)
            axis.set_title(f"{state}, coloured by {by} combination" if len(shown) else state, fontsize=10)
    _label(axes[-1, :], axes[:, 0], points)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8, markerscale=2, frameon=False)
    figure.suptitle(_title(report), fontsize=11)
    return figure


def _trajectories(report: Report) -> Figure:
    """Paths from source to green end point, over all originals; the ends once more at their own scale."""
    points = report.points
    figure = Figure(figsize=(11, 5.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.scatter(*points.original.T, s=4, color=REST, alpha=0.35, linewidths=0)
    left.plot(*points.paths.transpose(2, 0, 1), color=PATH, linewidth=0.5, alpha=0.6)
    count = points.paths.shape[1]
    for axis in (left, right):
        axis.scatter(*points.paths[-1].T, s=16, color=END, label="end", zorder=3, linewidths=0)
    left.scatter(*points.paths[0].T, s=9, color=START, label="start", zorder=2, linewidths=0)
    left.set_title(f"{count} trajectories", fontsize=10)
    right.set_title("Their ends alone, at their own scale", fontsize=10)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    _label((left, right), (left, right), points)
    figure.suptitle(_title(report), fontsize=11)
    return figure


def axis_titles(points: PlotPoints) -> tuple[str, str]:
    """What the two axes of the map are."""
    if not len(points.explained):
        return "UMAP 1 of the originals (no unit; distances mean little)", "UMAP 2"
    first, second = points.explained
    return f"principal axis 1 of the originals ({first:.0%} of their variance)", f"principal axis 2 ({second:.0%})"


def frequent(points: PlotPoints) -> NDArray[np.intp]:
    """The combinations that get a colour of their own, most frequent first.

    None where they would be few of the points: with forty attributes nearly each has a combination of its own.
    """
    codes = np.concatenate([points.original_codes, points.target_codes])
    most = np.argsort(-np.bincount(codes), kind="stable")[: len(COLOURS)]
    return most if np.isin(codes, most).mean() >= COLOURED else most[:0]


def _scatter(
    axis: Axes,
    xy: NDArray[np.float64],
    codes: NDArray[np.int64],
    shown: NDArray[np.intp],
    names: NDArray[np.str_],
) -> None:
    rest = ~np.isin(codes, shown)
    kind, label = (REST, "other combinations") if len(shown) else (COLOURS[0], UNCOLOURED)
    axis.scatter(xy[rest, 0], xy[rest, 1], s=7, color=kind, label=label, linewidths=0)
    for colour, code in zip(COLOURS, shown, strict=False):
        rows = codes == code
        axis.scatter(xy[rows, 0], xy[rows, 1], s=7, color=colour, label=str(names[code]), linewidths=0)


def _label(
    bottom: NDArray[np.object_] | tuple[Axes, ...],
    left: NDArray[np.object_] | tuple[Axes, ...],
    points: PlotPoints,
) -> None:
    x, y = axis_titles(points)
    for axis in bottom:
        axis.set_xlabel(x, fontsize=8)
    for axis in left:
        axis.set_ylabel(y, fontsize=8)


def _title(report: Report) -> str:
    flow, metrics = report.flow, report.metrics
    variance = "-" if flow.variance_ratio is None else f"{flow.variance_ratio:.3f}"
    silhouette = flow.silhouettes.get("flowed_by_target")
    warning = "COLLAPSE. " if flow.collapsed else ""
    return (
        f"{warning}mode {metrics.mode}, {flow.sampled} of {metrics.rows['edits']} edits; "
        f"{flow.distinct_destinations} distinct destinations, variance ratio {variance}, "
        f"silhouette by target {'-' if silhouette is None else f'{silhouette:.2f}'}"
    )
