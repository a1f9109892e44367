"""Edits of files and shards larger than memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from fclf.checkpoint import Checkpoint
from fclf.data.embeddings import EmbeddingSet
from fclf.data.formats.parquet import arrays_of
from fclf.data.formats.parquet_blocks import replaced
from fclf.data.stream import Block, EmbeddingStream
from fclf.data.targets import Assigned

__all__ = ["Streamed", "TableWriter", "edit_block", "edit_stream"]

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


class TableWriter(Protocol):
    """What edited rows go to, such as `fclf.data.formats.parquet_blocks.BlockWriter`."""

    def write(self, table: pa.Table) -> None:
        """Write some rows that follow each other."""
        ...


def edit_stream(
    model: Checkpoint,
    stream: EmbeddingStream,
    writer: TableWriter,
    assign: Mapping[str, Assigned] | None = None,
    flip: Sequence[str] = (),
    *,
    columns: Mapping[str, str] | None = None,
    index: EmbeddingSet | None = None,
    split: str | None = None,
    strength: float = 1.0,
    infer_labels: bool = False,
    device: str | torch.device = "cpu",
    block_rows: int | None = None,
    on_rows: Callable[[int], None] | None = None,
) -> Streamed:
    """`Checkpoint.edit` of a file or shard into another one, a block at a time.

    Rows, their order, all columns and the schema's metadata stay. In Parquet `embedding` becomes a FixedSizeList of
    float32 and attributes int8, as in every file that fclf writes; embeddings of an `.npy` file keep their type, and a
    row that no edit moves its bits. Ends have the same bits as those of all rows edited together.

    Args:
        model: the checkpoint.
        stream: the rows.
        writer: where they go.
        assign: attributes to set, to 0 or 1 in every row.
        flip: attributes to turn over.
        columns: attributes to set, each to what a column of the file says (`fclf.data.targets.column_targets`).
        index: of the stream, with labels joined to it or a split made for it; `stream.index()` if absent.
        split: edit the rows of this split of `index` only.
        strength: scales the flow time.
        infer_labels: fill in missing labels by the checkpoint's classifier.
        device: where to compute.
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
    for block in _chosen(stream.blocks(size, index, tuple(columns.values())), wanted_rows, size, on_rows):
        edited, found = edit_block(model, block, assign, flip, columns, strength, infer_labels, device)
        inferred += found
        arrays = edited.to_arrays()
        if stream.shard.kind == "npy":
            arrays["embeddings"] = _as_stored(edited, block, exactly=not stream.normalize)
        writer.write(replaced(block.table, arrays, stream.shard.address))
        done += len(edited)
    return Streamed(done, inferred)


def edit_block(
    model: Checkpoint,
    block: Block,
    assign: Mapping[str, Assigned] | None = None,
    flip: Sequence[str] = (),
    columns: Mapping[str, str] | None = None,
    strength: float = 1.0,
    infer_labels: bool = False,
    device: str | torch.device = "cpu",
) -> tuple[EmbeddingSet, int]:
    """Edited rows of a block that was read with the targets of `columns`, and how many needed labels."""
    data, inferred = model.infer(block.data) if infer_labels else (block.data, 0)
    by_row = {name: data.extras[column] for name, column in (columns or {}).items()}
    return model.edit(data, {**(assign or {}), **by_row}, flip, strength=strength, device=device), inferred


def _as_stored(edited: EmbeddingSet, block: Block, exactly: bool) -> NDArray[Any]:
    """Ends in the type of the rows, of which those that stay where they were have the very bits."""
    stored = arrays_of(block.table.select(["embedding"]), (), "")["embeddings"]
    ends = edited.embeddings.astype(stored.dtype)
    if exactly:
        still = (edited.embeddings == block.data.embeddings).all(axis=1)
        ends[still] = stored[still]
    return ends


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
