"""The table of an ablation, for a terminal or a Markdown page."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from fclf.ablation import Ablation, Measured, Method
from fclf.report.table import number, rich_table

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
    "By how much it is ahead of the whole, at the balanced operating point; ± is half of a 95 % interval of the paired "
    "difference, by leaving out blocks of people."
)


def cells(method: Method) -> tuple[str, ...]:
    """Name, a text under each of `COLUMNS`, and whether the method collapses."""
    values = [_cell(method.measures[measure]) for measure in COLUMNS.values()]
    return (_name(method), *values, _collapse(method))


def parts(ablation: Ablation) -> list[tuple[str, ...]]:
    """What the cure gains and loses without each part: a text under each of `COLUMNS` that differs."""
    lacking = [method for method in ablation.methods if method.ahead]
    heads = [head for head, measure in COLUMNS.items() if any(measure in method.ahead for method in lacking)]
    lines = [("against the whole", *heads)] if lacking else []
    for method in lacking:
        texts = [_signed(method.ahead.get(COLUMNS[head])) for head in heads]
        lines.append((_name(method), *texts))
    return lines


def markdown(ablation: Ablation, title: str = "") -> str:
    """Tables in Markdown: all methods, and the differences that the cure's parts make."""
    methods = [(title, *COLUMNS, "collapsed"), *(cells(method) for method in ablation.methods)]
    return "\n".join(_grid(lines) for lines in (methods, parts(ablation)) if lines)


def terminal(ablation: Ablation, title: str) -> list[Table]:
    """The same for a terminal; methods that collapse are red."""
    methods = [(cells(method), method.collapsed) for method in ablation.methods]
    tables = [rich_table(title, CAPTION, ("", *COLUMNS, "collapsed"), methods)]
    if differences := parts(ablation):
        heads, *rest = differences
        rows = [(line, False) for line in rest]
        tables.append(rich_table("The cure without each of its parts", PARTS_CAPTION, ("", *heads[1:]), rows))
    return tables


def _grid(lines: Sequence[Sequence[str]]) -> str:
    heads, *rest = ("| " + " | ".join(line) + " |" for line in lines)
    return "\n".join((heads, "|---" * len(lines[0]) + "|", *rest)) + "\n"


def _name(method: Method) -> str:
    return method.name.removeprefix("cure ") if method.family == "leave one out" else method.name


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
