"""`fclf embed`."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from fclf.cli.common import JsonOption, OverwriteOption, ThreadsOption, check_resume, note, print_json, use_threads
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
    from fclf.data.embeddings import EmbeddingSet
    from fclf.data.formats import check_writable
    from fclf.encoders import embed_folder, open_encoder
    from fclf.encoders.folder import work_folder

    check_resume(resume, overwrite)
    check_writable(output)
    if table is not None and labels_from is not None:
        raise InputError("--table and --labels-from both give labels; choose one of them.")
    work = work_folder(output)
    if output.exists() and not overwrite:
        raise InputError(f"--output {output} is there already; type --overwrite to replace it.")
    if work.exists() and not (resume or overwrite):
        raise InputError(f"{work} holds an unfinished run; continue it with --resume, or start anew with --overwrite.")
    given = {"size": size, "crop": crop, "fit": fit, "mean": mean, "std": std, "layout": layout, "channels": channels}
    network = open_encoder(encoder, preparation=_settings(given), threads=threads)
    started, done = time.perf_counter(), 0
    with _progress() as tell:
        found = embed_folder(images, network, work, batch_size=batch_size, resume=resume, on_pictures=tell)
    done = len(found.ids) + len(found.unreadable)
    for bad in found.unreadable[:SHOWN]:
        note(f"Left out: {bad.name} ({bad.reason})")
    if len(found.unreadable) > SHOWN:
        note(f"... and {len(found.unreadable) - SHOWN} more; --json lists them all.")
    arrays: dict[str, Any] = {"embeddings": found.embeddings, "ids": found.ids, "encoder": found.encoder}
    data, unnamed = EmbeddingSet.from_arrays(arrays, source=str(images)), 0
    if labels_from is not None:
        from fclf.data.celeba import CelebA

        joined = join_labels(data, CelebA.load(labels_from), output)
        data, unnamed = joined.data, joined.unmatched
    elif table is not None:
        from fclf.data.table import join_table

        data, unnamed = join_table(data, table)
        note(f"Labels: {len(data.attribute_names)} attributes for {len(data) - unnamed:,} of {len(data):,} pictures.")
    data.save(output)
    shutil.rmtree(work)
    seconds = time.perf_counter() - started
    if as_json:
        bad_files = [{"name": bad.name, "reason": bad.reason} for bad in found.unreadable]
        result = {"output": str(output), "rows": len(data), "dim": data.dim, "encoder": found.encoder}
        print_json({**result, "unreadable": bad_files, "without_labels": unnamed, "seconds": round(seconds, 3)})
        return
    rate = done / seconds
    typer.echo(f"Embedded {len(data):,} pictures, {data.dim} numbers each, with {found.encoder} ({rate:.0f} a second).")
    following = "" if data.attributes is not None else " It has no labels: add --table FILE or --labels-from FOLDER."
    typer.echo(f"Embeddings: {output}.{following}\nNext: fclf inspect {output}")


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
    """Pictures that are done and how many a second, on a terminal only."""

    def __enter__(self) -> Any:
        from rich.console import Console
        from rich.progress import Progress, TextColumn, TimeElapsedColumn

        columns = (
            TextColumn("Embedding {task.completed:,} pictures"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[rate]}"),
        )
        self.bar = Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True)
        self.bar.start()
        task, started = self.bar.add_task("", total=None, rate=""), time.perf_counter()

        def tell(pictures: int) -> None:
            rate = pictures / (time.perf_counter() - started)
            self.bar.update(task, completed=pictures, rate=f"{rate:.0f} a second")

        return tell

    def __exit__(self, *_: object) -> None:
        self.bar.stop()
