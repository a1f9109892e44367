"""`fclf edit`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from fclf.cli.common import (
    CheckpointOption,
    EmbeddingsOption,
    JsonOption,
    Labels,
    LabelsOption,
    ThreadsOption,
    note,
    print_json,
    say_split,
    use_threads,
)
from fclf.cli.loading import LabelsFromOption, NormalizeOption, PartitionOption, load_embeddings
from fclf.errors import InputError


def edit(
    checkpoint: CheckpointOption,
    embeddings: EmbeddingsOption,
    output: Annotated[Path, typer.Option(metavar="OUT", help="Edited embeddings, .npz or .parquet.")],
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=0|1", help="Attribute to set; repeatable.")
    ] = None,
    flip: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Attribute to turn over; repeatable.")] = None,
    split: Annotated[str | None, typer.Option(help="Edit the rows of this split only.")] = None,
    strength: Annotated[float, typer.Option(min=0, help="Scales the flow time; 0 changes nothing.")] = 1.0,
    keep: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="From faithful (0) to controlled (1), instead of the checkpoint's own."),
    ] = None,
    infer_labels: Annotated[
        bool, typer.Option("--infer-labels", help="Fill in missing labels by the checkpoint's classifier.")
    ] = False,
    labels: LabelsOption = Labels.binary,
    labels_from: LabelsFromOption = None,
    partition: PartitionOption = None,
    normalize: NormalizeOption = False,
    threads: ThreadsOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Carry embeddings to where the target attributes live.

    Example: fclf edit --checkpoint results/fclf_training --embeddings celeba.npz --set Smiling=1 --output smiling.npz
    """
    use_threads(threads)
    from fclf.checkpoint import Checkpoint
    from fclf.data.formats import check_writable

    check_writable(output)
    if output.exists() and output.samefile(embeddings):
        raise InputError(f"--output {output} is the input file; name another one.")
    assign = _assignments(set_ or [])
    model = Checkpoint.load(checkpoint)
    data = load_embeddings(
        embeddings,
        labels,
        normalize=normalize,
        labels_from=labels_from,
        partition=partition,
        split_seed=model.config.data.split_seed,
    )
    if split is not None:
        say_split(data, model.config.data.split_seed)
        data = data.with_split(model.config.data.split_seed).part(split)
    if infer_labels:
        data, inferred = model.infer(data)
        note(f"Labels inferred by the checkpoint's classifier: for {inferred:,} of {len(data):,} rows.")
    if keep is not None:
        model = model.with_keep(keep)
    edited = model.edit(data, assign, flip or [], strength=strength)
    edited.save(output)
    if as_json:
        print_json({"output": str(output), "rows": len(edited)})
    else:
        typer.echo(f"Edited {len(edited)} rows: {output}")


def _assignments(texts: Sequence[str]) -> dict[str, int]:
    assign: dict[str, int] = {}
    for name, value in map(_assignment, texts):
        if assign.setdefault(name, value) != value:
            raise InputError(f"--set {name} is given both 0 and 1; give it once.")
    return assign


def _assignment(text: str) -> tuple[str, int]:
    name, equals, value = text.partition("=")
    if not equals or value.strip() not in ("0", "1"):
        raise InputError(f"--set {text}: type NAME=0 or NAME=1, for example --set Smiling=1.")
    return name.strip(), int(value)
