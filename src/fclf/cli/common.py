"""What the commands share: options, progress, messages."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from fclf.errors import InputError, VerdictError
from fclf.threads import use_threads as use_threads

if TYPE_CHECKING:
    from rich.console import Console

    from fclf.data.embeddings import EmbeddingSet
    from fclf.evaluation.readings import Verdict, VerdictName


METRICS = "transfer_metrics.json"
"""What an evaluation leaves in its folder."""
RESUMABLE = (["train"], ["embed"], ["decoder", "train"])
"""Commands that go on where they were stopped."""
MOST_NAMED = 5
"""Of several evaluations where one was meant."""


class Labels(StrEnum):
    """How the file writes attributes."""

    binary = "binary"
    signed = "signed"
    missing = "missing"


class EditMode(StrEnum):
    """Which edits are evaluated."""

    each = "each"
    single = "single"
    multi = "multi"
    smiling = "smiling"


class Map(StrEnum):
    """Two-dimensional map of the figures."""

    auto = "auto"
    pca = "pca"
    umap = "umap"


class Shape(StrEnum):
    """Geometry of the planted embeddings."""

    centred = "centred"
    middle = "middle"
    cone = "cone"


EmbeddingsOption = Annotated[
    Path, typer.Option("--embeddings", metavar="FILE", help="Embeddings: .npz, .parquet or .pt.")
]
SourceOption = Annotated[
    str,
    typer.Option(
        "--embeddings",
        metavar="FILE|FOLDER|URL",
        help="A file (.npz, .parquet, .pt), or shards: a folder, a pattern or an address such as s3://...",
    ),
]
CheckpointOption = Annotated[
    Path,
    typer.Option("--checkpoint", metavar="FILE|DIR", help="A checkpoint, or a run folder (its best one)."),
]
LabelsOption = Annotated[
    Labels, typer.Option(help="0/1; -1/1 for no/yes; or 0/1 with -1 or NaN for unknown.", show_choices=True)
]
# One thread: a second one made training 1.2 to 1.6 times as fast on an idle two-core machine (docs/log.md), and
# can make it ten times slower on a busy one.
ThreadsOption = Annotated[int, typer.Option(min=1, help="Threads for torch and BLAS.")]
FailOnOption = Annotated[
    str | None,
    typer.Option("--fail-on", metavar="VERDICT,...", help="Exit with 4 on these verdicts, such as COLLAPSED,LEAKING."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Remove an earlier run from the folder first.")]


@contextmanager
def progress_bar(title: str, epochs: int) -> Iterator[Callable[[Mapping[str, float]], None]]:
    """Progress bar over epochs on standard error, on a terminal only."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), disable=not on_terminal(), transient=True) as progress:
        task = progress.add_task(title, total=epochs)

        def on_epoch(record: Mapping[str, float]) -> None:
            progress.update(task, completed=record["epoch"], description=f"{title} loss {record['loss']:.4f}")

        yield on_epoch


@contextmanager
def rows_bar(title: str, rows: int) -> Iterator[Callable[[int], None]]:
    """Progress bar over rows on standard error, on a terminal only."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not on_terminal(), transient=True) as progress:
        task = progress.add_task(title, total=rows)
        yield lambda done: progress.update(task, completed=done)


def say_split(data: EmbeddingSet, seed: int) -> None:
    """Say so where rows are split by us and not by the file."""
    if data.split is None:
        by = "identity" if data.identities is not None else "row (the file names no identities)"
        note(f"The file has no split; rows are split 56/8/16/20 by {by} with seed {seed}.")


def verdict_names(text: str | None) -> list[VerdictName]:
    """The verdicts named by --fail-on, in any case; refused before any work where one is unknown."""
    from fclf.evaluation.readings import VerdictName

    known: dict[str, VerdictName] = {name: name for name in get_args(VerdictName)}
    asked = [] if text is None else [part.strip().upper() for part in text.split(",")]
    unknown = [part for part in asked if part not in known]
    if unknown:
        raise InputError(f"--fail-on {text}: '{unknown[0]}' is no verdict; there are {', '.join(known)}.")
    return [known[part] for part in asked]


def fail_on(verdict: Verdict, names: Sequence[VerdictName]) -> None:
    """End with exit code 4 where the verdict is one of `names`."""
    if verdict.name in names:
        raise VerdictError(f"The verdict is {verdict.name}, and --fail-on names it. {verdict.reasons[0]}")


def evaluation_folder(run: Path, otherwise: str) -> Path:
    """The folder of an evaluation: this one, `evaluation` in a run folder, or the only one below it.

    Args:
        run: what was named.
        otherwise: what to type where neither holds an evaluation.
    """
    for folder in (run, run / "evaluation"):
        if (folder / METRICS).is_file():
            return folder
    if not run.exists():
        raise InputError(f"{run} does not exist; name a run folder or the folder of an evaluation.")
    below = sorted(path.parent for path in run.rglob(METRICS)) if run.is_dir() else []
    if len(below) == 1:
        return below[0]
    if below:
        shown = ", ".join(str(folder) for folder in below[:MOST_NAMED])
        others = f" and {len(below) - MOST_NAMED} more" if len(below) > MOST_NAMED else ""
        raise InputError(f"{run} holds {len(below)} evaluations; name one of them: {shown}{others}.")
    raise InputError(f"{run} holds no {METRICS}, nor does any folder below it. {otherwise}")


def check_resume(resume: bool, overwrite: bool) -> None:
    """Refuse a run that shall be both continued and removed."""
    if resume and overwrite:
        raise InputError("--resume and --overwrite contradict each other: continue the run, or remove it.")


def continuing(arguments: Sequence[str]) -> str:
    """The end of a sentence: what to type to go on with a command that was stopped, where it can go on."""
    if list(arguments[:1]) == ["edit"]:
        return "; edits of shards go on with the same command."
    if not any(list(arguments[: len(command)]) == command for command in RESUMABLE):
        return "."
    kept, left = [], iter(arguments)
    for argument in left:
        if argument == "--warm-start":
            next(left, None)
        elif argument not in ("--overwrite", "--resume") and not argument.startswith("--warm-start="):
            kept.append(argument)
    return f"; what was begun goes on with:\n{shlex.join(['fclf', *kept, '--resume'])}"


def on_terminal() -> bool:
    """Whether somebody watches the messages of this process."""
    return sys.stderr.isatty() and speaks()


def speaks() -> bool:
    """Whether this process is the one that prints, of those that `torchrun` started."""
    return os.environ.get("RANK", "0") == "0"


def note(text: str) -> None:
    """Say something that is not the result: on standard error."""
    if speaks():
        typer.echo(text, err=True)


def print_json(content: Any) -> None:
    """Print the result for a script."""
    typer.echo(json.dumps(content, allow_nan=False))


def console() -> Console:
    """Console for tables: as wide as the terminal, wide enough for the table elsewhere."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=150)
