"""Rows per second and memory of `fclf edit` on folders of shards, by processes and on a local Ray.

    python benchmarks/bulk.py --output results/bulk.json

Shards are generated: planted embeddings, every attribute labelled, one attribute set. Each kind of run is done with
some shards and with three times as many, and the best of some repetitions is taken; the rate is that of the rows
between the two, so that it holds for long runs, and `start` is what a run takes besides. Memory is the highest that any
worker held (VmHWM), processor time that of all processes but Ray's. Leave the machine alone meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet
from rich.console import Console
from rich.table import Table

from fclf.config import load_config
from fclf.data.planted import planted
from fclf.files import write_json
from fclf.train import train

MORE = 3
"""Times the shards of the shorter run."""
REPETITIONS = 2


def make(folder: Path, layout: str, shards: int, rows: int, width: int) -> None:
    """Write shards with the same embeddings and ids of their own."""
    data = planted(rows, width, geometry="middle", seed=1)[0]
    labels = {name: data.attributes[:, k] for k, name in enumerate(data.attribute_names)}
    metadata = {"fclf.attributes": json.dumps(list(data.attribute_names))}
    folder.mkdir(parents=True)
    for number in range(shards):
        table = pa.table({"id": [f"{number}-{row}" for row in range(rows)], **labels})
        if layout == "npy float16":
            np.save(folder / f"img_emb_{number}.npy", data.embeddings.astype(np.float16))
            parquet.write_table(table.replace_schema_metadata(metadata), folder / f"metadata_{number}.parquet")
        else:
            flat = pa.FixedSizeListArray.from_arrays(pa.array(data.embeddings.ravel()), width)
            whole = table.append_column("embedding", flat).replace_schema_metadata(metadata)
            parquet.write_table(whole, folder / f"part-{number}.parquet", use_dictionary=["id"])


def peaks(session: int) -> dict[int, int]:
    """VmHWM in KiB of the workers that belong to a session, or to Ray."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            ours = "spawn_main" in line and os.getsid(int(process.name)) == session
            if not ours and not (line.startswith("ray::") and "MapWorker" in line):
                continue
            status = (process / "status").read_text().splitlines()
            found[int(process.name)] = int(next(row for row in status if row.startswith("VmHWM")).split()[1])
        except (OSError, StopIteration):
            continue
    return found


def edit(run: Path, source: Path, output: Path, more: list[str]) -> np.ndarray:
    """Seconds, seconds of processor time and the highest memory of a worker in MiB, of one run of the command."""
    shutil.rmtree(output, ignore_errors=True)
    arguments = ["--checkpoint", str(run), "--embeddings", str(source), "--output", str(output), "--set", "Smiling=1"]
    begun, highest = time.perf_counter(), 0
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "fclf", "edit", *arguments, *more],
            stdout=subprocess.DEVNULL,
            stderr=said,
            start_new_session=True,
        )
        while True:
            pid, status, used = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            highest = max([highest, *peaks(process.pid).values()])
            time.sleep(0.1)
        taken = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise SystemExit(said.read())
    shutil.rmtree(output)
    return np.array([taken, used.ru_utime + used.ru_stime, highest / 1024])


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000, help="rows of a shard")
    parser.add_argument("--shards", type=int, default=8, help="of the shorter run")
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--only", default="1,2,ray", help="workers, and ray for a local cluster of two")
    parser.add_argument("--layouts", default="parquet float32,npy float16")
    parser.add_argument("--repetitions", type=int, default=2)
    parser.add_argument("--recipe", default="edit")
    parser.add_argument("--start", default="transport", help="closed form that is edited with")
    parser.add_argument("--output", type=Path, help="JSON file")
    options = parser.parse_args()
    kinds = {"1": ["--workers", "1"], "2": ["--workers", "2"], "ray": ["--workers", "2", "--ray", "local"]}
    records, said = [], Console(stderr=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = load_config(options.recipe, [f"model.start={options.start}"])
        train(planted(4000, options.width, geometry="middle")[0], config, folder / "run")
        for layout in options.layouts.split(","):
            make(folder / "some", layout, options.shards, options.rows, options.width)
            make(folder / "more", layout, MORE * options.shards, options.rows, options.width)
            for kind in options.only.split(","):
                found = {}
                for source in ("some", "more"):
                    runs = [
                        edit(folder / "run", folder / source, folder / "out", kinds[kind])
                        for _ in range(options.repetitions)
                    ]
                    found[source] = np.array(runs)
                (short, short_used, _), (long, long_used, _) = found["some"].min(axis=0), found["more"].min(axis=0)
                rows = options.rows * options.shards
                rate = rows * (MORE - 1) / (long - short)
                record = {
                    "layout": layout,
                    "workers": f"{'Ray, ' if kind == 'ray' else ''}{kinds[kind][1]}",
                    "rows": rows * MORE,
                    "seconds": long,
                    "rows_per_second": rate,
                    "start": long - rows * MORE / rate,
                    "processor_us_per_row": None
                    if kind == "ray"
                    else 1e6 * (long_used - short_used) / rows / (MORE - 1),
                    "mebibytes": max(found["some"][:, 2].max(), found["more"][:, 2].max()),
                }
                said.print(record)
                records.append(record)
            shutil.rmtree(folder / "some")
            shutil.rmtree(folder / "more")
    title = f"width {options.width}, {options.rows:,} rows a shard, {os.cpu_count()} cores, {platform.machine()}"
    table = Table(title=title)
    for column in ("layout", "workers", "rows", "seconds", "rows/s", "start, s", "CPU us/row", "MiB a worker"):
        table.add_column(column, justify="left" if column in ("layout", "workers") else "right")
    for record in records:
        table.add_row(
            record["layout"],
            record["workers"],
            f"{record['rows']:,}",
            f"{record['seconds']:.1f}",
            f"{record['rows_per_second']:,.0f}",
            f"{record['start']:.1f}",
            "" if record["processor_us_per_row"] is None else f"{record['processor_us_per_row']:.1f}",
            f"{record['mebibytes']:.0f}",
        )
    Console(width=120).print(table)
    if options.output is not None:
        write_json(options.output, {"width": options.width, "records": records})


if __name__ == "__main__":
    main()
