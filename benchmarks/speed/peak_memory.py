"""Train on random rows and print the peak resident memory in KiB: a process of its own, so that only it is counted."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from benchmarks.speed.training import configured, random_rows

from fclf.train import train


def main(rows: int, threads: int) -> None:
    """One epoch on `rows` train rows, a thousand more to validate on."""
    torch.set_num_threads(threads)
    data = random_rows(rows + 1000)
    data = replace(data, split=np.array(["train"] * rows + ["val"] * 1000))
    with tempfile.TemporaryDirectory() as folder:
        train(data, configured("training.num_epochs=1", "loss.jacobian_share=0.125"), folder, device="cpu")
    # `ru_maxrss` starts at what the process that started this one held; the kernel's mark is of this one alone.
    marks = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    print(marks[0].split()[1])  # noqa: T201


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
