"""Counterfactual audit: what a classifier says when one attribute of an embedding is turned over and the rest stays."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fclf.applications.edits import FLOW, accepted_rows, controls_of, edits_at, learned_rows
from fclf.closed.probe import FINE_PENALTY, LinearClassifier
from fclf.closed.quantile import PENALTY
from fclf.data.embeddings import attribute_positions
from fclf.errors import InputError
from fclf.evaluation.jackknife import Blocks, interval

if TYPE_CHECKING:
    from jaxtyping import Float64

    from fclf.applications.scorers import Scorer
    from fclf.checkpoint import Checkpoint
    from fclf.data.embeddings import EmbeddingSet

__all__ = ["Audit", "Direction", "Move", "Placebo", "audit", "random_moves"]

PLACEBOS = 40
"""Directions: a score that moves farther than along all of them does so by chance once in 41 times."""
MIN_EDITS = 20
"""Fewest edits of a direction that is reported."""
NOTHING = "do nothing"

Interval = tuple[float, float] | None


@dataclass(frozen=True)
class Move:
    """What one way of moving embeddings does to the scores of the same rows."""

    name: str
    changed: float
    """Share of decisions that change."""
    changed_interval: Interval
    signed: float
    """Mean of score after less score before."""
    signed_interval: Interval
    absolute: float
    """Mean absolute difference."""
    absolute_interval: Interval


@dataclass(frozen=True)
class Placebo:
    """Largest values over `PLACEBOS` random directions, orthogonal to every probe, of moves as long as the flow's."""

    changed: float
    signed: float
    absolute: float
    """Mean over the directions, not the largest."""


@dataclass(frozen=True)
class Direction:
    """One direction of the flip."""

    attribute: str
    to: int
    edits: int
    accepted: int | None
    """None where the checkpoint holds no support to accept edits by."""
    moves: list[Move]
    placebo: Placebo | None
    flagged: bool
    reasons: list[str]


@dataclass(frozen=True)
class Audit:
    """Both directions."""

    flip: str
    scorer: str
    threshold: float
    rows: int
    yes: float
    """Share of the rows that the scorer says yes to."""
    directions: list[Direction]
    left_out: list[str]
    """Directions with too few edits, and how many."""

    @property
    def flagged(self) -> bool:
        """Whether any direction is."""
        return any(direction.flagged for direction in self.directions)

    def to_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {"flagged": self.flagged, **asdict(self)}


def audit(
    model: Checkpoint,
    data: EmbeddingSet,
    scorer: Scorer,
    flip: str,
    *,
    split: str = "test",
    strength: float = 1.0,
    seed: int = 0,
) -> Audit:
    """Turn an attribute over in every row of a split and compare a scorer's answers.

    A direction is flagged where scores move by more than a move of that size does: the 95 % interval over people of the
    mean signed difference, or of the share of changed decisions, lies above the largest of `PLACEBOS` moves of the same
    length in random directions, each shared by all rows and orthogonal to every probe of the train rows.

    Args:
        model: the edits; probes, shift and quantile shift are fitted on the train rows.
        data: labelled embeddings, matched by name.
        scorer: what is audited.
        flip: the attribute.
        split: whose rows are edited.
        strength: of the flow.
        seed: of directions and blocks of people.

    Raises:
        InputError: for an unknown attribute, or where neither direction has enough edits.
    """
    data = model.matching(data).with_split(model.config.data.split_seed)
    position = attribute_positions([flip], data.attribute_names)[0]
    rows = data.part(split).fully_labelled()
    train = learned_rows(model, data)
    fitted = controls_of(train, ("shift x1", "quantile shift"))
    probes = _probe_directions(train)
    z, y = rows.embeddings.astype(np.float64), np.asarray(rows.attributes)
    target = y.copy()
    target[:, position] = 1 - target[:, position]
    edited = edits_at(model, strength)(z, y, target)
    ends = {NOTHING: z, **{name: form(z, y, target) for name, form in fitted.items()}, FLOW: edited}
    accepted = accepted_rows(model, edited, target)
    directions, left_out = [], []
    for value in (1, 0):
        asked = target[:, position] == value
        used = np.flatnonzero(asked if accepted is None else asked & accepted)
        if len(used) < MIN_EDITS:
            left_out.append(f"{flip}={value}: {len(used)} edits, {MIN_EDITS} are needed")
            continue
        before = scorer.score(z[used])  # of the very rows that are scored again, as sums depend on how many there are
        blocks = Blocks.draw(len(used), None if rows.identities is None else rows.identities[used], seed)
        moves = [_measure(name, scorer, before, scorer.score(end[used]), blocks) for name, end in ends.items()]
        placebo = _placebo(scorer, z[used], edited[used], before, probes, seed)
        reasons = [] if placebo is None else _reasons(moves[-1], placebo)
        count = None if accepted is None else len(used)
        directions.append(Direction(flip, value, int(asked.sum()), count, moves, placebo, bool(reasons), reasons))
    if not directions:
        raise InputError(f"--flip {flip}: too few edits in the split '{split}' ({'; '.join(left_out)}).")
    yes = float(scorer.decide(scorer.score(z)).mean())
    return Audit(flip, scorer.kind, scorer.threshold, len(rows), yes, directions, left_out)


def random_moves(
    z: Float64[np.ndarray, "n d"],
    edited: Float64[np.ndarray, "n d"],
    probes: Float64[np.ndarray, "d p"],
    rng: np.random.Generator,
) -> Float64[np.ndarray, "n d"]:
    r"""Each row carried as far as its edit, along the great circle of one random direction that no probe reads.

    $z' = \cos\theta\, z + \sin\theta\, t/\|t\|$ with $\theta$ the edit's angle and t the part of the direction that
    is tangent at z. The direction is orthogonal to the orthonormal columns of `probes`; the same for all rows, as an
    attribute's is, and not a new one for each, which would cancel in the mean.
    """
    drawn = rng.normal(size=(1, z.shape[1]))[0]
    direction = drawn - probes @ (probes.T @ drawn)
    tangent = direction - (z @ direction)[:, None] * z
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    half = np.clip(np.linalg.norm(edited - z, axis=1) / 2, 0, 1)
    angle = 2 * np.arcsin(half)[:, None]
    moved: Float64[np.ndarray, "n d"] = np.cos(angle) * z + np.sin(angle) * tangent
    return moved


def _probe_directions(train: EmbeddingSet) -> Float64[np.ndarray, "d p"]:
    """Orthonormal basis of what linear probes of two penalties read in the train rows."""
    z, y = train.embeddings.astype(np.float64), np.asarray(train.attributes)
    weights = np.concatenate([LinearClassifier.fit(z, y, penalty).weights for penalty in (PENALTY, FINE_PENALTY)])
    basis: Float64[np.ndarray, "d p"] = np.linalg.qr(weights.T)[0]
    return basis


def _placebo(
    scorer: Scorer,
    z: Float64[np.ndarray, "n d"],
    edited: Float64[np.ndarray, "n d"],
    before: Float64[np.ndarray, " n"],
    probes: Float64[np.ndarray, "d p"],
    seed: int,
) -> Placebo | None:
    """None where probes leave no direction."""
    if probes.shape[0] <= probes.shape[1]:
        return None
    rng = np.random.default_rng((seed, PLACEBOS))  # of a stream that nobody drew a scorer's weights from
    changed, signed, absolute = np.empty((3, PLACEBOS))
    decided = scorer.decide(before)
    for number in range(PLACEBOS):
        after = scorer.score(random_moves(z, edited, probes, rng))
        changed[number] = (scorer.decide(after) != decided).mean()
        signed[number] = abs((after - before).mean())
        absolute[number] = np.abs(after - before).mean()
    return Placebo(float(changed.max()), float(signed.max()), float(absolute.mean()))


def _measure(
    name: str, scorer: Scorer, before: Float64[np.ndarray, " n"], after: Float64[np.ndarray, " n"], blocks: Blocks
) -> Move:
    difference = after - before
    found = []
    switched = (scorer.decide(after) != scorer.decide(before)).astype(np.float64)
    for values in (switched, difference, np.abs(difference)):
        mean = blocks.mean(values, blocks.number)
        found.append((float(mean[0]), interval(float(mean[0]), mean[1:])))
    (changed, a), (signed, b), (absolute, c) = found
    return Move(name, changed, a, signed, b, absolute, c)


def _reasons(flow: Move, placebo: Placebo) -> list[str]:
    found = []
    if flow.changed_interval is not None and flow.changed_interval[0] > placebo.changed:
        found.append(
            f"decisions change in {flow.changed:.1%} of the rows (at least {flow.changed_interval[0]:.1%}); "
            f"moves as long in random directions change at most {placebo.changed:.1%}"
        )
    if flow.signed_interval is not None:
        low, high = flow.signed_interval
        least = max(low, -high)
        if least > placebo.signed:
            found.append(
                f"scores move by {flow.signed:+.3g} (at least {least:.3g}); moves as long in random directions "
                f"move them by at most {placebo.signed:.3g}"
            )
    return found
