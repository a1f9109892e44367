"""Rows a second of training on one process and on two, one thread each.

    python -m benchmarks.scale.processes

Runs of one and of four epochs of the recipe `fclf_config` take turns; an epoch's time is a third of their difference:
start-up does not count. Two processes need two idle cores to be twice as fast.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.speed.rows import random_rows


def main() -> None:
    """Print the median of each and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--times", type=int, default=3)
    asked = parser.parse_args()
    found: dict[int, list[float]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        random_rows(asked.rows).save(folder / "rows.npz")
        for _ in range(asked.times):
            for processes, rates in found.items():
                few, many = (seconds(folder, processes, asked.batch, epochs) for epochs in (1, 4))
                rates.append(3 * 0.56 * asked.rows / (many - few))
    for processes, rates in found.items():
        sys.stdout.write(
            f"{processes} process(es): {statistics.median(rates):,.0f} rows/s ({sorted(map(round, rates))})\n"
        )
    ratio = statistics.median(found[2]) / statistics.median(found[1])
    sys.stdout.write(f"2 processes are {ratio:.2f} times as fast as 1, one thread each\n")


def seconds(folder: Path, processes: int, batch: int, epochs: int) -> float:
    """That `run.json` says."""
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}", "-m", "fclf"]
    run += ["train", "--config", "fclf_config", "--embeddings", str(folder / "rows.npz"), "--overwrite"]
    run += ["--output-dir", str(folder / "run"), "--device", "cpu"]
    for setting in (f"training.num_epochs={epochs}", f"training.batch_size={batch}", "loss.jacobian_share=0.125"):
        run += ["--set", setting]
    subprocess.run(run, check=True, capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    return float(json.loads((folder / "run" / "run.json").read_text())["seconds"])


if __name__ == "__main__":
    main()
