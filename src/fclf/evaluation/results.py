"""`Report`: everything an evaluation found, with the points its figures plot, so that an old one draws again."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fclf.errors import InputError
from fclf.evaluation.flipbook import FlipbookPoints
from fclf.evaluation.jackknife import interval
from fclf.evaluation.readings import Check, FieldScores, Model, PathScores, SpecBands, Verdict
from fclf.files import existing_file, read_npz, write_json, write_npz
from fclf.parsing import parse_json

__all__ = [
    "MEASURES",
    "CellScores",
    "GroupScores",
    "JudgeScores",
    "Metrics",
    "PlotPoints",
    "Report",
    "Row",
]

SCHEMA_VERSION: Literal[2] = 2

MEASURES = (
    "linear.success",
    "linear.worst",
    "linear.kept",
    "mlp.success",
    "mlp.worst",
    "mlp.kept",
    "rank1",
    "gap_closed",
    "mmd_closed",
    "variance_ratio",
    "recall",
    "retrieval_map",
)
"""What has intervals and replicates, where it is defined."""


class JudgeScores(Model):
    """What one judge says of the edits."""

    success: float
    """Mean over cells (attribute x direction) of the share of edits judged to have the target value."""
    worst: float
    """The smallest cell."""
    worst_cell: str
    kept: float | None
    """Share of the other attributes' predictions that are as before the edit."""
    cells: dict[str, float]


class GroupScores(Model):
    """Edits that make one change and end at one combination, against real rows of that combination."""

    change: list[str]
    target: dict[str, int]
    edits: int
    real: int
    energy_source: float
    """Energy distance of the unedited sources to the real rows."""
    energy_edited: float
    variance_ratio: float
    """Variance of the edited rows over that of the real rows."""
    spread_kept: float
    """Variance of the edited rows over that of their own sources."""
    recall: float
    mmd_source: float | None = None
    """Unbiased squared MMD of the unedited sources to the real rows, RBF with bandwidths from the real rows."""
    mmd_edited: float | None = None
    density: float | None = None
    """Real k-NN balls an edited row is in, over k. A collapse near the mean reads more than 1: it decides nothing."""
    vendi_ratio: float | None = None
    """Vendi score of the edited rows over that of as many real rows."""
    unique_ratio: float | None = None
    """Different real rows nearest to an edited row, over those nearest to as many held-out real rows."""


class CellScores(Model):
    """All edits of one attribute in one direction, against real rows weighted to have the same other attributes.

    Defined with any number of attributes; the distances and the ratio only where there are real rows like the edits.
    """

    attribute: str
    to: int
    edits: int
    compared: int
    """Edits that were compared with real rows."""
    effective_real: float
    """Number of real rows with equal weights that would average as well."""
    energy_source: float | None
    energy_edited: float | None
    variance_ratio: float | None
    """Variance of the edited rows over that of the weighted real rows, of what the other attributes do not explain."""
    spread_kept: float | None
    """The same of all edits of the cell over their sources; none for rows that are not edits."""


class Counterfactual(Model):
    """How far edits end from the embedding of the same picture with the target attributes, where that is known."""

    angle: float
    """Mean, in degrees."""
    distance: float
    """Mean length of the chord between the two unit vectors."""
    angles: dict[str, float]
    """Mean angle by edited attribute, of edits of one attribute."""


class Row(Model):
    """One row of the table: a flow or a control."""

    name: str
    linear: JudgeScores
    mlp: JudgeScores
    rank1: float | None
    """Share of edits whose source is the nearest of all rows once the span of the linear judges is removed."""
    gap_closed: float | None
    """1 - (energy distance to real rows after / before), both summed over groups by number of edits."""
    variance_ratio: float | None
    """Mean over groups."""
    smallest_variance_ratio: float | None
    spread_kept: float | None
    """Variance within edits of one change and target over that of their sources, pooled: measured on any data."""
    recall: float | None
    """Mean over groups."""
    movement: float | None
    """Mean distance from source to destination."""
    step_distance: float | None
    """Mean length of a step; none for edits that make no steps."""
    silhouettes: dict[str, float | None]
    """Of original and flowed embeddings by original and target combination."""
    purity: dict[str, float]
    """Of k-means clusters by target combination, k = 10 and, with four edits each, as many as combinations."""
    distinct_destinations: int
    """Single-linkage clusters at 1e-3 of the real spread, among `sampled` edits."""
    sampled: int
    collapsed: list[str]
    """Signs of collapse in words, by the verdict's rule."""
    groups: list[GroupScores]
    mmd_closed: float | None = None
    """1 - (squared MMD to real rows after / before), summed over groups as in `gap_closed`."""
    density: float | None = None
    """Mean over groups; blind to a collapse, which reads more than 1."""
    vendi_ratio: float | None = None
    """Mean over groups."""
    unique_ratio: float | None = None
    """Mean over groups."""
    retrieval_map: float | None = None
    """Mean average precision of finding other pictures of the same person with the target value, among all rows but
    the source; none without identities."""
    retrieval_queries: int = 0
    """Edits that have such pictures to find."""
    pooled: list[CellScores] = Field(default_factory=list)
    """Per attribute and direction."""
    pooled_gap_closed: float | None = None
    """As `gap_closed`, summed over `pooled` by edits compared: defined where no combination has rows enough."""
    pooled_variance_ratio: float | None = None
    """Mean over `pooled`."""
    smallest_spread_kept: float | None = None
    """Of `pooled`."""
    intervals: dict[str, tuple[float, float]] = Field(default_factory=dict)
    """95 % intervals of `MEASURES`, by leaving out blocks of people (delete-a-group jackknife)."""
    replicates: dict[str, list[float]] = Field(default_factory=dict)
    """`MEASURES` without each block, the same blocks in every row of the table: what a difference's interval needs."""
    rare: list[GroupScores] = Field(default_factory=list)
    """Groups of fewer rows than the table's measures ask for; only their spread is read, by the verdict."""
    counterfactual: Counterfactual | None = None
    """None where nobody knows what an edit should have become, as with photographs."""
    leakage: list[list[float | None]] | None = None
    """Mean shift of the linear judge's logits, in their standard deviations on unedited rows and in the direction
    of the edit: rows are the edited attribute, columns the judged one. None for rows that are not edits."""

    def value(self, measure: str) -> float | None:
        """One of `MEASURES`."""
        found: Any = self
        for part in measure.split("."):
            found = getattr(found, part)
        return None if found is None else float(found)

    def ahead_of(self, other: Row, measure: str) -> tuple[float, tuple[float, float] | None] | None:
        """Difference of a measure between two rows of one table, and its 95 % interval.

        It is of the paired difference: both rows edit the same people, so most of what an interval of either row
        contains cancels. None where one of them has no such measure.
        """
        ours, theirs = self.value(measure), other.value(measure)
        if ours is None or theirs is None:
            return None
        left, right = self.replicates.get(measure, []), other.replicates.get(measure, [])
        if len(left) != len(right):
            return ours - theirs, None
        return ours - theirs, interval(ours - theirs, [a - b for a, b in zip(left, right, strict=True)])


COUNTED = ("evaluated", "edits", "groups")
"""Keys of `Metrics.rows` that are shown."""


class Metrics(Model):
    """Content of `transfer_metrics.json`; keys are stable within a schema version."""

    schema_version: Literal[2] = SCHEMA_VERSION
    fclf_version: str
    mode: str
    split: str
    seed: int
    attributes: list[str]
    rows: dict[str, int]
    """Evaluated rows, judge rows, edits, groups compared with real rows, and blocks of people of the intervals."""
    data_fingerprint: str
    trained_on_this_data: bool
    epoch: int
    config: dict[str, Any]
    history: list[dict[str, float | None]]
    """Mean losses of each epoch of training; null for a number that was not finite."""
    combinations: dict[str, int]
    """Attribute combinations: possible, in the train rows, in the evaluated rows, and targets of the edits."""
    verdict: Verdict
    table: list[Row]
    """The flow first, then the controls."""
    paths: PathScores
    field: FieldScores
    bands: SpecBands
    checks: list[Check]
    projection: Literal["pca", "umap"]
    """The map of the plotted points."""
    notes: list[str]
    sample: dict[str, dict[str, int]] | None = None
    """Of 100,000 rows or more: labelled rows of each split that there are (`population`) and that were `taken`."""

    @classmethod
    def load(cls, folder: str | Path) -> Metrics:
        """Read `transfer_metrics.json` in a folder that an evaluation wrote."""
        path = existing_file(Path(folder) / "transfer_metrics.json", "Report")
        try:
            found = cls.model_validate(parse_json(path.read_text(encoding="utf-8")))
            missing = [name for name in COUNTED if name not in found.rows]
            if missing or not found.table:
                raise ValueError(f"rows: {', '.join(missing)} missing" if missing else "table: it has no row")
            return found
        except ValueError as error:
            raise InputError(f"{folder} does not hold a report of this version: {error}. Evaluate again.") from error


@dataclass(frozen=True, kw_only=True)
class PlotPoints(FlipbookPoints):
    """Two-dimensional coordinates of a sample of edits, in a map fitted on the originals; and a few flipbooks."""

    original: NDArray[np.float64]
    flowed: NDArray[np.float64]
    paths: NDArray[np.float64]
    """(t, p, 2): the first p of the sample at each time."""
    original_codes: NDArray[np.int64]
    target_codes: NDArray[np.int64]
    code_names: NDArray[np.str_]
    explained: NDArray[np.float64]
    """Share of the originals' variance along each axis; empty for UMAP."""


@dataclass(frozen=True)
class Report:
    """Metrics and plotted points of one evaluation."""

    metrics: Metrics
    points: PlotPoints

    @property
    def flow(self) -> Row:
        """The evaluated flow's row of the table."""
        return self.metrics.table[0]

    def save(self, folder: str | Path) -> None:
        """Write `transfer_metrics.json` and `points.npz`."""
        folder = Path(folder)
        write_npz(folder / "points.npz", {f.name: getattr(self.points, f.name) for f in fields(PlotPoints)})
        write_json(folder / "transfer_metrics.json", self.metrics.model_dump(mode="json"))

    @classmethod
    def load(cls, folder: str | Path) -> Report:
        """Read back what `save` wrote."""
        folder = Path(folder)
        metrics = Metrics.load(folder)
        try:
            arrays = read_npz(folder / "points.npz", "Report")
            missing = {f.name for f in fields(PlotPoints) if f.default_factory is not MISSING} - arrays.keys()
            points = PlotPoints(**{f.name: arrays[f.name] for f in fields(PlotPoints) if f.name not in missing})
        except InputError:
            raise
        except (ValueError, KeyError) as error:
            raise InputError(f"{folder} does not hold a report of this version: {error}. Evaluate again.") from error
        return cls(metrics, points)
