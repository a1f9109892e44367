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
from fclf.errors import InputError


def edit(
    checkpoint: CheckpointOption,
    embeddings: EmbeddingsOption,
    output: Annotated[Path, typer.Option(metavar="OUT", help="Edited embeddings, .npz or .parquet.")],
    set_: SetOption = None,
    flip: FlipOption = None,
    split: Annotated[str | None, typer.Option(help="Edit the rows of this split only.")] = None,
    strength: StrengthOption = 1.0,
    keep: KeepOption = None,
    infer_labels: InferLabelsOption = False,
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
    assign = assignments(set_ or [])
    model = Checkpoint.load(checkpoint)
    data = load_embeddings(
        embeddings,
        labels,
        normalize=normalize,
        labels_from=labels_from,
        partition=partition,
        split_seed=model.config.data.split_seed,
    )
    data = choose_rows(model, data, split, infer_labels)
    if keep is not None:
        model = model.with_keep(keep)
    edited = model.edit(data, assign, flip or [], strength=strength)
    edited.save(output)
    if as_json:
        print_json({"output": str(output), "rows": len(edited)})
    else:
        typer.echo(f"Edited {len(edited)} rows: {output}")
