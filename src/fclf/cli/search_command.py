"""`fclf search`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fclf.cli.common import (
    CheckpointOption,
    JsonOption,
    Labels,
    LabelsOption,
    ThreadsOption,
    console,
    note,
    print_json,
    say_split,
    use_threads,
)
from fclf.cli.editing import FlipOption, InferLabelsOption, KeepOption, SetOption, assignments, choose_rows
from fclf.cli.loading import LabelsFromOption, NormalizeOption, PartitionOption, load_embeddings
from fclf.cli.pictures import ImagesOption
from fclf.errors import InputError

if TYPE_CHECKING:
    from fclf.applications.search import Hit
    from fclf.applications.search_benchmark import SearchBenchmark
    from fclf.applications.strengths import Strengths
    from fclf.checkpoint import Checkpoint
    from fclf.data.embeddings import EmbeddingSet

STRENGTHS = "search.json"
"""Calibrated strengths, beside the run's other files."""
SIZE = 112
"""Side of a picture in pixels."""


def search(
    checkpoint: CheckpointOption,
    gallery: Annotated[Path, typer.Option(metavar="FILE", help="Embeddings to search: .npz, .parquet or .pt.")],
    query: Annotated[str | None, typer.Option(metavar="ID", help="Id of the row to begin from.")] = None,
    embeddings: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where the query is, if not in the gallery.")
    ] = None,
    set_: SetOption = None,
    flip: FlipOption = None,
    top: Annotated[int, typer.Option(min=1, help="Rows to find.")] = 10,
    faiss: Annotated[bool, typer.Option("--faiss/--exact", help="Search by faiss, or by exact products.")] = False,
    images: ImagesOption = None,
    output: Annotated[Path | None, typer.Option(metavar="OUT.png", help="A strip of pictures; needs --images.")] = None,
    strength: Annotated[
        float | None, typer.Option(min=0, help="Scales the flow time; by default as --benchmark calibrated it, or 1.")
    ] = None,
    keep: KeepOption = None,
    infer_labels: InferLabelsOption = False,
    benchmark: Annotated[
        bool,
        typer.Option("--benchmark", help="Calibrate strengths for RUN and measure searches of the gallery's people."),
    ] = False,
    split: Annotated[
        str | None, typer.Option(help="Search this split only; with --benchmark the split to measure, test.")
    ] = None,
    labels: LabelsOption = Labels.binary,
    labels_from: LabelsFromOption = None,
    partition: PartitionOption = None,
    normalize: NormalizeOption = False,
    threads: ThreadsOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Search a gallery for a person with other attributes: "this person, with glasses".

    Example: fclf search --checkpoint results/run --gallery celeba.npz --query 000123.jpg --set Eyeglasses=1
    """
    if (output is None) != (images is None):
        raise InputError("A strip of pictures needs both --images FOLDER and --output OUT.png.")
    if output is not None and output.suffix.lower() != ".png":
        raise InputError(f"--output {output}: the strip is written as PNG; name it {output.with_suffix('.png')}.")
    if benchmark == (query is not None):
        raise InputError("Type --query ID to search, or --benchmark to measure searches; one of the two.")
    assign = assignments(set_ or [])
    use_threads(threads)
    from fclf.checkpoint import Checkpoint

    model = Checkpoint.load(checkpoint)
    seed = model.config.data.split_seed

    def load(path: Path) -> EmbeddingSet:
        return load_embeddings(
            path, labels, normalize=normalize, labels_from=labels_from, partition=partition, split_seed=seed
        )

    rows = load(gallery)
    model.check_rows(rows)
    if keep is not None:
        model = model.with_keep(keep)
    if benchmark:
        return _benchmark(model, rows, checkpoint, split or "test", as_json)
    import numpy as np

    from fclf.applications.search import describe, find_row, nearest, rows_left_out

    assert query is not None
    source = rows if embeddings is None else load(embeddings)
    model.check_rows(source)
    asking = source.take(np.array([find_row(source, query, "--query")]))
    rows = choose_rows(model, rows, split, False)
    asking = choose_rows(model, asking, None, infer_labels)
    found = _strength(model, asking, assign, flip or [], checkpoint) if strength is None else strength
    edited = model.edit(asking, assign, flip or [], strength=found)
    changed = tuple(dict.fromkeys([*assign, *(flip or [])]))
    if np.array_equal(edited.embeddings, asking.embeddings):
        note("The edit changes nothing: the query has these labels already, or the strength is 0.")
    left_out = rows_left_out(asking, rows, embeddings is None)
    if len(left_out) == len(rows):
        raise InputError(f"{gallery} holds nothing but the query; there is nothing to find.")
    same_people = embeddings is None or embeddings.resolve() == gallery.resolve()
    if not same_people and rows.identities is not None:
        note(
            "Query and gallery are two files, which may number people differently: whether it is the same is not said."
        )
    identity = int(asking.identities[0]) if asking.identities is not None and same_people else None
    positions, cosines = nearest(edited.embeddings[0].astype(np.float64), rows.embeddings, top, left_out, faiss=faiss)
    hits = describe(positions, cosines, rows, changed, identity)
    asked = ", ".join([f"{name}={value}" for name, value in assign.items()] + [f"flip {name}" for name in flip or []])
    if output is not None and images is not None:
        _draw(hits, str(asking.ids[0]), asked, images, output)
    if as_json:
        print_json(
            {
                "query": str(asking.ids[0]),
                "strength": found,
                "left_out": [str(name) for name in rows.ids[left_out]],
                "output": None if output is None else str(output),
                "hits": [{key: value for key, value in asdict(hit).items() if key != "row"} for hit in hits],
            }
        )
        return
    _print_hits(hits, f"{asking.ids[0]}, {asked}, strength {found:g}: nearest of {len(rows) - len(left_out):,} rows")
    if output is not None:
        typer.echo(f"Strip: {output}")


def _strength(
    model: Checkpoint, asking: EmbeddingSet, assign: dict[str, int], flip: list[str], checkpoint: Path
) -> float:
    """As calibrated for this run, or 1."""
    from fclf.applications.strengths import Strengths
    from fclf.data.targets import check_known, edit_targets, own_labels

    path = checkpoint / STRENGTHS
    if not checkpoint.is_dir() or not path.exists():
        return 1.0
    strengths = Strengths.load(path, model.attribute_names, _identify(model))
    own = own_labels(asking, model.attribute_names)
    targets = edit_targets(own, model.attribute_names, assign, flip)
    check_known(own, model.attribute_names, "Strengths are those of what changes")
    return float(strengths.of(own, targets)[0])


def _identify(model: Checkpoint) -> str:
    """Of the weights that strengths are calibrated for, whatever the operating point."""
    from fclf.files import digest

    parts = [value.numpy().tobytes() for name, value in sorted(model.weights.items()) if not name.endswith(".keep")]
    return digest(*parts)[:16]


def _draw(hits: list[Hit], query: str, asked: str, images: Path, output: Path) -> None:
    from fclf.data.images import load_images
    from fclf.report.flipbook import write_png
    from fclf.report.strip import strip

    pictures, there = load_images(images, [query, *(hit.id for hit in hits)], SIZE)
    if not there.any():
        raise InputError(f"--images {images}: no picture there is named by an id such as {query}.")
    captions = [["query", query, asked]]
    captions += [[f"{hit.rank}. {hit.cosine:.3f}", hit.id, _labels(hit)] for hit in hits]
    write_png(strip(pictures, there, captions, [False, *(bool(hit.same_person) for hit in hits)]), output)


def _labels(hit: Hit) -> str:
    return ", ".join(f"{name} {'?' if value is None else value}" for name, value in hit.labels.items())


def _print_hits(hits: list[Hit], title: str) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table("rank", "id", "cosine", "identity", "labels", "same person", title=title, box=SIMPLE_HEAD)
    for hit in hits:
        person = "?" if hit.identity is None else str(hit.identity)
        same = {None: "?", True: "yes", False: "no"}[hit.same_person]
        table.add_row(str(hit.rank), hit.id, f"{hit.cosine:.4f}", person, _labels(hit), same)
    console().print(table)


def _benchmark(model: Checkpoint, rows: EmbeddingSet, checkpoint: Path, split: str, as_json: bool) -> None:
    from fclf.applications.search_benchmark import search_benchmark

    say_split(rows, model.config.data.split_seed)
    found = search_benchmark(model, rows, split=split)
    if checkpoint.is_dir():
        found.strengths.save(checkpoint / STRENGTHS, _identify(model))
    if as_json:
        print_json(found.to_dict())
        return
    _print_benchmark(found, split)
    _print_strengths(found.strengths)
    if checkpoint.is_dir():
        typer.echo(f"Strengths: {checkpoint / STRENGTHS}; searches with this run use them from now on.")


def _print_benchmark(found: SearchBenchmark, split: str) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    queries = sum(found.queries.values())
    title = f"Same person with the target value: {queries:,} queries among {found.rows:,} {split} rows"
    table = Table("", "mAP", "against no edit", "the flow is ahead by", title=title, box=SIMPLE_HEAD)
    for row in found.table:
        table.add_row(
            row.name,
            _pm(row.mean_average_precision, row.interval),
            _pm(row.against_no_edit, row.against_no_edit_interval, "+"),
            _pm(row.flow_ahead, row.flow_ahead_interval, "+"),
        )
    console().print(table)


def _print_strengths(strengths: Strengths) -> None:
    listed = ", ".join(f"{cell} {value['strength']:g}" for cell, value in strengths.to_dict().items())
    typer.echo(f"Strengths of the flow, from train and val people: {listed}.")


def _pm(value: float, interval: tuple[float, float] | None, sign: str = "") -> str:
    half = "" if interval is None else f" ±{(interval[1] - interval[0]) / 2:.4f}"
    return f"{value:{sign}.4f}{half}"
