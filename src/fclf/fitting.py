"""Fitting a field on the change: a closed form, chosen on the val rows, and what is learned on top of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from fclf.checkpoint import Checkpoint
from fclf.closed.candidates import LEARNED, STARTS, closed_forms
from fclf.closed.linear import ClosedForm
from fclf.closed.probe import some_people
from fclf.config import ChangeModelConfig, Config
from fclf.data.embeddings import EmbeddingSet
from fclf.evaluation.selection import Choice, arrays, choose
from fclf.field import ChangeField, ChangeResidual
from fclf.provenance import Provenance, conditions
from fclf.residual import edits_of, learn_residual
from fclf.run_folder import STARTING, RunFolder, state_after
from fclf.warm_start import TakenChoice
from fclf.weights import change_weights

__all__ = ["EpochCallback", "fit_edit"]

MAX_ROWS = 40_000
"""Train rows that the chosen form is fitted on: success and kept have stopped rising by half of them; the gap closed
still rises slowly (.54 to .56 from 20,000 on generated rows, docs/log.md)."""

EpochCallback = Callable[[Mapping[str, float]], None]
"""Told of every epoch: its number and losses."""


def fit_edit(
    config: Config,
    model: ChangeModelConfig,
    seen: Provenance,
    train_rows: EmbeddingSet,
    val_rows: EmbeddingSet,
    folder: RunFolder,
    on_epoch: EpochCallback | None,
    taken: TakenChoice | None = None,
) -> Checkpoint:
    """Choose a closed form and what is learned on top of it, fit both on the train rows, and save them.

    Nothing is chosen where `taken` says what an earlier run chose.
    """
    started, seed = time.perf_counter(), config.training.seed
    seen.record(folder, config, STARTING, "cpu", 0, 0.0)
    folder.clear()  # what an earlier run left, or this one when it was stopped
    folder.write_config(config)
    seen.record(folder, config, "running", "cpu", 0, 0.0)
    inference = config.inference
    parts = 3 * (model.effect_steps + model.residual_steps)  # of the halves, and of all rows
    if taken is not None:
        parts = model.effect_steps * (taken.start == LEARNED) + model.residual_steps * (taken.amount > 0)
    elif model.start == "learned" and not model.residual_steps:
        parts = model.effect_steps
    done = 0

    def on_step(loss: float) -> None:
        nonlocal done
        done += 1
        if on_epoch is not None:
            on_epoch({"epoch": config.training.num_epochs * done / parts, "loss": loss})

    def residual_of(start: ClosedForm, rows: EmbeddingSet) -> ChangeResidual:
        z, y, _ = arrays(rows)
        return learn_residual(start, z, y, model, seed=seed, on_step=on_step)

    def learn(start: ClosedForm, rows: EmbeddingSet) -> Callable[[float], ClosedForm]:
        residual = residual_of(start, rows)
        return lambda amount: edits_of(ChangeField(start, residual, amount), inference)

    start, amount, chosen = STARTS.get(model.start), 0.0, {}
    try:
        if taken is not None:
            start, amount = taken.start, taken.amount
            chosen = Choice(chosen=start, start=start, amount=amount, reason=taken.reason, keep=model.keep).model_dump(
                mode="json"
            )
        elif start is None or model.residual_steps or (model.effect_steps and start != LEARNED):
            learning = learn if model.residual_steps else None
            choice = choose(
                train_rows,
                val_rows,
                keep=model.keep,
                seed=seed,
                start=start,
                learn=learning,
                effect_steps=model.effect_steps,
                on_step=on_step,
            )
            start, amount, chosen = choice.start, choice.amount, choice.model_dump(mode="json")
        fitted = train_rows.take(some_people(len(train_rows), train_rows.identities, MAX_ROWS, seed))
        (form,) = closed_forms(
            *arrays(fitted),
            keep=model.keep,
            seed=seed,
            names={start},
            learn_steps=model.effect_steps,
            on_step=on_step,
        ).values()
        residual = residual_of(form, fitted) if amount else None
    except BaseException as error:
        with suppress(OSError):  # of a disk that is full, which is the error already
            seen.record(folder, config, state_after(error), "cpu", 0, time.perf_counter() - started)
        raise
    weights = change_weights(ChangeField(form, residual, amount))
    checkpoint = seen.checkpoint(
        config, weights=weights, epoch=0, choice=chosen, made_with=({"epoch": 0, **conditions("cpu")},)
    )
    folder.save(checkpoint, best=True, keep=False)
    seen.record(folder, config, "finished", "cpu", 0, time.perf_counter() - started)
    return Checkpoint.load(folder.latest)
