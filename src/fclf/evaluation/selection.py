"""Which field to use: decided on the val rows, by referees that no candidate has met."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Int8
from numpy.typing import NDArray

from fclf.closed.candidates import LEARNED, PERSONAL, STARTS, closed_forms
from fclf.closed.conditional_vae import OnStep
from fclf.closed.linear import ClosedForm
from fclf.closed.probe import FINE_PENALTY, LinearClassifier, first_half, some_people
from fclf.data.embeddings import EmbeddingSet
from fclf.evaluation.jackknife import Statistic, standard_error
from fclf.evaluation.readings import Model
from fclf.evaluation.referees import LABELS, Bout, Scores
from fclf.labels import UNKNOWN

__all__ = ["Choice", "Trial", "arrays", "choose"]

BENT = (PERSONAL, LEARNED)
"""Forms whose effects differ from row to row, which have to earn that."""
SIMPLEST = "shift x1"
MAX_EDITS = 20_000
MAX_ROWS = 20_000
"""Train rows that candidates and referees share, so that a choice takes minutes with any number of rows."""
AMOUNTS = (0.5, 1.0)
"""Of a residual."""
MIN_PEOPLE = 6
"""Fewest people with and without each attribute among whom halves can be judged."""

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
    labels = _taken_for(train, val)
    bouts = [(Bout.prepare(second, val, labels), first), (Bout.prepare(first, val, labels), second)]
    real = float(np.mean([bout.real_success(val) for bout, _ in bouts]))
    names = None if start is None else {start, *BENT} if start == STARTS["transport"] else {start}
    forms = [
        closed_forms(*arrays(half), keep=keep, seed=seed, names=names, learn_steps=effect_steps, on_step=on_step)
        for _, half in bouts
    ]
    measured: dict[str, Scores] = {}
    scores: dict[str, Statistic] = {}
    trials: dict[str, Trial] = {}

    def judge(name: str, edits: Sequence[ClosedForm], rival: str | None = None) -> bool:
        """Whether a candidate beats its rival clearly."""
        found = Scores.mean([bout.judged(edit) for (bout, _), edit in zip(bouts, edits, strict=True)])
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
    name: str, found: Scores, score: Statistic, above: Statistic | None, error: float | None, behind: tuple[str, ...]
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


def _taken_for(train: EmbeddingSet, val: EmbeddingSet) -> Int8[np.ndarray, "n K"]:
    """Labels of the val rows, those that are unknown as a classifier of the train rows guesses them."""
    labels = np.asarray(val.attributes)
    if (labels != UNKNOWN).all():
        return labels
    classifier = LinearClassifier.fit(train.embeddings, np.asarray(train.attributes), FINE_PENALTY)
    return np.where(labels == UNKNOWN, classifier.logits(val.embeddings.astype(np.float64)) > 0, labels).astype(np.int8)


def _rare(rows: EmbeddingSet) -> list[str]:
    """Attributes with too few people of a value to fit or judge."""
    labels = np.asarray(rows.attributes)
    people = np.arange(len(rows)) if rows.identities is None else rows.identities
    return [
        name
        for name, column in zip(rows.attribute_names, labels.T, strict=True)
        if min(len(np.unique(people[column == value])) for value in (0, 1)) < MIN_PEOPLE // 2
    ]
