"""Which closed form to use: decided on the val rows, by referees that no candidate has met."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int8
from numpy.typing import NDArray

from fclf.closed.candidates import closed_forms
from fclf.closed.linear import ClosedForm
from fclf.data.embeddings import EmbeddingSet
from fclf.evaluation.edits import Group, comparable_groups, plan_edits
from fclf.evaluation.judges import LinearJudge, Standardiser, cell_shares
from fclf.evaluation.readings import Model
from fclf.evaluation.spread import energy_distance

__all__ = ["Choice", "Trial", "arrays", "choose"]

MIN_ROWS = 20
"""Fewest edits and real rows of a group that is compared."""
SIMPLEST = "shift x1"
MAX_EDITS = 20_000
MIN_PEOPLE = 6
"""Fewest people with and without each attribute among whom halves can be judged."""


class Trial(Model):
    """What the referees say of one candidate."""

    name: str
    success: float
    worst: float
    kept: float | None
    gap_closed: float | None
    score: float


class Choice(Model):
    """What was chosen, and why."""

    chosen: str
    reason: str
    keep: float
    real_success: float | None = None
    """What the referees say of real val rows: more is not asked of an edit."""
    trials: tuple[Trial, ...] = ()


@dataclass(frozen=True)
class _Bout:
    """One half of the train people fits, the other half referees edits of the val rows."""

    z: Float64[np.ndarray, "m d"]
    y: Int8[np.ndarray, "m K"]
    target: Int8[np.ndarray, "m K"]
    judge: LinearJudge
    before: Int8[np.ndarray, "m K"]
    real: Float64[np.ndarray, "r d"]
    groups: list[Group]
    energies: list[float]
    names: tuple[str, ...]

    @classmethod
    def prepare(cls, referees: EmbeddingSet, val: EmbeddingSet) -> _Bout:
        real, labels = referees.embeddings.astype(np.float64), np.asarray(referees.attributes)
        inputs = Standardiser.fit(real)
        judge = LinearJudge.fit(inputs, real, labels)
        own = np.asarray(val.attributes)
        plan = plan_edits(own, val.attribute_names, "each")
        z = val.embeddings.astype(np.float64)[plan.source]
        groups = comparable_groups(plan, labels, MIN_ROWS, MIN_ROWS)
        energies = [energy_distance(z[g.edits], real[g.real]) for g in groups]
        return cls(z, plan.original, plan.target, judge, judge.predict(z), real, groups, energies, val.attribute_names)

    def real_success(self, val: EmbeddingSet) -> float:
        labels = np.asarray(val.attributes)
        right = self.judge.predict(val.embeddings.astype(np.float64)) == labels
        return float(np.mean(list(cell_shares(right, np.ones_like(right), labels, self.names).values())))

    def judged(self, form: ClosedForm) -> NDArray[np.float64]:
        """Success, worst, kept and gap closed of a candidate; NaN where not defined."""
        edited = form(self.z, self.y, self.target)
        after, flips = self.judge.predict(edited), self.y != self.target
        cells = list(cell_shares(after == self.target, flips, self.target, self.names).values())
        kept = (after == self.before)[~flips].mean() if (~flips).any() else np.nan
        closed = np.nan
        if self.groups:
            weights = np.array([len(g.edits) for g in self.groups], dtype=np.float64)
            ends = [energy_distance(edited[g.edits], self.real[g.real]) for g in self.groups]
            closed = 1 - float(weights @ ends) / float(weights @ self.energies)
        return np.array([np.mean(cells), min(cells), kept, closed])


def choose(train: EmbeddingSet, val: EmbeddingSet, *, keep: float, seed: int = 0) -> Choice:
    r"""Choose among closed forms by their edits of every val row x every attribute.

    The train people are cut in two halves: each candidate is fitted on one, a referee (a linear judge) on the other,
    and then the halves are exchanged, so that no referee knows what a candidate knows. The score is

    $$\min(S, S_\text{real}) + \tfrac14 \min(W, S_\text{real}) + G + 2 \cdot 6^{\text{keep}}\, P$$

    with success S, worst cell W, gap closed G (against the referees' real rows) and kept P: the price of a kept
    prediction in gap closed grows with `keep` as the front of the closed forms does. Success above that of real rows
    earns nothing.

    Args:
        train: rows to fit on.
        val: rows to choose on.
        keep: the operating point, 0 (faithful) to 1 (controlled).
        seed: of the halves and the sample of val rows.
    """
    first, second = _halves(train, seed)
    if min(_fewest_people(half) for half in (first, second)) < MIN_PEOPLE // 2:
        reason = f"{SIMPLEST}: there are too few people with and without each attribute to judge anything else."
        return Choice(chosen=SIMPLEST, keep=keep, reason=reason)
    rows = np.random.default_rng(seed).permutation(len(val))[: max(1, MAX_EDITS // len(val.attribute_names))]
    val = val.take(np.sort(rows))
    bouts = [(_Bout.prepare(second, val), first), (_Bout.prepare(first, val), second)]
    real = float(np.mean([bout.real_success(val) for bout, _ in bouts]))
    judged = [
        {name: bout.judged(form) for name, form in closed_forms(*arrays(half), keep=keep, seed=seed).items()}
        for bout, half in bouts
    ]
    trials = []
    for name in judged[0]:
        success, worst, kept, closed = np.mean([found[name] for found in judged], axis=0)
        parts = [min(success, real), min(worst, real) / 4, closed, 2 * 6**keep * kept]
        trials.append(
            Trial(
                name=name,
                success=success,
                worst=worst,
                kept=None if np.isnan(kept) else kept,
                gap_closed=None if np.isnan(closed) else closed,
                score=float(np.nansum(parts)),
            )
        )
    best = max(trials, key=lambda trial: trial.score)  # the first, and simplest, of equals
    rest = [trial for trial in trials if trial is not best]
    second_best = max(rest, key=lambda trial: trial.score) if rest else best
    reason = (
        f"{best.name}: {_text(best)} on {len(val)} val rows, against {second_best.name} ({_text(second_best)}); "
        f"score {best.score:.3f} against {second_best.score:.3f} at keep {keep:g}."
    )
    return Choice(chosen=best.name, reason=reason, keep=keep, real_success=real, trials=tuple(trials))


def arrays(rows: EmbeddingSet) -> tuple[NDArray[np.float64], NDArray[np.int8], NDArray[np.int64] | None]:
    """Embeddings, attributes and identities, as closed forms are fitted on."""
    return rows.embeddings.astype(np.float64), np.asarray(rows.attributes), rows.identities


def _text(trial: Trial) -> str:
    parts = {"success": trial.success, "worst": trial.worst, "kept": trial.kept, "gap closed": trial.gap_closed}
    return ", ".join(f"{name} {value:.3f}" for name, value in parts.items() if value is not None)


def _halves(train: EmbeddingSet, seed: int) -> tuple[EmbeddingSet, EmbeddingSet]:
    """Two halves of the people."""
    people = np.arange(len(train)) if train.identities is None else train.identities
    every, who = np.unique(people, return_inverse=True)
    side = np.random.default_rng(seed).permutation(len(every)) % 2 == 0
    return train.take(side[who]), train.take(~side[who])


def _fewest_people(rows: EmbeddingSet) -> int:
    """Of any attribute and value."""
    labels = np.asarray(rows.attributes)
    people = np.arange(len(rows)) if rows.identities is None else rows.identities
    return min(len(np.unique(people[column == value])) for column in labels.T for value in (0, 1))
