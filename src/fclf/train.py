"""`train`: checks what came, and hands a field on the target to `TrainingRun`, one on the change to `fit_edit`."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
import torch

from fclf.checkpoint import Checkpoint
from fclf.config import ChangeModelConfig, Config
from fclf.data.embeddings import EmbeddingSet
from fclf.data.shards.index import ShardIndex
from fclf.errors import InputError
from fclf.fitting import EpochCallback, fit_edit
from fclf.labels import UNKNOWN
from fclf.provenance import Provenance
from fclf.ranks import Ranks
from fclf.run_folder import RunFolder
from fclf.training_run import Monitor, TrainingRun
from fclf.warm_start import WarmStart

__all__ = ["EpochCallback", "train"]

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
    if not isinstance(config.model, ChangeModelConfig):  # which one process fits, and the others wait
        _check_shares(ranks.count, len(train_rows), len(val_rows), config.training.batch_size)
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
        run = TrainingRun(config, config.model, seen, train_rows, val_rows, folder, place, ranks, shards)
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


def _check_shares(count: int, train: int, val: int, batch: int) -> None:
    """Every process has a row of every batch at least: one without has no loss, and leaves the others waiting."""
    most = min(train, val, batch)
    if count > most:
        raise InputError(
            f"{count} processes came for {train} train rows and {val} val rows in batches of {batch}, but each needs a "
            f"row of every batch. Start at most {most}: torchrun --nproc_per_node={most}, or fewer nodes."
        )


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
