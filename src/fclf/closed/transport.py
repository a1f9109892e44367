"""Conditional transport: to where rows with the target labels live, with a hand on what the probes read."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float64, Int8, Int64

from fclf.closed.linear import project
from fclf.closed.means import LabelMeans
from fclf.closed.personal import NOTHING, PersonalEffects
from fclf.closed.probe import FINE_PENALTY, LinearClassifier, Standardiser, cross_fitted_logits
from fclf.closed.quantile import PENALTY, transport
from fclf.errors import InputError

__all__ = ["ConditionalTransport"]

FLOOR = 0.15
"""Quantile of the target class below which no edited row's own logit stays."""
QUANTILES = 1001
ITERATIONS = 2
CALIBRATION_ROWS = 2000


@dataclass(frozen=True)
class ConditionalTransport:
    r"""Mean, spread and logits of the target labels, by the smallest movement that brings them.

    1. $x = \Pi(z + s\,\delta)$ with the displacement $\delta$ of `LabelMeans.move`: the mean and spread of the rows
       that have the target labels, interactions of attributes included; and of `PersonalEffects.move`, where it is
       `with_personal_effects`.
    2. $z' = \Pi(x + W_A^\top c)$: the smallest correction after which the probes read what they should. The logit of
       an edited attribute goes to the quantile of the target class that it had in its own (monotone transport), at
       least to the `floor` quantile. The logit of any other attribute may move, but not below a margin $\mu$ on the
       side of 0 where it was: it ends at $\pm\max(\pm\ell(x), \min(\pm\ell(z), \mu))$, $\pm$ its sign before.

    Moving along a probe's weights is the shortest way to change what it reads, so it costs little of the energy
    distance to real rows, which is quadratic in the length. Others' logits are met by ridge regression (weight
    $\lambda$), the own one exactly up to the curvature of the sphere, for which there are `ITERATIONS` steps.

    `keep` in [0, 1] walks the front: s from 0.85 to 0.6, $\mu$ from 0.2 to 0.8 standard deviations, $\lambda$ from 0.3
    to 0.03 of the squared weights. 0 is *faithful* (the distribution first), 1 *controlled* (other predictions held).
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
    keep: float = 0.5
    floor: float = FLOOR
    personal: PersonalEffects = NOTHING

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
        """Fit means, probes and quantiles on train rows; every attribute must occur with both values."""
        for k, labels in enumerate(y.T):
            if labels.min() == labels.max():
                raise InputError(f"An edit needs rows with and without attribute {k}; all {len(y)} are alike.")
        probes = [LinearClassifier.fit(z, y, penalty) for penalty in (PENALTY, FINE_PENALTY)]
        x = Standardiser.fit(z)(z)
        logits = [cross_fitted_logits(x, y, penalty, identities, seed) for penalty in (PENALTY, FINE_PENALTY)]
        grid = np.linspace(0, 1, QUANTILES)
        model = cls(
            means=LabelMeans.fit(z, y, seed),
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
            keep=keep,
            floor=floor,
        )
        return replace(model, spread=model._spread_factors(z, y, seed))

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
        model = replace(self, personal=personal, spread=np.ones_like(self.spread))
        return replace(model, spread=model._spread_factors(z, y, seed))

    def __call__(
        self, z: Float64[np.ndarray, "n d"], y: Int8[np.ndarray, "n K"], target: Int8[np.ndarray, "n K"]
    ) -> Float64[np.ndarray, "n d"]:
        """Carry every row; one whose labels are the target already stays, bit for bit."""
        out = z.copy()
        flips = y != target
        rows = np.flatnonzero(flips.any(axis=1))
        if not len(rows):
            return out
        z, y, target, flips = z[rows], y[rows], target[rows], flips[rows]
        factors = np.prod(np.where(flips, self.spread[np.arange(y.shape[1]), target], 1.0), axis=1)
        share = 0.85 - 0.25 * self.keep
        displacement = self.means.move(z, y, target, factors)
        if self.personal.gain:
            displacement += self.personal.move(self.means.rest(z, y), target - y)
        x = project(z + share * displacement)
        read = x @ self.weights.T
        goals = self._goals(z, read + self.offsets, y, target)
        coefficients = np.empty_like(goals)
        patterns, member = np.unique(flips, axis=0, return_inverse=True)
        for number, pattern in enumerate(patterns):
            mine = member.reshape(-1) == number
            coefficients[mine] = self._correction(read[mine], goals[mine] - self.offsets, pattern)
        out[rows] = project(x + coefficients @ self.weights)
        return out

    def _goals(
        self,
        z: Float64[np.ndarray, "n d"],
        moved: Float64[np.ndarray, "n 2K"],
        y: Int8[np.ndarray, "n K"],
        target: Int8[np.ndarray, "n K"],
    ) -> Float64[np.ndarray, "n 2K"]:
        """Logits to end at."""
        before = z @ self.weights.T + self.offsets
        sign = np.where(before < 0, -1.0, 1.0)
        margin = (0.2 + 0.6 * self.keep) * self.deviations
        goals = sign * np.maximum(sign * moved, np.minimum(sign * before, margin))
        for k in range(y.shape[1]):
            for value in (0, 1):
                rows = (y[:, k] == 1 - value) & (target[:, k] == value)
                own, other = self.quantiles[k, 1 - value], self.quantiles[k, value]
                carried = transport(before[rows, k], own, other)
                least = np.quantile(other, self.floor if value else 1 - self.floor)
                goals[rows, k] = np.maximum(carried, least) if value else np.minimum(carried, least)
        return goals

    def _correction(
        self, read: Float64[np.ndarray, "n 2K"], goals: Float64[np.ndarray, "n 2K"], flips: Bool[np.ndarray, " K"]
    ) -> Float64[np.ndarray, "n 2K"]:
        r"""Coefficients of the probes' weights for rows x that make the same change, given `read` = W x.

        The probes read $(W x + W W^\top c) / \|x + W^\top c\|$, which is known from W x without touching d dimensions.
        """
        active = np.concatenate([np.ones_like(flips), ~flips])
        weights = self.weights[active]
        gram = weights @ weights.T
        ridge = 0.3 * 0.1**self.keep * np.diag(gram) * ~np.concatenate([flips, flips])[active]
        inverse = np.linalg.inv(gram + np.diag(ridge))
        read, goals = read[:, active], goals[:, active]
        c = np.zeros_like(goals)
        for _ in range(ITERATIONS):
            bent = c @ gram
            norm = np.sqrt(1 + 2 * (c * read).sum(axis=1) + (c * bent).sum(axis=1))
            c = c + (goals - (read + bent) / norm[:, None] - c * ridge) @ inverse
        out = np.zeros((len(c), len(active)))
        out[:, active] = c
        return out

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


def _unexplained(x: Float64[np.ndarray, "n d"], labels: Int8[np.ndarray, "n K"]) -> float:
    """Sum of squares that a regression on the labels leaves."""
    design = np.column_stack([np.ones(len(labels)), labels])
    rest = x - design @ np.linalg.lstsq(design, x, rcond=None)[0]
    return float(np.square(rest).sum())
