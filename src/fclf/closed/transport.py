"""Conditional transport: to where rows with the target labels live, with a hand on what the probes read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float64, Int8, Int64

from fclf.closed.conditional_vae import UNTRAINED, ConditionalVAE, OnStep
from fclf.closed.linear import project
from fclf.closed.means import LabelMeans
from fclf.closed.missing import completed
from fclf.closed.personal import NOTHING, PersonalEffects
from fclf.closed.probe import FINE_PENALTY, LinearClassifier, Standardiser, cross_fitted_logits, first_half
from fclf.closed.quantile import PENALTY, transport
from fclf.errors import InputError

__all__ = ["ConditionalTransport"]

FLOOR = 0.15
"""Quantile of the target class below which no edited row's own logit stays."""
LEARNED_FLOOR = 0.05
"""The same where effects are learned: they bring what a row needs, and the floor only catches what falls short."""
QUANTILES = 1001
SHARE = (0.85, 0.74, 0.6)
"""Share of the displacement that is taken, at keep 0, 0.5 and 1."""
MARGIN = (0.2, 0.48, 0.8)
"""Distance from 0 down to which others' logits may come, in standard deviations."""
RIDGE = (0.3, 0.1, 0.03)
"""Of others' logits, in squared weights of their probes."""
PUSH = (1.0, 1.0, 0.0)
"""How much of the own logit's attenuation is made up for; it costs a little of what is kept."""
ITERATIONS = 2
DETOUR = 1.5
"""Longest correction of an edited attribute's logit with others held, in lengths of that without."""
MOST_DOUBLINGS = 16
LEAST_TIE = 0.01
"""Ridge of edited attributes' logits, in squared weights of their probes, where they cannot all be moved as asked."""
LEAST_RELIABLE = 0.7
"""A probe of less is not made up for: it would be pushed along noise."""
CALIBRATION_ROWS = 2000


@dataclass(frozen=True)
class ConditionalTransport:
    r"""Mean, spread and logits of the target labels, by the smallest movement that brings them.

    1. $x = \Pi(z + s\,\delta)$ with the displacement $\delta$ of `LabelMeans.move`: the mean and spread of the rows
       that have the target labels, interactions of attributes included; and of `PersonalEffects.move`, where it is
       `with_personal_effects`. Where it is `with_learned_effects`, $x = \Pi(z + \delta)$ with $\delta$ of
       `ConditionalVAE.move` alone, and an edited logit is only brought to the floor where it falls short of it.
    2. $z' = \Pi(x + W_A^\top c)$: the smallest correction after which the probes read what they should. The logit of
       an edited attribute goes to the quantile of the target class that it had in its own (monotone transport), at
       least to the `floor` quantile, and beyond by as much as another classifier would see less of the correction
       (division by the probe's reliability, Spearman, 1904, https://doi.org/10.2307/1412159). The logit of any other
       attribute may move, but not below a margin $\mu$ on the side of 0 where it was: it ends at
       $\pm\max(\pm\ell(x), \min(\pm\ell(z), \mu))$, $\pm$ its sign before.

    Moving along a probe's weights is the shortest way to change what it reads, so it costs little of the energy
    distance to real rows, which is quadratic in the length. Others' logits are met by ridge regression (weight
    $\lambda$), the own one exactly up to the curvature of the sphere, for which there are `ITERATIONS` steps.

    `keep` in [0, 1] walks the front by s (`SHARE`), $\mu$ (`MARGIN`), $\lambda$ (`RIDGE`) and `PUSH`: 0 is *faithful*
    (the distribution first), 1 *controlled* (other predictions held).
    """

    means: LabelMeans
    weights: Float64[np.ndarray, "2K d"]
    """Of the coarse probes (C = 3e-4), then of the fine ones (C = 3e-3)."""
    offsets: Float64[np.ndarray, " 2K"]
    deviations: Float64[np.ndarray, " 2K"]
    """Standard deviations of cross-fitted logits."""
    quantiles: Float64[np.ndarray, "K 2 Q"]
    """Of the coarse cross-fitted logits of the train rows without and with each attribute."""
    spread: Float64[np.ndarray, "K 2"]
    """Factors that make up for the spread that the corrections cost, by attribute and target value."""
    reliability: Float64[np.ndarray, " K"]
    """Cosine of each coarse probe with the direction that ever more train rows would give."""
    keep: float = 0.5
    floor: float = FLOOR
    personal: PersonalEffects = NOTHING
    learned: ConditionalVAE = UNTRAINED

    @classmethod
    def fit(
        cls,
        z: Float64[np.ndarray, "n d"],
        y: Int8[np.ndarray, "n K"],
        identities: Int64[np.ndarray, " n"] | None = None,
        *,
        keep: float = 0.5,
        floor: float = FLOOR,
        seed: int = 0,
    ) -> ConditionalTransport:
        """Fit means, probes and quantiles on train rows; every attribute must occur with both values.

        Probes and quantiles are of the rows with a label, means of all rows with unknown labels drawn (`completed`).
        """
        for k, labels in enumerate(y.T):
            if not {0, 1} <= set(labels.tolist()):
                raise InputError(f"An edit needs rows with and without attribute {k}; all {len(y)} are alike.")
        full = completed(z, y, seed)
        probes = [LinearClassifier.fit(z, y, penalty) for penalty in (PENALTY, FINE_PENALTY)]
        inputs = Standardiser.fit(z)
        logits = [
            cross_fitted_logits(inputs.in_float32(z), y, penalty, identities, seed)
            for penalty in (PENALTY, FINE_PENALTY)
        ]
        grid = np.linspace(0, 1, QUANTILES)
        model = cls(
            means=LabelMeans.fit(z, full, seed),
            weights=np.concatenate([probe.weights for probe in probes]),
            offsets=np.concatenate([probe.offsets for probe in probes]),
            deviations=np.concatenate([values.std(axis=0) for values in logits]),
            quantiles=np.stack(
                [
                    np.stack([np.quantile(values[labels == label], grid) for label in (0, 1)])
                    for values, labels in zip(logits[0].T, y.T, strict=True)
                ]
            ),
            spread=np.ones((y.shape[1], 2)),
            reliability=_reliability(z, y, identities, seed),
            keep=keep,
            floor=floor,
        )
        return model.calibrated(z, full, seed)

    def calibrated(
        self, z: Float64[np.ndarray, "n d"], y: Int8[np.ndarray, "n K"], seed: int = 0
    ) -> ConditionalTransport:
        """The same with `spread` measured anew on the train rows, as a change of any other part asks for."""
        plain = replace(self, spread=np.ones_like(self.spread))
        return replace(self, spread=plain._spread_factors(z, y, seed))

    def with_personal_effects(
        self,
        z: Float64[np.ndarray, "n d"],
        y: Int8[np.ndarray, "n K"],
        identities: Int64[np.ndarray, " n"] | None,
        *,
        seed: int = 0,
    ) -> ConditionalTransport:
        """Add what other pictures of a person say of an attribute's effect, from the same train rows."""
        personal = PersonalEffects.fit(self.means.rest(z, y), y, identities, seed=seed)
        if not personal.gain:
            return self
        return replace(self, personal=personal).calibrated(z, y, seed)

    def with_learned_effects(
        self,
        z: Float64[np.ndarray, "n d"],
        y: Int8[np.ndarray, "n K"],
        *,
        steps: int,
        seed: int = 0,
        on_step: OnStep | None = None,
    ) -> ConditionalTransport:
        """Take displacements from a network that is trained on the same train rows."""
        learned = ConditionalVAE.fit(z, y, steps=steps, seed=seed, on_step=on_step)
        return replace(self, learned=learned, floor=min(self.floor, LEARNED_FLOOR))

    def __call__(
        self, z: Float64[np.ndarray, "n d"], y: Int8[np.ndarray, "n K"], target: Int8[np.ndarray, "n K"]
    ) -> Float64[np.ndarray, "n d"]:
        """Carry every row; one whose labels are the target already stays, bit for bit."""
        flips = y != target
        moving = flips.any(axis=1)
        if not (len(z) and moving.all()):
            out = z.copy()
            if moving.any():
                out[moving] = self(z[moving], y[moving], target[moving])
            return out
        return self._carried(z, y, target, self._goals, self._corrections)

    def _carried(
        self,
        z: Float64[np.ndarray, "n d"],
        y: Int8[np.ndarray, "n K"],
        target: Int8[np.ndarray, "n K"],
        goals_of: Callable[..., Float64[np.ndarray, "n 2K"]],
        corrections_of: Callable[..., Float64[np.ndarray, "n 2K"]],
    ) -> Float64[np.ndarray, "n d"]:
        """Carry rows that all move.

        What is row by row is asked of the two functions; all else is plain arithmetic of whole arrays, so that an
        export can record it (`fclf.tracing`).
        """
        flips = y != target
        spread = np.where(target == 1, self.spread[:, 1], self.spread[:, 0])
        x = self._displacement(z, y, target, np.prod(np.where(flips, spread, 1.0), axis=1))
        x += z
        x = project(x)
        read = x @ self.weights.T
        goals = goals_of(z, read + self.offsets, y, target)
        x += corrections_of(read, goals - self.offsets, flips) @ self.weights
        return project(x)

    def _corrections(
        self, read: Float64[np.ndarray, "n 2K"], goals: Float64[np.ndarray, "n 2K"], flips: Bool[np.ndarray, "n K"]
    ) -> Float64[np.ndarray, "n 2K"]:
        """Coefficients of the probes' weights, for rows that make the same change at a time."""
        coefficients = np.empty_like(goals)
        patterns, member = np.unique(flips, axis=0, return_inverse=True)
        for number, pattern in enumerate(patterns):
            mine = member.reshape(-1) == number
            coefficients[mine] = self._correction(read[mine], goals[mine], pattern)
        return coefficients

    def _displacement(
        self,
        z: Float64[np.ndarray, "n d"],
        y: Int8[np.ndarray, "n K"],
        target: Int8[np.ndarray, "n K"],
        factors: Float64[np.ndarray, " n"],
    ) -> Float64[np.ndarray, "n d"]:
        if self.learned.trained:
            return self.learned.move(z, y, target)
        displacement = self.means.move(z, y, target, factors)
        if self.personal.gain:
            displacement += self.personal.move(self.means.rest(z, y), target - y)
        return self._at(SHARE) * displacement

    def _goals(
        self,
        z: Float64[np.ndarray, "n d"],
        moved: Float64[np.ndarray, "n 2K"],
        y: Int8[np.ndarray, "n K"],
        target: Int8[np.ndarray, "n K"],
    ) -> Float64[np.ndarray, "n 2K"]:
        """Logits to end at."""
        before = z @ self.weights.T + self.offsets
        goals = self._held(before, moved)
        for k in range(y.shape[1]):
            for value in (0, 1):
                rows = (y[:, k] == 1 - value) & (target[:, k] == value)
                goals[rows, k] = self._wanted(before[rows, k], moved[rows, k], k, value)
        return goals

    def _held(
        self, before: Float64[np.ndarray, "n 2K"], moved: Float64[np.ndarray, "n 2K"]
    ) -> Float64[np.ndarray, "n 2K"]:
        """Goals of logits of attributes that stay."""
        sign = np.where(before < 0, -1.0, 1.0)
        margin = self._at(MARGIN) * self.deviations
        goals: Float64[np.ndarray, "n 2K"] = sign * np.maximum(sign * moved, np.minimum(sign * before, margin))
        return goals

    def _wanted(
        self, before: Float64[np.ndarray, " m"], moved: Float64[np.ndarray, " m"], k: int, value: int
    ) -> Float64[np.ndarray, " m"]:
        """Goals of the logit of attribute k, of rows that go to `value`."""
        own, other = self.quantiles[k, 1 - value], self.quantiles[k, value]
        further = np.maximum if value else np.minimum
        least = np.quantile(other, self.floor if value else 1 - self.floor)
        goal: Float64[np.ndarray, " m"]
        if self.learned.trained:
            goal = further(moved, least)
            return goal
        goal = further(transport(before, own, other), least)
        push = self._at(PUSH) * (1 / self.reliability[k] - 1)
        return goal + push * further(goal - moved, 0)

    def _at(self, points: tuple[float, float, float]) -> float:
        """Interpolate between the operating points of keep 0, 0.5 and 1."""
        return float(np.interp(self.keep, (0.0, 0.5, 1.0), points))

    def _correction(
        self, read: Float64[np.ndarray, "n 2K"], goals: Float64[np.ndarray, "n 2K"], flips: Bool[np.ndarray, " K"]
    ) -> Float64[np.ndarray, "n 2K"]:
        r"""Coefficients of the probes' weights for rows x that make the same change, given `read` = W x.

        The probes read $(W x + W W^\top c) / \|x + W^\top c\|$, which is known from W x without touching d dimensions.
        """
        active = self._active(flips)
        weights = self.weights[active]
        gram = weights @ weights.T
        ridge, inverse = self._inverse(gram, ~np.concatenate([flips, flips])[active])
        out = np.zeros((len(read), len(active)))
        out[:, active] = _solved(read[:, active], goals[:, active], gram, ridge, lambda rest: rest @ inverse)
        return out

    def _inverse(
        self, gram: Float64[np.ndarray, "a a"], held: Bool[np.ndarray, " a"]
    ) -> tuple[Float64[np.ndarray, " a"], Float64[np.ndarray, "a a"]]:
        r"""Ridge of the probes and the inverse of $W W^\top$ with it.

        Where an edited attribute can hardly be told from those that are held (lipstick from make-up and from not being
        male), moving it alone would take many times the length that it takes by itself, and the spread with it. Then
        the others are held less: the ridge is doubled until no edit is longer than `DETOUR` of its own. Where that
        does not help, it is the edited attributes that can hardly be told apart (more of them than the rows have
        dimensions, two that are one): then their logits are met by ridge regression too.
        """
        gram = gram.astype(np.float64)  # small, and its inverse is not to be had in less
        lengths, own = np.diag(gram), np.flatnonzero(~held)
        ridge = self._at(RIDGE) * lengths * held
        for doubling in range(2 * MOST_DOUBLINGS):
            inverse = _inverse_of(gram + np.diag(ridge))
            c = inverse[:, own]
            squares = (c * (gram @ c)).sum(axis=0) * lengths[own]
            if (np.abs(squares) <= DETOUR**2).all():  # where there is hardly an inverse, they may be below 0
                break
            if doubling < MOST_DOUBLINGS:
                ridge = 2 * ridge
            else:
                ridge[own] = np.maximum(2 * ridge[own], LEAST_TIE * lengths[own])
        return ridge, inverse

    def _active(self, flips: Bool[np.ndarray, " K"]) -> Bool[np.ndarray, " 2K"]:
        """Probes that a change corrects: the coarse ones, and the fine ones of attributes that stay."""
        return np.concatenate([np.ones_like(flips), ~flips])

    def _spread_factors(
        self, z: Float64[np.ndarray, "n d"], y: Int8[np.ndarray, "n K"], seed: int
    ) -> Float64[np.ndarray, "K 2"]:
        """What the spread of edited train rows lacks, by attribute and target value, after what labels explain."""
        factors = np.ones((y.shape[1], 2))
        for k in range(y.shape[1]):
            for value in (0, 1):
                rows = np.flatnonzero(y[:, k] == 1 - value)
                rows = np.random.default_rng((seed, k, value)).permutation(rows)[:CALIBRATION_ROWS]
                labels = y[rows]
                target = labels.copy()
                target[:, k] = value
                scale = np.exp(
                    (self.means.features(target) - self.means.features(labels)) @ self.means.log_variance / 2
                )
                lost = _unexplained(z[rows] * scale[:, None], labels) / _unexplained(
                    self(z[rows], labels, target), labels
                )
                factors[k, value] = np.sqrt(lost)
        return np.clip(factors, 0.5, 2.0)


def _inverse_of(gram: Float64[np.ndarray, "a a"]) -> Float64[np.ndarray, "a a"]:
    """The inverse, or one that is too long for any use where there is none."""
    try:
        return np.linalg.inv(gram)
    except np.linalg.LinAlgError:
        return np.full_like(gram, 1e12)


def _solved(
    read: Float64[np.ndarray, "n a"],
    goals: Float64[np.ndarray, "n a"],
    gram: Float64[np.ndarray, "a a"],
    ridge: Float64[np.ndarray, "*n a"],
    times_inverse: Callable[[Float64[np.ndarray, "n a"]], Float64[np.ndarray, "n a"]],
) -> Float64[np.ndarray, "n a"]:
    """Newton's steps toward goals; the inverse is that of each row's change."""
    c = np.zeros_like(goals)
    for _ in range(ITERATIONS):
        bent = c @ gram
        norm = np.sqrt(1 + 2 * (c * read).sum(axis=1) + (c * bent).sum(axis=1))
        c = c + times_inverse(goals - (read + bent) / norm[:, None] - c * ridge)
    return c


def _reliability(
    z: Float64[np.ndarray, "n d"],
    y: Int8[np.ndarray, "n K"],
    identities: Int64[np.ndarray, " n"] | None,
    seed: int,
) -> Float64[np.ndarray, " K"]:
    r"""Cosine of the coarse probes with the directions they estimate, from the cosine r of probes of two halves.

    $\sqrt{2r/(1+r)}$: a probe of all rows agrees with another one of as many rows by $2r/(1+r)$ (Spearman, 1910;
    Brown, 1910), and with what both estimate by its root. At least `LEAST_RELIABLE`; 1 where halves cannot be fitted.
    """
    first = first_half(len(y), identities, seed)
    halves = (first, ~first)
    both = [(y[half] == value).any(axis=0) for half in halves for value in (0, 1)]
    if not np.all(both):
        return np.ones(y.shape[1])
    one, other = (LinearClassifier.fit(z[half], y[half], PENALTY).weights for half in halves)
    r = (one * other).sum(axis=1) / (np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1))
    r = np.maximum(r, 0)
    reliability: Float64[np.ndarray, " K"] = np.maximum(np.sqrt(2 * r / (1 + r)), LEAST_RELIABLE)
    return reliability


def _unexplained(x: Float64[np.ndarray, "n d"], labels: Int8[np.ndarray, "n K"]) -> float:
    """Sum of squares that a regression on the labels leaves."""
    design = np.column_stack([np.ones(len(labels)), labels])
    rest = x - design @ np.linalg.lstsq(design, x, rcond=None)[0]
    return float(np.square(rest).sum())
