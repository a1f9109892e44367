"""`fclf edit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fclf.cli.bulk_edit import bulk_edit, check_kind, finish_bulk_edit
from fclf.cli.common import (
    CheckpointOption,
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


def edit(
    checkpoint: CheckpointOption,
    embeddings: Annotated[
        str,
        typer.Option(
            metavar="FILE|FOLDER|PATTERN|ADDRESS",
            help="Embeddings: .npz, .parquet or .pt; or shards, .parquet or .npy with metadata, local or at s3://... .",
        ),
    ],
    output: Annotated[
        str, typer.Option(metavar="OUT", help="Edited embeddings: .npz or .parquet; of shards, a folder or address.")
    ],
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
    workers: Annotated[
        int | None, typer.Option(min=1, help="Of shards: processes or Ray actors; one for every core or GPU if absent.")
    ] = None,
    ray: Annotated[
        str | None, typer.Option(metavar="auto|local|ADDRESS", help="Of shards: edit them on a Ray cluster.")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Of shards: compare finished ones with their checksums, not sizes only.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Of shards: remove edits of another model or with other options first.")
    ] = False,
    threads: ThreadsOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Carry embeddings to where the target attributes live.

    A folder, pattern or address is edited shard by shard; the same command again goes on where it was killed.

    Example: fclf edit --checkpoint results/fclf_training --embeddings celeba.npz --set Smiling=1 --output smiling.npz
    """
    use_threads(threads)
    from fclf.checkpoint import Checkpoint
    from fclf.data.shards.folder import is_sharded

    sharded = is_sharded(embeddings)
    for_shards = {"--workers": workers, "--ray": ray, "--verify": verify, "--overwrite": overwrite}
    for_a_file = {"--labels-from": labels_from, "--partition": partition}
    check_kind(embeddings, output, sharded, for_a_file if sharded else for_shards)
    assign, columns = assignments_by_row(set_ or [])
    model = Checkpoint.load(checkpoint)
    if keep is not None:
        model = model.with_keep(keep)
    if sharded:
        from fclf.scale.work import BulkEdit

        work = BulkEdit.of(
            model,
            assign,
            columns,
            flip=tuple(flip or ()),
            split=split,
            strength=strength,
            infer_labels=infer_labels,
            labels=labels.value,
            normalize=normalize,
            threads=threads,
        )
        finish_bulk_edit(
            bulk_edit(work, embeddings, output, workers=workers, ray=ray, verify=verify, overwrite=overwrite),
            output,
            infer_labels,
            as_json,
        )
        return
    source, target = Path(embeddings), Path(output)
    seed = model.config.data.split_seed
    if source.suffix.lower() == target.suffix.lower() == ".parquet":
        from fclf.data.formats.parquet_blocks import write_blocks
        from fclf.data.stream import EmbeddingStream
        from fclf.streaming import edit_stream

        with EmbeddingStream(source, labels=labels.value, normalize=normalize) as stream:
            index = stream.index(ids=labels_from is not None, split=split is not None)
            index = with_labels_from(index, labels_from, source, partition=partition, split_seed=seed)
            if split is not None:
                say_split(index, seed)
                index = index.with_split(seed)
            with write_blocks(target) as writer, rows_bar("Editing", stream.rows) as on_rows:
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
        from fclf.data.targets import column_targets

        data = load_embeddings(
            source, labels, normalize=normalize, labels_from=labels_from, partition=partition, split_seed=seed
        )
        for column in columns.values():  # of all rows, so that a message has row numbers of the file
            column_targets(data, column, embeddings)
        data = choose_rows(model, data, split, infer_labels)
        by_row = {name: column_targets(data, column) for name, column in columns.items()}
        edited = model.edit(data, {**assign, **by_row}, flip or [], strength=strength)
        edited.save(target)
        rows = len(edited)
    if as_json:
        print_json({"output": output, "rows": rows})
    else:
        typer.echo(f"Edited {rows} rows: {output}")
