"""Does an edited query find the same person with the target value, and better than simpler queries do?"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from fclf.applications.edits import FLOW, controls_of, edits_at, learned_rows
from fclf.applications.strengths import MAX_GALLERY, AtStrength, Queries, Strengths, calibrate, with_strengths
from fclf.closed.linear import Shift
from fclf.closed.probe import some_people
from fclf.closed.quantile import QuantileShift
from fclf.errors import InputError
from fclf.evaluation.jackknife import Blocks, interval

if TYPE_CHECKING:
    from fclf.checkpoint import Checkpoint
    from fclf.closed.linear import ClosedForm
    from fclf.data.embeddings import EmbeddingSet
    from fclf.evaluation.jackknife import Statistic

__all__ = ["SearchBenchmark", "SearchRow", "calibrated", "search_benchmark"]

NO_EDIT = "no edit"


@dataclass(frozen=True)
class SearchRow:
    """One way to ask, measured."""

    name: str
    mean_average_precision: float
    interval: tuple[float, float] | None
    against_no_edit: float
    against_no_edit_interval: tuple[float, float] | None
    flow_ahead: float
    """Of the flow, by mean average precision; paired."""
    flow_ahead_interval: tuple[float, float] | None
    cells: dict[str, float]
    """By attribute and target value."""


@dataclass(frozen=True)
class SearchBenchmark:
    """Queries of people whom neither edits nor strengths have seen."""

    table: list[SearchRow]
    queries: dict[str, int]
    rows: int
    people: int
    strengths: Strengths
    """Of the flow."""

    def to_dict(self) -> dict[str, Any]:
        """For `--json`."""
        content = asdict(self)
        content["strengths"] = self.strengths.to_dict()
        return content


def calibrated(model: Checkpoint, data: EmbeddingSet) -> Strengths:
    """Strengths of the checkpoint's edits from the people of the train and val rows."""
    return calibrate(_learning_queries(model, data), lambda s: edits_at(model, s), model.attribute_names)


def search_benchmark(model: Checkpoint, data: EmbeddingSet, *, split: str = "test", seed: int = 0) -> SearchBenchmark:
    """Average precision of queries of one split among the rows of that split, the query's own row left out.

    A query is a row with one attribute flipped; it should find the other rows of the person that have the flipped
    value. All rows are ranked by cosine and nothing else, whatever the edit. Every family of edits (shift, quantile
    shift, flow) is measured at strength 1 and with strengths that are calibrated on the same train and val people.

    Args:
        model: the edits; controls are fitted on the train rows.
        data: with identities; attributes are matched by name.
        split: rows that ask and are found.
        seed: of the blocks of people that intervals leave out.

    Raises:
        InputError: for rows that training has read, or without people who are shown with both values.
    """
    data = model.matching(data).with_split(model.config.data.split_seed)
    rows = data.part(split).fully_labelled()
    if split in ("train", "val"):
        raise InputError(
            f"--split {split}: edits and strengths were fitted on these people. Measure test or judge rows."
        )
    queries = Queries.of(rows)
    learning = _learning_queries(model, data)
    fitted = controls_of(learned_rows(model, data), ("shift x1", "quantile shift"))
    shift, quantile = cast(Shift, fitted["shift x1"]), cast(QuantileShift, fitted["quantile shift"])
    families: dict[str, AtStrength] = {
        "shift": lambda s: replace(shift, strength=s),
        "quantile shift": lambda s: replace(quantile, strength=s),
        FLOW: lambda s: edits_at(model, s),
    }
    strengths = {name: calibrate(learning, at, data.attribute_names) for name, at in families.items()}
    ways: dict[str, ClosedForm | None] = {
        NO_EDIT: None,
        "shift x1": families["shift"](1.0),
        "shift x1.5": families["shift"](1.5),
        "shift, calibrated": with_strengths(families["shift"], strengths["shift"]),
        "quantile shift": families["quantile shift"](1.0),
        "quantile shift, calibrated": with_strengths(families["quantile shift"], strengths["quantile shift"]),
        "flow x1": families[FLOW](1.0),
        FLOW: with_strengths(families[FLOW], strengths[FLOW]),
    }
    found = {name: queries.precision(edit) for name, edit in ways.items()}
    blocks = Blocks.draw(len(rows), rows.identities, seed)
    number = blocks.number[queries.plan.source]
    means = {name: blocks.mean(values, number) for name, values in found.items()}
    attribute, value = queries.cells
    cells = {
        f"{name}={v}": mine
        for k, name in enumerate(data.attribute_names)
        for v in (0, 1)
        if (mine := np.flatnonzero((attribute == k) & (value == v))).size
    }
    table = []
    for name, mean in means.items():
        gain, ahead = mean - means[NO_EDIT], means[FLOW] - mean
        table.append(
            SearchRow(
                name=name,
                mean_average_precision=float(mean[0]),
                interval=_interval(mean),
                against_no_edit=float(gain[0]),
                against_no_edit_interval=_interval(gain),
                flow_ahead=float(ahead[0]),
                flow_ahead_interval=_interval(ahead),
                cells={cell: float(found[name][mine].mean()) for cell, mine in cells.items()},
            )
        )
    return SearchBenchmark(
        table=table,
        queries={cell: len(mine) for cell, mine in cells.items()},
        rows=len(rows),
        people=len(np.unique(np.asarray(rows.identities))),
        strengths=strengths[FLOW],
    )


def _learning_queries(model: Checkpoint, data: EmbeddingSet) -> Queries:
    """Queries of the people of the train and val rows, of a sample of whole people where there are very many."""
    data = model.matching(data).with_split(model.config.data.split_seed)
    rows = data.take(data.rows_of("train") | data.rows_of("val")).fully_labelled()
    return Queries.of(rows.take(some_people(len(rows), rows.identities, MAX_GALLERY, 0)))


def _interval(mean: Statistic) -> tuple[float, float] | None:
    return interval(float(mean[0]), mean[1:])
