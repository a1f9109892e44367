"""What the diagnoses beside the table found, as plain data: verdict, paths, field, the spec's bands and checks."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

__all__ = [
    "BandReading",
    "Check",
    "CollapsedCombination",
    "Decision",
    "FieldScores",
    "Model",
    "PathScores",
    "SpecBands",
    "StageReading",
    "StopRule",
    "Verdict",
    "VerdictName",
]

VerdictName = Literal["COLLAPSED", "UNDER-MOVED", "OFF-DISTRIBUTION", "LEAKING", "OVERTRAINED", "HEALTHY"]


class Model(BaseModel):
    """A frozen part of the report in which unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class PathScores(Model):
    """How a sample of edits gets to its destinations, seen by the linear judge."""

    edits: int
    times: list[float]
    """Flow time of each point of the path, from 0 to 1."""
    target_share: list[float]
    """Share judged to have the target value at each time: mean over attribute x direction, as `success`."""
    auc: float
    """Area under `target_share` over flow time (trapezoids): 1 only for a target that is reached at once."""
    auc_by_attribute: dict[str, float]
    """The same, of one attribute's two directions."""
    monotone: float
    """Share of edits of which no flipped attribute's logit ever falls away from its target between two steps."""
    tolerance: float
    """What is not yet a fall, in standard deviations of the judge's logit on unedited rows."""
    efficiency: float
    """Mean over edits of the geodesic distance from source to destination over the length of the path."""


class FieldScores(Model):
    """Exact Jacobian J of the velocity, at a sample of sources and their targets."""

    rows: int
    divergence_mean: float
    """Of the trace of J; negative where the flow contracts."""
    divergence_rms: float
    curl_mean: float
    """Of the Frobenius norm of the antisymmetric part (J - J') / 2."""
    curl_rms: float
    jacobian_rms: float
    """Of the Frobenius norm of J, which the two above can be read against."""


class BandReading(Model):
    """One line of one of the specification's metric tables, beside what was measured."""

    table: str
    name: str
    low: float
    high: float
    measured: float | None
    inside: bool | None
    """None where the measure is not defined."""


class StageReading(Model):
    """What the specification expects to see in a range of epochs."""

    epochs: str
    expected: str
    measured: str
    inside: bool | None
    """None where nothing measured stands for what is expected."""


class StopRule(Model):
    """One of the specification's rules for when to stop."""

    name: str
    met: bool | None
    """None where a measure that it needs is not defined."""
    conditions: dict[str, bool | None]
    note: str


class SpecBands(Model):
    """The specification's expectations. They are shown because it names them, and decide nothing."""

    current_table: str
    """The metric table that the checkpoint's number of epochs calls for."""
    current_stage: str
    tables: list[BandReading]
    stages: list[StageReading]
    stop_rules: list[StopRule]
    notes: dict[str, str]
    """What each measure is worth, by name."""


class Check(Model):
    """One of the specification's debugging points."""

    name: str
    expected: str
    measured: str
    ok: bool | None
    """None where the run did not record what is asked."""
    note: str


class Decision(Model):
    """One measurement that the verdict rests on."""

    name: str
    calls: VerdictName
    """The verdict that a negative margin calls."""
    value: float
    threshold: float
    reference: float
    """What the control that the threshold is derived from measures."""
    margin: float
    """Where the value lies between threshold (0) and reference (1), in logarithms for ratios; negative is called."""
    source: str
    """Where threshold and reference come from."""


class CollapsedCombination(Model):
    """Edits of one change and target that have lost their spread."""

    change: list[str]
    target: dict[str, int]
    edits: int
    variance_ratio: float
    spread_kept: float
    recall: float
    margin: float
    """That of the decision `spread`, of this combination alone; below 0."""


class Verdict(Model):
    """What the measurements come to."""

    name: VerdictName
    margin: float | None
    """How far the closest decision that it rests on is from its threshold, in its own units: see `Decision.margin`."""
    reasons: list[str]
    decisions: list[Decision]
    not_measured: list[str]
    """Decisions for which this table lacks a measurement or a control."""
    collapsed: list[CollapsedCombination]
    next_steps: list[str]
