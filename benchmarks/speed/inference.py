"""Edits, commands and evaluation: rows of the table."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from benchmarks.speed.record import Record, paired
from benchmarks.speed.rows import DIM, random_rows

from fclf.checkpoint import Checkpoint
from fclf.closed.linear import Shift
from fclf.config import load_config
from fclf.data.embeddings import EmbeddingSet
from fclf.data.frequencies import ATTRIBUTES
from fclf.data.planted import planted
from fclf.evaluation import evaluate
from fclf.field import SharedPass, TargetField
from fclf.flow import Flow
from fclf.train import train

__all__ = ["batched_edit", "closed_form", "cold_start", "evaluation", "one_edit"]

ROWS = 8192
STEPS = 10
BATCH = 1024
HIDDEN = 256
EVALUATED = 1884
COLD_ROUNDS = 5


def batched_edit() -> list[Record]:
    """Ten Euler steps of the reference's field, against its products alone."""
    field = TargetField(DIM, len(ATTRIBUTES), hidden_dim=HIDDEN).eval().requires_grad_(False)
    data = random_rows(ROWS)
    z = torch.from_numpy(data.embeddings)
    y = torch.from_numpy(np.asarray(data.attributes)).float()
    found, ends = [], {}
    for dtype in (torch.float32, torch.bfloat16):
        flow = Flow(field if dtype == torch.float32 else SharedPass(field, dtype), STEPS, 1 / STEPS)
        widths = (DIM + len(ATTRIBUTES), HIDDEN, HIDDEN, HIDDEN, DIM)
        weights = [torch.randn(shape, dtype=dtype) for shape in pairwise(widths)]
        inputs = torch.cat([z, y], dim=1).to(dtype)
        ends[dtype] = flow.edit(z, y, batch_size=BATCH)
        with torch.inference_mode():
            seconds = paired(
                {
                    "ours": lambda flow=flow: flow.edit(z, y, batch_size=BATCH),
                    "products": lambda inputs=inputs, weights=weights: _chain(inputs, weights),
                }
            )
        name = f"batched edit, {STEPS} steps, {str(dtype).removeprefix('torch.')}"
        ours, products = (1e6 * seconds[key] / ROWS for key in ("ours", "products"))
        found.append(Record(name, ours, 0.6, "share", "us/row", _threads(), products, "its products"))
    apart = float((1 - (ends[torch.float32] * ends[torch.bfloat16]).sum(dim=1)).max())
    return [*found, Record("bfloat16 edit, cosine distance", apart, 1e-2, "at most", "", _threads())]


def closed_form() -> list[Record]:
    """A shift of rows in float32."""
    data = random_rows(10 * BATCH)
    z, y = data.embeddings, np.asarray(data.attributes)
    form = Shift(np.random.default_rng(0).normal(size=(y.shape[1], DIM)).astype(np.float32) / DIM)
    seconds = paired({"ours": lambda: form(z, y, 1 - y)})["ours"]
    return [Record("closed-form edit", len(z) / seconds, 1e6, "at least", "rows/s", _threads())]


def one_edit() -> list[Record]:
    """One row, a fitted model loaded."""
    with tempfile.TemporaryDirectory() as folder:
        model, _, row = _fitted(folder)
    milliseconds = 1e3 * paired({"ours": lambda: model.edit(row, {model.attribute_names[0]: 1})}, 50)["ours"]
    return [Record("one edit from Python", milliseconds, 5.0, "at most", "ms", _threads())]


def cold_start() -> list[Record]:
    """Commands in processes of their own."""
    with tempfile.TemporaryDirectory() as folder:
        _, path, row = _fitted(folder)
        row.save(Path(folder) / "row.npz")
        fclf = (sys.executable, "-m", "fclf")
        files = ("--checkpoint", str(path), "--embeddings", f"{folder}/row.npz", "--output", f"{folder}/out.npz")
        commands = {
            "help": (*fclf, "--help"),
            "torch": (sys.executable, "-c", "import torch"),
            "edit": (*fclf, "edit", *files, "--set", f"{ATTRIBUTES[0]}=1"),
        }
        seconds = paired(
            {name: lambda command=command: _run(command) for name, command in commands.items()}, COLD_ROUNDS
        )
    return [
        Record("fclf --help", seconds["help"], 0.4, "at most", "s", 1),
        Record(
            "fclf edit of one row, above torch's import", seconds["edit"] - seconds["torch"], 0.8, "at most", "s", 1
        ),
    ]


def evaluation() -> list[Record]:
    """Fast controls, map by principal axes."""
    data, _ = planted(EVALUATED * 5, DIM, per_person=4)
    with tempfile.TemporaryDirectory() as folder:
        model = train(data, load_config("edit", ["model.start=transport"]), Path(folder) / "run")
        started = time.perf_counter()
        report = evaluate(model, data)
    name = f"evaluate {report.metrics.rows['evaluated']:,} rows"
    return [Record(name, time.perf_counter() - started, 60.0, "at most", "s", _threads())]


def _fitted(folder: str) -> tuple[Checkpoint, Path, EmbeddingSet]:
    """A fitted model, where it is, and one row."""
    data, _ = planted(1500, DIM)
    path = Path(folder) / "run"
    return train(data, load_config("edit", ["model.start=transport"]), path), path, data.take(np.array([0]))


def _chain(inputs: torch.Tensor, weights: list[torch.Tensor]) -> None:
    for first in range(0, len(inputs), BATCH):
        for _ in range(STEPS):
            x = inputs[first : first + BATCH]
            for weight in weights:
                x = x @ weight


def _run(command: tuple[str, ...]) -> None:
    subprocess.run(command, check=True, capture_output=True)


def _threads() -> int:
    return torch.get_num_threads()
