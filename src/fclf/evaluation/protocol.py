"""The evaluation protocol: judges apart, flipped targets, controls in the same table."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float64, Int8
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from fclf import __version__
from fclf.checkpoint import Checkpoint
from fclf.data.embeddings import EmbeddingSet
from fclf.errors import InputError
from fclf.evaluation.controls import controls
from fclf.evaluation.edits import MIN_EDITED, MIN_REAL, EditPlan, Group, Mode, comparable_groups, plan_edits
from fclf.evaluation.geometry import purity, silhouette
from fclf.evaluation.judges import Judge, Judges
from fclf.evaluation.results import LOST_SPREAD, GroupScores, JudgeScores, Metrics, PlotPoints, Report, Row
from fclf.evaluation.spread import (
    distinct_points,
    energy_distance,
    rank_one,
    recall,
    rms_spread,
    total_variance,
)
from fclf.flow import Flow

__all__ = ["evaluate"]

DISTINCT_TOLERANCE = 1e-3
"""Destinations closer than this share of the real spread are the same."""
MAX_SAMPLE = 2000
"""Edits in the measures that compare all pairs."""
MAX_PATHS = 150
MIN_ROWS = 10

Matrix = Float64[np.ndarray, "n d"]
Labels = Int8[np.ndarray, "n K"]


def evaluate(
    checkpoint: Checkpoint, data: EmbeddingSet, *, split: str = "test", mode: Mode = "each", seed: int = 0
) -> Report:
    """Edit the rows of one split with a trained flow and with every control, and judge the results.

    Args:
        checkpoint: the trained field; its attributes are found in `data` by name.
        data: embeddings with attributes; without a split column the checkpoint's seed splits them.
        split: rows to edit, `train`, `val` or `test`.
        mode: which edits: every row x every attribute (`each`), or one of the reference's samples.
        seed: of the judges, samples and subsamples.

    Raises:
        InputError: if the data do not fit, or the judge rows were used in training.
    """
    if split == "judge":
        raise InputError("--split judge: the judges are trained on these rows; evaluate another split.")
    data = checkpoint.matching(data).with_split(checkpoint.config.data.split_seed)
    judge_rows = data.part("judge").labelled()
    shared = checkpoint.shared_rows(judge_rows)
    if shared:
        raise InputError(
            f"{shared} of {len(judge_rows)} judge rows were used to train this checkpoint, so the judges would know "
            "what the flow knows. Use the split that the checkpoint was trained with."
        )
    rows = data.part(split).labelled()
    if len(rows) < MIN_ROWS:
        raise InputError(
            f"{len(rows)} rows in the split '{split}' are too few to evaluate; at least {MIN_ROWS} are needed."
        )
    bench = _Bench.build(rows, Judges.fit(judge_rows, seed), mode, seed)
    destinations, steps, movement_paths = _follow(checkpoint.flow(), bench)
    table = [bench.measure("flow", destinations, steps)]
    for name, control in controls(data.part("train").labelled()).items():
        table.append(bench.measure(name, control(bench.sources, bench.plan.original, bench.plan.target)))
    table.append(bench.measure_real())
    metrics = Metrics(
        fclf_version=__version__,
        mode=mode,
        split=split,
        seed=seed,
        attributes=list(data.attribute_names),
        rows={
            "evaluated": len(rows),
            "judge": len(judge_rows),
            "edits": len(bench.plan),
            "groups": len(bench.groups),
        },
        data_fingerprint=data.fingerprint(),
        trained_on_this_data=data.fingerprint() == checkpoint.data_fingerprint,
        epoch=checkpoint.epoch,
        config=checkpoint.config.model_dump(mode="json"),
        table=table,
        notes=_notes(checkpoint.shared_rows(rows), rows, bench),
    )
    return Report(metrics, bench.plot_points(destinations, movement_paths))


def _follow(flow: Flow, bench: _Bench) -> tuple[Matrix, float, NDArray[np.float32]]:
    """Destinations of all edits, mean step length, and whole paths of the plotted ones."""
    z = torch.from_numpy(bench.sources.astype(np.float32))
    y = torch.from_numpy(bench.plan.target.astype(np.float32))
    ends, lengths = [], []
    with torch.no_grad():
        for first in range(0, len(z), 8192):
            part = slice(first, first + 8192)
            previous = z[part]
            for point in flow.path(z[part], y[part]):
                lengths.append(torch.linalg.vector_norm(point - previous, dim=1).double().sum().item())
                previous = point
            ends.append(previous)
        shown = torch.from_numpy(bench.sample[:MAX_PATHS])
        paths = flow.trajectory(z[shown], y[shown]).points.numpy()
    destinations = torch.cat(ends).double().numpy()
    if not np.isfinite(destinations).all():
        raise InputError("The checkpoint's flow ends at numbers that are not finite; train it again.")
    return destinations, sum(lengths) / (len(z) * flow.steps), paths


@dataclass(frozen=True)
class _Bench:
    """The evaluated rows, the edits asked of them and the judges, shared by every row of the table."""

    z: Matrix
    y: Labels
    names: tuple[str, ...]
    plan: EditPlan
    groups: list[Group]
    judges: Judges
    before: dict[str, Labels]
    """Each judge's predictions of the unedited rows."""
    energy_source: list[float]
    sample: NDArray[np.intp]
    """Edits in the measures that compare all pairs, and in the figures."""
    codes: dict[str, NDArray[np.int64]]
    """Number of each edit's original and target combination."""
    code_rows: Labels
    seed: int

    @classmethod
    def build(cls, rows: EmbeddingSet, judges: Judges, mode: Mode, seed: int) -> _Bench:
        z, y = rows.embeddings.astype(np.float64), np.asarray(rows.attributes)
        plan = plan_edits(y, rows.attribute_names, mode, seed)
        groups = [g for g in comparable_groups(plan, y) if np.ptp(z[g.real], axis=0).any()]
        every, numbers = np.unique(np.concatenate([plan.original, plan.target]), axis=0, return_inverse=True)
        original, target = np.split(numbers.reshape(-1), 2)
        sample = np.random.default_rng(seed).permutation(len(plan))[:MAX_SAMPLE]
        return cls(
            z=z,
            y=y,
            names=rows.attribute_names,
            plan=plan,
            groups=groups,
            judges=judges,
            before={name: judge.predict(z) for name, judge in _both(judges)},
            energy_source=[energy_distance(z[plan.source[g.edits]], z[g.real]) for g in groups],
            sample=sample,
            codes={"original": original, "target": target},
            code_rows=every,
            seed=seed,
        )

    @property
    def sources(self) -> Matrix:
        return self.z[self.plan.source]

    def measure(self, name: str, edited: Matrix, step_distance: float | None = None) -> Row:
        """One row of the table."""
        scores = {key: self._judge(judge, edited, self.before[key]) for key, judge in _both(self.judges)}
        groups = [
            self._group(g, edited[g.edits], self.z[g.real], energy, number)
            for number, (g, energy) in enumerate(zip(self.groups, self.energy_source, strict=True))
        ]
        remainder = self.judges.linear.remainder
        row = self._row(name, scores, groups, edited[self.sample], self.codes["target"][self.sample])
        sampled = self.sources[self.sample], edited[self.sample]
        silhouettes = {
            f"{state}_by_{by}": silhouette(x, self.codes[by][self.sample])
            for state, x in zip(("original", "flowed"), sampled, strict=True)
            for by in ("original", "target")
        }
        return row.model_copy(
            update={
                "rank1": rank_one(remainder(edited), remainder(self.z), self.plan.source),
                "movement": float(np.linalg.norm(edited - self.sources, axis=1).mean()),
                "step_distance": step_distance,
                "silhouettes": silhouettes,
            }
        )

    def measure_real(self) -> Row:
        """Held-out real rows in the place of edits: the ceiling.

        The judges are asked about each row's own labels; in each group one random half of the real rows stands
        for the edits and is compared with the other.
        """
        scores = {
            key: self._cells(self.before[key] == self.y, np.ones_like(self.y, bool), self.y) for key in self.before
        }
        groups = []
        for number, g in enumerate(self.groups):
            order = np.random.default_rng((self.seed, number)).permutation(g.real)
            half, other = order[: len(order) // 2], order[len(order) // 2 :]
            energy = energy_distance(self.z[self.plan.source[g.edits]], self.z[other])
            groups.append(self._group(replace(g, edits=half), self.z[half], self.z[other], energy, number))
        codes = np.unique(self.y, axis=0, return_inverse=True)[1].reshape(-1)
        rows = np.random.default_rng(self.seed).permutation(len(self.z))[:MAX_SAMPLE]
        row = self._row("held-out real", scores, groups, self.z[rows], codes[rows])
        return row.model_copy(update={"silhouettes": {"flowed_by_target": silhouette(self.z[rows], codes[rows])}})

    def plot_points(self, destinations: Matrix, paths: NDArray[np.float32]) -> PlotPoints:
        """Project the sampled edits and the paths on the first two principal axes of the originals."""
        original, flowed = self.sources[self.sample], destinations[self.sample]
        axes = PCA(2, svd_solver="covariance_eigh").fit(self.z)
        return PlotPoints(
            original=axes.transform(original),
            flowed=axes.transform(flowed),
            paths=np.stack([axes.transform(points.astype(np.float64)) for points in paths]),
            original_codes=self.codes["original"][self.sample],
            target_codes=self.codes["target"][self.sample],
            code_names=np.array([_combination(self.names, row) for row in self.code_rows]),
            explained=axes.explained_variance_ratio_,
        )

    def _row(
        self,
        name: str,
        scores: dict[str, JudgeScores],
        groups: list[GroupScores],
        x: Matrix,
        codes: NDArray[np.int64],
    ) -> Row:
        """What every row of the table has, edits or not."""
        distinct = distinct_points(x, DISTINCT_TOLERANCE * rms_spread(self.z))
        combinations = len(np.unique(codes))
        weights = np.array([g.edits for g in groups], dtype=np.float64)
        before = float(weights @ [g.energy_source for g in groups])
        after = float(weights @ [g.energy_edited for g in groups])
        ratios = [g.variance_ratio for g in groups]
        return Row(
            name=name,
            linear=scores["linear"],
            mlp=scores["mlp"],
            rank1=None,
            gap_closed=1 - after / before if before > 0 else None,
            variance_ratio=float(np.mean(ratios)) if groups else None,
            smallest_variance_ratio=min(ratios, default=None),
            recall=float(np.mean([g.recall for g in groups])) if groups else None,
            movement=None,
            step_distance=None,
            silhouettes={},
            purity={
                "10": purity(x, codes, 10, self.seed),
                "combinations": purity(x, codes, combinations, self.seed),
            },
            distinct_destinations=distinct,
            sampled=len(x),
            collapsed=_collapses(groups, distinct, combinations, len(x)),
            groups=groups,
        )

    def _judge(self, judge: Judge, edited: Matrix, before: Labels) -> JudgeScores:
        after = judge.predict(edited)
        scores = self._cells(after == self.plan.target, self.plan.flips, self.plan.target)
        others = ~self.plan.flips
        same = after == before[self.plan.source]
        return scores.model_copy(update={"kept": float(same[others].mean()) if others.any() else None})

    def _cells(self, right: NDArray[np.bool_], asked: NDArray[np.bool_], value: Labels) -> JudgeScores:
        cells = {}
        for k, name in enumerate(self.names):
            for to in (1, 0):
                rows = asked[:, k] & (value[:, k] == to)
                if rows.any():
                    cells[f"{name}={to}"] = float(right[rows, k].mean())
        worst = min(cells, key=lambda cell: cells[cell])
        return JudgeScores(
            success=float(np.mean(list(cells.values()))),
            worst=cells[worst],
            worst_cell=worst,
            kept=None,
            cells=cells,
        )

    def _group(self, group: Group, edited: Matrix, real: Matrix, energy_source: float, number: int) -> GroupScores:
        rng = np.random.default_rng((self.seed, number))  # the same subsample for every row of the table
        return GroupScores(
            change=[self.names[k] for k in group.change],
            target=dict(zip(self.names, group.target, strict=True)),
            edits=len(edited),
            real=len(real),
            energy_source=energy_source,
            energy_edited=energy_distance(edited, real),
            variance_ratio=total_variance(edited) / total_variance(real),
            recall=recall(edited, real, rng),
        )


def _notes(trained_on: int, rows: EmbeddingSet, bench: _Bench) -> list[str]:
    """What a reader should know before believing the table."""
    found = []
    if trained_on:
        found.append(f"{trained_on} of the {len(rows)} evaluated rows were used in training: this flatters the flow.")
    if not bench.groups:
        found.append(
            f"No group has {MIN_EDITED} edits and {MIN_REAL} different real rows to compare them with: gap, variance "
            "ratio and recall are missing. Evaluate more rows."
        )
    flips, target = bench.plan.flips, bench.plan.target
    empty = [
        f"{name} to {value}"
        for k, name in enumerate(bench.names)
        for value in (0, 1)
        if not (flips[:, k] & (target[:, k] == value)).any()
    ]
    if empty:
        found.append(f"No row is edited in these directions, so no success is reported for them: {', '.join(empty)}.")
    if len(bench.sample) < len(bench.plan):
        found.append(
            f"Silhouettes, purity and distinct destinations are of {len(bench.sample)} edits drawn at random "
            f"from {len(bench.plan)}."
        )
    return found


def _both(judges: Judges) -> tuple[tuple[str, Judge], tuple[str, Judge]]:
    return ("linear", judges.linear), ("mlp", judges.mlp)


def _combination(names: tuple[str, ...], row: Labels) -> str:
    return "+".join(name for name, value in zip(names, row, strict=True) if value) or "none"


def _collapses(groups: list[GroupScores], distinct: int, combinations: int, sampled: int) -> list[str]:
    """Signs of collapse in words; empty where there are none."""
    found = []
    if distinct == 1:
        found.append("all destinations are one point")
    elif distinct <= combinations < sampled:
        found.append(f"{sampled} edits end at {distinct} distinct points, no more than there are combinations")
    for g in groups:
        if g.variance_ratio < LOST_SPREAD:
            target = "+".join(name for name, value in g.target.items() if value) or "none"
            found.append(f"flipping {'+'.join(g.change)} toward {target} leaves {g.variance_ratio:.1%} of the variance")
    return found
