"""The real row that is nearest among those that have what is asked for: right in distribution, another person."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int8

from fclf.closed.linear import least_squares_effects

__all__ = ["NearestTarget"]


@dataclass(frozen=True)
class NearestTarget:
    r"""Replace every row by the nearest train row of its target combination, by cosine after centring.

    Centring by the mean of the train rows matters on a cone, where all cosines are alike before it. For a combination
    without a train row everyone goes to the train row that is nearest to the mean that least squares predict for it.
    """

    rows: Float64[np.ndarray, "n d"]
    labels: Int8[np.ndarray, "n K"]
    mean: Float64[np.ndarray, " d"]
    intercept: Float64[np.ndarray, " d"]
    effects: Float64[np.ndarray, "K d"]

    @classmethod
    def fit(cls, z: Float64[np.ndarray, "n d"], y: Int8[np.ndarray, "n K"]) -> NearestTarget:
        """Keep the train rows."""
        return cls(z, y, z.mean(axis=0), *least_squares_effects(z, y))

    def __call__(
        self, z: Float64[np.ndarray, "n d"], y: Int8[np.ndarray, "n K"], target: Int8[np.ndarray, "n K"]
    ) -> Float64[np.ndarray, "n d"]:
        """Return train rows."""
        out = np.empty_like(z)
        combinations, member = np.unique(target, axis=0, return_inverse=True)
        for number, combination in enumerate(combinations):
            edits = member.reshape(-1) == number
            real = self.rows[(self.labels == combination).all(axis=1)]
            if len(real):
                out[edits] = real[((z[edits] - self.mean) @ self._directions(real).T).argmax(axis=1)]
            else:
                expected = self.intercept + combination @ self.effects - self.mean
                out[edits] = self.rows[(self._directions(self.rows) @ expected).argmax()]
        return out

    def _directions(self, x: Float64[np.ndarray, "n d"]) -> Float64[np.ndarray, "n d"]:
        centred = x - self.mean
        tiny = np.finfo(np.float64).tiny
        unit: Float64[np.ndarray, "n d"] = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), tiny)
        return unit
