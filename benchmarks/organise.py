"""Train the recipe `organise` on real and planted embeddings, three seeds each: is every run in the band?

`python benchmarks/organise.py --data DIR` reads celeba_centred.npz and celeba_cone.npz there and prints Markdown, a
line a run; `--set KEY=VALUE` changes the recipe, `--config` takes another. It exits 1 if the silhouette by target of a
run's test rows is outside of the specification's band. The best checkpoint is measured, as `fclf evaluate` does.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import torch
from threadpoolctl import threadpool_limits

from fclf.checkpoint import Checkpoint
from fclf.config import load_config
from fclf.data.embeddings import EmbeddingSet
from fclf.data.planted import ATTRIBUTES, planted
from fclf.evaluation.bands import ORGANISED
from fclf.evaluation.bench import Bench
from fclf.evaluation.controls import controls
from fclf.evaluation.judges import Judges
from fclf.evaluation.results import Row
from fclf.train import train

COLUMNS = ("by target", "by original", "variance", "recall", "rank 1", "success", "worst", "kept", "gap", "movement")


def main() -> None:
    """Train, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the real files; only planted rows without it")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--config", default="organise")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    torch.set_num_threads(1)
    threadpool_limits(1)
    sources = {
        f"planted {geometry}": planted(6000, geometry=geometry)[0].select(ATTRIBUTES)
        for geometry in ("centred", "cone")
    }
    if options.data is not None:
        real = {name: EmbeddingSet.load(options.data / f"celeba_{name}.npz") for name in ("centred", "cone")}
        sources = {name: data.select(ATTRIBUTES) for name, data in real.items()} | sources
    print("| data | seed | strength | s | " + " | ".join(COLUMNS) + " |")  # noqa: T201
    print("|---" * (len(COLUMNS) + 4) + "|")  # noqa: T201
    inside = [run(name, data, options) for name, data in sources.items()]
    raise SystemExit(not all(inside))


def run(name: str, data: EmbeddingSet, options: argparse.Namespace) -> bool:
    """All seeds on one data set, and two rows of the table to read them against; whether all are in the band."""
    bench = Bench.build(data.part("test"), Judges.fit(data.part("judge")), "each", 0)
    shift = controls(data.part("train"))["shift x1"]
    for reference in (
        bench.measure_real(),
        bench.measure("shift x1", shift(bench.sources, bench.plan.original, bench.plan.target)),
    ):
        show(name, reference.name, reference)
    inside = True
    for seed in range(options.seeds):
        config, began = load_config(options.config, [*options.set, f"training.seed={seed}"]), time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            train(data, config, folder)
            checkpoint = Checkpoint.load(folder)
        seconds = time.perf_counter() - began
        z, y = torch.from_numpy(bench.sources).float(), torch.from_numpy(bench.plan.target).float()
        row = bench.measure(options.config, checkpoint.flow().edit(z, y).double().numpy())
        show(name, str(seed), row, f"{checkpoint.strength:.2f}", f"{seconds:.0f}")
        found = row.silhouettes["flowed_by_target"]
        inside &= found is not None and ORGANISED[0] <= found <= ORGANISED[1]
    return inside


def show(name: str, seed: str, row: Row, strength: str = "", seconds: str = "") -> None:
    """Print one line of the table."""
    values = (
        row.silhouettes.get("flowed_by_target"),
        row.silhouettes.get("flowed_by_original"),
        row.variance_ratio,
        row.recall,
        row.rank1,
        row.linear.success,
        row.linear.worst,
        row.linear.kept,
        row.gap_closed,
        row.movement,
    )
    cells = ["" if value is None else f"{value:.3f}" for value in values]
    print(f"| {' | '.join([name, seed, strength, seconds, *cells])} |", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
