"""What is done to every shard, and the one who does it."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fclf import __version__
from fclf.checkpoint import Checkpoint
from fclf.data.checks import LabelCoding
from fclf.data.embeddings import EmbeddingSet
from fclf.data.shards.folder import Shard
from fclf.data.shards.output import OutputError, OutputFolder, Written, write_shard
from fclf.data.splits import SPLITS
from fclf.data.stream import EmbeddingStream
from fclf.data.targets import Assigned, edit_targets
from fclf.errors import EncoderWarning, InputError
from fclf.files import digest
from fclf.scale.manifest import Manifest, Record, fingerprint
from fclf.streaming import edit_block, edit_stream
from fclf.threads import use_threads

__all__ = ["BulkEdit", "OnRows", "ShardEditor", "quarantined", "reason"]

OnRows = Callable[[int], None]
"""Told how many rows of a shard are done."""

TRIED = 64
"""Rows of a shard that are edited for nothing but to see whether it can be done."""


@dataclass(frozen=True)
class BulkEdit:
    """A model and what is asked of it; what a worker is sent."""

    model: bytes
    """As `torch.save` writes it, without what only training and evaluation read."""
    model_fingerprint: str
    assign: Mapping[str, int]
    columns: Mapping[str, str]
    flip: tuple[str, ...]
    split: str | None = None
    strength: float = 1.0
    infer_labels: bool = False
    labels: LabelCoding = "binary"
    normalize: bool = False
    threads: int = 1

    @classmethod
    def of(cls, model: Checkpoint, assign: Mapping[str, int], columns: Mapping[str, str], **options: Any) -> BulkEdit:
        """Check what can be checked without a row.

        Raises:
            InputError: for unknown or contradictory attributes, nothing to do, or no such split.
        """
        edit = cls(_content(model), _fingerprint(model), dict(assign), dict(columns), **options)
        nobody = np.empty((0, len(model.attribute_names)), np.int8)
        wanted: dict[str, Assigned] = {**assign, **{name: np.empty(0, np.int8) for name in columns}}
        edit_targets(nobody, model.attribute_names, wanted, edit.flip, model.exclusive)
        if edit.split is not None and edit.split not in SPLITS:
            raise InputError(f"There is no split '{edit.split}'; type one of {', '.join(SPLITS)}.")
        return edit

    @property
    def run(self) -> dict[str, Any]:
        """What the bits of the outputs depend on besides the inputs."""
        options = {
            "set": {**self.assign, **{name: f"@{column}" for name, column in self.columns.items()}},
            "flip": sorted(self.flip),
            "strength": self.strength,
            "split": self.split,
            "infer_labels": self.infer_labels,
            "labels": self.labels,
            "normalize": self.normalize,
        }
        return {"model": self.model_fingerprint, "options": options, "fclf": __version__}

    def load(self) -> Checkpoint:
        """The model."""
        content = torch.load(io.BytesIO(self.model), map_location="cpu", weights_only=True)
        return Checkpoint.from_content(content, Path("the model"))


def _content(model: Checkpoint) -> bytes:
    """A checkpoint of what an edit reads, without the rows that training has read."""
    bare = replace(
        model,
        seen_ids=(),
        seen_digests=(),
        seen_identities=(),
        seen_before=(),
        warm_start={},
        support=None,
        choice={},
        history=[],
        training_state={},
    )
    buffer = io.BytesIO()
    torch.save(bare.content(), buffer)
    return buffer.getvalue()


def _fingerprint(model: Checkpoint) -> str:
    """SHA-256 over what an edit reads: the same however often and wherever the same weights are saved."""
    config = model.config.model_dump(mode="json")
    said = [config["model"], config["inference"], config["data"]["exclusive"]]
    text = json.dumps([said, model.attribute_names, model.dim, model.strength, model.encoder], sort_keys=True)
    parts = [text.encode()]
    for kind, tensors in (("weights", model.weights), ("classifier", model.classifier)):
        for name, tensor in sorted(tensors.items()):
            array = tensor.detach().cpu().contiguous().numpy()
            parts += [f"{kind} {name} {array.dtype.str} {array.shape}".encode(), array.tobytes()]
    return digest(*parts)


class ShardEditor:
    """Edits one shard after the other with a model that it loads once.

    Args:
        edit: model and options.
        output: address of the folder.
        device: where to compute.
    """

    def __init__(self, edit: BulkEdit, output: str, device: str = "cpu") -> None:
        use_threads(edit.threads)
        self._edit, self._device = edit, device
        self._manifest = Manifest(OutputFolder(output))
        self._model = edit.load()

    def __call__(self, shard: Shard, on_rows: OnRows | None = None) -> Record:
        """Edit a shard and say so in the manifest; one that cannot be edited has an `error` and is not in it yet.

        Raises:
            OutputError: if something cannot be written, which is not the shard's fault.
        """
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always", EncoderWarning)
            try:
                record = self._record(shard, on_rows)
            except OutputError:
                raise
            except Exception as error:  # whatever a file does to a reader is the end of this shard only
                record = quarantined(shard, reason(error))
        texts = dict.fromkeys(str(one.message) for one in said if issubclass(one.category, EncoderWarning))
        record = replace(record, warnings=tuple(texts))
        if not record.error:
            self._manifest.write(shard, record)
        return record

    def _record(self, shard: Shard, on_rows: OnRows | None) -> Record:
        edit, total, before = self._edit, *fingerprint(shard.files)
        with self._stream(shard) as stream:
            index = stream.index(split=edit.split is not None)
            rows = stream.rows if edit.split is None else int((np.asarray(index.split) == edit.split).sum())
            inferred, outputs = 0, tuple[Written, ...]()
            if rows:
                with write_shard(self._manifest.folder, shard, rows) as writer:
                    inferred = edit_stream(
                        self._model,
                        stream,
                        writer,
                        edit.assign,
                        edit.flip,
                        columns=edit.columns,
                        index=index,
                        split=edit.split,
                        strength=edit.strength,
                        infer_labels=edit.infer_labels,
                        device=self._device,
                        on_rows=on_rows,
                    ).inferred
                    if fingerprint(shard.files)[1] != before:
                        raise InputError(f"Shard: {shard.address} was changed while it was read.")
                outputs = writer.written
        return Record(
            shard=shard.name,
            files=shard.files,
            size=total,
            fingerprint=before,
            rows=rows,
            inferred=inferred,
            outputs=outputs,
            model=edit.model_fingerprint,
            made_by={"fclf": __version__, "torch": torch.__version__, "device": self._device},
        )

    def try_rows(self, shard: Shard) -> None:
        """Edit the first rows of a shard and forget them.

        Raises:
            InputError: if the shard cannot be edited in this way.
        """
        edit = self._edit
        with self._stream(shard) as stream:
            bare = EmbeddingSet(np.empty((stream.rows, 0), np.float32), has_ids=False)
            if not stream.rows:
                return
            block = next(stream.blocks(TRIED, bare, tuple(edit.columns.values())))
            if edit.split is not None:
                block = block.take(np.asarray(block.table["split"]) == edit.split)
            if len(block.data):
                edit_block(self._model, block, edit.assign, edit.flip, edit.columns, edit.strength, edit.infer_labels)

    def _stream(self, shard: Shard) -> EmbeddingStream:
        edit = self._edit
        names = self._model.attribute_names
        stream = EmbeddingStream(shard, labels=edit.labels, normalize=edit.normalize, names=names)
        if edit.split is not None and not stream.has_split:
            stream.__exit__(None, None, None)
            raise InputError(
                f"--split {edit.split}: {shard.address} has no column `split`, and shards are not split by themselves. "
                "Leave out --split, or give every row its split."
            )
        return stream


def quarantined(shard: Shard, error: str) -> Record:
    """The record of a shard that could not be edited."""
    return Record(shard.name, shard.files, error=" ".join(error.split()))


def reason(error: Exception) -> str:
    """What is said of a shard that raised an error."""
    return str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
