"""Which field to use: decided on the val rows, by referees that no candidate has met."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int8
from numpy.typing import NDArray

from fclf.closed.candidates import LEARNED, PERSONAL, STARTS, closed_forms
from fclf.closed.conditional_vae import OnStep
from fclf.closed.linear import ClosedForm
from fclf.closed.probe import first_half, some_people
from fclf.data.embeddings import EmbeddingSet
from fclf.evaluation.edits import Group, comparable_groups, plan_edits
from fclf.evaluation.groups import variance
from fclf.evaluation.jackknife import Blocks, Statistic, divide, leave_out, leave_out_pairs, standard_error
from fclf.evaluation.judges import LinearJudge, Standardiser, cell_shares
from fclf.evaluation.pooling import mean_defined
from fclf.evaluation.readings import Model
from fclf.evaluation.retrieval import rank_one
from fclf.evaluation.spread import distances, mean_distance_within, total_variance

__all__ = ["Choice", "Trial", "arrays", "choose"]

BENT = (PERSONAL, LEARNED)
"""Forms whose effects differ from row to row, which have to earn that."""
MIN_ROWS = 20
"""Fewest edits and real rows of a group that is compared."""
SIMPLEST = "shift x1"
MAX_EDITS = 20_000
MAX_ROWS = 20_000
"""Train rows that candidates and referees share: more change no choice (docs/log.md)."""
GALLERY = 5000
"""Most referee rows among which an edit's source is looked for."""
AMOUNTS = (0.5, 1.0)
"""Of a residual."""
MIN_PEOPLE = 6
"""Fewest people with and without each attribute among whom halves can be judged."""
LABELS = {"success": "success", "worst": "worst", "kept": "kept", "gap_closed": "gap closed", "rank1": "rank 1"}
TOLERANCE = {"success": 0.002, "worst": 0.002, "kept": 0.002, "gap_closed": 0.002, "rank1": 0.002}
"""By which a measure may fall whatever its standard error: less is nothing to a user."""
SPREAD_TOLERANCE = 0.01
"""The same, of the distance of the logarithm of the variance ratio to 0."""
CLEARLY = 2.0
"""Standard errors of a loss in one measure: with six of them, chance alone passes one error for most candidates."""
TINY = float(np.finfo(np.float64).tiny)

Learn = Callable[[ClosedForm, EmbeddingSet], Callable[[float], ClosedForm]]
"""Trains a residual of a start on rows, and gives the edits with an amount of it."""


class Trial(Model):
    """What the referees say of one candidate."""

    name: str
    success: float
    worst: float
    kept: float | None
    gap_closed: float | None
    rank1: float
    variance_ratio: float | None
    """Mean over groups, against the referees' real rows; it does not count in the score."""
    score: float
    above: float | None = None
    """Score above that of the candidate that it has to beat, for those that must beat one clearly."""
    error: float | None = None
    """Jackknife standard error of that difference, over val people."""
    behind: tuple[str, ...] = ()
    """Measures in which it is clearly behind that candidate."""


class Choice(Model):
    """What was chosen, and why."""

    chosen: str
    start: str
    """The closed form among `fclf.closed.candidates.closed_forms`."""
    amount: float = 0.0
    """Of the learned residual."""
    reason: str
    keep: float
    real_success: float | None = None
    """What the referees say of real val rows: more is not asked of an edit."""
    trials: tuple[Trial, ...] = ()


@dataclass(frozen=True)
class _Scores:
    """Measures of one candidate, of all val rows and without each block of people."""

    success: Statistic
    worst: Statistic
    kept: Statistic
    gap_closed: Statistic
    rank1: Statistic
    variance_ratio: Statistic

    @classmethod
    def mean(cls, both: list[_Scores]) -> _Scores:
        return cls(*(np.mean([getattr(one, name) for one in both], axis=0) for name in cls.__dataclass_fields__))

    def score(self, keep: float, real: float) -> Statistic:
        parts = [np.minimum(self.success, real), np.minimum(self.worst, real) / 4, 2 * 6**keep * self.kept]
        if np.isfinite(self.gap_closed[0]):
            parts += [self.gap_closed, self.rank1]  # without the first the second would pay for standing still
        total: Statistic = np.sum([part for part in parts if np.isfinite(part[0])], axis=0)
        return total

    def behind(self, rival: _Scores, real: float) -> tuple[str, ...]:
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
class _Bout:
    """One half of the train people fits, the other half referees edits of the val rows."""

    z: Float64[np.ndarray, "m d"]
    y: Int8[np.ndarray, "m K"]
    target: Int8[np.ndarray, "m K"]
    source: NDArray[np.intp]
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
    def prepare(cls, referees: EmbeddingSet, val: EmbeddingSet, seed: int = 0) -> _Bout:
        real, labels = referees.embeddings.astype(np.float64), np.asarray(referees.attributes)
        inputs = Standardiser.fit(real)
        judge = LinearJudge.fit(inputs, real, labels)
        rows = val.embeddings.astype(np.float64)
        plan = plan_edits(np.asarray(val.attributes), val.attribute_names, "each")
        z = rows[plan.source]
        blocks = Blocks.draw(len(val), val.identities, seed)
        others = np.random.default_rng(seed).permutation(len(real))[:GALLERY]
        bout = cls(
            z=z,
            y=plan.original,
            target=plan.target,
            source=plan.source,
            number=blocks.number[plan.source],
            blocks=blocks,
            judge=judge,
            before=judge.predict(z),
            gallery=judge.remainder(np.concatenate([rows, real[others]])),
            real=real,
            groups=(groups := comparable_groups(plan, labels, MIN_ROWS, MIN_ROWS)),
            within=[mean_distance_within(real[group.real]) for group in groups],
            energies=[],
        )
        bout.energies.extend(bout._energies(z))
        return bout

    def real_success(self, val: EmbeddingSet) -> float:
        labels = np.asarray(val.attributes)
        right = self.judge.predict(val.embeddings.astype(np.float64)) == labels
        return float(np.mean(list(cell_shares(right, np.ones_like(right), labels, val.attribute_names).values())))

    def judged(self, form: ClosedForm) -> _Scores:
        """Measure a candidate; NaN where not defined."""
        edited = form(self.z, self.y, self.target)
        after, flips = self.judge.predict(edited), self.y != self.target
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
        hits = rank_one(self.judge.remainder(edited), self.gallery, self.source)
        return _Scores(
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
        after = self._energies(edited)
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

    def _energies(self, x: Float64[np.ndarray, "m d"]) -> list[Statistic]:
        """Energy distance of each group to the referees' real rows."""
        found = []
        for group, real_within in zip(self.groups, self.within, strict=True):
            ends, number = x[group.edits], self.number[group.edits]
            member = self.blocks.members(number)
            count = leave_out(member.sum(axis=0))
            apart = distances(ends, ends)
            np.fill_diagonal(apart, 0.0)
            across = self.blocks.mean(distances(ends, self.real[group.real]).mean(axis=1), number)
            within = divide(leave_out_pairs(member.T @ apart @ member), count * (count - 1))
            found.append(2 * across - within - real_within)
        return found


def choose(
    train: EmbeddingSet,
    val: EmbeddingSet,
    *,
    keep: float,
    seed: int = 0,
    start: str | None = None,
    learn: Learn | None = None,
    effect_steps: int = 0,
    on_step: OnStep | None = None,
) -> Choice:
    r"""Choose among closed forms, and what is learned on top of them, by edits of every val row x every attribute.

    The train people are cut in two halves: each candidate is fitted on one, a referee (a linear judge) on the other,
    and then the halves are exchanged, so that no referee knows what a candidate knows. The score is

    $$\min(S, S_\text{real}) + \tfrac14 \min(W, S_\text{real}) + G + 2 \cdot 6^{\text{keep}}\, P + R$$

    with success S, worst cell W, gap closed G (against the referees' real rows), kept P and rank 1 R (in what the
    referee does not look at, among val rows and the referees'): the price of a kept
    prediction in gap closed grows with `keep` as the front of the closed forms does. Success above that of real rows
    earns nothing. Where no group is large enough for a gap, as with many attributes, R is left out too: alone it would
    pay for standing still.

    What is learned has to beat what it would replace by more than one jackknife standard error of the difference over
    the val people: personal effects the best closed form, learned ones whichever of the two is ahead, and a residual
    what it starts from. And it
    may not be behind in any one measure, the distance of the variance ratio to 1 included, by more than two standard
    errors and a tolerance.

    Args:
        train: rows to fit on; of more than `MAX_ROWS`, some of the people.
        val: rows to choose on.
        keep: the operating point, 0 (faithful) to 1 (controlled).
        seed: of the halves and the sample of val rows.
        start: consider this closed form only.
        learn: trains a residual; none is considered if absent.
        effect_steps: of the network of `LEARNED`, which is not considered without any.
        on_step: told of the loss of each of them.
    """
    first, second = _halves(train.take(some_people(len(train), train.identities, MAX_ROWS, seed)), seed)
    rare = sorted({name for half in (first, second) for name in _rare(half)})
    if rare:
        simplest = SIMPLEST if start is None else start
        reason = (
            f"{simplest}: halves of the train rows have fewer than {MIN_PEOPLE // 2} people with or without "
            f"{', '.join(rare)}, too few people to judge anything else. Leave it out with --attributes, or add rows."
        )
        return Choice(chosen=simplest, start=simplest, keep=keep, reason=reason)
    rows = np.random.default_rng(seed).permutation(len(val))[: max(1, MAX_EDITS // len(val.attribute_names))]
    val = val.take(np.sort(rows))
    bouts = [(_Bout.prepare(second, val), first), (_Bout.prepare(first, val), second)]
    real = float(np.mean([bout.real_success(val) for bout, _ in bouts]))
    names = None if start is None else {start, *BENT} if start == STARTS["transport"] else {start}
    forms = [
        closed_forms(*arrays(half), keep=keep, seed=seed, names=names, learn_steps=effect_steps, on_step=on_step)
        for _, half in bouts
    ]
    measured: dict[str, _Scores] = {}
    scores: dict[str, Statistic] = {}
    trials: dict[str, Trial] = {}

    def judge(name: str, edits: Sequence[ClosedForm], rival: str | None = None) -> bool:
        """Whether a candidate beats its rival clearly."""
        found = _Scores.mean([bout.judged(edit) for (bout, _), edit in zip(bouts, edits, strict=True)])
        scores[name] = found.score(keep, real)
        measured[name] = found
        above = None if rival is None else scores[name] - scores[rival]
        error = None if above is None else standard_error(above[1:])
        behind = () if rival is None else found.behind(measured[rival], real)
        trials[name] = _trial(name, found, scores[name], above, error, behind)
        return above is not None and error is not None and float(above[0]) > error and not behind

    for name in forms[0]:
        if name not in BENT or name == start:
            judge(name, [half[name] for half in forms])
    best = origin = max(trials, key=lambda name: trials[name].score)  # the first, and simplest, of equals
    for name in BENT:
        if name in forms[0] and name not in trials and judge(name, [half[name] for half in forms], origin):
            origin = name
    amounts = {origin: 0.0}
    if learn is not None:
        learned = [learn(half[origin], rows) for half, (_, rows) in zip(forms, bouts, strict=True)]
        for amount in AMOUNTS:
            name = f"{origin} + residual x{amount:g}"
            if judge(name, [edits(amount) for edits in learned], origin):
                amounts[name] = amount
    chosen = max(amounts, key=lambda name: trials[name].score)
    return Choice(
        chosen=chosen,
        start=origin,
        amount=amounts[chosen],
        reason=_reason(chosen, best, trials, len(val), keep),
        keep=keep,
        real_success=real,
        trials=tuple(trials.values()),
    )


def arrays(rows: EmbeddingSet) -> tuple[NDArray[np.float64], NDArray[np.int8], NDArray[np.int64] | None]:
    """Embeddings, attributes and identities, as closed forms are fitted on."""
    return rows.embeddings.astype(np.float64), np.asarray(rows.attributes), rows.identities


def _trial(
    name: str, found: _Scores, score: Statistic, above: Statistic | None, error: float | None, behind: tuple[str, ...]
) -> Trial:
    kept, closed = float(found.kept[0]), float(found.gap_closed[0])
    return Trial(
        name=name,
        success=float(found.success[0]),
        worst=float(found.worst[0]),
        kept=None if np.isnan(kept) else kept,
        gap_closed=None if np.isnan(closed) else closed,
        rank1=float(found.rank1[0]),
        variance_ratio=None if np.isnan(found.variance_ratio[0]) else float(found.variance_ratio[0]),
        score=float(score[0]),
        above=None if above is None else float(above[0]),
        error=error,
        behind=behind,
    )


def _reason(chosen: str, best: str, trials: dict[str, Trial], rows: int, keep: float) -> str:
    """What was chosen against what, and what was learned and left."""
    mine = trials[chosen]
    closed = [trial for trial in trials.values() if trial.above is None and trial.name != chosen]
    other = trials[best] if chosen != best else max(closed, key=lambda trial: trial.score) if closed else mine
    text = f"{chosen}: {_text(mine)} on {rows} val rows"
    if other is not mine:
        text += f", against {other.name} ({_text(other)}); score {mine.score:.3f} against {other.score:.3f}"
    text += f" at keep {keep:g}."
    beaten = [trial for trial in trials.values() if trial.above is not None]
    if beaten:
        listed = ", ".join(f"{trial.name} {_above(trial)}" for trial in beaten)
        text += f" Learned, taken where a standard error above its start and clearly behind in nothing: {listed}."
    return text


def _above(trial: Trial) -> str:
    error = "unknown" if trial.error is None else f"{trial.error:.4f}"
    return f"{trial.above:+.4f} (standard error {error}{'; behind in ' * bool(trial.behind)}{', '.join(trial.behind)})"


def _text(trial: Trial) -> str:
    parts = {label: getattr(trial, name) for name, label in LABELS.items()}
    return ", ".join(f"{label} {value:.3f}" for label, value in parts.items() if value is not None)


def _halves(train: EmbeddingSet, seed: int) -> tuple[EmbeddingSet, EmbeddingSet]:
    """Two halves of the people."""
    first = first_half(len(train), train.identities, seed)
    return train.take(first), train.take(~first)


def _rare(rows: EmbeddingSet) -> list[str]:
    """Attributes with too few people of a value to fit or judge."""
    labels = np.asarray(rows.attributes)
    people = np.arange(len(rows)) if rows.identities is None else rows.identities
    return [
        name
        for name, column in zip(rows.attribute_names, labels.T, strict=True)
        if min(len(np.unique(people[column == value])) for value in (0, 1)) < MIN_PEOPLE // 2
    ]
