"""The table of a report, for a terminal or a Markdown page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.table import Table

from fclf.evaluation.results import Metrics, Row

__all__ = ["CAPTION", "COLUMNS", "cells", "markdown", "terminal"]

COLUMNS = (
    "",
    "L success / worst",
    "L kept",
    "M success / worst",
    "M kept",
    "rank 1",
    "gap closed",
    "variance",
    "recall",
    "distinct",
    "silhouette",
    "movement",
)

CAPTION = (
    "L, M: a linear and a network judge on rows that training never read, asked about the flipped target. success: "
    "mean over attribute x direction, worst: smallest cell. kept: other attributes' predictions unchanged. rank 1: the "
    "source is still the nearest row. gap closed: share of the energy distance to real rows of the target combination. "
    "variance: of edited over real rows (1 is right, 0 a collapse). recall: real rows reached. distinct: destinations "
    "among the sampled edits. silhouette: of destinations by target combination (1 is a collapse)."
)


def cells(row: Row, name: str | None = None) -> tuple[str, ...]:
    """Texts of one row under `COLUMNS`."""
    return (
        name or row.name,
        f"{_number(row.linear.success)} / {_number(row.linear.worst)}",
        _number(row.linear.kept),
        f"{_number(row.mlp.success)} / {_number(row.mlp.worst)}",
        _number(row.mlp.kept),
        _number(row.rank1),
        _number(row.gap_closed),
        _number(row.variance_ratio),
        _number(row.recall),
        f"{row.distinct_destinations} of {row.sampled}",
        _number(row.silhouettes.get("flowed_by_target")),
        _number(row.movement),
    )


def terminal(title: str, rows: Iterable[tuple[str, Row]]) -> Table:
    """Table for a terminal; rows that show signs of collapse are red."""
    table = Table(title=title, caption=CAPTION, caption_justify="left", title_justify="left", pad_edge=False)
    for number, column in enumerate(COLUMNS):
        table.add_column(column, justify="left" if number == 0 else "right", overflow="fold")
    for name, row in rows:
        table.add_row(*cells(row, name), style="red" if row.collapsed else None)
    return table


def markdown(rows: Iterable[tuple[str, Row]]) -> str:
    """The same table in Markdown."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    lines += ["| " + " | ".join(cells(row, name)) + " |" for name, row in rows]
    return "\n".join(lines) + "\n"


def summary(metrics: Metrics) -> Sequence[str]:
    """What to say below the table."""
    flow = metrics.table[0]
    lines = [
        f"The specification's measures: movement {_number(flow.movement)}, step {_number(flow.step_distance)}; "
        "silhouette "
        + ", ".join(f"{name.replace('_', ' ')} {_number(value)}" for name, value in flow.silhouettes.items())
        + "; purity "
        + ", ".join(f"{value:.3f} (k = {name})" for name, value in flow.purity.items())
        + "."
    ]
    if not metrics.trained_on_this_data:
        lines.append("The checkpoint was trained on other data than these.")
    return [*lines, *metrics.notes]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
