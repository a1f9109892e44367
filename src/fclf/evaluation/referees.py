"""Referees of candidates: what one half of the people says of edits that the other half was fitted for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int8
from numpy.typing import NDArray

from fclf.closed.linear import ClosedForm
from fclf.data.embeddings import EmbeddingSet
from fclf.evaluation.edits import Group, comparable_groups, plan_edits
from fclf.evaluation.groups import variance
from fclf.evaluation.jackknife import Blocks, Statistic, divide, leave_out, leave_out_pairs, standard_error
from fclf.evaluation.judges import LinearJudge, Standardiser, cell_shares
from fclf.evaluation.pooling import mean_defined
from fclf.evaluation.retrieval import rank_one
from fclf.evaluation.spread import distances, mean_distance_within, total_variance
from fclf.labels import UNKNOWN

__all__ = ["LABELS", "Bout", "Scores"]

MIN_ROWS = 20
"""Fewest edits and real rows of a group that is compared."""
PART = 1024
"""Edits that are made at a time."""
GALLERY = 5000
"""Most referee rows among which an edit's source is looked for."""
LABELS = {"success": "success", "worst": "worst", "kept": "kept", "gap_closed": "gap closed", "rank1": "rank 1"}
TOLERANCE = {"success": 0.002, "worst": 0.002, "kept": 0.002, "gap_closed": 0.002, "rank1": 0.002}
"""By which a measure may fall whatever its standard error: less is nothing to a user."""
SPREAD_TOLERANCE = 0.01
"""The same, of the distance of the logarithm of the variance ratio to 0."""
CLEARLY = 2.0
"""Standard errors of a loss in one measure: with six of them, chance alone passes one error for most candidates."""
TINY = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True)
class Scores:
    """Measures of one candidate, of all val rows and without each block of people."""

    success: Statistic
    worst: Statistic
    kept: Statistic
    gap_closed: Statistic
    rank1: Statistic
    variance_ratio: Statistic

    @classmethod
    def mean(cls, both: list[Scores]) -> Scores:
        """Of both halves' referees."""
        return cls(*(np.mean([getattr(one, name) for one in both], axis=0) for name in cls.__dataclass_fields__))

    def score(self, keep: float, real: float) -> Statistic:
        """The score of `fclf.evaluation.selection.choose`, given the success of real rows."""
        parts = [np.minimum(self.success, real), np.minimum(self.worst, real) / 4, 2 * 6**keep * self.kept]
        if np.isfinite(self.gap_closed[0]):
            parts += [self.gap_closed, self.rank1]  # without the first the second would pay for standing still
        total: Statistic = np.sum([part for part in parts if np.isfinite(part[0])], axis=0)
        return total

    def behind(self, rival: Scores, real: float) -> tuple[str, ...]:
        """Measures of which more is lost than two standard errors and `TOLERANCE`."""
        found = []
        for name, label in LABELS.items():
            most = real if name in ("success", "worst") else np.inf
            lost = np.minimum(getattr(rival, name), most) - np.minimum(getattr(self, name), most)
            if lost[0] > max(CLEARLY * (standard_error(lost[1:]) or 0.0), TOLERANCE[name]):
                found.append(label)
        mine, its = (np.abs(np.log(np.maximum(x.variance_ratio, TINY))) for x in (self, rival))
        off = mine - its
        if off[0] > max(CLEARLY * (standard_error(off[1:]) or 0.0), SPREAD_TOLERANCE):
            found.append("variance ratio")
        return tuple(found)


@dataclass(frozen=True)
class Bout:
    """One half of the train people fits, the other half referees edits of the val rows."""

    rows: Float64[np.ndarray, "n d"]
    """The val rows."""
    y: Int8[np.ndarray, "m K"]
    target: Int8[np.ndarray, "m K"]
    source: NDArray[np.intp]
    """The val row that each of m edits is of."""
    number: NDArray[np.intp]
    """Block of people of each edit."""
    blocks: Blocks
    judge: LinearJudge
    before: Int8[np.ndarray, "m K"]
    gallery: Float64[np.ndarray, "g d"]
    """Remainders of the val rows and then of referee rows."""
    real: Float64[np.ndarray, "r d"]
    groups: list[Group]
    within: list[float]
    """Mean distance of each group's real rows."""
    energies: list[Statistic]
    """Of each group's sources."""

    @classmethod
    def prepare(
        cls, referees: EmbeddingSet, val: EmbeddingSet, taken_for: Int8[np.ndarray, "n K"], seed: int = 0
    ) -> Bout:
        """Fit the referee and measure what is the same for every candidate.

        Args:
            referees: one half of the train rows.
            val: rows to edit.
            taken_for: their labels, those that are unknown guessed.
            seed: of samples.
        """
        real, labels = referees.embeddings.astype(np.float64), np.asarray(referees.attributes)
        inputs = Standardiser.fit(real)
        judge = LinearJudge.fit(inputs, real, labels)
        rows = val.embeddings.astype(np.float64)
        known = np.asarray(val.attributes) != UNKNOWN
        plan = plan_edits(taken_for, val.attribute_names, known=known, exclusive=val.exclusive)
        blocks = Blocks.draw(len(val), val.identities, seed)
        others = np.random.default_rng(seed).permutation(len(real))[:GALLERY]
        bout = cls(
            rows=rows,
            y=plan.original,
            target=plan.target,
            source=plan.source,
            number=blocks.number[plan.source],
            blocks=blocks,
            judge=judge,
            before=judge.predict(rows)[plan.source],
            gallery=judge.remainder(np.concatenate([rows, real[others]])),
            real=real,
            groups=(groups := comparable_groups(plan, labels, MIN_ROWS, MIN_ROWS)),
            within=[mean_distance_within(real[group.real]) for group in groups],
            energies=[],
        )
        bout.energies.extend(bout._energies(lambda edits: rows[plan.source[edits]]))
        return bout

    def real_success(self, val: EmbeddingSet) -> float:
        """What the referee says of real val rows."""
        labels = np.asarray(val.attributes)
        right = self.judge.predict(val.embeddings.astype(np.float64)) == labels
        return float(np.mean(list(cell_shares(right, labels != UNKNOWN, labels, val.attribute_names).values())))

    def judged(self, form: ClosedForm) -> Scores:
        """Measure a candidate; NaN where not defined."""
        edited, hits = np.empty((len(self.source), self.rows.shape[1])), np.empty(len(self.source))
        after = np.empty_like(self.before)
        for first in range(0, len(edited), PART):
            part = slice(first, first + PART)
            edited[part] = form(self.rows[self.source[part]], self.y[part], self.target[part])
            after[part] = self.judge.predict(edited[part])
            hits[part] = rank_one(self.judge.remainder(edited[part]), self.gallery, self.source[part])
        flips = self.y != self.target
        right, same = after == self.target, after == self.before
        cells = np.stack(
            [
                self._share(right[:, k], flips[:, k] & (self.target[:, k] == to))
                for k in range(self.y.shape[1])
                for to in (1, 0)
                if (flips[:, k] & (self.target[:, k] == to)).any()
            ]
        )
        held = leave_out(np.bincount(self.number, (~flips).sum(axis=1), self.blocks.count))
        stayed = leave_out(np.bincount(self.number, (same & ~flips).sum(axis=1), self.blocks.count))
        return Scores(
            success=mean_defined(cells),
            worst=np.fmin.reduce(cells, axis=0),
            kept=divide(stayed, held),
            gap_closed=self._gap_closed(edited),
            rank1=self.blocks.mean(hits, self.number),
            variance_ratio=self._variance_ratio(edited),
        )

    def _share(self, right: NDArray[np.bool_], rows: NDArray[np.bool_]) -> Statistic:
        return self.blocks.mean(right[rows], self.number[rows])

    def _gap_closed(self, edited: Float64[np.ndarray, "m d"]) -> Statistic:
        after = self._energies(edited.__getitem__)
        sizes = [leave_out(np.bincount(self.number[g.edits], minlength=self.blocks.count)) for g in self.groups]
        weighted = [
            np.nansum([size * energy for size, energy in zip(sizes, energies, strict=True)] or [np.zeros(1)], axis=0)
            for energies in (after, self.energies)
        ]
        gap: Statistic = 1 - divide(*weighted)
        return gap if self.groups else np.full(self.blocks.count + 1, np.nan)

    def _variance_ratio(self, edited: Float64[np.ndarray, "m d"]) -> Statistic:
        if not self.groups:
            return np.full(self.blocks.count + 1, np.nan)
        ratios = [
            variance(edited[g.edits], self.blocks, self.number[g.edits]) / total_variance(self.real[g.real])
            for g in self.groups
        ]
        return mean_defined(np.stack(ratios))

    def _energies(self, ends_of: Callable[[NDArray[np.intp]], Float64[np.ndarray, "e d"]]) -> list[Statistic]:
        """Energy distance of each group's ends to the referees' real rows."""
        found = []
        for group, real_within in zip(self.groups, self.within, strict=True):
            ends, number = ends_of(group.edits), self.number[group.edits]
            member = self.blocks.members(number)
            count = leave_out(member.sum(axis=0))
            apart = distances(ends, ends)
            np.fill_diagonal(apart, 0.0)
            across = self.blocks.mean(distances(ends, self.real[group.real]).mean(axis=1), number)
            within = divide(leave_out_pairs(member.T @ apart @ member), count * (count - 1))
            found.append(2 * across - within - real_within)
        return found
