"""What every checkpoint says of the rows that training read, whatever was made of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fclf.checkpoint import Checkpoint
from fclf.closed.probe import FINE_PENALTY, LinearClassifier
from fclf.closed.support import Support
from fclf.config import Config, changes
from fclf.data.embeddings import EmbeddingSet
from fclf.errors import InputError
from fclf.run_folder import RunFolder

__all__ = ["Provenance"]


@dataclass(frozen=True)
class Provenance:
    """The rows that training reads: their names, content and people, a classifier of their labels, their support."""

    names: tuple[str, ...]
    dim: int
    fingerprint: str
    ids: tuple[str, ...]
    digests: tuple[str, ...]
    identities: tuple[int, ...]
    classifier: dict[str, Tensor]
    support: Support | None
    rows: dict[str, int]

    @classmethod
    def of(cls, data: EmbeddingSet, train_rows: EmbeddingSet, val_rows: EmbeddingSet) -> Provenance:
        """Read it off the rows, and fit classifier and support on the train rows."""
        both = (train_rows, val_rows)
        (z, y), (val_z, val_y) = ((rows.embeddings, np.asarray(rows.attributes)) for rows in both)
        people = [rows.identities for rows in both if rows.identities is not None]
        classifier = LinearClassifier.fit(z, y, FINE_PENALTY)
        return cls(
            names=train_rows.attribute_names,
            dim=train_rows.dim,
            fingerprint=data.fingerprint(),
            ids=tuple(i for rows in both if rows.has_ids for i in rows.ids.tolist()),
            digests=tuple(d for rows in both for d in rows.row_digests()),
            identities=tuple(np.unique(np.concatenate(people)).tolist()) if people else (),
            classifier={
                "weights": torch.from_numpy(classifier.weights),
                "offsets": torch.from_numpy(classifier.offsets),
            },
            support=Support.fit(z, y, val_z, val_y, train_rows.identities),
            rows={"train": len(train_rows), "val": len(val_rows)},
        )

    def checkpoint(self, config: Config, **what: Any) -> Checkpoint:
        """A checkpoint of what was learned from these rows."""
        return Checkpoint(
            config=config,
            attribute_names=self.names,
            dim=self.dim,
            data_fingerprint=self.fingerprint,
            seen_ids=self.ids,
            seen_digests=self.digests,
            seen_identities=self.identities,
            classifier=self.classifier,
            support=self.support,
            **what,
        )

    def record(self, folder: RunFolder, config: Config, state: str, device: str, epochs: int, seconds: float) -> None:
        """Write `run.json`."""
        folder.write_run(
            {
                "state": state,
                "device": device,
                "seed": config.training.seed,
                "attributes": list(self.names),
                "rows": self.rows,
                "data_fingerprint": self.fingerprint,
                "epochs": epochs,
                "seconds": round(seconds, 3),
            }
        )

    def check_same(self, saved: Checkpoint, config: Config, path: Path) -> None:
        """Refuse to continue a run of another configuration or of other data."""
        if saved.config != config:
            listed = ", ".join(f"{key} {old} -> {new}" for key, old, new in changes(saved.config, config))
            raise InputError(
                f"--resume: {path} was trained with another configuration ({listed}). "
                "Resume with the same settings, or start anew with --overwrite."
            )
        if saved.data_fingerprint != self.fingerprint:
            raise InputError(f"--resume: {path} was trained on other data. Name the same file, or use --overwrite.")
