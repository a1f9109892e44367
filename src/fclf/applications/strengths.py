"""How far a query should be edited, for each attribute and direction, as people of the train and val rows say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fclf.errors import InputError
from fclf.evaluation.edits import EditPlan, plan_edits
from fclf.evaluation.retrieval import Relevant, average_precision, relevant_rows
from fclf.files import existing_file, write_json
from fclf.parsing import parse_json

if TYPE_CHECKING:
    from jaxtyping import Float64, Int8
    from numpy.typing import NDArray

    from fclf.closed.linear import ClosedForm
    from fclf.data.embeddings import EmbeddingSet

__all__ = ["GRID", "Queries", "Strengths", "calibrate", "with_strengths"]

GRID = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
"""Strengths that are tried."""
MIN_QUERIES = 30
"""A cell with fewer queries takes the strength that is best for all cells together."""
MAX_GALLERY = 8000
"""Rows of whole people that a calibration reads at most."""

AtStrength = Callable[[float], "ClosedForm"]


@dataclass(frozen=True)
class Queries:
    """Every edit of one attribute for which the gallery holds another row of the person with the target value."""

    plan: EditPlan
    z: Float64[np.ndarray, "n d"]
    relevant: Relevant
    """Pairs of an edit of the plan and a row to find."""

    @classmethod
    def of(cls, rows: EmbeddingSet) -> Queries:
        """Plan the queries of labelled rows.

        Raises:
            InputError: without identities, or where nobody is shown with both values of an attribute.
        """
        if rows.identities is None:
            raise InputError(
                "The file names no identities, so nobody can be looked for in other pictures: add `identities` (n,), "
                "or --labels-from a CelebA folder."
            )
        y = np.asarray(rows.attributes)
        plan = plan_edits(y, rows.attribute_names, "each")
        found = relevant_rows(plan.source, plan.flips, plan.target, y, rows.identities)
        if not len(found.query):
            raise InputError(
                f"None of the {len(rows)} rows has another row of the same person with another value of an attribute, "
                "so there is nothing that a query could find."
            )
        kept, query = np.unique(found.query, return_inverse=True)
        return cls(plan.take(kept), rows.embeddings.astype(np.float64), Relevant(query.reshape(-1), found.row))

    @property
    def cells(self) -> tuple[NDArray[np.intp], NDArray[np.int8]]:
        """The attribute that each query flips, and the value it asks for."""
        attribute = self.plan.flips.argmax(axis=1)
        return attribute, self.plan.target[np.arange(len(attribute)), attribute]

    def precision(self, edit: ClosedForm | None) -> Float64[np.ndarray, " q"]:
        """Average precision of every query, edited by `edit` or as it is."""
        sources = self.z[self.plan.source]
        edited = sources if edit is None else edit(sources, self.plan.original, self.plan.target)
        return average_precision(edited, self.z, self.plan.source, self.relevant)


@dataclass(frozen=True)
class Strengths:
    """Strength of a query's edit, by attribute and target value."""

    attribute_names: tuple[str, ...]
    values: Float64[np.ndarray, "K 2"]
    queries: NDArray[np.intp]
    """How many queries each was calibrated on, (K, 2)."""

    def of(self, y: Int8[np.ndarray, "n K"], target: Int8[np.ndarray, "n K"]) -> Float64[np.ndarray, " n"]:
        """Strength of each row's edit: the mean over the attributes that change; 0 where none does."""
        flips = y != target
        each = np.where(flips, self.values[np.arange(len(self.values)), target], 0.0)
        return each.sum(axis=1) / np.maximum(flips.sum(axis=1), 1)

    def to_dict(self) -> dict[str, Any]:
        """As it is written, `{"Smiling=1": {"strength": 1.5, "queries": 1200}}`."""
        return {
            f"{name}={value}": {"strength": float(self.values[k, value]), "queries": int(self.queries[k, value])}
            for k, name in enumerate(self.attribute_names)
            for value in (0, 1)
        }

    def save(self, path: Path, checkpoint: str) -> None:
        """Write JSON, with what identifies the checkpoint that it is for."""
        write_json(path, {"checkpoint": checkpoint, "strengths": self.to_dict()})

    @classmethod
    def load(cls, path: Path, names: tuple[str, ...], checkpoint: str) -> Strengths:
        """Read what `save` wrote.

        Raises:
            InputError: for a file of another checkpoint or form.
        """
        again = f"Write it again: fclf search --checkpoint {path.parent} --gallery FILE --benchmark"
        try:
            content = parse_json(existing_file(path, "Strengths").read_text(encoding="utf-8"))
            cells = content["strengths"]
            read = [[(cells[f"{n}={v}"]["strength"], cells[f"{n}={v}"]["queries"]) for v in (0, 1)] for n in names]
            values = np.array(read, dtype=np.float64)
        except (KeyError, TypeError, ValueError) as error:  # JSON's own error is a ValueError
            raise InputError(f"{path} does not hold strengths of {', '.join(names)}. {again}") from error
        if not np.isfinite(values).all() or (values < 0).any():
            raise InputError(f"{path} holds strengths that are not numbers of 0 or more. {again}")
        if content.get("checkpoint") != checkpoint:
            raise InputError(f"{path} was calibrated for another checkpoint. {again}")
        return cls(names, values[..., 0], values[..., 1].astype(np.intp))


def with_strengths(at: AtStrength, strengths: Strengths) -> ClosedForm:
    """Edits of which each row takes the strength of what it changes."""

    def edit(
        z: Float64[np.ndarray, "n d"], y: Int8[np.ndarray, "n K"], target: Int8[np.ndarray, "n K"]
    ) -> Float64[np.ndarray, "n d"]:
        out = z.astype(np.float64)
        wanted = strengths.of(y, target)
        for value in np.unique(wanted[wanted > 0]):
            rows = wanted == value
            out[rows] = at(float(value))(z[rows], y[rows], target[rows])
        return out

    return edit


def calibrate(queries: Queries, at: AtStrength, names: tuple[str, ...]) -> Strengths:
    """Choose the strength of `GRID` that gives the best mean average precision, for each attribute and target value.

    The queries must show nobody whom the strengths will be measured on. Glasses come off and on, and the query may go
    all the way; another picture of the same person as a man, or young, hardly ever exists, or is labelled so by
    mistake, and then what is found best looks like the picture that was given.
    """
    scores = np.stack([queries.precision(at(strength) if strength else None) for strength in GRID])
    attribute, value = queries.cells
    values = np.full((len(names), 2), GRID[int(scores.mean(axis=1).argmax())])
    counts = np.zeros((len(names), 2), dtype=np.intp)
    for k, v in np.ndindex(values.shape):
        mine = (attribute == k) & (value == v)
        counts[k, v] = mine.sum()
        if counts[k, v] >= MIN_QUERIES:
            values[k, v] = GRID[int(scores[:, mine].mean(axis=1).argmax())]
    return Strengths(names, values, counts)
