"""What requests may hold and what answers hold: strict models, from which the OpenAPI document is made."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

__all__ = [
    "About",
    "Attribute",
    "EditAnswer",
    "EditRequest",
    "EditResult",
    "Failure",
    "JudgeAbout",
    "LabelReading",
    "Neighbour",
    "NeighboursAnswer",
    "NeighboursRequest",
    "People",
    "Person",
    "Point",
    "SupportReading",
    "VerdictAbout",
]

MOST_PEOPLE = 16
"""Rows of one request."""
MOST_NEIGHBOURS = 24
MOST_STEPS = 12
MOST_STRENGTH = 3.0

Id = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=128)]


def _whole(value: object) -> object:
    """1.0 is an integer to JSON Schema, and so to whoever goes by the OpenAPI document."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Integer = Annotated[int, BeforeValidator(_whole)]
Value = Annotated[Integer, Field(ge=0, le=1)]
"""Of an attribute: no or yes."""
Number = Annotated[float, Field(allow_inf_nan=False)]


class Request(BaseModel):
    """A request: unknown keys are errors, and nothing is converted but numbers that are the same."""

    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)


class Answer(BaseModel):
    """A part of an answer."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class EditRequest(Request):
    """Which rows to edit, to what, and what to tell of it."""

    people: list[Id] = Field(min_length=1, max_length=MOST_PEOPLE)
    """Ids of rows or of uploads."""
    assign: dict[Name, Value] = Field(alias="set", default_factory=dict, max_length=256)
    """Attributes to set; others stay as they are."""
    strength: Number = Field(1.0, ge=0, le=MOST_STRENGTH)
    """Factor on the flow time; 0 changes nothing."""
    keep: Number | None = Field(None, ge=0, le=1)
    """From faithful (0) to controlled (1); the model's own where it is null."""
    neighbours: Integer = Field(6, ge=0, le=MOST_NEIGHBOURS)
    """Nearest real rows to name."""
    steps: Integer = Field(8, ge=0, le=MOST_STEPS)
    """Points of the path to show, at most; source and destination are two of them."""
    pictures: bool = True


class NeighboursRequest(Request):
    """Whose neighbours to look for."""

    people: list[Id] = Field(default_factory=list, max_length=MOST_PEOPLE)
    embeddings: list[Annotated[list[Number], Field(min_length=1, max_length=4096)]] = Field(
        default_factory=list, max_length=MOST_PEOPLE
    )
    """Embeddings of the model's width and any length but 0."""
    count: Integer = Field(6, ge=1, le=MOST_NEIGHBOURS)
    pictures: bool = False


class Neighbour(Answer):
    """A real row near an embedding."""

    id: str
    cosine: float
    is_source: bool
    """Whether it is the very row that is edited."""
    same_person: bool | None
    """Whether it shows the same person; null where the file does not say who is shown."""
    picture: str | None
    drawn: bool
    """Whether the picture is a decoder's and not the row's image."""


class LabelReading(Answer):
    """One attribute of an edited row."""

    name: str
    source: int
    inferred: bool
    """Whether the source's label comes from the model's classifier, as the file has none."""
    confidence: float | None
    """The classifier's probability of the inferred label."""
    target: int
    before: float | None
    """Probability of the attribute by the judge, at the source."""
    after: float | None


class SupportReading(Answer):
    """How usual an embedding is among rows of its labels: a conformal p-value."""

    before: float | None
    after: float
    level: float
    outside: bool
    """Whether `after` is below the level."""


class Point(Answer):
    """One point of the path."""

    time: float
    """Share of the path, 0 to 1."""
    picture: str | None
    nearest: Neighbour | None


class EditResult(Answer):
    """What becomes of one row."""

    id: str
    labels: list[LabelReading]
    angle: float
    """Degrees on the sphere from source to destination."""
    support: SupportReading | None
    """Null where the model has no measure of support."""
    path: list[Point]
    neighbours: list[Neighbour]


class EditAnswer(Answer):
    """One result a row, in the order of the request."""

    results: list[EditResult]
    milliseconds: float
    """Computing, without the wait for a thread and the transfer."""


class NeighboursAnswer(Answer):
    """Neighbours of the people, then of the embeddings."""

    results: list[list[Neighbour]]


class Person(Answer):
    """A row that can be edited."""

    id: str
    upload: bool
    split: str | None
    seen: bool
    """Whether training has read this row."""
    judged: bool
    """Whether the judge was trained on this row, so that it may flatter its readings."""
    picture: str | None
    """The row's image, where there is a folder of images; or the uploaded picture."""
    labels: list[LabelReading]


class People(Answer):
    """Rows whose id contains what was searched for."""

    ids: list[str]
    total: int
    more: bool
    """Whether others match too."""


class Attribute(Answer):
    """An attribute that can be set."""

    name: str


class JudgeAbout(Answer):
    """Who reads attributes off embeddings here."""

    kind: Literal["judge", "classifier", "none"]
    rows: int
    said: str


class VerdictAbout(Answer):
    """What the run's evaluation came to."""

    name: str
    margin: float | None
    meaning: str
    reasons: list[str]


class About(Answer):
    """What this server serves."""

    version: str
    run: str
    rows: int
    dim: int
    attributes: list[Attribute]
    exclusive: list[list[str]]
    """Groups of attributes of which a row has one at most: who gains one of them loses the other."""
    keep: float | None
    """The model's own operating point; null where it has none."""
    most_strength: float
    decoder: bool
    images: int
    """Rows that have an image."""
    uploads: bool
    upload_bytes: int
    upload_pixels: int
    gallery: int
    """Rows among which neighbours are looked for."""
    judge: JudgeAbout
    verdict: VerdictAbout | None
    support: bool


class Failure(Answer):
    """Why there is no answer, in words."""

    detail: str
