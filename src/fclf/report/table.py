"""The table of a report, for a terminal or a Markdown page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table

from fclf.evaluation.bands import ORGANISED
from fclf.evaluation.edits import MIN_EDITED, MIN_REAL
from fclf.evaluation.results import Metrics, Row
from fclf.evaluation.spread import NEIGHBOURS

__all__ = [
    "CAPTION",
    "COLUMNS",
    "MEASURED",
    "MORE_COLUMNS",
    "cells",
    "details",
    "markdown",
    "more_cells",
    "number",
    "rich_table",
    "summary",
    "terminal",
]

COLUMNS = (
    "",
    "L success",
    "L worst",
    "L kept",
    "M success",
    "rank 1",
    "gap closed",
    "variance",
    "recall",
)
MEASURED = (
    "linear.success",
    "linear.worst",
    "linear.kept",
    "mlp.success",
    "rank1",
    "gap_closed",
    "variance_ratio",
    "recall",
)
"""What the columns show."""

MORE_COLUMNS = (
    "",
    "M\nworst",
    "M\nkept",
    "MMD\nclosed",
    "mAP",
    "least\nvariance",
    "least\nspread",
    "Vendi",
    "unique",
    "density",
    "distinct",
    "silhou-\nette",
    "move-\nment",
)

CAPTION = (
    "± is half of a 95 % interval, by leaving out blocks of people. L, M: a linear and a network judge on rows that "
    "training never read, asked about the flipped target. success: mean over attribute x direction, worst: smallest "
    "cell. kept: other attributes' predictions unchanged. rank 1: the source is still the nearest row. gap closed: "
    f"share of the energy distance to real rows of the target combination, where {MIN_EDITED} edits and {MIN_REAL} "
    "real rows or more compare. variance: of edited over real rows (1 is right, 0 a collapse; a row that "
    f"the verdict's rule calls collapsed is red). recall: real rows within the radius of {NEIGHBOURS} neighbours."
)

MORE_CAPTION = (
    "MMD closed: as gap closed, by RBF kernels. mAP: other pictures of the person with the target value, found among "
    "all rows. least variance: of a group. least spread: variance of edits over that of their sources, of an attribute "
    "x direction. Vendi, unique: effective number of rows and different nearest real rows, over those of as many real "
    "rows. density: real balls an edit is in; more than 1 near the mean, so blind to a collapse. distinct: "
    "destinations among the sampled edits. silhouette: of destinations by target combination (1 is a collapse)."
)


def cells(row: Row, name: str | None = None) -> tuple[str, ...]:
    """Texts of one row under `COLUMNS`."""
    return (name or row.name, *(_with_interval(row, measure) for measure in MEASURED))


def more_cells(row: Row, name: str | None = None) -> tuple[str, ...]:
    """Texts of one row under `MORE_COLUMNS`."""
    return (
        name or row.name,
        number(row.mlp.worst),
        number(row.mlp.kept),
        number(row.mmd_closed),
        _with_interval(row, "retrieval_map"),
        number(row.smallest_variance_ratio),
        number(row.smallest_spread_kept),
        number(row.vendi_ratio),
        number(row.unique_ratio),
        number(row.density),
        f"{row.distinct_destinations} of {row.sampled}",
        number(row.silhouettes.get("flowed_by_target")),
        number(row.movement),
    )


def terminal(title: str, rows: Iterable[tuple[str, Row]]) -> Table:
    """Main table for a terminal; rows that show signs of collapse are red."""
    return rich_table(title, CAPTION, COLUMNS, [(cells(row, name), bool(row.collapsed)) for name, row in rows])


def details(rows: Iterable[tuple[str, Row]]) -> Table:
    """What else was measured of the same rows."""
    texts = [(more_cells(row, name), bool(row.collapsed)) for name, row in rows]
    return rich_table("What else was measured", MORE_CAPTION, MORE_COLUMNS, texts)


def rich_table(title: str, caption: str, columns: Sequence[str], rows: Iterable[tuple[Sequence[str], bool]]) -> Table:
    """Table for a terminal; the first column is to the left, and a row whose mark is set is red."""
    table = Table(
        title=title,
        caption=caption,
        caption_justify="left",
        title_justify="left",
        pad_edge=False,
        show_edge=False,
        padding=(0, 1, 0, 0),
        box=SIMPLE_HEAD,
    )
    for column in columns:
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    for texts, collapsed in rows:
        table.add_row(*texts, style="red" if collapsed else None)
    return table


def markdown(rows: Iterable[tuple[str, Row]]) -> str:
    """The main table in Markdown."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    lines += ["| " + " | ".join(cells(row, name)) + " |" for name, row in rows]
    return "\n".join(lines) + "\n"


def summary(metrics: Metrics) -> Sequence[str]:
    """What to say below the table."""
    flow = metrics.table[0]
    lines = [
        f"The specification's measures: movement {number(flow.movement)}, step {number(flow.step_distance)}; "
        "silhouette "
        + ", ".join(f"{name.replace('_', ' ')} {number(value)}" for name, value in flow.silhouettes.items())
        + "; purity "
        + ", ".join(f"{value:.3f} (k = {name})" for name, value in flow.purity.items())
        + "."
    ]
    lines += _price_of_organisation(metrics)
    if not metrics.trained_on_this_data:
        lines.append("The checkpoint was trained on other data than these.")
    return [*lines, *metrics.notes]


def _price_of_organisation(metrics: Metrics) -> list[str]:
    """What a silhouette in the specification's band costs, where real rows are not in it themselves."""
    flow = metrics.table[0]
    beside = {row.name: row for row in metrics.table}
    low, high = ORGANISED
    found, real = (
        row.silhouettes.get("flowed_by_target") if row is not None else None
        for row in (flow, beside.get("held-out real"))
    )
    if found is None or not low <= found <= high or (real is not None and real >= low):
        return []
    costs = []
    for name, key in (("variance", "variance_ratio"), ("recall", "recall"), ("rank 1", "rank1")):
        reference = f" (shift x1 {number(getattr(beside['shift x1'], key))})" if "shift x1" in beside else ""
        costs.append(f"{name} {number(getattr(flow, key))}{reference}")
    band = f"in the specification's {low:g} to {high:g}; real rows {number(real)}"
    return [f"Organised: silhouette by target {number(found)} ({band}) costs {', '.join(costs)}."]


def _with_interval(row: Row, measure: str) -> str:
    """Value and half of its interval, `.890 ±.012`; a half that is no interval's is left out."""
    ends = row.intervals.get(measure)
    text = number(row.value(measure))
    return text if ends is None else f"{text} ±{number((ends[1] - ends[0]) / 2)}"


def number(value: float | None) -> str:
    """Three decimals without the zero before them."""
    if value is None:
        return "-"
    text = f"{value:.3f}"
    return text.replace("0.", ".", 1) if abs(value) < 0.9995 else text
