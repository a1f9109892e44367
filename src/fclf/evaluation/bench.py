"""The evaluated rows, the edits asked of them and the judges: what every row of the table is measured with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float64, Int8
from numpy.typing import NDArray

from fclf.data.embeddings import EmbeddingSet
from fclf.evaluation.edits import MIN_EDITED, MIN_REAL, EditPlan, Group, Mode, all_groups, comparable_groups, plan_edits
from fclf.evaluation.geometry import purity, silhouette
from fclf.evaluation.judges import Judge, Judges, cell_shares
from fclf.evaluation.leakage import leakage
from fclf.evaluation.results import GroupScores, JudgeScores, Row
from fclf.evaluation.spread import (
    distinct_points,
    energy_distance,
    rank_one,
    recall,
    rms_spread,
    total_variance,
)

__all__ = ["Bench"]

DISTINCT_TOLERANCE = 1e-3
"""Destinations closer than this share of the real spread are the same."""
MIN_RARE = 20
"""Fewest edits and real rows of a group that is compared by spread alone."""
MAX_SAMPLE = 2000
"""Edits in the measures that compare all pairs."""

Matrix = Float64[np.ndarray, "n d"]
Labels = Int8[np.ndarray, "n K"]


@dataclass(frozen=True)
class Bench:
    """Measures any edits of the same rows in the same way."""

    z: Matrix
    y: Labels
    names: tuple[str, ...]
    plan: EditPlan
    groups: list[Group]
    rare: list[Group]
    """Groups of fewer rows, of which the verdict reads the spread."""
    judges: Judges
    before: dict[str, Labels]
    """Each judge's predictions of the unedited rows."""
    logits: Matrix
    """The linear judge's, of the unedited rows."""
    energy_source: list[float]
    """Of `groups`, then of `rare`."""
    sample: NDArray[np.intp]
    """Edits in the measures that compare all pairs, and in the figures."""
    codes: dict[str, NDArray[np.int64]]
    """Number of each edit's original and target combination."""
    code_rows: Labels
    seed: int

    @classmethod
    def build(cls, rows: EmbeddingSet, judges: Judges, mode: Mode, seed: int) -> Bench:
        """Plan the edits of labelled rows and measure what is the same for every row of the table."""
        z, y = rows.embeddings.astype(np.float64), np.asarray(rows.attributes)
        plan = plan_edits(y, rows.attribute_names, mode, seed)
        groups, few = (
            [g for g in comparable_groups(plan, y, *least) if np.ptp(z[g.real], axis=0).any()]
            for least in ((MIN_EDITED, MIN_REAL), (MIN_RARE, MIN_RARE))
        )
        chosen = {(g.change, g.target) for g in groups}
        rare = [g for g in few if (g.change, g.target) not in chosen]
        every, numbers = np.unique(np.concatenate([plan.original, plan.target]), axis=0, return_inverse=True)
        original, target = np.split(numbers.reshape(-1), 2)
        sample = np.random.default_rng(seed).permutation(len(plan))[:MAX_SAMPLE]
        return cls(
            z=z,
            y=y,
            names=rows.attribute_names,
            plan=plan,
            groups=groups,
            rare=rare,
            judges=judges,
            before={name: judge.predict(z) for name, judge in _both(judges)},
            logits=judges.linear.logits(z),
            energy_source=[energy_distance(z[plan.source[g.edits]], z[g.real]) for g in (*groups, *rare)],
            sample=sample,
            codes={"original": original, "target": target},
            code_rows=every,
            seed=seed,
        )

    @cached_property
    def sources(self) -> Matrix:
        """Source of every edit."""
        return self.z[self.plan.source]

    @property
    def tolerance(self) -> float:
        """Distance up to which two destinations are the same."""
        return DISTINCT_TOLERANCE * rms_spread(self.z)

    @property
    def logit_spread(self) -> Float64[np.ndarray, " K"]:
        """Standard deviation of the linear judge's logits on unedited rows."""
        spread: Float64[np.ndarray, " K"] = self.logits.std(axis=0)
        return spread

    @cached_property
    def source_silhouettes(self) -> dict[str, float | None]:
        """Of the sampled sources, which are the same in every row of the table."""
        return self._silhouettes("original", self.sources)

    def _silhouettes(self, state: str, x: Matrix) -> dict[str, float | None]:
        return {
            f"{state}_by_{by}": silhouette(x[self.sample], self.codes[by][self.sample]) for by in ("original", "target")
        }

    def measure(self, name: str, edited: Matrix, step_distance: float | None = None) -> Row:
        """Measure one row of the table."""
        scores = {key: self._judge(judge, edited, self.before[key]) for key, judge in _both(self.judges)}
        groups = [
            self._group(g, self.sources[g.edits], edited[g.edits], self.z[g.real], energy, number)
            for number, (g, energy) in enumerate(zip((*self.groups, *self.rare), self.energy_source, strict=True))
        ]
        remainder = self.judges.linear.remainder
        kept = self._spread_kept(edited)
        row = self._row(name, scores, groups, edited[self.sample], self.codes["target"][self.sample], kept)
        return row.model_copy(
            update={
                "rank1": rank_one(remainder(edited), remainder(self.z), self.plan.source),
                "movement": float(np.linalg.norm(edited - self.sources, axis=1).mean()),
                "step_distance": step_distance,
                "silhouettes": self.source_silhouettes | self._silhouettes("flowed", edited),
                "leakage": leakage(
                    self.judges.linear.logits(edited) - self.logits[self.plan.source],
                    self.logit_spread,
                    self.plan.target - self.plan.original,
                ),
            }
        )

    def measure_real(self) -> Row:
        """Measure held-out real rows in the place of edits: the ceiling.

        The judges are asked about each row's own labels; in each group one random half of the real rows stands
        for the edits and is compared with the other.
        """
        scores = {
            key: self._cells(self.before[key] == self.y, np.ones_like(self.y, bool), self.y) for key in self.before
        }
        groups = []
        for number, g in enumerate((*self.groups, *self.rare)):
            order = np.random.default_rng((self.seed, number)).permutation(g.real)
            half, other = order[: len(order) // 2], order[len(order) // 2 :]
            energy = energy_distance(self.z[self.plan.source[g.edits]], self.z[other])
            sources = self.sources[g.edits]
            groups.append(self._group(replace(g, edits=half), sources, self.z[half], self.z[other], energy, number))
        codes = np.unique(self.y, axis=0, return_inverse=True)[1].reshape(-1)
        rows = np.random.default_rng(self.seed).permutation(len(self.z))[:MAX_SAMPLE]
        row = self._row("held-out real", scores, groups, self.z[rows], codes[rows], None)
        return row.model_copy(update={"silhouettes": {"flowed_by_target": silhouette(self.z[rows], codes[rows])}})

    def _row(
        self,
        name: str,
        scores: dict[str, JudgeScores],
        groups: list[GroupScores],
        x: Matrix,
        codes: NDArray[np.int64],
        spread_kept: float | None,
    ) -> Row:
        """What every row of the table has, edits or not."""
        groups, rare = groups[: len(self.groups)], groups[len(self.groups) :]
        distinct = distinct_points(x, self.tolerance)
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
            spread_kept=spread_kept,
            collapsed=[],  # the verdict reads signs of collapse off the whole table
            groups=groups,
            rare=rare,
        )

    def _judge(self, judge: Judge, edited: Matrix, before: Labels) -> JudgeScores:
        after = judge.predict(edited)
        scores = self._cells(after == self.plan.target, self.plan.flips, self.plan.target)
        others = ~self.plan.flips
        same = after == before[self.plan.source]
        return scores.model_copy(update={"kept": float(same[others].mean()) if others.any() else None})

    def _cells(self, right: NDArray[np.bool_], asked: NDArray[np.bool_], value: Labels) -> JudgeScores:
        cells = cell_shares(right, asked, value, self.names)
        worst = min(cells, key=lambda cell: cells[cell])
        return JudgeScores(
            success=float(np.mean(list(cells.values()))),
            worst=cells[worst],
            worst_cell=worst,
            kept=None,
            cells=cells,
        )

    def _spread_kept(self, edited: Matrix) -> float | None:
        """Variance within edits of one change and target, over that of their sources: needs no real rows."""
        groups = [g.edits for g in all_groups(self.plan, self.y)]
        after, before = (
            sum(float(x[rows].var(axis=0).sum()) * len(rows) for rows in groups) for x in (edited, self.sources)
        )
        return after / before if before > 0 else None

    def _group(
        self, group: Group, sources: Matrix, edited: Matrix, real: Matrix, energy_source: float, number: int
    ) -> GroupScores:
        rng = np.random.default_rng((self.seed, number))  # the same subsample for every row of the table
        return GroupScores(
            change=[self.names[k] for k in group.change],
            target=dict(zip(self.names, group.target, strict=True)),
            edits=len(edited),
            real=len(real),
            energy_source=energy_source,
            energy_edited=energy_distance(edited, real),
            variance_ratio=total_variance(edited) / total_variance(real),
            spread_kept=total_variance(edited) / max(total_variance(sources), np.finfo(np.float64).tiny),
            recall=recall(edited, real, rng),
        )


def _both(judges: Judges) -> tuple[tuple[str, Judge], tuple[str, Judge]]:
    return ("linear", judges.linear), ("mlp", judges.mlp)
