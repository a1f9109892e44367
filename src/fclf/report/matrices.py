"""Leakage as heat maps, and how edits spread over attribute combinations."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from fclf.evaluation.results import Report, Row
from fclf.report.board import fit
from fclf.report.palette import COLOURS, DIVERGING

__all__ = ["COMPARED", "combinations", "leakage"]

COMPARED = "shift x1"
"""The control beside the flow: what is linked in the data leaks there too."""
MOST_COMBINATIONS = 40
LETTERS, LONGEST = 7, 240
"""Size of the combinations' names and how much of 576 points they may take, so that there is room for the bars."""


def leakage(report: Report) -> Figure:
    """Heat maps of edited x judged attribute, the flow's and a shift's, with one scale."""
    table = report.metrics.table
    rows = [row for row in (table[0], *(row for row in table[1:] if row.name == COMPARED)) if row.leakage is not None]
    names = report.metrics.attributes
    values = [np.array(row.leakage, dtype=np.float64) for row in rows]  # None becomes NaN
    finite = np.concatenate([np.abs(matrix[np.isfinite(matrix)]) for matrix in values]) if values else np.zeros(0)
    limit = float(finite.max(initial=0.0)) or 1.0
    size = 2.2 + 0.62 * len(names)
    figure = Figure(figsize=(max(1, len(rows)) * size + 1.2, size + 0.6), layout="constrained")
    axes = figure.subplots(1, max(1, len(rows)), squeeze=False)[0]
    image = None
    for axis, row, matrix in zip(axes, rows, values, strict=False):
        image = _heat_map(axis, row, matrix, names, limit)
    axes[0].set_ylabel("edited attribute", fontsize=9)
    if image is not None:
        bar = figure.colorbar(image, ax=list(axes), shrink=0.8)
        bar.set_label("logit shift in standard deviations of unedited rows", fontsize=8)
        bar.ax.tick_params(labelsize=8)
    return figure


def combinations(report: Report) -> Figure:
    """How many of the sampled edits start at and go to each attribute combination."""
    points = report.points
    count = len(points.code_names)
    before, after = (np.bincount(codes, minlength=count) for codes in (points.original_codes, points.target_codes))
    order = np.argsort(-(before + after), kind="stable")[:MOST_COMBINATIONS]
    figure = Figure(figsize=(8, 1.6 + 0.24 * len(order)), layout="constrained")
    axis = figure.subplots()
    places = np.arange(len(order))
    axis.barh(places - 0.2, before[order], 0.4, color=COLOURS[0], label="original")
    axis.barh(places + 0.2, after[order], 0.4, color=COLOURS[1], label="target")
    axis.set_yticks(places, [fit(str(points.code_names[code]), LONGEST, LETTERS) for code in order], fontsize=LETTERS)
    axis.set_ylim(len(order) - 0.4, -0.6)
    axis.set_xlabel("sampled edits", fontsize=8)
    axis.tick_params(axis="x", labelsize=8)
    known = report.metrics.combinations
    hidden = f"\nthe {len(order)} most frequent are shown" if count > len(order) else ""
    figure.suptitle(
        f"{known['evaluated']} combinations among the evaluated rows, {known['targets']} targets, "
        f"{known['possible']} possible{hidden}",
        fontsize=9,
    )
    axis.legend(fontsize=8, frameon=False, loc="lower right")
    return figure


def _heat_map(axis: Axes, row: Row, matrix: np.ndarray, names: list[str], limit: float) -> AxesImage:
    image = axis.imshow(matrix, cmap=DIVERGING, vmin=-limit, vmax=limit)
    places = range(len(names))
    axis.set_xticks(places, names, fontsize=8, rotation=40, ha="right")
    axis.set_yticks(places, names, fontsize=8)
    axis.set_xlabel("judged attribute", fontsize=9)
    axis.set_title(row.name, fontsize=10)
    for i, j in np.ndindex(matrix.shape):
        value = matrix[i, j]
        dark = np.isfinite(value) and abs(value) > 0.6 * limit
        text = f"{value:+.2f}" if np.isfinite(value) else "-"
        axis.text(j, i, text, ha="center", va="center", fontsize=8, color="white" if dark else "black")
    return image
