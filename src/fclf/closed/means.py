"""Where rows live and how far they spread, as a function of their labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int8

__all__ = ["LabelMeans"]

MODERATORS = 6
"""Most directions of the labels on which an attribute's effect may depend, so that the model grows with K, not K^2."""
PENALTIES = np.array([3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 1e6])
"""Ridge penalties of the interactions, chosen by leave-one-out error; the last one leaves hardly any of them."""
SPREAD_PENALTY = 30.0
CHOOSE_ROWS = 10_000
"""Rows from which the penalty is chosen."""


@dataclass(frozen=True)
class LabelMeans:
    r"""Conditional mean and spread of embeddings given their labels.

    $$m(y) = \Phi(y)\,C, \qquad \sigma^2(y) = \exp(\Phi(y)\,\gamma), \qquad
    \Phi(y) = [1,\; \bar y,\; \bar y \otimes M \bar y]$$

    with centred labels $\bar y$ and moderators M: the labels themselves where there are at most `MODERATORS`
    attributes, their leading principal axes where there are more. So glasses may move a man elsewhere than a woman,
    combinations share strength, one that never occurred has a prediction, and the size is linear in K.
    """

    centre: Float64[np.ndarray, " K"]
    moderators: Float64[np.ndarray, "R K"]
    coefficients: Float64[np.ndarray, "F d"]
    log_variance: Float64[np.ndarray, " F"]
    """Of the total variance, up to a constant."""

    @classmethod
    def fit(cls, z: Float64[np.ndarray, "n d"], y: Int8[np.ndarray, "n K"], seed: int = 0) -> LabelMeans:
        r"""Fit mean (least squares, ridge for the interactions) and $\sigma^2$ (gamma regression) on train rows.

        The ridge acts on what the main effects leave, so that attributes keep their unbiased effects (Frisch & Waugh,
        1933, https://doi.org/10.2307/1907330).
        """
        from sklearn.linear_model import GammaRegressor, RidgeCV

        centre = y.mean(axis=0)
        k = y.shape[1]
        moderators = np.eye(k)
        if k > MODERATORS:
            scatter = np.cov(y.T.astype(np.float64))
            moderators = np.linalg.eigh(scatter)[1][:, ::-1][:, :MODERATORS].T
        model = cls(centre, moderators, np.zeros((0, 0)), np.zeros(0))
        features = model.features(y)
        main, interactions = features[:, : k + 1], features[:, k + 1 :]
        loading = np.linalg.lstsq(main, interactions, rcond=None)[0]
        effects = np.linalg.lstsq(main, z, rcond=None)[0]
        left, rest = interactions - main @ loading, z - main @ effects
        rows = np.random.default_rng(seed).permutation(len(z))[:CHOOSE_ROWS]
        penalty = RidgeCV(PENALTIES, fit_intercept=False).fit(left[rows], rest[rows]).alpha_
        gram = left.T @ left + penalty * np.eye(left.shape[1])
        moderated = np.linalg.solve(gram, left.T @ rest)
        coefficients = np.concatenate([effects - loading @ moderated, moderated])
        rest -= left @ moderated
        squares = np.einsum("nd,nd->n", rest, rest)
        squares = np.maximum(squares / squares.mean(), 1e-6)
        gamma = GammaRegressor(alpha=SPREAD_PENALTY / len(z), max_iter=1000).fit(features[:, 1:], squares)
        return cls(centre, moderators, coefficients, np.concatenate([[gamma.intercept_], gamma.coef_]))

    def features(self, y: Int8[np.ndarray, "n K"]) -> Float64[np.ndarray, "n F"]:
        r"""Return $\Phi(y)$."""
        centred = y - self.centre
        products = centred[:, :, None] * (centred @ self.moderators.T)[:, None, :]
        products = products.reshape(-1, len(self.centre) * len(self.moderators))
        return np.concatenate([np.ones_like(centred[:, :1]), centred, products], axis=1)

    def rest(self, z: Float64[np.ndarray, "n d"], y: Int8[np.ndarray, "n K"]) -> Float64[np.ndarray, "n d"]:
        """What labels leave of embeddings, $z - m(y)$."""
        return z - self.features(y) @ self.coefficients

    def move(
        self,
        z: Float64[np.ndarray, "n d"],
        y: Int8[np.ndarray, "n K"],
        target: Int8[np.ndarray, "n K"],
        spread: Float64[np.ndarray, " n"] | float = 1.0,
    ) -> Float64[np.ndarray, "n d"]:
        r"""Displacement that gives rows of `y` mean and spread of rows of `target`.

        $$m(t) - m(y) + (s\,\sigma(t)/\sigma(y) - 1)(z - m(y))$$

        Args:
            z: embeddings.
            y: their labels.
            target: labels to move to.
            spread: a further factor s of the distance to the mean.
        """
        before, after = self.features(y), self.features(target)
        scale = spread * np.exp((after - before) @ self.log_variance / 2)
        displacement: Float64[np.ndarray, "n d"] = (after - scale[:, None] * before) @ self.coefficients
        displacement += (scale - 1)[:, None] * z
        return displacement
