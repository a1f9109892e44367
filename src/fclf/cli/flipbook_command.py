"""`fclf flipbook`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fclf.cli.common import (
    CheckpointOption,
    EmbeddingsOption,
    JsonOption,
    Labels,
    LabelsOption,
    ThreadsOption,
    print_json,
    use_threads,
)
from fclf.cli.editing import (
    FlipOption,
    InferLabelsOption,
    KeepOption,
    SetOption,
    StrengthOption,
    assignments,
    choose_rows,
)
from fclf.cli.loading import LabelsFromOption, NormalizeOption, PartitionOption, load_embeddings
from fclf.cli.pictures import DecoderOption, ImagesOption, decoder_of
from fclf.errors import InputError

if TYPE_CHECKING:
    from fclf.evaluation.flipbook import FlipbookPoints

SIZE = 128
"""Side of a picture in pixels, at most."""


def flipbook(
    checkpoint: CheckpointOption,
    embeddings: EmbeddingsOption,
    output: Annotated[Path, typer.Option(metavar="OUT", help="The sheet, .png.")],
    gif: Annotated[Path | None, typer.Option("--gif", metavar="OUT", help="An animation too, .gif.")] = None,
    set_: SetOption = None,
    flip: FlipOption = None,
    decoder: DecoderOption = None,
    images: ImagesOption = None,
    split: Annotated[str, typer.Option(help="Rows to edit and to look for neighbours among.")] = "test",
    people: Annotated[int, typer.Option(min=1, help="Rows of the sheet, different people where they are known.")] = 8,
    rows_: Annotated[
        list[str] | None,
        typer.Option("--rows", metavar="ID", help="Show this row instead of chosen people; repeatable."),
    ] = None,
    steps: Annotated[int, typer.Option(min=2, help="Columns of the sheet, at most, the source included.")] = 8,
    strength: StrengthOption = 1.0,
    keep: KeepOption = None,
    infer_labels: InferLabelsOption = False,
    labels: LabelsOption = Labels.binary,
    labels_from: LabelsFromOption = None,
    partition: PartitionOption = None,
    normalize: NormalizeOption = False,
    threads: ThreadsOption = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of the choice of people.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Draw a few people step by step along the flow: decoded, and by the real row that is nearest at each step.

    Without --set and --flip each attribute is turned over in turn.

    Example: fclf flipbook --checkpoint results/fclf_training --embeddings celeba.npz --images celeba --output book.png
    """
    for option, path, suffix in (("--output", output, ".png"), ("--gif", gif, ".gif")):
        if path is not None and path.suffix.lower() != suffix:
            raise InputError(f"{option} {path}: the file is written as {suffix}; name it {path.with_suffix(suffix)}.")
    if decoder is None and images is None:
        raise InputError(
            "A flipbook needs pictures: type --images DIR for those of the nearest rows, --decoder FILE for those of "
            "the edits (`fclf decoder train` makes one), or both."
        )
    use_threads(threads)
    from fclf.checkpoint import Checkpoint
    from fclf.evaluation.choice import choose, choose_named
    from fclf.evaluation.edits import ask_edits
    from fclf.evaluation.flipbook import flipbook as follow
    from fclf.report.flipbook import animation, sheet, write_gif, write_png

    assign = assignments(set_ or [])
    drawing = decoder_of(decoder)
    model = Checkpoint.load(checkpoint)
    data = load_embeddings(
        embeddings,
        labels,
        normalize=normalize,
        labels_from=labels_from,
        partition=partition,
        split_seed=model.config.data.split_seed,
    )
    rows = model.matching(choose_rows(model, data, split, infer_labels))
    if keep is not None:
        model = model.with_keep(keep)
    plan = ask_edits(rows, assign, flip or [])
    points = follow(
        model.flow(),
        rows,
        plan,
        choose_named(plan, rows.ids, rows_) if rows_ else choose(plan, rows.identities, people, seed),
        most=steps,
        strength=strength,
        decoder=drawing,
        images=images,
        size=SIZE if drawing is None else drawing.size,
    )
    drawn = sheet(points)
    assert drawn is not None  # there is a decoder or a folder of images
    write_png(drawn, output)
    if gif is not None:
        write_gif(animation(points), gif)
    if as_json:
        print_json({"output": str(output), "gif": None if gif is None else str(gif), **_described(points)})
        return
    count, last = points.flipbook_rows.shape[1], len(set(points.flipbook_rows[-1].tolist()))
    typer.echo(f"{count} edits; at their end {last} different rows of {len(rows):,} are nearest to them.")
    typer.echo(f"Flipbook: {output}" + ("" if gif is None else f", {gif}"))


def _described(points: FlipbookPoints) -> dict[str, Any]:
    books = zip(
        points.flipbook_ids.tolist(),
        points.flipbook_changes.tolist(),
        points.flipbook_targets.tolist(),
        points.flipbook_nearest_ids.T.tolist(),
        points.flipbook_distances.T.tolist(),
        strict=True,
    )
    return {
        "times": points.flipbook_times.tolist(),
        "unique": points.flipbook_unique.tolist(),
        "people": [dict(zip(("id", "change", "target", "nearest", "distances"), b, strict=True)) for b in books],
    }
