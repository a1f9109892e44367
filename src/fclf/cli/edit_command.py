"""`fclf edit`."""

from __future__ import annotations

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
    print_json,
    say_split,
    use_threads,
)
from fclf.errors import InputError


def edit(
    checkpoint: CheckpointOption,
    embeddings: EmbeddingsOption,
    output: Annotated[Path, typer.Option(metavar="OUT.npz", help="Where to write the edited embeddings.")],
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=0|1", help="Attribute to set; repeatable.")
    ] = None,
    flip: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Attribute to turn over; repeatable.")] = None,
    split: Annotated[str | None, typer.Option(help="Edit the rows of this split only.")] = None,
    strength: Annotated[float, typer.Option(min=0, help="Scales the flow time; 0 changes nothing.")] = 1.0,
    labels: LabelsOption = Labels.binary,
    threads: ThreadsOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Carry embeddings to where the target attributes live.

    Example: fclf edit --checkpoint results/fclf_training --embeddings celeba.npz --set Smiling=1 --output smiling.npz
    """
    use_threads(threads)
    from fclf.checkpoint import Checkpoint
    from fclf.data.embeddings import EmbeddingSet

    if output.suffix != ".npz":
        raise InputError(f"--output {output} ends in '{output.suffix}'; type a name that ends in .npz.")
    if output.exists() and output.samefile(embeddings):
        raise InputError(f"--output {output} is the input file; name another one.")
    assign = dict(_assignment(text) for text in set_ or [])
    model = Checkpoint.load(checkpoint)
    data = EmbeddingSet.load(embeddings, labels=labels.value)
    if split is not None:
        say_split(data, model.config.data.split_seed)
        data = data.with_split(model.config.data.split_seed).part(split)
    edited = model.edit(data, assign, flip or [], strength=strength)
    edited.save(output)
    if as_json:
        print_json({"output": str(output), "rows": len(edited)})
    else:
        typer.echo(f"Edited {len(edited)} rows: {output}")


def _assignment(text: str) -> tuple[str, int]:
    name, equals, value = text.partition("=")
    if not equals or value.strip() not in ("0", "1"):
        raise InputError(f"--set {text}: type NAME=0 or NAME=1, for example --set Smiling=1.")
    return name.strip(), int(value)
