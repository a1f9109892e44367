"""The table of an ablation, for a terminal or a Markdown page."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.table import Table

from fclf.ablation import Ablation, Measured, Method
from fclf.report.table import number

__all__ = ["CAPTION", "COLUMNS", "cells", "markdown", "terminal"]

COLUMNS = {
    "success": "linear.success",
    "worst": "linear.worst",
    "kept": "linear.kept",
    "rank 1": "rank1",
    "gap closed": "gap_closed",
    "variance": "variance_ratio",
    "recall": "recall",
    "silhouette": "silhouette_by_target",
    "movement": "movement",
}
"""Heads, and what is under them."""

CAPTION = (
    "success: share of edits that a linear judge takes for the target value, mean over attribute x direction; worst: "
    "the smallest of them. kept: other attributes' predictions unchanged. rank 1: the source is still the nearest row. "
    "gap closed: share of the energy distance to real rows of the target combination; negative is farther away than "
    "before. variance: of edited over real rows; 1 is right, 0 a collapse. recall: real rows reached. silhouette: by "
    "target; real rows score as in the last line, and 1 is a collapse. ± is half of the range over seeds where there "
    "are several, and half of a 95 % interval over people elsewhere."
)


def cells(method: Method) -> tuple[str, ...]:
    """Name, a text under each of `COLUMNS`, and whether the method collapses."""
    values = [_cell(method.measures[measure]) for measure in COLUMNS.values()]
    return (method.name, *values, _collapse(method))


def markdown(ablation: Ablation, title: str = "") -> str:
    """Table in Markdown."""
    heads = (title, *COLUMNS, "collapsed")
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    lines += ["| " + " | ".join(cells(method)) + " |" for method in ablation.methods]
    return "\n".join(lines) + "\n"


def terminal(ablation: Ablation, title: str) -> Table:
    """Table for a terminal; methods that collapse are red."""
    table = Table(title=title, caption=CAPTION, caption_justify="left", title_justify="left", box=SIMPLE_HEAD)
    for head in ("", *COLUMNS, "collapsed"):
        table.add_column(head, justify="right" if head else "left", no_wrap=True)
    for method in ablation.methods:
        table.add_row(*cells(method), style="red" if method.collapsed else None)
    return table


def _collapse(method: Method) -> str:
    if not method.collapsed:
        return ""
    return "yes" if method.collapsed_seeds == method.seeds else f"{method.collapsed_seeds} of {method.seeds}"


def _cell(measured: Measured) -> str:
    if measured.value is None:
        return ""
    text = number(measured.value)
    return (
        text
        if measured.low is None or measured.high is None
        else f"{text} ±{number((measured.high - measured.low) / 2)}"
    )
