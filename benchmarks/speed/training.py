"""The training step of the reference recipe: against its loops, against its products, and as everything grows."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

import numpy as np
import torch
from benchmarks.speed.bound import training_products
from benchmarks.speed.record import Record, paired
from benchmarks.speed.reference import reference_step
from benchmarks.speed.rows import CELEBA_TRAIN, DIM, random_rows

from fclf.config import Config, load_config
from fclf.data.embeddings import EmbeddingSet
from fclf.field import TargetField
from fclf.provenance import Provenance
from fclf.run_folder import RunFolder
from fclf.training_run import TrainingRun

__all__ = ["celeba", "growth", "lighter_regularisers", "reference_recipe"]

BATCH, ATTRIBUTES, HIDDEN, REFERENCE_BATCH = 512, 5, 256, 128
EPOCHS = 50
STEPS = 6
"""Of a piece of training that is timed at once."""
SHARE = "loss.jacobian_share=0.125"


def configured(*overrides: str) -> Config:
    """The reference recipe in batches of 512, without its choice of attributes."""
    config = load_config("fclf_config", [f"training.batch_size={BATCH}", *overrides])
    return config.model_copy(update={"data": config.data.model_copy(update={"attributes": None})})


def run_of(data: EmbeddingSet, *overrides: str) -> TrainingRun:
    """A run that can be told to train an epoch, and writes nothing until it is told more."""
    config, few = configured(*overrides), data.take(np.arange(1000))
    folder = RunFolder(tempfile.gettempdir())
    return TrainingRun(config, config.model, Provenance.of(few, few, few), data, few, folder, torch.device("cpu"))


def reference_recipe() -> list[Record]:
    """All terms on every row."""
    return _against_both("reference recipe, all terms on every row", 250.0, 0.5, ())


def lighter_regularisers() -> list[Record]:
    """Curl and divergence from an eighth of the rows, in the precision that is faster here."""
    data, rounds = random_rows(BATCH * STEPS), {}
    for precision in ("float32", "bfloat16"):
        run = run_of(data, SHARE, f"training.precision={precision}")
        rounds[precision] = lambda run=run: run._train_epoch(1)
    seconds = paired(rounds, 3)
    precision = min(seconds, key=lambda name: seconds[name])
    name = f"regularisers on 1/8 of the rows, {precision}"
    found = _against_both(name, 600.0, 0.5, (SHARE, f"training.precision={precision}"))
    minutes = found[0].ours * CELEBA_TRAIN * EPOCHS / 1000 / 60
    return [*found, Record(f"{EPOCHS} epochs of {CELEBA_TRAIN:,} rows", minutes, 6.0, "at most", "min", _threads())]


def growth() -> list[Record]:
    """Time per row as rows grow, and per step as attributes do."""
    per_row = []
    for rows in (10_000, 1_000_000):
        run = run_of(random_rows(rows), SHARE)
        run._train_epoch(1) if rows == 10_000 else None
        taken = []
        for _ in range(7 if rows == 10_000 else 1):
            started = time.perf_counter()
            run._train_epoch(1)
            taken.append((time.perf_counter() - started) / rows)
        per_row.append(sorted(taken)[len(taken) // 2])
    few, many = (run_of(random_rows(BATCH * STEPS, k), SHARE) for k in (5, 40))
    seconds = paired({"few": lambda: few._train_epoch(1), "many": lambda: many._train_epoch(1)})
    return [
        Record("time per row, 1,000,000 / 10,000 rows", per_row[1] / per_row[0], 1.2, "at most", "x", _threads()),
        Record("time per step, 40 / 5 attributes", seconds["many"] / seconds["few"], 8.0, "at most", "x", _threads()),
    ]


def celeba() -> list[Record]:
    """Two recipes on as many rows as CelebA has, each in a process of its own."""
    reference, edit = (_in_a_process(recipe) for recipe in ("reference_recipe", "edit"))
    rows = f"{CELEBA_TRAIN:,} rows"
    return [
        Record(f"reference recipe, {rows}, memory", reference["gibibytes"], 1.5, "at most", "GiB", _threads()),
        Record(f"recipe edit, {rows}, memory", edit["gibibytes"], 1.5, "at most", "GiB", _threads()),
        Record(f"recipe edit, {rows}", edit["minutes"], 4.0, "at most", "min", _threads()),
        Record("its verdict is HEALTHY (1)", edit["healthy"], 1.0, "at least", "", _threads()),
    ]


def _in_a_process(recipe: str) -> dict[str, float]:
    command = (sys.executable, "-m", "benchmarks.speed.celeba", recipe, str(_threads()))
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _against_both(name: str, times: float, share: float, overrides: Sequence[str]) -> list[Record]:
    data = random_rows(BATCH * STEPS)
    run = run_of(data, *overrides)
    config = run.config
    probed = round(config.loss.jacobian_share * BATCH)
    dtype = getattr(torch, config.training.precision)
    chain, _ = training_products(BATCH, DIM, ATTRIBUTES, HIDDEN, probed, dtype)

    def bound() -> None:
        for _ in range(STEPS):
            chain()

    seconds = paired({"ours": lambda: run._train_epoch(1), "bound": bound})
    field = TargetField(DIM, ATTRIBUTES)
    optimizer = torch.optim.Adam(field.parameters(), lr=1e-4)
    z, y = run.train_rows.z[:REFERENCE_BATCH], run.train_rows.y[:REFERENCE_BATCH]
    loops = paired({"loops": lambda: reference_step(field, optimizer, z, y)}, 1)["loops"]
    ours, floor = (1000 * seconds[work] / (BATCH * STEPS) for work in ("ours", "bound"))
    return [
        Record(name, ours, times, "times", "ms/row", _threads(), 1000 * loops / len(z), "the reference's loops"),
        Record(name, ours, share, "share", "ms/row", _threads(), floor, "its products alone"),
    ]


def _threads() -> int:
    return torch.get_num_threads()
