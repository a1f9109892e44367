"""`fclf embed`."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from fclf.cli.common import (
    JsonOption,
    Labels,
    LabelsOption,
    OverwriteOption,
    ThreadsOption,
    check_resume,
    note,
    print_json,
    use_threads,
)
from fclf.cli.loading import LabelsFromOption, join_labels
from fclf.errors import InputError

SHOWN = 5
"""Unreadable files that are named in text."""


def embed(
    images: Annotated[Path, typer.Option(metavar="FOLDER", help="Pictures, in folders below it too.")],
    encoder: Annotated[
        str, typer.Option(metavar="NAME", help="clip:NAME, clip:FOLDER, onnx:FILE, or portraits.", show_default=False)
    ],
    output: Annotated[Path, typer.Option(metavar="OUT", help="Embeddings, .npz or .parquet.")],
    labels_from: LabelsFromOption = None,
    table: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="CSV, TSV or Parquet: file name, labels, and identity and split if known."),
    ] = None,
    labels: LabelsOption = Labels.binary,
    size: Annotated[str | None, typer.Option(metavar="H,W", help="ONNX: input size, where it takes any.")] = None,
    crop: Annotated[
        str | None, typer.Option(metavar="L,T,R,B", help="ONNX: part of the picture, as shares of width and height.")
    ] = None,
    fit: Annotated[str | None, typer.Option(metavar="stretch|cover", help="ONNX: what happens to the shape.")] = None,
    mean: Annotated[str | None, typer.Option(metavar="R,G,B", help="ONNX: subtracted, in [0, 1].")] = None,
    std: Annotated[str | None, typer.Option(metavar="R,G,B", help="ONNX: divided by.")] = None,
    layout: Annotated[str | None, typer.Option(metavar="NCHW|NHWC", help="ONNX: where the channels are.")] = None,
    channels: Annotated[str | None, typer.Option(metavar="RGB|BGR", help="ONNX: their order.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures at once.")] = 64,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an interrupted run was.")] = False,
    overwrite: OverwriteOption = False,
    threads: ThreadsOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Embed a folder of pictures, and join labels by file name.

    Example: fclf embed --images faces --encoder clip:openai/clip-vit-base-patch32 --table labels.csv --output faces.npz
    """
    use_threads(threads)
    from fclf.data.celeba import CelebA
    from fclf.data.embeddings import EmbeddingSet
    from fclf.data.formats import check_writable
    from fclf.data.table import LabelTable
    from fclf.encoders import embed_folder, open_encoder
    from fclf.encoders.folder import is_begun, remove_work, work_folder
    from fclf.labels import UNKNOWN

    check_resume(resume, overwrite)
    check_writable(output)
    if table is not None and labels_from is not None:
        raise InputError("--table and --labels-from both give labels; choose one of them.")
    if table is None and labels is not Labels.binary:
        raise InputError(f"--labels {labels.value} says how a --table writes its labels; add --table FILE.")
    work = work_folder(output)
    killed_last = resume and is_begun(work)  # a run was killed when it had written all, and removed nothing yet
    if output.exists() and not (overwrite or killed_last):
        raise InputError(f"--output {output} is there already; type --overwrite to replace it.")
    if work.exists() and not (resume or overwrite):
        raise InputError(f"{work} holds an unfinished run; continue it with --resume, or start anew with --overwrite.")
    given = {"size": size, "crop": crop, "fit": fit, "mean": mean, "std": std, "layout": layout, "channels": channels}
    # What may be wrong with labels is found before the pictures are embedded, which may take hours.
    told = None if table is None else LabelTable.read(table, labels.value)
    folder = None if labels_from is None else CelebA.load(labels_from)
    network = open_encoder(encoder, preparation=_settings(given), threads=threads)
    with _progress() as bar:
        found = embed_folder(images, network, work, batch_size=batch_size, resume=resume, on_pictures=bar.tell)
    for bad in found.unreadable[:SHOWN]:
        note(f"Left out: {bad.name} ({bad.reason})")
    if len(found.unreadable) > SHOWN:
        note(f"... and {len(found.unreadable) - SHOWN} more; --json lists them all.")
    arrays: dict[str, Any] = {"embeddings": found.embeddings, "ids": found.ids, "encoder": found.encoder}
    data, unnamed = EmbeddingSet.from_arrays(arrays, source=str(images)), 0
    if folder is not None:
        joined = join_labels(data, folder, output)
        data, unnamed = joined.data, joined.unmatched
    elif told is not None:
        data, unnamed = told.join(data)
        note(f"Labels: {len(data.attribute_names)} attributes for {len(data) - unnamed:,} of {len(data):,} pictures.")
        if unnamed:
            note(f"{unnamed:,} pictures are not in {table}; they have no labels.")
    data.save(output)
    remove_work(work)
    if as_json:
        bad_files = [{"name": bad.name, "reason": bad.reason} for bad in found.unreadable]
        result = {"output": str(output), "rows": len(data), "dim": data.dim, "encoder": found.encoder}
        counts = {"without_labels": unnamed, "resumed": bar.earlier}
        timing = {"seconds": round(bar.seconds, 3), "rows_per_second": round(bar.rate, 1)}
        print_json({**result, "unreadable": bad_files, **counts, **timing})
        return
    rate = f" ({bar.rate:.0f} a second)" if bar.done > bar.earlier else ""
    typer.echo(f"Embedded {len(data):,} pictures, {data.dim} numbers each, with {found.encoder}{rate}.")
    if bar.earlier:
        typer.echo(f"{bar.earlier:,} of the files had been embedded by the run that this one continues.")
    if found.unreadable:
        typer.echo(f"{len(found.unreadable):,} files were left out.")
    following = "" if data.attributes is not None else " It has no labels: add --table FILE or --labels-from FOLDER."
    unknown = data.attributes is not None and bool((data.attributes == UNKNOWN).any())
    typer.echo(f"Embeddings: {output}.{following}\nNext: fclf inspect {output}{' --labels missing' if unknown else ''}")


def _settings(given: dict[str, str | None]) -> dict[str, Any]:
    """Settings of the preparation that were typed; numbers between commas."""
    found: dict[str, Any] = {}
    for name, text in given.items():
        if text is None:
            continue
        if name in ("fit", "layout", "channels"):
            found[name] = text
            continue
        try:
            found[name] = tuple(float(part) for part in text.split(","))
        except ValueError:
            raise InputError(f"--{name} {text}: numbers between commas were expected, such as 112,112.") from None
    return found


class _progress:
    """How many pictures are done, and how many a second this run does: drawn on a terminal only, counted anywhere."""

    def __init__(self) -> None:
        self.done = self.earlier = 0
        self.started, self.seconds = 0.0, 0.0

    def __enter__(self) -> _progress:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("Embedding {task.completed:,.0f} of {task.total:,.0f} pictures"),
            BarColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[rate]}"),
        )
        self.bar = Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True)
        self.bar.start()
        self.task = self.bar.add_task("", total=0, rate="")
        return self

    def tell(self, done: int, earlier: int, total: int) -> None:
        """What `embed_folder` tells."""
        self.started = self.started or time.perf_counter()
        self.done, self.earlier, self.seconds = done, earlier, time.perf_counter() - self.started
        self.bar.update(self.task, completed=done, total=total, rate=f"{self.rate:.0f} a second")

    @property
    def rate(self) -> float:
        """Pictures a second of this run, reading included."""
        return (self.done - self.earlier) / self.seconds if self.seconds > 0 else 0.0

    def __exit__(self, *_: object) -> None:
        self.bar.stop()
