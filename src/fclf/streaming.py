"""Edits of files larger than memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fclf.checkpoint import Checkpoint
from fclf.data.embeddings import EmbeddingSet
from fclf.data.formats.parquet_blocks import BlockWriter, replaced
from fclf.data.stream import Block, EmbeddingStream
from fclf.data.targets import Assigned
from fclf.files import atomic_write

__all__ = ["Streamed", "edit_stream"]

ALIGNED = 2048
"""Rows that a flow carries at once: blocks of a multiple of it end at the same bits as all rows together."""
NUMBERS = 1 << 21
"""Embedding numbers in a block: 8 MiB, of which an edit holds some copies."""


@dataclass(frozen=True)
class Streamed:
    """What was done."""

    rows: int
    """Rows written."""
    inferred: int = 0
    """Rows that needed labels of the checkpoint's classifier."""


def edit_stream(
    model: Checkpoint,
    stream: EmbeddingStream,
    output: Path,
    assign: Mapping[str, Assigned] | None = None,
    flip: Sequence[str] = (),
    *,
    columns: Mapping[str, str] | None = None,
    index: EmbeddingSet | None = None,
    split: str | None = None,
    strength: float = 1.0,
    infer_labels: bool = False,
    block_rows: int | None = None,
    on_rows: Callable[[int], None] | None = None,
) -> Streamed:
    """`Checkpoint.edit` of a Parquet file into another one, a block at a time; the output is whole or absent.

    Rows, their order, all columns and the schema's metadata stay; `embedding` becomes a FixedSizeList of float32 and
    attributes int8, as in every file that fclf writes. Ends have the same bits as those of all rows edited together.

    Args:
        model: the checkpoint.
        stream: the rows.
        output: a `.parquet` file.
        assign: attributes to set, to 0 or 1 in every row.
        flip: attributes to turn over.
        columns: attributes to set, each to what a column of the file says (`fclf.data.targets.column_targets`).
        index: of the stream, with labels joined to it or a split made for it; `stream.index()` if absent.
        split: edit the rows of this split of `index` only.
        strength: scales the flow time.
        infer_labels: fill in missing labels by the checkpoint's classifier.
        block_rows: rows of a block, rounded up to a multiple of 2,048; what makes 8 MiB if absent.
        on_rows: told how many rows of the file are done.

    Raises:
        InputError: as `EmbeddingSet.load` and `Checkpoint.edit` do.
    """
    index = stream.index() if index is None else index
    columns, done, inferred = dict(columns or {}), 0, 0
    wanted_rows = None if split is None else index.rows_of(split)  # refuses one without rows before any work
    rows = block_rows or NUMBERS // model.dim
    size = max(1, -(-rows // ALIGNED)) * ALIGNED
    with atomic_write(output) as file:
        writer = BlockWriter(file)
        for block in _chosen(stream.blocks(size, index, tuple(columns.values())), wanted_rows, size, on_rows):
            data = block.data
            if infer_labels:
                data, found = model.infer(data)
                inferred += found
            wanted = {**(assign or {}), **{name: data.extras[column] for name, column in columns.items()}}
            edited = model.edit(data, wanted, flip, strength=strength)
            writer.write(replaced(block.table, edited.to_arrays(), output))
            done += len(edited)
        writer.finish()
    return Streamed(done, inferred)


def _chosen(
    blocks: Iterator[Block],
    rows: NDArray[np.bool_] | None,
    size: int,
    on_rows: Callable[[int], None] | None,
) -> Iterator[Block]:
    """Blocks of `size` rows, of those rows that are wanted."""
    waiting: list[Block] = []
    read = 0
    for block in blocks:
        first, read = read, read + len(block.data)
        if rows is None:
            yield block
        else:
            chosen = block.take(rows[first:read])
            waiting += [chosen] if len(chosen.data) else []
            if sum(len(part.data) for part in waiting) >= size:
                whole = Block.join(waiting)
                yield whole.part(0, size)
                waiting = [whole.part(size, len(whole.data))] if len(whole.data) > size else []
        if on_rows is not None:
            on_rows(read)
    if waiting:
        yield Block.join(waiting)
