"""Running out of memory: how it is told from other errors, and what to lower."""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["first_line", "ran_out_of_memory", "what_to_lower"]

SAYINGS = ("can't allocate memory", "not enough memory", "out of memory", "failed to allocate memory", "alloc_failed")
"""Of torch (on a CPU), CUDA and onnxruntime, which have no class for it, or had none."""
LOWER = {
    "train": "Lower training.batch_size (--set training.batch_size=64) or model.hidden_dim, and type --overwrite, as "
    "another configuration is another run. Rows that do not fit in memory are read from shards while they are trained "
    "on: name a folder of .npz or .parquet files. On a full GPU, --device cpu.",
    "embed": "Lower --batch-size, and type --overwrite.",
    "edit": "Name .parquet files for --embeddings and --output, which are edited a block at a time.",
    "decoder": "Train on fewer images, or with --size 64.",
    "serve": "Lower --workers.",
}
OTHERWISE = "Give fewer rows, or use a machine with more memory."
THREADS = " Fewer --threads need less, too."


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether an error is one of memory, of Python, numpy, Arrow (`MemoryError`), torch, CUDA or onnxruntime."""
    torch = sys.modules.get("torch")
    if isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError)):
        return True
    return any(saying in str(error).lower() for saying in SAYINGS)


def first_line(error: BaseException) -> str:
    """What it says, without torch's trace; its class where it says nothing."""
    text = str(error).strip()
    return text.splitlines()[0].rstrip(".") if text else type(error).__name__


def what_to_lower(arguments: Sequence[str]) -> str:
    """For the command that was typed."""
    return LOWER.get(arguments[0] if arguments else "", OTHERWISE) + (THREADS if "--threads" in arguments else "")
