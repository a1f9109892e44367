"""The demo's table, as it was measured: a quiet loss of quality is a difference from it.

`python tests/demo_table.py` measures it anew and writes `demo_table.json`, which takes three demos. Do so after a
change that is meant to change it, and say in the change why. A value is that of seed 0, which the test runs. How far it
may be off is what three seeds (0, 1 and 2: other people, other training) differ by, largest less smallest, and at least
`LEAST`: what is noticed is what a seed does not decide.
"""

from __future__ import annotations

import json
import tempfile
from functools import reduce
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from fclf.demo import portrait_world, run_demo

STORED = Path(__file__).with_suffix(".json")
PORTRAITS = 2000
SEEDS = (0, 1, 2)
LEAST = 0.02
"""Of a share, and of the value itself where that is more than 1, as angles are."""
MEASURES = (
    "linear.success",
    "linear.worst",
    "linear.kept",
    "mlp.success",
    "mlp.worst",
    "mlp.kept",
    "rank1",
    "gap_closed",
    "mmd_closed",
    "variance_ratio",
    "smallest_variance_ratio",
    "spread_kept",
    "recall",
    "silhouettes.flowed_by_target",
    "counterfactual.angle",
)

Table = dict[str, dict[str, float | None]]


def of(reports: dict[str, Any]) -> Table:
    """The measures of every flow of the demo, and of the controls of its first report."""
    first, *_ = reports.values()
    rows = {title: report.flow for title, report in reports.items()}
    rows |= {row.name: row for row in first.metrics.table[1:]}
    return {title: {name: _value(row, name) for name in MEASURES} for title, row in rows.items()}


def differences(found: Table, stored: dict[str, Any]) -> list[str]:
    """What is off by more than it may be, in words."""
    tables = stored["table"]
    if found.keys() != tables.keys():
        return [f"rows {', '.join(found)} instead of {', '.join(tables)}"]
    off = []
    for title, measures in tables.items():
        for name, expected in measures.items():
            value = found[title][name]
            if (value is None) != (expected is None):
                off.append(f"{title}: {name} is {value} and was {expected}")
            elif expected is not None and value is not None and not abs(value - expected[0]) <= expected[1]:
                off.append(f"{title}: {name} is {value:.4f} and was {expected[0]:.4f} ± {expected[1]:.4f}")
    return off


def stored_from(tables: list[Table]) -> dict[str, Any]:
    """What is written: value and tolerance of each measure."""
    table: dict[str, dict[str, list[float] | None]] = {}
    for title, measures in tables[0].items():
        table[title] = {}
        for name, value in measures.items():
            every = [found[title][name] for found in tables]
            if value is None or None in every:
                table[title][name] = None
                continue
            tolerance = max(max(every) - min(every), LEAST * max(1.0, abs(value)))
            table[title][name] = [round(value, 4), round(tolerance, 4)]
    return {"portraits": PORTRAITS, "seeds": list(SEEDS), "least": LEAST, "table": table}


def _value(row: Any, name: str) -> float | None:
    def step(at: Any, key: str) -> Any:
        return at if at is None else at.get(key) if isinstance(at, dict) else getattr(at, key)

    found = reduce(step, name.split("."), row)
    return None if found is None else float(found)


def main() -> None:
    """Measure and write."""
    torch.set_num_threads(1)
    tables = []
    with threadpool_limits(1):
        for seed in SEEDS:
            with tempfile.TemporaryDirectory() as folder:
                result = run_demo(portrait_world(PORTRAITS, seed=seed), Path(folder) / "demo", seed=seed)
            tables.append(of(result.reports))
    STORED.write_text(json.dumps(stored_from(tables), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
