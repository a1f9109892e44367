"""Checkpoints: written whole, loaded without executing anything, and clear about where they come from."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fclf.config import Config, parse_config
from fclf.data.embeddings import EmbeddingSet, attribute_positions
from fclf.data.formats.tensors import load_plain
from fclf.data.targets import edit_targets
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
    seen_identities: tuple[int, ...] = ()
    """Who is shown in them, in the numbers of that file."""
    strength: float = 1.0
    """Factor on the flow time, calibrated on the val rows where `inference.silhouette_by_target` asks for it."""
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
        return Flow(model, inference.num_flow_steps, inference.step_size * self.strength, inference.method)

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
        """How many of `rows` training has read, by id where both name ids or by content, whichever finds more."""
        by_content = len(set(rows.row_digests()) & set(self.seen_digests))
        by_id = len(set(rows.ids.tolist()) & set(self.seen_ids)) if rows.has_ids else 0
        return max(by_content, by_id)

    def shared_people(self, rows: EmbeddingSet, everything: EmbeddingSet) -> int:
        """How many of `rows` show somebody whom training has seen.

        Two files may number their people differently, so numbers are compared only where `everything`, the data that
        the rows come from, holds rows that training has read.
        """
        if rows.identities is None or not self.seen_identities or not self.shared_rows(everything):
            return 0
        return int(np.isin(rows.identities, self.seen_identities).sum())

    def edit(
        self,
        data: EmbeddingSet,
        assign: Mapping[str, int] | None = None,
        flip: Sequence[str] = (),
        *,
        strength: float = 1.0,
        device: str | torch.device = "cpu",
    ) -> EmbeddingSet:
        """Carry every embedding to where the target attributes live; rows, order and other columns stay.

        Args:
            data: embeddings; the target is each row's own labels with some changed, so rows need labels unless
                `assign` names every attribute of the model.
            assign: attributes to set, to 0 or 1.
            flip: attributes to turn over.
            strength: scales the flow time; 0 leaves every embedding as it is.
            device: where to compute.

        Raises:
            InputError: for unknown or contradictory attributes, missing labels, another width.
        """
        assign = dict(assign or {})
        if not 0 <= strength < math.inf:
            raise InputError(f"The strength of an edit must be a number of 0 or more, but {strength} came.")
        self.check_width(data)
        targets = edit_targets(data, self.attribute_names, assign, flip)
        z = torch.from_numpy(data.embeddings).to(device)
        y = torch.from_numpy(targets).to(device, torch.float32)
        ends = self.flow(device).edit(z, y, strength).cpu().numpy()
        lost = ~(np.abs(np.linalg.norm(ends, axis=1) - 1) < 1e-3)  # negated, so that NaN counts as lost
        if lost.any():
            raise InputError(
                f"{int(lost.sum())} of {len(ends)} edits end outside the unit sphere: a strength of {strength:g} is "
                "too much for this flow. Lower --strength."
            )
        if data.attributes is None:
            return replace(data, embeddings=ends, attributes=targets, attribute_names=self.attribute_names)
        missing = [k for k, name in enumerate(self.attribute_names) if name not in data.attribute_names]
        labels = np.concatenate([data.attributes, targets[:, missing]], axis=1)
        names = (*data.attribute_names, *(self.attribute_names[k] for k in missing))
        labels[:, attribute_positions(self.attribute_names, names)] = targets
        return replace(data, embeddings=ends, attributes=labels, attribute_names=names)

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
            "seen_identities": list(self.seen_identities),
            "strength": self.strength,
            "history": self.history,
            "training_state": self.training_state,
        }
        buffer = io.BytesIO()  # torch reports a full disk as an error of its own; written here, it is an OSError
        torch.save(content, buffer)
        with atomic_write(path) as file:
            file.write(buffer.getbuffer())

    @classmethod
    def load(cls, path: str | Path) -> Checkpoint:
        """Read a checkpoint file, or the best one of a run folder; nothing in it is executed.

        Raises:
            InputError: if there is none, or it is damaged or not one of fclf's.
        """
        path = _find(Path(path))
        try:
            content = load_plain(path)
        except InputError:
            raise
        except Exception as error:  # a damaged or foreign file can raise nearly anything
            raise InputError(
                f"{path} is not a checkpoint that can be loaded safely ({type(error).__name__}): it is damaged, or "
                "holds more than tensors and plain values. Train again, or name another file."
            ) from error
        found = content.get("format") if isinstance(content, dict) else None
        if not isinstance(found, int) or found != FORMAT:
            came = found if isinstance(found, int) else "none"
            raise InputError(f"{path} is not a checkpoint of this version of fclf (format {came}, expected {FORMAT}).")
        try:
            checkpoint = cls(
                config=parse_config(content["config"], str(path)),
                attribute_names=tuple(content["attribute_names"]),
                dim=content["dim"],
                weights=content["weights"],
                epoch=content["epoch"],
                data_fingerprint=content["data_fingerprint"],
                seen_ids=tuple(content["seen_ids"]),
                seen_digests=tuple(content["seen_digests"]),
                seen_identities=tuple(content["seen_identities"]),
                strength=float(content.get("strength", 1.0)),
                history=list(content["history"]),
                training_state=dict(content["training_state"]),
            )
            checkpoint.flow()  # weights of other names or shapes are found here and not in the middle of an edit
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise InputError(f"{path} has the parts of a checkpoint, but they do not fit together: {error}") from error
        return checkpoint


def _find(path: Path) -> Path:
    if path.is_file():
        return path
    candidates = [folder / f"fclf_{name}.pt" for folder in (path / "checkpoints", path) for name in ("best", "latest")]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise InputError(f"--checkpoint {path}: neither a checkpoint file nor a folder with checkpoints/fclf_best.pt.")
