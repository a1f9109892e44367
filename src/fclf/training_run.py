"""One training run of a field on the target: its epochs, what a checkpoint saves of it, and when it stops."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from fclf.checkpoint import Checkpoint
from fclf.config import Config, ModelConfig, TrainingConfig
from fclf.data.embeddings import EmbeddingSet
from fclf.data.shards.index import ShardIndex
from fclf.data.targets import combination_codes, flip_attributes
from fclf.errors import NonFiniteLossError, VerdictError
from fclf.evaluation.calibration import SilhouetteCalibration
from fclf.field import SharedPass, TargetField
from fclf.fitting import EpochCallback
from fclf.flow import step
from fclf.losses.objective import Losses, Objective, Rollout, numbers
from fclf.provenance import Provenance, conditions, going_on_with
from fclf.ranks import ALONE, Ranks
from fclf.run_folder import STARTING, RunFolder, state_after
from fclf.training_rows import Batch, MemoryRows, ShardRows, TrainingRows

__all__ = ["Edit", "Monitor", "TrainingRun"]

Edit = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Of rows, with their own labels and their targets."""
Monitor = Callable[[Edit], Mapping[str, float]]
"""Measures the edits of an epoch."""
ADVICE = (
    "The checkpoints of earlier epochs are kept. Lower the learning rate, for example "
    "--set training.learning_rate=5e-5, or the weight of that term."
)


class TrainingRun:
    """State of one training run: what a checkpoint saves and `restore` brings back."""

    def __init__(
        self,
        config: Config,
        model: ModelConfig,
        seen: Provenance,
        train_rows: EmbeddingSet,
        val_rows: EmbeddingSet,
        folder: RunFolder,
        device: torch.device,
        ranks: Ranks = ALONE,
        shards: ShardIndex | None = None,
    ) -> None:
        self.config, self.seen, self.folder, self.device, self.ranks = config, seen, folder, device, ranks
        held, self.val_rows = (MemoryRows.of(rows, device) for rows in (train_rows, val_rows))
        self.train_rows: TrainingRows = held if shards is None else ShardRows(shards, "train", device)
        settings = config.training
        self.field = TargetField(seen.dim, len(seen.names), hidden_dim=model.hidden_dim, seed=settings.seed).to(device)
        self.objective = Objective(config.loss, held.completed())
        self.optimizer = torch.optim.Adam(self.field.parameters(), lr=settings.learning_rate, fused=True)
        self.generator = torch.Generator().manual_seed(settings.seed)
        self.history: list[dict[str, float]] = []
        silhouette = config.inference.silhouette_by_target
        self.calibration = None if silhouette is None else SilhouetteCalibration(val_rows.fully_labelled(), silhouette)
        self.strength = 1.0
        self.best: tuple[float, ...] = ()
        self.first_loss: float | None = None
        self.made_with: tuple[dict[str, Any], ...] = ({"epoch": 1, **conditions(str(device), ranks.count)},)
        self.seconds = 0.0  # of all parts of a resumed run, up to its last epoch

    def begin(self) -> None:
        """Remove what an earlier run left, and write what is known before the first step."""
        self._record(STARTING)
        self.folder.clear()
        self.folder.write_config(self.config)
        self._record("running")

    def restore(self) -> None:
        """Continue from the latest checkpoint; refuse another configuration or other data."""
        saved = Checkpoint.load(self.folder.latest)
        self.seen.check_same(saved, self.config, self.folder.latest)
        self.seen = self.seen.as_in(saved)
        self.field.load_state_dict(saved.weights)
        self.optimizer.load_state_dict(saved.training_state["optimizer"])
        self.generator.set_state(saved.training_state["generator"])
        self.objective.restore(saved.training_state["objective"])
        self.best = tuple(saved.training_state["best"])
        self.first_loss = saved.training_state["first_loss"]
        self.seconds = saved.training_state["seconds"]
        self.history = list(saved.history)
        if len(self.history) < self.config.training.num_epochs:
            self.made_with = going_on_with(saved, self.made_with[0])

    def fit(self, on_epoch: EpochCallback | None, monitor: Monitor | None, stop_on: Collection[str]) -> Checkpoint:
        """Run the epochs that are left."""
        settings, started = self.config.training, time.perf_counter() - self.seconds
        try:
            for epoch in range(len(self.history) + 1, settings.num_epochs + 1):
                record = {"epoch": float(epoch), **self._train_epoch(epoch), **self._validate()}
                self._check_finite(record["val_loss"], record, epoch)  # before it is saved: the last good one stays
                calibrated = self._calibrate(epoch)
                if monitor is not None and _is_due(epoch, settings.evaluate_every, settings.num_epochs):
                    record |= {f"val_{name}": value for name, value in monitor(self._edit(epoch)).items()}
                record |= calibrated  # last: a monitor may have read the same silhouette from fewer edits
                record = self.ranks.from_first(record)  # who alone has the monitor
                self.history.append(record)
                self.seconds = time.perf_counter() - started
                order = _order(record)
                improved = order > self.best
                self.best = max(self.best, order)
                self.folder.log(self.history)
                keep = epoch % settings.checkpoint_every == 0
                self.folder.save(self._checkpoint(epoch), best=improved, keep=keep)
                if on_epoch is not None:
                    on_epoch(record)
                if "collapse" in stop_on:
                    self._check_verdict(record)
        except BaseException as error:
            with suppress(OSError):  # of a disk that is full, which is the error already
                self._record(state_after(error))
            raise
        finally:
            self.folder.close()
        self._record("finished")
        self.ranks.from_first(None)  # which has written it
        return Checkpoint.load(self.folder.latest)

    def _train_epoch(self, epoch: int) -> dict[str, float]:
        settings = self.config.training
        rate = _cosine(settings, epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.field.train()
        sums: dict[str, float] = {}
        count = 0
        for batch in self.train_rows.batches(settings.batch_size, self.generator, self.ranks):
            count += 1
            rollout = self._rollout(batch, self.generator)
            losses = self.objective(rollout)
            values = losses.values()
            self._check_bounded(values, losses, epoch)
            self.optimizer.zero_grad(set_to_none=True)
            losses.total.backward()  # type: ignore[no-untyped-call]
            self.ranks.sum_(p.grad for p in self.field.parameters() if p.grad is not None)
            norm = nn.utils.clip_grad_norm_(self.field.parameters(), settings.gradient_clip)
            self.optimizer.step()
            movement = torch.linalg.vector_norm(rollout.end.detach() - rollout.start, dim=1).sum() / rollout.rows
            judged = rollout.targets if rollout.complete is None else rollout.targets[rollout.complete]
            prototypes = combination_codes(judged).amax() + 1 if len(judged) else movement.new_zeros(())
            alike = {"gradient_norm": norm / self.ranks.count, "num_prototypes": prototypes / self.ranks.count}
            _add(sums, values | numbers({**alike, "movement": movement}, self.ranks))
        return {name: value / count for name, value in sums.items()} | {"learning_rate": rate}

    def _validate(self) -> dict[str, float]:
        """Mean losses of the val rows, by the same flip rule and with the same flips every epoch."""
        self.field.eval()
        generator = torch.Generator().manual_seed(self.config.training.seed)
        sums: dict[str, float] = {}
        count = 0
        with torch.no_grad():
            for batch in self.val_rows.batches(self.config.training.batch_size, generator, self.ranks):
                count += 1
                _add(sums, self.objective(self._rollout(batch, generator)).values())
        return {f"val_{name}": value / count for name, value in sums.items()}

    def _calibrate(self, epoch: int) -> dict[str, float]:
        """Set the strength of this epoch's checkpoint, where the configuration asks for it."""
        if self.calibration is None:
            return {}
        self.strength = 1.0
        self.strength, found = self.calibration(self._checkpoint(epoch).flow())
        return {"strength": self.strength, "val_silhouette_by_target": found}

    def _rollout(self, batch: Batch, generator: torch.Generator) -> Rollout:
        settings, exclusive = self.config.training, self.val_rows.exclusive
        targets = flip_attributes(
            batch.y,
            generator,
            probability=settings.flip_probability,
            min_flips=settings.min_flips,
            max_flips=settings.max_flips,
            exclusive=exclusive,
        )
        field = SharedPass(self.field, getattr(torch, settings.precision))

        def carry(z: Tensor, targets: Tensor) -> Tensor:
            for _ in range(settings.rollout_steps):
                z = step(field, z, targets, settings.alpha)
            return z

        training, ranks = self.field.training, self.ranks
        return Rollout(batch.z, targets, field, carry, generator, training, batch.complete, exclusive, ranks)

    def _check_bounded(self, values: Mapping[str, float], losses: Losses, epoch: int) -> None:
        """Stop where the loss is not finite or has exploded, and name the term that did it."""
        loss, terms = values["loss"], {name: values[name] for name in losses.terms}
        if not math.isfinite(loss):
            self._check_finite(loss, terms, epoch, f"; largest is {losses.largest()}")
        if self.first_loss is None:
            self.first_loss = abs(loss)
        factor = self.config.training.explosion_factor
        if abs(loss) > factor * max(self.first_loss, 1.0):
            raise NonFiniteLossError(
                f"The loss has exploded to {loss:g} in epoch {epoch}, mostly by {losses.largest()} "
                f"({_listing(terms)}). {ADVICE} Or raise training.explosion_factor ({factor:g})."
            )

    def _check_finite(self, loss: float, terms: Mapping[str, float], epoch: int, largest: str = "") -> None:
        if not math.isfinite(loss):
            raise NonFiniteLossError(
                f"The loss is not a finite number in epoch {epoch} ({_listing(terms)}{largest}). {ADVICE}"
            )

    def _edit(self, epoch: int) -> Edit:
        """The edit of the flow as it is now, by source and target labels."""
        flow = self._checkpoint(epoch).flow()
        return lambda z, source, target: flow.edit(z, flow.condition(z, source, target))

    def _check_verdict(self, record: Mapping[str, float]) -> None:
        """Stop where the edits of the val rows have collapsed."""
        if record.get("val_collapsed"):
            shares = {"of all": "val_spread_kept", "in the worst combination": "val_smallest_variance_ratio"}
            kept = ", ".join(f"{record[name]:.1%} {of}" for of, name in shares.items() if name in record)
            raise VerdictError(
                f"Stopped after epoch {record['epoch']:.0f}: the edits of the val rows have collapsed (variance kept: "
                f"{kept}). The checkpoints in {self.folder.latest.parent} stay; --resume goes on all the same."
            )

    def _checkpoint(self, epoch: int) -> Checkpoint:
        return self.seen.checkpoint(
            self.config,
            weights={name: value.detach().cpu().clone() for name, value in self.field.state_dict().items()},
            epoch=epoch,
            strength=self.strength,
            history=self.history,
            training_state={
                "optimizer": self.optimizer.state_dict(),
                "generator": self.generator.get_state(),
                "objective": self.objective.state(),
                "best": self.best,
                "first_loss": self.first_loss,
                "seconds": self.seconds,
            },
            made_with=self.made_with,
        )

    def _record(self, state: str) -> None:
        device, epochs = str(self.device), len(self.history)
        self.seen.record(self.folder, self.config, state, device, epochs, self.seconds, self.ranks.count)


def _listing(terms: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in terms.items() if name not in ("epoch", "learning_rate"))


def _order(record: Mapping[str, float]) -> tuple[float, ...]:
    """What makes an epoch the best one: verdict and score where they were read, which come before any loss."""
    if "val_score" not in record:
        return (0.0, -record["val_loss"])
    return (1.0, -record["val_collapsed"], record["val_healthy"], record["val_score"])


def _is_due(epoch: int, every: int, last: int) -> bool:
    return every > 0 and (epoch % every == 0 or epoch == last)


def _add(sums: dict[str, float], values: Mapping[str, float]) -> None:
    for name, value in values.items():
        sums[name] = sums.get(name, 0.0) + value


def _cosine(settings: TrainingConfig, epoch: int) -> float:
    """Learning rate of an epoch, counted from 1: cosine annealing from the first to the last."""
    low, high = settings.min_learning_rate, settings.learning_rate
    return low + (high - low) * (1 + math.cos(math.pi * (epoch - 1) / settings.num_epochs)) / 2
