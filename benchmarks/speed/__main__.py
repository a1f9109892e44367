"""Measure everything, print one table and write it as JSON: `python -m benchmarks.speed --output results/bench.json`.

Ours and the bound are timed in turns in one process and the table has medians. `--only reference_recipe,growth` runs
some of the rows.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path

import numpy as np
import torch
from benchmarks.speed import inference, training
from rich.console import Console
from rich.table import Table

import fclf
from fclf.files import atomic_write

WORKS = {
    work.__name__: work
    for work in (
        training.reference_recipe,
        training.lighter_regularisers,
        training.growth,
        inference.batched_edit,
        inference.closed_form,
        inference.one_edit,
        inference.cold_start,
        inference.evaluation,
        training.celeba,
    )
}
"""What is measured; each returns the records of some rows of the table."""


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--only", default=",".join(WORKS), metavar="NAME,...")
    parser.add_argument("--output", type=Path, help="JSON file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    started = time.perf_counter()
    records = [record for name in options.only.split(",") for record in WORKS[name]()]
    taken = time.perf_counter() - started
    versions = {
        "fclf": fclf.__version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }
    title = ", ".join(f"{name} {version}" for name, version in versions.items())
    table = Table(title=f"{title}; {options.threads} threads of {os.cpu_count()} cores; {taken:.0f} s")
    for column in ("work", "against", "ratio", "to reach", "", "ours", "other", "unit", "threads"):
        table.add_column(column, justify="left" if column in ("work", "against", "unit") else "right")
    for record in records:
        other = "" if record.other is None else f"{record.other:.4g}"
        met = "yes" if record.met else "[bold red]NO[/]"
        ratio, target = record.texts()
        ours, threads = f"{record.ours:.4g}", str(record.threads)
        table.add_row(record.name, record.against, ratio, target, met, ours, other, record.unit, threads)
    Console(width=180).print(table)
    if options.output is not None:
        found = {"versions": versions, "seconds": taken, "records": [record.to_json() for record in records]}
        with atomic_write(options.output, "w") as file:
            json.dump(found, file, indent=2)


if __name__ == "__main__":
    main()
