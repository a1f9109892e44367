"""The only training loop, of the reference's field; a field on the change is fitted in `fclf.fitting`."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fclf.checkpoint import Checkpoint
from fclf.config import ChangeModelConfig, Config, ModelConfig, TrainingConfig
from fclf.data.embeddings import EmbeddingSet
from fclf.data.shards.index import ShardIndex
from fclf.data.targets import combination_codes, flip_attributes
from fclf.errors import InputError, NonFiniteLossError, VerdictError
from fclf.evaluation.calibration import SilhouetteCalibration
from fclf.field import SharedPass, TargetField
from fclf.fitting import EpochCallback, fit_edit
from fclf.flow import step
from fclf.labels import UNKNOWN
from fclf.losses.objective import Losses, Objective, Rollout, numbers
from fclf.provenance import Provenance, conditions, going_on_with
from fclf.ranks import ALONE, Ranks
from fclf.run_folder import STARTING, RunFolder, state_after
from fclf.training_rows import Batch, MemoryRows, ShardRows, TrainingRows
from fclf.warm_start import WarmStart

__all__ = ["EpochCallback", "train"]

Edit = Callable[[Tensor, Tensor, Tensor], Tensor]
Monitor = Callable[[Edit], Mapping[str, float]]
MonitorOf = Callable[[EmbeddingSet, EmbeddingSet], Monitor]

SAMPLE = {"train": 100_000, "val": 20_000}
"""Labelled rows of shards that are held in memory: closed forms (which take 40,000), the classifier and prototypes of
real rows are fitted on the first, and everything is validated on the second."""


def train(
    data: EmbeddingSet | ShardIndex,
    config: Config,
    output_dir: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    device: str = "auto",
    on_epoch: EpochCallback | None = None,
    monitor: MonitorOf | None = None,
    stop_on: Collection[str] = (),
    warm_start: Checkpoint | None = None,
) -> Checkpoint:
    """Train a field on the `train` rows, choose on the `val` rows, and write a run folder.

    A field on the change needs no epochs: closed forms are fitted, the best of them on the val rows is its start, and a
    residual is trained and used where the val rows say that it is better than its start.

    The folder holds `checkpoints/fclf_latest.pt`, `fclf_best.pt` and `fclf_epoch_N.pt`,
    `logs` (JSON lines, and TensorBoard where it is installed), `config.yaml` and `run.json`. Judge and test rows are
    never read. The same data, configuration and thread count give the same weights bit for bit on a CPU.

    Args:
        data: with attributes and a split; `config.data.attributes` chooses among the attributes. Of shards a field on
            the target is trained on all train rows, read while it is trained; whatever else is fitted or measured is
            on a sample of `SAMPLE` rows in which every combination has its share.
        config: what to do.
        output_dir: the run folder.
        resume: continue from `fclf_latest.pt` to the weights of a run that was never interrupted.
        overwrite: remove an earlier run from the folder first.
        device: `auto` (a GPU if there is one), `cpu`, `cuda`, ...
        on_epoch: called with the epoch's number and losses.
        monitor: made from the train and val rows, such as `fclf.evaluation.monitor.SpreadMonitor`; it measures the
            edits every `training.evaluate_every` epochs, and its values join the history as `val_...`. Where it gives
            a `score`, `fclf_best.pt` is the epoch that has not `collapsed`, is `healthy` and has the highest score, in
            this order; elsewhere the one with the lowest validation loss.
        stop_on: `collapse` to stop at the first epoch that the monitor calls collapsed.
        warm_start: begin from this checkpoint (`fclf.warm_start`): a field on the target from its weights, attributes
            matched by name; a field on the change with the closed form that it chose, fitted anew. Rows that it has
            read count as read by this run.

    Raises:
        InputError: for data, a configuration or a folder that does not fit.
        NonFiniteLossError: if the loss stops being a number; the checkpoints of earlier epochs stay.
        VerdictError: if training is stopped by `stop_on`; all checkpoints stay.
    """
    if Ranks.restarted():  # go on from the last checkpoint, whatever was typed the first time
        resume, overwrite, warm_start = RunFolder(output_dir).begun, False, None
    if resume and warm_start is not None:
        raise InputError(
            "--resume and --warm-start contradict each other: a resumed run goes on from its own checkpoint. Leave out "
            "--warm-start to go on, or type --overwrite instead of --resume to begin again."
        )
    if stop_on and isinstance(config.model, ChangeModelConfig):
        raise InputError("--stop-on: a field on the change has no epochs to stop at. Leave the option out.")
    if stop_on and (monitor is None or not config.training.evaluate_every):
        raise InputError("--stop-on needs evaluations: --set training.evaluate_every=1 makes one after every epoch.")
    if config.data.attributes is not None:
        data = data.select(config.data.attributes)
    shards = data if isinstance(data, ShardIndex) else None
    if isinstance(data, ShardIndex):
        data = data.sample(SAMPLE, config.data.split_seed)
    data = data.with_exclusive((group.attributes, group.always) for group in config.data.exclusive)
    settled = tuple(
        group.model_copy(update={"always": found.always})
        for group, found in zip(config.data.exclusive, data.exclusive, strict=True)
    )
    learned = config.data.model_copy(update={"attributes": data.attribute_names, "exclusive": settled})
    config = config.model_copy(update={"data": learned})
    if config.model.embedding_dim not in (None, data.dim):
        raise InputError(
            f"model.embedding_dim is {config.model.embedding_dim}, but the embeddings have width {data.dim}. Leave the "
            "setting out, as the width is taken from the data, or name the embeddings it was written for."
        )
    data.check_real()
    data = data.with_split(config.data.split_seed)
    train_rows, val_rows = data.part("train").labelled(), data.part("val").labelled()
    _check_labels(train_rows)
    place = _device(device)
    ranks = Ranks.join(place)
    folder = RunFolder(output_dir, writes=ranks.first)
    if resume:
        folder.check_begun()
    with folder.held():
        going_on = resume and folder.resumable
        if resume and not going_on:
            folder.check_cold()
        elif not overwrite and not resume:
            folder.check_free()
        start = None if warm_start is None else WarmStart(warm_start, data.attribute_names, data.dim)
        seen = Provenance.of(data, train_rows, val_rows)
        if shards is not None:
            seen = seen.sampled_from(shards)
        if isinstance(config.model, ChangeModelConfig):
            if going_on:  # it is fitted in one go, so what is there is finished
                saved = Checkpoint.load(folder.latest)
                seen.check_same(saved, config, folder.latest)
                if not folder.finished:  # it was killed when it had saved it, and was about to say so
                    folder.finish()
                return saved
            taken = None
            if start is not None:
                taken = start.choice(config.model)
                seen = seen.after(start, data, f"the choice of a closed form ({taken.start}); fitted anew")
            if ranks.first:
                fit_edit(config, config.model, seen, train_rows, val_rows, folder, on_epoch, taken)
            ranks.from_first(None)  # the others wait: a closed form is fitted by one
            return Checkpoint.load(folder.latest)
        run = _Run(config, config.model, seen, train_rows, val_rows, folder, place, ranks, shards)
        if start is not None:
            run.field.load_state_dict(start.weights(run.field, config.model))
            run.seen = seen.after(start, data, "weights")
        if going_on:
            run.restore()
        else:
            run.begin()
        watch = None
        if monitor is not None and config.training.evaluate_every and ranks.first:
            watch = monitor(train_rows.fully_labelled(), val_rows.fully_labelled())
        return run.fit(on_epoch, watch, stop_on)


class _Run:
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


ADVICE = (
    "The checkpoints of earlier epochs are kept. Lower the learning rate, for example "
    "--set training.learning_rate=5e-5, or the weight of that term."
)


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


def _device(name: str) -> torch.device:
    if name == "auto":
        local = os.environ.get("LOCAL_RANK", "0")  # of several processes on a machine each has a GPU of its own
        return torch.device(f"cuda:{local}" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type not in ("cpu", "cuda", "mps", "xpu"):
            raise RuntimeError(f"'{device.type}' cannot train.")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"--device {name} cannot be used here: {str(error).splitlines()[0]} Type --device cpu."
        ) from None
    return device


def _check_labels(rows: EmbeddingSet) -> None:
    """An attribute that never varies has no effect to learn, and neither have embeddings that never vary."""
    if not np.ptp(rows.embeddings, axis=0).any():
        raise InputError(f"All {len(rows)} train rows are the same embedding; check how the file was made.")
    constant = []
    for name in rows.constant_attributes():
        known = np.asarray(rows.attributes)[:, rows.attribute_names.index(name)]
        known = known[known != UNKNOWN]
        constant.append(f"'{name}' is {known[0]} in all {len(known)}" if len(known) else f"'{name}' is unknown in all")
    if constant:
        raise InputError(
            f"Attributes that do not vary in the train rows cannot be learned: {', '.join(constant)}. "
            "Leave them out with --attributes."
        )
