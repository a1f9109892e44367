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
    rows_bar,
    say_split,
    use_threads,
)
from fclf.cli.editing import (
    FlipOption,
    InferLabelsOption,
    KeepOption,
    SetByRowOption,
    StrengthOption,
    assignments_by_row,
    choose_rows,
    note_inferred,
)
from fclf.cli.loading import LabelsFromOption, NormalizeOption, PartitionOption, load_embeddings, with_labels_from
from fclf.errors import InputError


def edit(
    checkpoint: CheckpointOption,
    embeddings: EmbeddingsOption,
    output: Annotated[Path, typer.Option(metavar="OUT", help="Edited embeddings, .npz or .parquet.")],
    set_: SetByRowOption = None,
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
    from fclf.data.targets import column_targets

    check_writable(output)
    if output.exists() and output.samefile(embeddings):
        raise InputError(f"--output {output} is the input file; name another one.")
    assign, columns = assignments_by_row(set_ or [])
    model = Checkpoint.load(checkpoint)
    if keep is not None:
        model = model.with_keep(keep)
    seed = model.config.data.split_seed
    if embeddings.suffix.lower() == output.suffix.lower() == ".parquet":
        from fclf.data.formats.parquet_blocks import write_blocks
        from fclf.data.stream import EmbeddingStream
        from fclf.streaming import edit_stream

        with EmbeddingStream(embeddings, labels=labels.value, normalize=normalize) as stream:
            index = stream.index(ids=labels_from is not None, split=split is not None)
            index = with_labels_from(index, labels_from, embeddings, partition=partition, split_seed=seed)
            if split is not None:
                say_split(index, seed)
                index = index.with_split(seed)
            with write_blocks(output) as writer, rows_bar("Editing", stream.rows) as on_rows:
                done = edit_stream(
                    model,
                    stream,
                    writer,
                    assign,
                    flip or [],
                    columns=columns,
                    index=index,
                    split=split,
                    strength=strength,
                    infer_labels=infer_labels,
                    on_rows=on_rows,
                )
        if infer_labels:
            note_inferred(done.inferred, done.rows)
        rows = done.rows
    else:
        data = load_embeddings(
            embeddings, labels, normalize=normalize, labels_from=labels_from, partition=partition, split_seed=seed
        )
        for column in columns.values():  # of all rows, so that a message has row numbers of the file
            column_targets(data, column, str(embeddings))
        data = choose_rows(model, data, split, infer_labels)
        by_row = {name: column_targets(data, column) for name, column in columns.items()}
        edited = model.edit(data, {**assign, **by_row}, flip or [], strength=strength)
        edited.save(output)
        rows = len(edited)
    if as_json:
        print_json({"output": str(output), "rows": rows})
    else:
        typer.echo(f"Edited {rows} rows: {output}")
