"""Gaussian optimal transport of one attribute: where a shift carries the mean, this carries the covariance too."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int8

from fclf.closed.linear import least_squares_effects, project

__all__ = ["Affine", "gaussian_map"]


def gaussian_map(source: Float64[np.ndarray, "d d"], target: Float64[np.ndarray, "d d"]) -> Float64[np.ndarray, "d d"]:
    r"""Symmetric matrix of the optimal transport between centred Gaussians with these positive definite covariances.

    $$A = S_0^{-1/2}\,(S_0^{1/2} S_1 S_0^{1/2})^{1/2}\,S_0^{-1/2}, \qquad A S_0 A = S_1$$

    (Dowson & Landau, 1982, https://doi.org/10.1016/0047-259X(82)90077-X; Peyré & Cuturi, 2019, remark 2.31,
    https://arxiv.org/abs/1803.00567.)
    """
    values, axes = np.linalg.eigh(source)
    root = (axes * np.sqrt(values)) @ axes.T
    inverse = (axes / np.sqrt(values)) @ axes.T
    middle, between = np.linalg.eigh(root @ target @ root)
    out: Float64[np.ndarray, "d d"] = inverse @ (between * np.sqrt(np.maximum(middle, 0))) @ between.T @ inverse
    return (out + out.T) / 2


@dataclass(frozen=True)
class Affine:
    r"""For every flip the optimal transport between two Gaussians, $\Pi(m_1 + A\,(z - m_0))$; several flips compose.

    The mean $m_0$ of a row is what least squares predict for its own attributes and $m_1 = m_0 \pm b_k$, so that the
    other attributes stay; $A$ carries the covariance of the residuals of the train rows without the attribute to that
    of those with it, or back by its inverse. Each covariance is shrunk toward the pooled one (Ledoit & Wolf, 2004,
    https://doi.org/10.1016/S0047-259X(03)00096-4, in the coordinates in which the pooled one is the identity), and both
    by the same amount toward a sphere: by amounts of their own, the few rows of a rare attribute would be blown up in
    every direction that real rows hardly use.
    """

    intercept: Float64[np.ndarray, " d"]
    effects: Float64[np.ndarray, "K d"]
    maps: Float64[np.ndarray, "K d d"]
    """The matrix that adds each attribute; its inverse takes it away."""

    @classmethod
    def fit(cls, z: Float64[np.ndarray, "n d"], y: Int8[np.ndarray, "n K"]) -> Affine:
        """Fit on train rows; every attribute must occur with both values."""
        from sklearn.covariance import ledoit_wolf_shrinkage

        intercept, effects = least_squares_effects(z, y)
        residuals = z - intercept - y @ effects
        pooled, share = residuals.T @ residuals / len(z), ledoit_wolf_shrinkage(residuals, assume_centered=True)
        ridge = share * np.trace(pooled) / len(pooled) * np.eye(len(pooled))
        values, axes = np.linalg.eigh((1 - share) * pooled + ridge)
        white = residuals @ (axes / np.sqrt(np.maximum(values, np.finfo(np.float64).eps * values[-1])))
        maps = np.empty((y.shape[1], z.shape[1], z.shape[1]))
        for k, labels in enumerate(y.T):
            maps[k] = gaussian_map(
                *(
                    (1 - share) * _shrunk(residuals[labels == value], white[labels == value], pooled) + ridge
                    for value in (0, 1)
                )
            )
        return cls(intercept, effects, maps)

    def __call__(
        self, z: Float64[np.ndarray, "n d"], y: Int8[np.ndarray, "n K"], target: Int8[np.ndarray, "n K"]
    ) -> Float64[np.ndarray, "n d"]:
        """Carry mean and residual of every row, attribute by attribute, and project at the end."""
        residuals = z - self.intercept - y @ self.effects
        for k, adding in enumerate(self.maps):
            gain, lose = target[:, k] > y[:, k], target[:, k] < y[:, k]
            residuals[gain] = residuals[gain] @ adding
            residuals[lose] = np.linalg.solve(adding, residuals[lose].T).T
        return project(self.intercept + target @ self.effects + residuals)


def _shrunk(
    x: Float64[np.ndarray, "n d"], white: Float64[np.ndarray, "n d"], pooled: Float64[np.ndarray, "d d"]
) -> Float64[np.ndarray, "d d"]:
    """Covariance of rows, shrunk toward the pooled one by the share that Ledoit and Wolf find for whitened rows."""
    from sklearn.covariance import ledoit_wolf_shrinkage

    share = ledoit_wolf_shrinkage(white)
    centred = x - x.mean(axis=0)
    out: Float64[np.ndarray, "d d"] = (1 - share) * (centred.T @ centred / len(x)) + share * pooled
    return out
