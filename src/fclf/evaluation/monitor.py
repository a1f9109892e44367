"""What training asks every few epochs: the verdict on the edits of the val rows, from train and val rows alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from jaxtyping import Float, Float64, Int8
from numpy.typing import NDArray
from torch import Tensor

from fclf.closed.linear import Shift, least_squares_effects
from fclf.data.embeddings import EmbeddingSet
from fclf.evaluation.edits import Group, all_groups, comparable_groups, plan_edits
from fclf.evaluation.geometry import silhouette
from fclf.evaluation.judges import LinearJudge, Standardiser, cell_shares
from fclf.evaluation.leakage import leakage
from fclf.evaluation.readings import Verdict
from fclf.evaluation.results import GroupScores, JudgeScores, Row
from fclf.evaluation.spread import distances, distinct_points, energy_distance, recall, rms_spread, thin, total_variance
from fclf.evaluation.verdict import judge_table

__all__ = ["Edit", "SpreadMonitor"]

MIN_ROWS = 20
MAX_EDITS = 20_000
MAX_REAL = 400
"""Rows of a group in the measures that compare all pairs."""
DISTINCT_TOLERANCE = 1e-3

Edit = Callable[[Float[Tensor, "n d"], Float[Tensor, "n K"], Float[Tensor, "n K"]], Float[Tensor, "n d"]]
"""Embeddings, their own attributes and the target's -> edited embeddings."""
Matrix = Float64[np.ndarray, "n d"]
Labels = Int8[np.ndarray, "n K"]


class SpreadMonitor:
    """The rules of the verdict on edits of the val rows, every row x every attribute.

    They are compared with the *train* rows of the target combination, as the val rows of one are few, in groups of
    `MIN_ROWS` edits and real rows or more. The judges wait for the evaluation: success and kept are read by two linear
    probes, each fitted on one half of the people in the train rows, which stand where an evaluation has its two judges.
    A field that is trained against such probes can look better by them than it is, so they choose between epochs and
    say when nothing moves, and no more.

    At most `MAX_EDITS` edits are made, of val rows drawn at random.

    Args:
        train: real rows to compare with, and to fit probes and shifts on.
        val: rows to edit.
        seed: of halves and samples.
        sample: edits in the silhouette and the distinct destinations, which compare all pairs.
    """

    def __init__(self, train: EmbeddingSet, val: EmbeddingSet, *, seed: int = 0, sample: int = 1000) -> None:
        rows = np.random.default_rng(seed).permutation(len(val))[: max(1, MAX_EDITS // len(val.attribute_names))]
        val = val.take(np.sort(rows))
        self.names, self.seed = val.attribute_names, seed
        self.plan = plan_edits(np.asarray(val.attributes), self.names, exclusive=val.exclusive)
        self.real, self.y = train.embeddings.astype(np.float64), np.asarray(train.attributes)
        self.sources = val.embeddings[self.plan.source].astype(np.float64)
        self.z = torch.from_numpy(val.embeddings)[self.plan.source]
        self.labels, self.targets = (torch.from_numpy(y).float() for y in (self.plan.original, self.plan.target))
        self.codes = np.unique(self.plan.target, axis=0, return_inverse=True)[1].reshape(-1)
        self.sample = np.random.default_rng(seed).permutation(len(self.plan))[:sample]
        self.everyone = [g.edits for g in all_groups(self.plan, self.y)]
        self.groups = [
            self._thinned(g)
            for g in comparable_groups(self.plan, self.y, MIN_ROWS, MIN_ROWS)
            if np.ptp(self.real[g.real], axis=0).any()
        ]
        self.energies = [energy_distance(self.sources[g.edits], self.real[g.real]) for g in self.groups]
        half = self._halves(train)
        inputs = Standardiser.fit(self.real)
        self.probes = [LinearJudge.fit(inputs, self.real[h], self.y[h]) for h in (half, ~half) if _teaches(self.y[h])]
        self.before = [probe.predict(self.sources) for probe in self.probes]
        self.logits = self.probes[0].logits(self.sources) if self.probes else None
        self.controls = self._controls(half) if len(self.probes) == 2 else []

    def __call__(self, edit: Edit) -> Mapping[str, float]:
        """What is defined of silhouette, variance, success, kept and gap; the verdict as 0 or 1; and the `score`.

        `score`, the mean of success, kept and gap closed, orders flows of the same verdict along the front: each of
        the three can be bought with another.
        """
        row = self.measure(edit)
        found = {"silhouette_by_target": row.silhouettes["flowed_by_target"], "variance_ratio": row.variance_ratio}
        if self.controls:
            verdict = self.verdict(row)
            gap = None if row.gap_closed is None else max(row.gap_closed, -1.0)
            every = [row.linear.success, row.mlp.success], [row.linear.kept, row.mlp.kept], [gap]
            parts = [[value for value in part if value is not None] for part in every]
            found |= {
                "spread_kept": row.spread_kept,
                "smallest_variance_ratio": row.smallest_variance_ratio,
                "success": float(np.mean(parts[0])),
                "kept": None if not parts[1] else float(np.mean(parts[1])),
                "gap_closed": row.gap_closed,
                "score": float(np.mean([np.mean(part) for part in parts if part])),
                "collapsed": float(verdict.name == "COLLAPSED"),
                "under_moved": float(verdict.name == "UNDER-MOVED"),
                "healthy": float(verdict.name == "HEALTHY"),
            }
        return {name: value for name, value in found.items() if value is not None}

    def measure(self, edit: Edit) -> Row:
        """The row of the table of these edits, without what no rule reads."""
        return self._row("flow", edit(self.z, self.labels, self.targets).double().numpy())

    def verdict(self, row: Row) -> Verdict:
        """Judge a row by the shifts, by doing nothing and by halves of the train rows."""
        return judge_table([row, *self.controls])

    def _controls(self, half: NDArray[np.bool_]) -> list[Row]:
        effects = least_squares_effects(self.real, self.y)[1]
        rows = [self._row("do nothing", self.sources)]
        for name, strength in (("shift x1", 1.0), ("shift x1.5", 1.5)):
            rows.append(self._row(name, Shift(effects, strength)(self.sources, self.plan.original, self.plan.target)))
        crossed = [
            self._cells(probe.predict(self.real[h]) == self.y[h], np.ones_like(self.y[h], bool), self.y[h])
            for probe, h in zip(self.probes, (~half, half), strict=True)
        ]
        groups = []
        for number, (g, energy) in enumerate(zip(self.groups, self.energies, strict=True)):
            order = np.random.default_rng((self.seed, number)).permutation(g.real)
            one, other = self.real[order[::2]], self.real[order[1::2]]
            groups.append(self._group(g, self.sources[g.edits], one, other, energy, number))
        few = np.random.default_rng(self.seed).permutation(len(self.real))[: len(self.sample)]
        return [*rows, self._assemble("held-out real", crossed, groups, self.real[few], None)]

    def _row(self, name: str, edited: Matrix) -> Row:
        flips, target = self.plan.flips, self.plan.target
        scores = []
        for probe, before in zip(self.probes, self.before, strict=True):
            found = probe.predict(edited)
            kept = (found == before)[~flips]
            cells = self._cells(found == target, flips, target)
            scores.append(cells.model_copy(update={"kept": float(kept.mean()) if kept.size else None}))
        groups = [
            self._group(g, self.sources[g.edits], edited[g.edits], self.real[g.real], energy, number)
            for number, (g, energy) in enumerate(zip(self.groups, self.energies, strict=True))
        ]
        after, before_ = (
            sum(float(x[rows].var(axis=0).sum()) * len(rows) for rows in self.everyone) for x in (edited, self.sources)
        )
        row = self._assemble(name, scores, groups, edited[self.sample], after / before_ if before_ > 0 else None)
        by_target = silhouette(edited[self.sample], self.codes[self.sample])
        row = row.model_copy(update={"silhouettes": {"flowed_by_target": by_target}})
        if self.logits is None:
            return row
        shift = self.probes[0].logits(edited) - self.logits
        leaked = leakage(shift, self.logits.std(axis=0), self.plan.target - self.plan.original)
        return row.model_copy(update={"leakage": leaked})

    def _assemble(
        self, name: str, scores: list[JudgeScores], groups: list[GroupScores], x: Matrix, spread_kept: float | None
    ) -> Row:
        weights = np.array([g.edits for g in groups], dtype=np.float64)
        before = float(weights @ [g.energy_source for g in groups])
        after = float(weights @ [g.energy_edited for g in groups])
        ratios = [g.variance_ratio for g in groups]
        nothing = JudgeScores(success=0.0, worst=0.0, worst_cell="", kept=None, cells={})
        linear, mlp = scores if len(scores) == 2 else (nothing, nothing)
        return Row(
            name=name,
            linear=linear,
            mlp=mlp,
            rank1=None,
            gap_closed=1 - after / before if before > 0 else None,
            variance_ratio=float(np.mean(ratios)) if groups else None,
            smallest_variance_ratio=min(ratios, default=None),
            spread_kept=spread_kept,
            recall=float(np.mean([g.recall for g in groups])) if groups else None,
            movement=None,
            step_distance=None,
            silhouettes={},
            purity={},
            distinct_destinations=distinct_points(distances(x, x), DISTINCT_TOLERANCE * rms_spread(self.sources)),
            sampled=len(x),
            collapsed=[],
            groups=groups,
        )

    def _group(
        self, group: Group, sources: Matrix, edited: Matrix, real: Matrix, energy: float, number: int
    ) -> GroupScores:
        chosen, others = thin(len(edited), len(real), np.random.default_rng((self.seed, number)))
        ends, rows = edited[chosen], real[others]
        return GroupScores(
            change=[self.names[k] for k in group.change],
            target=dict(zip(self.names, group.target, strict=True)),
            edits=len(edited),
            real=len(real),
            energy_source=energy,
            energy_edited=energy_distance(edited, real),
            variance_ratio=total_variance(edited) / total_variance(real),
            spread_kept=total_variance(edited) / max(total_variance(sources), np.finfo(np.float64).tiny),
            recall=recall(distances(ends, rows), distances(ends, ends)),
        )

    def _cells(self, right: NDArray[np.bool_], asked: NDArray[np.bool_], value: Labels) -> JudgeScores:
        cells = cell_shares(right, asked, value, self.names)
        worst = min(cells, key=lambda cell: cells[cell])
        success = float(np.mean(list(cells.values())))
        return JudgeScores(success=success, worst=cells[worst], worst_cell=worst, kept=None, cells=cells)

    def _thinned(self, group: Group) -> Group:
        rng = np.random.default_rng(self.seed)
        edits, real = (np.sort(rng.permutation(rows)[:MAX_REAL]) for rows in (group.edits, group.real))
        return Group(group.change, group.target, edits, real)

    def _halves(self, train: EmbeddingSet) -> NDArray[np.bool_]:
        """Whether each train row belongs to the first half of the people."""
        units = np.arange(len(train)) if train.identities is None else train.identities
        people, member = np.unique(units, return_inverse=True)
        first: NDArray[np.bool_] = np.random.default_rng(self.seed).permutation(len(people)) < len(people) / 2
        return first[member.reshape(-1)]


def _teaches(y: Labels) -> bool:
    return len(y) > 0 and bool((y.min(axis=0) != y.max(axis=0)).all())
