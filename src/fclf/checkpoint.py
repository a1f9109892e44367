"""Checkpoints: written whole, loaded without executing anything, and clear about where they come from."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fclf.config import Config, parse_config
from fclf.data.embeddings import EmbeddingSet
from fclf.errors import InputError
from fclf.field import TargetField
from fclf.files import atomic_write
from fclf.flow import Flow

__all__ = ["Checkpoint"]

FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """A trained field and what it was trained with."""

    config: Config
    attribute_names: tuple[str, ...]
    dim: int
    weights: dict[str, Tensor]
    epoch: int
    data_fingerprint: str
    seen_ids: tuple[str, ...]
    """Ids of the rows that training has read (train and val); empty where the file named none."""
    seen_digests: tuple[str, ...]
    """`EmbeddingSet.row_digests` of the same rows."""
    history: list[dict[str, float]] = field(default_factory=list)
    """Mean losses of each epoch."""
    training_state: dict[str, Any] = field(default_factory=dict)
    """Optimiser, schedule and random state, to continue from."""

    def flow(self, device: str | torch.device = "cpu") -> Flow:
        """Build the trained field and the flow that follows it."""
        model = TargetField(self.dim, len(self.attribute_names), hidden_dim=self.config.model.hidden_dim)
        model.load_state_dict(self.weights)
        model.to(device).eval().requires_grad_(False)
        inference = self.config.inference
        return Flow(model, inference.num_flow_steps, inference.step_size, inference.method)

    def matching(self, data: EmbeddingSet) -> EmbeddingSet:
        """Choose this model's attributes in `data` by name; `InputError` if the width or a name does not fit."""
        self.check_width(data)
        return data.select(self.attribute_names)

    def check_width(self, data: EmbeddingSet) -> None:
        """Refuse embeddings of another width."""
        if data.dim != self.dim:
            raise InputError(
                f"The checkpoint was trained on embeddings of width {self.dim}, but these have width {data.dim}. "
                "Use embeddings of the encoder it was trained with."
            )

    def shared_rows(self, rows: EmbeddingSet) -> int:
        """How many of `rows` training has read: by id where both name ids, by content otherwise."""
        if rows.has_ids and self.seen_ids:
            return len(set(rows.ids.tolist()) & set(self.seen_ids))
        return len(set(rows.row_digests()) & set(self.seen_digests))

    def save(self, path: Path) -> None:
        """Write the checkpoint; the file is whole or absent."""
        content = {
            "format": FORMAT,
            "config": self.config.model_dump(mode="json"),
            "attribute_names": list(self.attribute_names),
            "dim": self.dim,
            "weights": self.weights,
            "epoch": self.epoch,
            "data_fingerprint": self.data_fingerprint,
            "seen_ids": list(self.seen_ids),
            "seen_digests": list(self.seen_digests),
            "history": self.history,
            "training_state": self.training_state,
        }
        with atomic_write(path) as file:
            torch.save(content, file)

    @classmethod
    def load(cls, path: str | Path) -> Checkpoint:
        """Read a checkpoint file, or the best one of a run folder; nothing in it is executed.

        Raises:
            InputError: if there is none, or it is damaged or not one of fclf's.
        """
        path = _find(Path(path))
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError, zipfile.BadZipFile) as e:
            raise InputError(
                f"{path} is not a checkpoint that can be loaded safely ({type(e).__name__}): it is damaged, or holds "
                "more than tensors and plain values. Train again, or name another file."
            ) from e
        if not isinstance(content, Mapping) or content.get("format") != FORMAT:
            came = content.get("format", "none") if isinstance(content, Mapping) else type(content).__name__
            raise InputError(f"{path} is not a checkpoint of this version of fclf (format {came}, expected {FORMAT}).")
        return cls(
            config=parse_config(content["config"], str(path)),
            attribute_names=tuple(content["attribute_names"]),
            dim=content["dim"],
            weights=content["weights"],
            epoch=content["epoch"],
            data_fingerprint=content["data_fingerprint"],
            seen_ids=tuple(content["seen_ids"]),
            seen_digests=tuple(content["seen_digests"]),
            history=content["history"],
            training_state=content["training_state"],
        )


def _find(path: Path) -> Path:
    if path.is_file():
        return path
    candidates = [folder / f"fclf_{name}.pt" for folder in (path / "checkpoints", path) for name in ("best", "latest")]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise InputError(f"--checkpoint {path}: neither a checkpoint file nor a folder with checkpoints/fclf_best.pt.")
