"""Train the specification's recipes on real embeddings, several seeds each, and write the README's table.

`python benchmarks/sweep.py --data DIR` reads celeba_centred.npz and celeba_cone.npz there. Each recipe trains for
`--epochs` epochs at its own batch size; the last epoch is evaluated, every test row x every attribute, by judges that
are fitted once per file. Cells are the mean over seeds ± half of their range.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

import torch
from threadpoolctl import threadpool_limits

from fclf.checkpoint import Checkpoint
from fclf.config import load_config
from fclf.data.embeddings import EmbeddingSet
from fclf.evaluation.bench import Bench
from fclf.evaluation.controls import controls
from fclf.evaluation.judges import Judges
from fclf.evaluation.results import Row
from fclf.train import train

RECIPES = {
    "before": "before the fixes",
    "fclf_config": "FIX 1-3",
    "negative_sampling": "FIX 1-3 and 4",
    "stop_gradient": "FIX 1-3, prototypes held fixed",
    "soft_positives": "the authors' later recipe",
}
ATTRIBUTES = ("Smiling", "Young", "Male", "Eyeglasses", "Mustache")
COLUMNS = ("success", "worst", "kept", "rank 1", "gap closed", "variance", "recall", "silhouette", "movement")
START, END = "<!-- sweep -->", "<!-- end of sweep -->"


def main() -> None:
    """Run the sweep and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--readme", type=Path, default=Path(__file__).parent.parent / "README.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    threadpool_limits(1)
    tables = [table(options.data / f"celeba_{name}.npz", name, options) for name in ("centred", "cone")]
    text = options.readme.read_text(encoding="utf-8")
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    if not after:
        raise SystemExit(f"{options.readme} has no lines '{START}' and '{END}' to write between.")
    block = "\n".join((START, f"{options.epochs} epochs, {options.seeds} seeds.", "", "\n".join(tables) + END))
    options.readme.write_text(before + block + after, encoding="utf-8")


def table(path: Path, name: str, options: argparse.Namespace) -> str:
    """Markdown table of one file."""
    data = EmbeddingSet.load(path).select(ATTRIBUTES)
    bench = Bench.build(data.part("test"), Judges.fit(data.part("judge")), "each", 0)
    lines = [f"| {name} | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for recipe, title in RECIPES.items():
        rows = [measure(data, bench, recipe, seed, options.epochs) for seed in range(options.seeds)]
        lines.append(line(f"{title} (`{recipe}`)", rows))
        print(lines[-1], flush=True)  # noqa: T201
    for title, control in controls(data.part("train")).items():
        edited = control(bench.sources, bench.plan.original, bench.plan.target)
        lines.append(line(title, [bench.measure(title, edited)]))
    lines.append(line("held-out real", [bench.measure_real()]))
    return "\n".join(lines) + "\n\n"


def measure(data: EmbeddingSet, bench: Bench, recipe: str, seed: int, epochs: int) -> Row:
    """Train one recipe with one seed and measure its last epoch."""
    config = load_config(recipe, [f"training.num_epochs={epochs}", f"training.seed={seed}"])
    with tempfile.TemporaryDirectory() as folder:
        checkpoint: Checkpoint = train(data, config, folder)
    z = torch.from_numpy(bench.sources).float()
    edited = checkpoint.flow().edit(z, torch.from_numpy(bench.plan.target).float())
    return bench.measure(recipe, edited.double().numpy())


def line(title: str, rows: list[Row]) -> str:
    """One row of the table."""
    cells = [
        [
            row.linear.success,
            row.linear.worst,
            row.linear.kept,
            row.rank1,
            row.gap_closed,
            row.variance_ratio,
            row.recall,
            row.silhouettes.get("flowed_by_target"),
            row.movement,
        ]
        for row in rows
    ]
    return f"| {title} | " + " | ".join(cell(list(values)) for values in zip(*cells, strict=True)) + " |"


def cell(values: list[float | None]) -> str:
    """Mean over seeds, and half of their range where there are several."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    mean = f"{statistics.fmean(known):.3f}"
    return mean if len(known) == 1 else f"{mean} ± {(max(known) - min(known)) / 2:.3f}"


if __name__ == "__main__":
    main()
