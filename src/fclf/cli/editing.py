"""The one way in which commands ask for edits: what is set and turned over, how far, and of which rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from fclf.cli.common import note, say_split
from fclf.errors import InputError

if TYPE_CHECKING:
    from fclf.checkpoint import Checkpoint
    from fclf.data.embeddings import EmbeddingSet

SetOption = Annotated[list[str] | None, typer.Option("--set", metavar="NAME=0|1", help="Attribute to set; repeatable.")]
FlipOption = Annotated[
    list[str] | None, typer.Option("--flip", metavar="NAME", help="Attribute to turn over; repeatable.")
]
StrengthOption = Annotated[float, typer.Option("--strength", min=0, help="Scales the flow time; 0 changes nothing.")]
KeepOption = Annotated[
    float | None,
    typer.Option("--keep", min=0, max=1, help="From faithful (0) to controlled (1), instead of the checkpoint's own."),
]
InferLabelsOption = Annotated[
    bool, typer.Option("--infer-labels", help="Fill in missing labels by the checkpoint's classifier.")
]


def assignments(texts: Sequence[str]) -> dict[str, int]:
    """What --set asks for, by name."""
    assign: dict[str, int] = {}
    for name, value in map(_assignment, texts):
        if assign.setdefault(name, value) != value:
            raise InputError(f"--set {name} is given both 0 and 1; give it once.")
    return assign


def choose_rows(model: Checkpoint, data: EmbeddingSet, split: str | None, infer_labels: bool) -> EmbeddingSet:
    """The rows of a split, or all, with their missing labels filled in where that is asked for."""
    if split is not None:
        say_split(data, model.config.data.split_seed)
        data = data.with_split(model.config.data.split_seed).part(split)
    if infer_labels:
        data, inferred = model.infer(data)
        note(f"Labels inferred by the checkpoint's classifier: for {inferred:,} of {len(data):,} rows.")
    return data


def _assignment(text: str) -> tuple[str, int]:
    name, equals, value = text.partition("=")
    if not equals or value.strip() not in ("0", "1"):
        raise InputError(f"--set {text}: type NAME=0 or NAME=1, for example --set Smiling=1.")
    return name.strip(), int(value)
