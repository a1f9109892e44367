"""The table of an ablation, for a terminal or a Markdown page."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table

from fclf.ablation import Ablation, Measured, Method
from fclf.report.table import number

__all__ = ["CAPTION", "COLUMNS", "cells", "markdown", "parts", "terminal"]

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

PARTS_CAPTION = (
    "By how much it is ahead of the whole; ± is half of a 95 % interval of the difference, of which both edit the same "
    "people. A part that makes no difference on these data costs nothing either."
)


def cells(method: Method) -> tuple[str, ...]:
    """Name, a text under each of `COLUMNS`, and whether the method collapses."""
    values = [_cell(method.measures[measure]) for measure in COLUMNS.values()]
    return (method.name, *values, _collapse(method))


def parts(ablation: Ablation) -> list[tuple[str, ...]]:
    """What the cure gains and loses without each part: a text under each of `COLUMNS` that differs."""
    lacking = [method for method in ablation.methods if method.ahead]
    heads = [head for head, measure in COLUMNS.items() if any(measure in method.ahead for method in lacking)]
    lines = [("against the whole", *heads)] if lacking else []
    for method in lacking:
        texts = [_signed(method.ahead.get(COLUMNS[head])) for head in heads]
        lines.append((method.name, *texts))
    return lines


def markdown(ablation: Ablation, title: str = "") -> str:
    """Tables in Markdown: all methods, and the differences that the cure's parts make."""
    methods = [(title, *COLUMNS, "collapsed"), *(cells(method) for method in ablation.methods)]
    return "\n".join(_grid(lines) for lines in (methods, parts(ablation)) if lines)


def terminal(ablation: Ablation, title: str) -> list[Table]:
    """The same for a terminal; methods that collapse are red."""
    table = _table(title, CAPTION, ("", *COLUMNS, "collapsed"))
    for method in ablation.methods:
        table.add_row(*cells(method), style="red" if method.collapsed else None)
    differences = parts(ablation)
    if not differences:
        return [table]
    second = _table("The cure without each of its parts", PARTS_CAPTION, ("", *differences[0][1:]))
    for line in differences[1:]:
        second.add_row(*line)
    return [table, second]


def _table(title: str, caption: str, heads: Sequence[str]) -> Table:
    table = Table(title=title, caption=caption, caption_justify="left", title_justify="left", box=SIMPLE_HEAD)
    for head in heads:
        table.add_column(head, justify="right" if head else "left", no_wrap=True)
    return table


def _grid(lines: Sequence[Sequence[str]]) -> str:
    heads, *rest = ("| " + " | ".join(line) + " |" for line in lines)
    return "\n".join((heads, "|---" * len(lines[0]) + "|", *rest)) + "\n"


def _signed(measured: Measured | None) -> str:
    if measured is None or measured.value is None:
        return ""
    text = _cell(measured)
    return text if text.startswith("-") else f"+{text}"


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
