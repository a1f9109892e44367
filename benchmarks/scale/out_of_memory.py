"""Rows a second and peak memory of training on shards, beside training on rows in memory.

    python -m benchmarks.scale.out_of_memory --folder results/shards --rows 10000000

Each is a process of its own and one epoch of the recipe `fclf_config` in batches of 512, curl and divergence of an
eighth of the rows: its fastest operating point, so that reading is the largest part that it can be. What is timed is
the training of the epoch; the peak is of the whole process (VmHWM), imports and the index too. On a machine with other
work compare processor time, which is that of all threads.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import torch
from benchmarks.scale.shards import NAMES, write_shards

from fclf import train as training
from fclf.config import load_config
from fclf.data.shards.index import ShardIndex
from fclf.training_run import TrainingRun

HELD = {"train": 500_000, "val": 20_000}
"""Rows of the run in memory."""


def main() -> None:
    """Generate shards where there are none, run both and print a line of JSON each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--shards", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--run", choices=["shards", "memory"])
    asked = parser.parse_args()
    if asked.run:
        return measure(asked.folder, asked.run, asked.threads)
    if not asked.folder.exists():
        write_shards(asked.folder, asked.rows, asked.shards)
    found = {}
    for run in ("memory", "shards"):
        command = [sys.executable, "-m", "benchmarks.scale.out_of_memory", "--folder", str(asked.folder), "--run", run]
        done = subprocess.run(
            [*command, "--threads", str(asked.threads)],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": str(asked.threads)},
        )
        found[run] = json.loads(done.stdout.splitlines()[-1])
        sys.stdout.write(f"{done.stdout.splitlines()[-1]}\n")
    for per, name in (("second", "rows_per_second"), ("second of processor time", "rows_per_cpu_second")):
        sys.stdout.write(f"shards / memory: {found['shards'][name] / found['memory'][name]:.3f} of the rows a {per}\n")


def measure(folder: Path, run: str, threads: int) -> None:
    """Train one epoch."""
    torch.set_num_threads(threads)
    started = time.perf_counter()
    index = ShardIndex.read(str(folder), NAMES)
    indexed = time.perf_counter() - started
    data = index if run == "shards" else index.sample(HELD)
    seconds: list[float] = []
    busy: list[float] = []
    epoch_of = TrainingRun._train_epoch

    def timed(self: TrainingRun, epoch: int) -> dict[str, float]:
        began, worked = time.perf_counter(), time.process_time()
        record = epoch_of(self, epoch)
        seconds.append(time.perf_counter() - began)
        busy.append(time.process_time() - worked)
        return record

    TrainingRun._train_epoch = timed  # type: ignore[method-assign]
    config = load_config(
        "fclf_config", ["training.num_epochs=1", "training.batch_size=512", "loss.jacobian_share=0.125"]
    )
    training.train(data, config, folder.parent / f"{folder.name}_{run}", overwrite=True, device="cpu")
    there = int(index.usable("train").sum())
    rows = there if run == "shards" else min(there, HELD["train"])
    rows -= rows % config.training.batch_size
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    result = {
        "run": run,
        "threads": threads,
        "train_rows": rows,
        "seconds": round(seconds[0], 1),
        "rows_per_second": round(rows / seconds[0]),
        "rows_per_cpu_second": round(rows / busy[0]),
        "peak_gib": round(int(peak.split()[1]) / 2**20, 2),
        "index_seconds": round(indexed, 1),
        "index_bytes_per_row": index.codes.itemsize + index.split.itemsize,
    }
    sys.stdout.write(f"{json.dumps(result)}\n")


if __name__ == "__main__":
    main()
