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
SetByRowOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=0|1|@COLUMN",
        help="Attribute to set; @COLUMN has a target for every row: 0, 1, or null or -1 to leave it. Repeatable.",
    ),
]
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
    assign, columns = assignments_by_row(texts)
    if columns:
        name, column = next(iter(columns.items()))
        raise InputError(f"--set {name}=@{column}: targets of every row are for `fclf edit`; type 0 or 1 here.")
    return assign


def assignments_by_row(texts: Sequence[str]) -> tuple[dict[str, int], dict[str, str]]:
    """What --set asks for, by name: values for all rows, and columns with a value for each."""
    found: dict[str, str] = {}
    for text in texts:
        name, value = (part.strip() for part in _parted(text))
        if not (value in ("0", "1") or (value.startswith("@") and len(value) > 1)):
            raise InputError(f"--set {text}: type NAME=0 or NAME=1, for example --set Smiling=1.")
        if found.setdefault(name, value) != value:
            raise InputError(f"--set {name} is given both {' and '.join(sorted((found[name], value)))}; give it once.")
    columns = {name: value[1:] for name, value in found.items() if value.startswith("@")}
    return {name: int(value) for name, value in found.items() if name not in columns}, columns


def _parted(text: str) -> tuple[str, str]:
    """Name and value; names may hold = themselves, as `age=young` does."""
    name, to_column, column = text.partition("=@")
    if to_column:
        return name, f"@{column}"
    name, _, value = text.rpartition("=")
    return name, value


def choose_rows(model: Checkpoint, data: EmbeddingSet, split: str | None, infer_labels: bool) -> EmbeddingSet:
    """The rows of a split, or all, with their missing labels filled in where that is asked for."""
    if split is not None:
        say_split(data, model.config.data.split_seed)
        data = data.with_split(model.config.data.split_seed).part(split)
    if infer_labels:
        data, inferred = model.infer(data)
        note_inferred(inferred, len(data))
    return data


def note_inferred(inferred: int, rows: int) -> None:
    """Say how many labels are a classifier's."""
    note(f"Labels inferred by the checkpoint's classifier: for {inferred:,} of {rows:,} rows.")
