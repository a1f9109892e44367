"""`fclf audit`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fclf.cli.common import (
    CheckpointOption,
    EmbeddingsOption,
    JsonOption,
    Labels,
    LabelsOption,
    ThreadsOption,
    console,
    print_json,
    say_split,
    use_threads,
)
from fclf.cli.editing import InferLabelsOption, KeepOption, StrengthOption, note_inferred
from fclf.cli.loading import LabelsFromOption, NormalizeOption, PartitionOption, load_embeddings

if TYPE_CHECKING:
    from fclf.applications.audit import Direction

REPORT = "audit.json"


def audit(
    checkpoint: CheckpointOption,
    embeddings: EmbeddingsOption,
    scorer: Annotated[
        Path,
        typer.Option(metavar="FILE", help="Classifier: .onnx, or `weights` and `bias` in .npz, .safetensors or .json."),
    ],
    flip: Annotated[str, typer.Option(metavar="NAME", help="Attribute to turn over.")],
    split: Annotated[str, typer.Option(help="Whose rows are edited.")] = "test",
    threshold: Annotated[
        float | None, typer.Option(help="Scores above are a yes; by default 0, or .5 for probabilities.")
    ] = None,
    strength: StrengthOption = 1.0,
    keep: KeepOption = None,
    infer_labels: InferLabelsOption = False,
    output_dir: Annotated[Path | None, typer.Option(metavar="OUT", help="Gets audit.json.")] = None,
    labels: LabelsOption = Labels.binary,
    labels_from: LabelsFromOption = None,
    partition: PartitionOption = None,
    normalize: NormalizeOption = False,
    threads: ThreadsOption = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of placebo directions and intervals.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Ask a classifier again with one attribute turned over, and say whether its answers depend on it.

    Example: fclf audit --checkpoint results/run --embeddings celeba.npz --scorer hiring.onnx --flip Male
    """
    use_threads(threads)
    from fclf.applications.audit import audit as ask
    from fclf.applications.scorers import Scorer
    from fclf.checkpoint import Checkpoint
    from fclf.files import write_json

    model = Checkpoint.load(checkpoint)
    data = load_embeddings(
        embeddings,
        labels,
        normalize=normalize,
        labels_from=labels_from,
        partition=partition,
        split_seed=model.config.data.split_seed,
    )
    model.check_rows(data)
    judged = Scorer.load(scorer, data.dim, threshold)
    say_split(data, model.config.data.split_seed)
    if infer_labels:
        data, inferred = model.infer(data)
        note_inferred(inferred, len(data))
    if keep is not None:
        model = model.with_keep(keep)
    found = ask(model, data, judged, flip, split=split, strength=strength, seed=seed)
    if output_dir is not None:
        write_json(output_dir / REPORT, found.to_dict())
    if as_json:
        print_json(found.to_dict())
        return
    typer.echo(
        f"{scorer}: {found.scorer}, yes above {found.threshold:g}, for {found.yes:.1%} of {found.rows:,} {split} rows."
    )
    for direction in found.directions:
        _print_direction(direction)
    for line in found.left_out:
        typer.echo(f"Not reported: {line}.")
    if output_dir is not None:
        typer.echo(f"Audit: {output_dir / REPORT}")


def _print_direction(direction: Direction) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    count = f"{direction.edits:,} edits" + ("" if direction.accepted is None else f", {direction.accepted:,} accepted")
    title = f"{direction.attribute} to {direction.to}: {count}"
    table = Table("", "decisions changed", "mean move", "mean absolute move", title=title, box=SIMPLE_HEAD)
    for move in direction.moves:
        table.add_row(
            move.name,
            _pm(move.changed, move.changed_interval),
            _pm(move.signed, move.signed_interval, "+"),
            _pm(move.absolute, move.absolute_interval),
        )
    if direction.placebo is not None:
        placebo = direction.placebo
        table.add_row(
            "placebo", f"at most {placebo.changed:.3f}", f"at most {placebo.signed:.3f}", f"{placebo.absolute:.3f}"
        )
    console().print(table)
    if direction.accepted is None:
        typer.echo("The checkpoint holds no support, so all edits count; train it again to leave out those far off.")
    if direction.placebo is None:
        typer.echo("The embeddings have no direction that no probe reads, so nothing can be flagged.")
    else:
        typer.echo(f"FLAGGED: {'; '.join(direction.reasons)}." if direction.flagged else "Not flagged.")


def _pm(value: float, interval: tuple[float, float] | None, sign: str = "") -> str:
    return f"{value:{sign}.3f}" + ("" if interval is None else f" ±{(interval[1] - interval[0]) / 2:.3f}")
