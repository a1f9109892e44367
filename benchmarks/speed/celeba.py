"""Train on as many rows as CelebA has, in a process of its own, and print what it took as JSON."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from benchmarks.speed.rows import CELEBA_TRAIN, celeba_sized, random_rows
from benchmarks.speed.training import configured

from fclf.config import load_config
from fclf.evaluation import evaluate
from fclf.train import train

EVALUATED = 11_000
"""Rows that the verdict is of."""


def reference_recipe(folder: str) -> dict[str, float]:
    """One epoch on random rows, a thousand more to validate on."""
    data = random_rows(CELEBA_TRAIN + 1000)
    data = replace(data, split=np.array(["train"] * CELEBA_TRAIN + ["val"] * 1000))
    train(data, configured("training.num_epochs=1", "loss.jacobian_share=0.125"), folder, device="cpu")
    return {"gibibytes": _peak()}


def edit(folder: str) -> dict[str, float]:
    """The recipe `edit` with CelebA's frequencies of attributes, to its plateau; then its verdict."""
    data = celeba_sized()
    started = time.perf_counter()
    model = train(data, load_config("edit"), folder)
    found = {"minutes": (time.perf_counter() - started) / 60, "gibibytes": _peak()}
    few = data.take(np.sort(np.random.default_rng(0).permutation(len(data))[:EVALUATED]))
    return found | {"healthy": float(evaluate(model, few).metrics.verdict.name == "HEALTHY")}


def _peak() -> float:
    """`ru_maxrss` starts at what the process that started this one held; the kernel's mark is of this one alone."""
    marks = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return float(marks[0].split()[1]) / 2**20


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[2]))
    with tempfile.TemporaryDirectory() as place:
        print(json.dumps({"reference_recipe": reference_recipe, "edit": edit}[sys.argv[1]](place)))  # noqa: T201
