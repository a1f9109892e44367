"""Measure the recipe `edit` against what it promises, on real embeddings, and print one table per promise.

`python benchmarks/edit.py --data DIR` reads celeba_centred.npz and celeba_cone.npz there. Every table has the closed
forms beside the edit; ± is half of a 95 % interval over people (delete-a-group jackknife), and where several seeds
are given the value is their mean. `--only points,strength` runs some of the parts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from fclf import sphere
from fclf.closed.candidates import BASELINES, closed_forms
from fclf.closed.linear import ClosedForm, DoNothing
from fclf.closed.transport import ConditionalTransport
from fclf.data.embeddings import EmbeddingSet
from fclf.data.planted import planted
from fclf.evaluation.bench import Bench
from fclf.evaluation.judges import Judges
from fclf.evaluation.results import Row
from fclf.evaluation.selection import arrays
from fclf.evaluation.verdict import collapse_signs
from fclf.field import ChangeField
from fclf.flow import Flow

ATTRIBUTES = ("Smiling", "Young", "Male", "Eyeglasses", "Mustache")
POINTS = {"faithful": 0.0, "balanced": 0.5, "controlled": 1.0}
TRANSPORT = "conditional transport"
COLUMNS = ("L success", "L worst", "L kept", "M success", "rank 1", "gap closed", "variance", "least", "recall", "mAP")
MEASURES = (
    "linear.success",
    "linear.worst",
    "linear.kept",
    "mlp.success",
    "rank1",
    "gap_closed",
    "variance_ratio",
    None,
    "recall",
    "retrieval_map",
)


def main() -> None:
    """Run the parts that are asked for."""
    parts: dict[str, Callable[[Path, int], None]] = {
        "points": operating_points,
        "curve": learning_curve,
        "labels": scale_of_labels,
        "unseen": unseen_combination,
        "widths": widths,
        "strength": strength,
        "order": order_of_edits,
    }
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default=",".join(parts))
    options = parser.parse_args()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        for name in options.only.split(","):
            parts[name](options.data, options.seeds)


def operating_points(data: Path, seeds: int) -> None:
    """The three points of the front beside every closed form."""
    for name, rows, bench in files(data):
        baselines = {"do nothing": DoNothing(), **fitted(rows, names=BASELINES)}
        table = [(f, [measure(bench, form)]) for f, form in baselines.items()]
        forms = [transport(rows, seed) for seed in range(seeds)]
        for point, keep in POINTS.items():
            table.append((f"{point} (keep {keep:g})", [measure(bench, replace(form, keep=keep)) for form in forms]))
        table.append(("held-out real", [bench.measure_real()]))
        show(f"{name}, {seeds} seeds", table)


def learning_curve(data: Path, seeds: int) -> None:
    """People in seeded order until so many rows: is it dominated by any closed form?"""
    for name, rows, bench in files(data):
        train = rows.part("train")
        for count in (500, 1000, 2000, len(train)):
            few = train.take(first_people(train, count))
            table = [(f, measure(bench, form)) for f, form in fitted(few, names=BASELINES).items()]
            form = transport(few, 0)
            for point, keep in POINTS.items():
                ours = measure(bench, replace(form, keep=keep))
                ahead = [f for f, other in table if dominates(other, ours)]
                print(f"{name} {len(few)} rows, {point}: dominated by {', '.join(ahead) or 'none'}")  # noqa: T201
                table.append((point, ours))
            show(f"{name}, {len(few)} train rows", [(f, [row]) for f, row in table])


def scale_of_labels(data: Path, seeds: int) -> None:
    """10 and all attributes, without a special case: time, size, spread per attribute and direction."""
    path = data / "celeba_centred.npz"
    every = EmbeddingSet.load(path)
    for count in (5, 10, 20, 40):
        names = (*ATTRIBUTES, *(name for name in every.attribute_names if name not in ATTRIBUTES))[:count]
        rows = every.select(names)
        started = time.process_time()
        form = transport(rows, 0)
        fit = time.process_time() - started
        floats = sum(value.size for value in vars(form).values() if isinstance(value, np.ndarray))
        floats += form.means.coefficients.size
        test = rows.part("test")
        z, y = test.embeddings.astype(np.float64), np.asarray(test.attributes)
        started = time.process_time()
        kept, worst = [], (2.0, "")
        for k, attribute in enumerate(names):
            target = y.copy()
            target[:, k] = 1 - target[:, k]
            edited = form(z, y, target)
            for value in (0, 1):
                own = y[:, k] == 1 - value
                if own.sum() >= 20:
                    share = float(edited[own].var(axis=0).sum() / z[own].var(axis=0).sum())
                    kept.append(share)
                    worst = min(worst, (share, f"{attribute} to {value}"))
        seconds = time.process_time() - started
        print(  # noqa: T201
            f"{count} attributes: fit {fit:.1f} s, {floats * 8 / 2**20:.1f} MiB, "
            f"{len(z) * count / seconds:,.0f} edits/s; "
            f"spread kept of {len(kept)} attributes x directions: mean {np.mean(kept):.3f}, least {worst[0]:.3f} "
            f"({worst[1]})"
        )


def unseen_combination(data: Path, seeds: int) -> None:
    """Smiling+Eyeglasses+Male left out of the train rows: success on its three bits, seen and unseen."""
    chosen = [ATTRIBUTES.index(name) for name in ("Smiling", "Eyeglasses", "Male")]
    for name, rows, bench in files(data):
        train, test = rows.part("train"), rows.part("test")
        combination = np.asarray(train.attributes)[:, chosen].all(axis=1)
        z, y = test.embeddings.astype(np.float64), np.asarray(test.attributes)
        target = y.copy()
        target[:, chosen] = 1
        moved = (target != y).any(axis=1)
        found = {}
        for kind, part in (("seen", train), ("unseen", train.take(~combination))):
            shares = []
            for seed in range(seeds):
                edited = transport(part, seed)(z[moved], y[moved], target[moved])
                shares.append((bench.judges.linear.predict(edited)[:, chosen] == 1).mean(axis=0))
            found[kind] = np.mean(shares, axis=0)
        listed = ", ".join(
            f"{ATTRIBUTES[k]} {seen:.3f} / {unseen:.3f}"
            for k, seen, unseen in zip(chosen, found["seen"], found["unseen"], strict=True)
        )
        print(  # noqa: T201
            f"{name}, {int(combination.sum())} rows left out, {int(moved.sum())} edits, "
            f"success seen / unseen: {listed}; "
            f"mean {found['seen'].mean():.3f} / {found['unseen'].mean():.3f}"
        )


def widths(data: Path, seeds: int) -> None:
    """Planted embeddings of every width, with nothing changed."""
    for dim in (64, 128, 256, 512, 1024):
        rows = planted(4000, dim)[0]
        bench = Bench.build(rows.part("test"), Judges.fit(rows.part("judge")), "each", 0)
        shifts = {"do nothing": DoNothing(), **fitted(rows, names=("shift x1", "shift x1.5"))}
        table = [(name, [measure(bench, form)]) for name, form in shifts.items()]
        table.append(("held-out real", [bench.measure_real()]))
        form = transport(rows, 0)
        table += [(point, [measure(bench, replace(form, keep=keep))]) for point, keep in POINTS.items()]
        show(f"planted, width {dim}", table)


def strength(data: Path, seeds: int) -> None:
    """Success over strength from 0 to 2: monotone on average, 0 the identity."""
    for name, rows, bench in files(data):
        z, source, target = inputs(bench)
        flow = as_flow(transport(rows, 0))
        condition = flow.condition(z, source, target)
        steps = np.linspace(0, 2, 9)
        found = []
        for s in steps:
            edited = flow.edit(z, condition, float(s))
            if s == 0:
                print(f"{name}: strength 0 is the identity: {torch.equal(edited, z)}")  # noqa: T201
            judged = bench.judges.linear.predict(edited.double().numpy()) == bench.plan.target
            found.append(float(np.mean(cells(judged, bench))))
        listed = ", ".join(f"{s:g}: {value:.3f}" for s, value in zip(steps, found, strict=True))
        print(f"{name}: {listed}; monotone: {all(b >= a for a, b in pairwise(found))}")  # noqa: T201


def order_of_edits(data: Path, seeds: int) -> None:
    """Two edits one after the other against both at once; there and back; the shift beside them."""
    for name, rows, _bench in files(data):
        test = rows.part("test")
        z, y = test.embeddings.astype(np.float64), np.asarray(test.attributes)
        for form_name, form in {
            "shift x1": fitted(rows, names=("shift x1",))["shift x1"],
            TRANSPORT: transport(rows, 0),
        }.items():
            joint, orders, back, moved = [], [], [], []
            for i in range(len(ATTRIBUTES)):
                one = flipped(y, i)
                there = form(z, y, one)
                back.append(angle(form(there, one, y), z))
                moved.append(angle(there, z))
                for j in range(i):
                    both = flipped(one, j)
                    first, second = form(there, one, both), form(form(z, y, flipped(y, j)), flipped(y, j), both)
                    orders.append(angle(first, second))
                    joint.append(angle(first, form(z, y, both)))
            print(  # noqa: T201
                f"{name}, {form_name}: mean angle of an edit {np.mean(moved):.2f}°, there and back "
                f"{np.mean(back):.2f}°, "
                f"one after the other against both at once {np.mean(joint):.2f}°, the two orders {np.mean(orders):.2f}°"
            )


def files(data: Path) -> list[tuple[str, EmbeddingSet, Bench]]:
    """Both files, with their benches."""
    found = []
    for name in ("centred", "cone"):
        rows = EmbeddingSet.load(data / f"celeba_{name}.npz").select(ATTRIBUTES)
        found.append((name, rows, Bench.build(rows.part("test"), Judges.fit(rows.part("judge")), "each", 0)))
    return found


def fitted(rows: EmbeddingSet, names: Sequence[str]) -> dict[str, ClosedForm]:
    """Closed forms of the train rows; of all rows if there is no other split."""
    train = rows.part("train") if len(np.unique(rows.split)) > 1 else rows
    return closed_forms(*arrays(train), names=names)


def transport(rows: EmbeddingSet, seed: int) -> ConditionalTransport:
    """The edit."""
    train = rows.part("train") if len(np.unique(rows.split)) > 1 else rows
    return ConditionalTransport.fit(*arrays(train), seed=seed)


def measure(bench: Bench, form: ClosedForm) -> Row:
    """One row of the table."""
    return bench.measure("edit", form(bench.sources, bench.plan.original, bench.plan.target))


def first_people(rows: EmbeddingSet, count: int) -> np.ndarray:
    """Row numbers of people in a seeded order until there are `count` rows."""
    people, who = np.unique(rows.identities, return_inverse=True)
    place = np.random.default_rng(0).permutation(len(people))[who]
    return np.sort(np.argsort(place, kind="stable")[:count])


def dominates(one: Row, other: Row) -> bool:
    """Whether one row is at least as good in success, kept, gap and recall, and better in one of them."""
    values = [(r.linear.success, r.linear.kept or 0.0, r.gap_closed or 0.0, r.recall or 0.0) for r in (one, other)]
    return all(a >= b for a, b in zip(*values, strict=True)) and values[0] != values[1]


def inputs(bench: Bench) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Sources, their labels and targets as tensors."""
    z, source, target = (
        torch.from_numpy(x.astype(np.float32)) for x in (bench.sources, bench.plan.original, bench.plan.target)
    )
    return z, source, target


def as_flow(form: ClosedForm) -> Flow:
    """The flow that a checkpoint of the recipe builds."""
    field = ChangeField(form)
    return Flow(field, 10, 0.1, "heun", field.condition)


def cells(judged: np.ndarray, bench: Bench) -> list[float]:
    """Success by attribute x direction."""
    found = []
    for k in range(judged.shape[1]):
        for value in (0, 1):
            rows = bench.plan.flips[:, k] & (bench.plan.target[:, k] == value)
            found.append(float(judged[rows, k].mean()))
    return found


def flipped(y: np.ndarray, k: int) -> np.ndarray:
    """Labels with one attribute turned over."""
    target = y.copy()
    target[:, k] = 1 - target[:, k]
    return target


def angle(x: np.ndarray, y: np.ndarray) -> float:
    """Mean angle in degrees."""
    return float(np.degrees(sphere.distance(torch.from_numpy(x), torch.from_numpy(y)).mean()))


def show(title: str, table: list[tuple[str, list[Row]]]) -> None:
    """Print a Markdown table; the rows of several seeds are averaged."""
    print(f"\n| {title} | " + " | ".join(COLUMNS) + " | collapsed |\n" + "|---" * (len(COLUMNS) + 2) + "|")  # noqa: T201
    table = [(name, [row.model_copy(update={"name": name}) for row in rows]) for name, rows in table]
    for name, rows in table:
        texts = [cell(rows, measure_) for measure_ in MEASURES]
        signs = any(collapse_signs(row, [row for _, part in table for row in part]) for row in rows)
        print(f"| {name} | " + " | ".join(texts) + f" | {'yes' if signs else 'no'} |", flush=True)  # noqa: T201


def cell(rows: list[Row], measure_: str | None) -> str:
    """Mean over seeds and half of the widest interval."""
    if measure_ is None:
        return f"{np.mean([row.smallest_variance_ratio for row in rows]):.3f}"
    values = [value for row in rows if (value := row.value(measure_)) is not None]
    if not values:
        return ""
    halves = [
        (row.intervals[measure_][1] - row.intervals[measure_][0]) / 2 for row in rows if measure_ in row.intervals
    ]
    return f"{np.mean(values):.3f}" + (f" ± {max(halves):.3f}" if halves else "")


if __name__ == "__main__":
    main()
