"""What every checkpoint says of the rows that training read, whatever was made of them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fclf import __version__
from fclf.checkpoint import Checkpoint
from fclf.closed.missing import completed
from fclf.closed.probe import FINE_PENALTY, LinearClassifier
from fclf.closed.support import Support
from fclf.config import Config, changes
from fclf.data.embeddings import EmbeddingSet
from fclf.data.shards.index import ShardIndex
from fclf.errors import InputError, ResumeWarning
from fclf.labels import UNKNOWN
from fclf.run_folder import RunFolder
from fclf.warm_start import WarmStart

__all__ = ["Provenance", "conditions", "going_on_with"]


def conditions(device: str, processes: int = 1) -> dict[str, Any]:
    """What the bits of a run depend on besides its data and configuration."""
    return {
        "fclf": __version__,
        "torch": str(torch.__version__),  # a class of its own, which no safe reader knows
        "numpy": np.__version__,
        "device": device,
        "threads": torch.get_num_threads(),
        "processes": processes,
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }


def going_on_with(saved: Checkpoint, now: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    """`Checkpoint.made_with` of a run that goes on under these conditions; `ResumeWarning` where they are others."""
    following = {**now, "epoch": saved.epoch + 1}
    if not saved.made_with:  # written by a version that did not record them
        return (following,)
    before = {**saved.made_with[-1], "epoch": following["epoch"]}
    changed = [
        f"{name} {before.get(name)} -> {value}" for name, value in following.items() if before.get(name) != value
    ]
    if not changed:
        return saved.made_with
    warnings.warn(
        f"The run goes on after epoch {saved.epoch} with {', '.join(changed)}. It fits, but the weights may differ in "
        "their last bits from those of a run that was never interrupted. The checkpoint records both; for one run "
        "under one of them type --overwrite instead of --resume.",
        ResumeWarning,
        stacklevel=2,
    )
    return (*saved.made_with, following)


@dataclass(frozen=True)
class Provenance:
    """The rows that training reads: their names, content and people, a classifier of their labels, their support."""

    names: tuple[str, ...]
    dim: int
    fingerprint: str
    ids: tuple[str, ...]
    digests: tuple[str, ...]
    identities: tuple[int, ...]
    encoder: str | None
    classifier: dict[str, Tensor]
    support: Support | None
    rows: dict[str, int]
    seen_before: tuple[tuple[tuple[str, ...], tuple[int, ...]], ...] = ()
    """As of a checkpoint."""
    warm_start: dict[str, Any] = field(default_factory=dict)
    """As of a checkpoint."""

    @classmethod
    def of(cls, data: EmbeddingSet, train_rows: EmbeddingSet, val_rows: EmbeddingSet) -> Provenance:
        """Read it off the rows, and fit classifier and support on the train rows."""
        both = (train_rows, val_rows)
        (z, y), (val_z, val_y) = ((rows.embeddings, np.asarray(rows.attributes)) for rows in both)
        people = [rows.identities for rows in both if rows.identities is not None]
        classifier = LinearClassifier.fit(z, y, FINE_PENALTY)
        if (val_y == UNKNOWN).any():
            val_y = np.where(val_y == UNKNOWN, classifier.logits(val_z.astype(np.float64)) > 0, val_y).astype(np.int8)
        return cls(
            names=train_rows.attribute_names,
            dim=train_rows.dim,
            fingerprint=data.fingerprint(),
            ids=tuple(i for rows in both if rows.has_ids for i in rows.ids.tolist()),
            digests=tuple(d for rows in both for d in rows.row_digests()),
            identities=tuple(np.unique(np.concatenate(people)).tolist()) if people else (),
            encoder=data.encoder,
            classifier={
                "weights": torch.from_numpy(classifier.weights),
                "offsets": torch.from_numpy(classifier.offsets),
            },
            support=Support.fit(z, completed(z, y), val_z, val_y, train_rows.identities),
            rows={"train": len(train_rows), "val": len(val_rows)},
        )

    def sampled_from(self, shards: ShardIndex) -> Provenance:
        """The same where the rows are a sample of shards, all of whose train rows may be read.

        Ids and digests stay those of the sample. Rows of another split of the same shards, of which a share was
        trained on, are found by it all the same: of m such rows, m times the sample's share of the shards' rows.
        """
        counts = {split: int(shards.usable(split).sum()) for split in self.rows}
        return replace(
            self,
            fingerprint=f"{shards.fingerprint}-{self.fingerprint}",
            rows=counts | {f"{split}_sample": count for split, count in self.rows.items()},
        )

    def after(self, start: WarmStart, data: EmbeddingSet, taken: str) -> Provenance:
        """The same after a warm start: rows and people that the earlier run has read count as read.

        People are compared by number, so those of the two are put together only where `data` holds rows that the
        earlier run has read; a file of its own numbers stays by itself.
        """
        earlier, here = start.earlier, set(data.row_digests())
        before, people = [], set(self.identities)
        for digests, numbers in earlier.people_seen():
            if here.isdisjoint(digests):
                before.append((tuple(sorted(digests)), numbers))
            else:
                people |= set(numbers)
        return replace(
            self,
            ids=tuple(dict.fromkeys((*self.ids, *earlier.seen_ids))),
            digests=tuple(dict.fromkeys((*self.digests, *earlier.seen_digests))),
            identities=tuple(sorted(people)),
            seen_before=tuple(before),
            warm_start=start.record(taken),
        )

    def as_in(self, saved: Checkpoint) -> Provenance:
        """The same with what a checkpoint of this run says of an earlier one that it began from."""
        return replace(
            self,
            ids=saved.seen_ids,
            digests=saved.seen_digests,
            identities=saved.seen_identities,
            seen_before=saved.seen_before,
            warm_start=saved.warm_start,
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
            seen_before=self.seen_before,
            warm_start=self.warm_start,
            encoder=self.encoder,
            classifier=self.classifier,
            support=self.support,
            **what,
        )

    def record(
        self,
        folder: RunFolder,
        config: Config,
        state: str,
        device: str,
        epochs: int,
        seconds: float,
        processes: int = 1,
    ) -> None:
        """Write `run.json`."""
        folder.write_run(
            {
                "state": state,
                "seed": config.training.seed,
                "attributes": list(self.names),
                "rows": self.rows,
                "data_fingerprint": self.fingerprint,
                **({"warm_start": self.warm_start} if self.warm_start else {}),
                "epochs": epochs,
                "seconds": round(seconds, 3),
                **conditions(device, processes),
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
