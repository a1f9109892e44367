"""Judge runs whose right verdict is known, and print each one's verdict and margin.

`python benchmarks/verdicts.py` does so on planted embeddings of all three geometries; with `--data DIR` also on
celeba_centred.npz and celeba_cone.npz there. A mistake is marked and makes the exit code 1. Margins are 1 where the
control of the same data is and 0 at the threshold; the one shown is of the decision that the name hangs on most.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from fclf.closed.linear import Shift, least_squares_effects, project
from fclf.closed.quantile import QuantileShift
from fclf.closed.transport import ConditionalTransport
from fclf.config import load_config
from fclf.data.embeddings import EmbeddingSet
from fclf.data.planted import ATTRIBUTES, Geometry, planted
from fclf.evaluation.bench import Bench
from fclf.evaluation.controls import controls
from fclf.evaluation.edits import all_groups
from fclf.evaluation.judges import Judges
from fclf.evaluation.readings import Verdict, VerdictName
from fclf.evaluation.results import Row
from fclf.evaluation.verdict import judge_table
from fclf.train import train

RECIPES = ("before", "fclf_config", "negative_sampling", "stop_gradient", "soft_positives")
EPOCHS = {"before": 12}
"""On planted rows, of a recipe that needs more than 5: the old loss collapses slowly, and half-way it is neither."""
SHARES = (0.5, 0.2, 0.1, 0.05)
FAST = ("loss.lambda_curl=0", "loss.lambda_div=0", "training.learning_rate=0.001", "training.evaluate_every=0")
"""Ten times the recipes' rate and no Jacobians: the same ends after few epochs of few rows."""
AMBIGUOUS = "nearest real target row"
"""Real rows, but few of a rare combination and the same ones again and again: a collapse or not, by taste."""
CONTROLS: dict[str, VerdictName] = {"do nothing": "UNDER-MOVED", "target mean": "COLLAPSED"}


@dataclass(frozen=True)
class Known:
    """A run, what it must be called, and what it was called."""

    name: str
    expected: VerdictName
    verdict: Verdict
    row: Row
    collapsed: tuple[tuple[str, ...], ...] | None = None
    """The combinations that must be named, as `name=value` texts; None where it does not matter."""

    @property
    def right(self) -> bool:
        """Whether name and combinations are as they must be."""
        groups = [c for c in self.verdict.collapsed if len(c.target) > 1]  # the others are cells without a group
        found = tuple(sorted(combination(c.change, c.target) for c in groups))
        return self.verdict.name == self.expected and self.collapsed in (None, found)


class Setting:
    """One data set with its judges and controls, on which any edits of its test rows, `most` of them, are judged."""

    def __init__(self, data: EmbeddingSet, seed: int = 0, most: int | None = None) -> None:
        self.data = data
        self.train, test = data.part("train").labelled(), data.part("test").labelled()
        test = test.take(np.sort(np.random.default_rng(seed).permutation(len(test))[:most]))
        self.bench = Bench.build(test, Judges.fit(data.part("judge").labelled(), seed), "each", seed)
        self.z, self.y = self.train.embeddings.astype(np.float64), np.asarray(self.train.attributes)
        self.forms = controls(self.train)
        self.rows = {name: self.measure(name, form) for name, form in self.forms.items()}
        self.rows["held-out real"] = self.bench.measure_real()
        self.groups = all_groups(self.bench.plan, self.bench.y)

    def measure(self, name: str, form) -> Row:
        """Row of the table of one closed form."""
        plan = self.bench.plan
        return self.bench.measure(name, form(self.bench.sources, plan.original, plan.target))

    def judge(self, row: Row) -> Verdict:
        """Verdict on a row."""
        return judge_table([row, *self.rows.values()])

    def shrunk(self, edited: np.ndarray, groups: Sequence, share: float) -> np.ndarray:
        """The edits with the variance of these groups reduced to a share of what it was, on the sphere."""
        out = edited.copy()
        for group in groups:
            if len(group.edits) > 1:
                out[group.edits] = shrink(edited[group.edits], share)
        return out

    def closed(self) -> Iterator[Known]:
        """Everything that needs no training."""
        for name, row in self.rows.items():
            if name == AMBIGUOUS:
                continue
            yield Known(name, CONTROLS.get(name, "HEALTHY"), self.judge(row), row)
        plan, effects = self.bench.plan, least_squares_effects(self.z, self.y)[1]
        edit = ConditionalTransport.fit(self.z, self.y, self.train.identities)
        for keep in (0.0, 0.5, 1.0):
            yield self.known(f"conditional transport, keep {keep:g}", "HEALTHY", replace(edit, keep=keep))
        yield self.known("shift x1.3", "HEALTHY", Shift(effects, 1.3))
        yield self.known("shift x2", "OFF-DISTRIBUTION", Shift(effects, 2.0))
        shuffled = self.y[np.random.default_rng(0).permutation(len(self.y))]
        noise = least_squares_effects(self.z, shuffled)[1]
        yield self.known("shuffled labels, shift", "UNDER-MOVED", Shift(noise))
        quantile = QuantileShift.fit(self.z, shuffled, self.train.identities)
        yield self.known("shuffled labels, quantile shift", "UNDER-MOVED", quantile)
        yield self.known("another attribute goes along", "LEAKING", along(effects))
        good = self.forms["quantile shift"](self.bench.sources, plan.original, plan.target)
        compared = [*self.bench.groups, *(c.group for c in self.bench.rare)]
        every = tuple(sorted(self.key(g) for g in compared))
        for share in SHARES:
            row = self.bench.measure("", self.shrunk(good, self.groups, share))
            yield Known(
                f"all shrunk to {share:.0%} of the variance",
                "COLLAPSED",
                self.judge(row),
                row,
                every if share < 0.5 else None,
            )
        sizes = sorted(compared, key=lambda g: len(g.edits))
        for title, group in (("smallest", sizes[0]), ("median", sizes[len(sizes) // 2]), ("largest", sizes[-1])):
            row = self.bench.measure("", self.shrunk(good, [group], 0.1))
            name = f"only the {title} combination ({len(group.edits)} edits) shrunk to 10%"
            yield Known(name, "COLLAPSED", self.judge(row), row, (self.key(group),))

    def known(self, name: str, expected: VerdictName, form) -> Known:
        """A closed form and what it must be called."""
        row = self.measure(name, form)
        return Known(name, expected, self.judge(row), row)

    def key(self, group) -> tuple[str, ...]:
        """A group as `Known.collapsed` names it."""
        names = self.bench.names
        return combination([names[k] for k in group.change], dict(zip(names, group.target, strict=True)))

    def quickly_trained(self, seeds: int, still: bool) -> Iterator[Known]:
        """All recipes on few rows."""
        for recipe in RECIPES:
            yield from self.trained((recipe,), seeds, (*FAST, f"training.num_epochs={EPOCHS.get(recipe, 5)}"), still)

    def trained(self, recipes: Sequence[str], seeds: int, overrides: Sequence[str], still: bool) -> Iterator[Known]:
        """The specification's recipes. `still`: on a cone the old loss has no gradient and its field goes nowhere."""
        z, y = (torch.from_numpy(x).float() for x in (self.bench.sources, self.bench.plan.target))
        for recipe in recipes:
            for seed in range(seeds):
                config = load_config(recipe, [*overrides, f"training.seed={seed}"])
                with tempfile.TemporaryDirectory() as folder:
                    flow = train(self.data, config, folder).flow()
                row = self.bench.measure(recipe, flow.edit(z, y).double().numpy())
                expected: VerdictName = "UNDER-MOVED" if still and recipe == "before" else "COLLAPSED"
                yield Known(f"recipe {recipe}, seed {seed}", expected, self.judge(row), row)


def along(effects: np.ndarray, share: float = 0.9):
    """The shift, and a share of the change of one other attribute that nobody asked for."""

    def edit(z: np.ndarray, y: np.ndarray, target: np.ndarray) -> np.ndarray:
        change = target.astype(np.float64) - y
        rows, k = np.arange(len(y)), y.shape[1]
        other = (np.argmax(change != 0, axis=1) + np.random.default_rng(0).integers(1, k, len(y))) % k
        change[rows, other] += share * (1 - 2 * y[rows, other])
        return project(z + change @ effects)

    return edit


def combination(change: Sequence[str], target: dict[str, int]) -> tuple[str, ...]:
    """A group's change and target as one tuple of texts."""
    return (*(f"{name} flipped" for name in change), *(f"{name}={value}" for name, value in target.items()))


def shrink(x: np.ndarray, share: float) -> np.ndarray:
    """Pull points toward their mean until this share of their variance is left *after* projection to the sphere."""
    mean, low, high = x.mean(axis=0), 0.0, 1.0
    goal = share * x.var(axis=0).sum()
    for _ in range(40):
        middle = (low + high) / 2
        smaller = project(mean + middle * (x - mean)).var(axis=0).sum() < goal
        low, high = (middle, high) if smaller else (low, middle)
    return project(mean + high * (x - mean))


def report(title: str, runs: Iterator[Known]) -> int:
    """Print a table and return the number of mistakes."""
    mistakes = 0
    say(f"\n| {title} | verdict | margin | deciding | measured | threshold | combinations |\n|" + "---|" * 7)
    for run in runs:
        mistakes += not run.right
        name = run.verdict.name if run.right else f"**{run.verdict.name}, not {run.expected}**"
        d = deciding(run.verdict)
        lost = len(run.verdict.collapsed)
        cells = (name, f"{run.verdict.margin:.2f}", d.name, f"{d.value:.3f}", f"{d.threshold:.3f}", lost or "")
        say(f"| {run.name} | " + " | ".join(str(cell) for cell in cells) + " |")
    return mistakes


def say(line: str) -> None:
    """Print at once, as a run takes a while."""
    print(line, flush=True)  # noqa: T201


def deciding(verdict: Verdict):
    """The decision that called the name most clearly; for a healthy one, the closest."""
    called = [d for d in verdict.decisions if d.calls == verdict.name]
    return min(called or verdict.decisions, key=lambda d: d.margin)


def main() -> None:
    """Judge all known runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--rows", type=int, default=4000, help="planted rows")
    options = parser.parse_args()
    torch.set_num_threads(1)
    threadpool_limits(1)
    mistakes = 0
    for geometry in get_args(Geometry):
        for seed in range(options.seeds):
            setting = Setting(planted(options.rows, geometry=geometry, seed=seed)[0], seed)
            mistakes += report(f"planted, {geometry}, seed {seed}", setting.closed())
            mistakes += report(f"planted, {geometry}, recipes", setting.quickly_trained(1, geometry == "cone"))
    for name in ("centred", "cone") if options.data else ():
        setting = Setting(EmbeddingSet.load(options.data / f"celeba_{name}.npz").select(ATTRIBUTES))
        mistakes += report(f"celeba, {name}", setting.closed())
        few = ("training.num_epochs=5", "training.evaluate_every=0")
        mistakes += report(f"celeba, {name}, recipes", setting.trained(RECIPES, options.seeds, few, name == "cone"))
    say(f"\n{mistakes} mistakes.")
    sys.exit(mistakes > 0)


if __name__ == "__main__":
    main()
