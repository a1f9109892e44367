"""Least-squares effects and the edits that are made of them alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float64, Int8

__all__ = ["ClosedForm", "DoNothing", "Shift", "TargetMean", "least_squares_effects", "project"]


CACHED_ROWS = 2048


class ClosedForm(Protocol):
    """Carries embeddings `z` with attributes `y` to attributes `target`."""

    def __call__(
        self, z: Float64[np.ndarray, "n d"], y: Int8[np.ndarray, "n K"], target: Int8[np.ndarray, "n K"]
    ) -> Float64[np.ndarray, "n d"]:
        """Return unit vectors."""
        ...


def project(x: Float64[np.ndarray, "n d"]) -> Float64[np.ndarray, "n d"]:
    """Nearest points of the sphere, of float64 arrays (`fclf.sphere` is for tensors)."""
    projected: Float64[np.ndarray, "n d"] = x / _norms(x)
    return projected


def _norms(x: Float64[np.ndarray, "n d"]) -> Float64[np.ndarray, "n 1"]:
    """As `numpy.linalg.norm`, which writes the squares of all rows to memory first."""
    norms: Float64[np.ndarray, "n 1"] = np.sqrt(np.einsum("ij,ij->i", x, x))[:, None]
    return norms


def least_squares_effects(
    z: Float64[np.ndarray, "n d"], y: Int8[np.ndarray, "n K"]
) -> tuple[Float64[np.ndarray, " d"], Float64[np.ndarray, "K d"]]:
    """Intercept and one effect per attribute of the regression of `z` on `y`."""
    design = np.column_stack([np.ones(len(y)), y])
    solution = np.linalg.lstsq(design, z, rcond=None)[0]
    return solution[0], solution[1:]


@dataclass(frozen=True)
class DoNothing:
    """Every row stays: no collapse and no success."""

    def __call__(
        self, z: Float64[np.ndarray, "n d"], y: Int8[np.ndarray, "n K"], target: Int8[np.ndarray, "n K"]
    ) -> Float64[np.ndarray, "n d"]:
        """Return `z`."""
        return z


@dataclass(frozen=True)
class Shift:
    r"""Least-squares effects added to the row, $\Pi(z + s\,(t - y) B)$."""

    effects: Float64[np.ndarray, "K d"]
    strength: float = 1.0

    def __call__(
        self, z: Float64[np.ndarray, "n d"], y: Int8[np.ndarray, "n K"], target: Int8[np.ndarray, "n K"]
    ) -> Float64[np.ndarray, "n d"]:
        """Shift and project, in place and so few rows at a time that they stay in the cache."""
        effects = self.strength * self.effects
        out = np.empty(z.shape, np.result_type(z, effects))
        for first in range(0, len(z), CACHED_ROWS):
            rows = slice(first, first + CACHED_ROWS)
            x = np.matmul(np.subtract(target[rows], y[rows], dtype=out.dtype), effects, out=out[rows])
            x += z[rows]
            x /= _norms(x)
        return out


@dataclass(frozen=True)
class TargetMean:
    """Everyone to the mean of the real rows of the target combination: a perfect collapse, which must fail."""

    combinations: Int8[np.ndarray, "C K"]
    means: Float64[np.ndarray, "C d"]
    intercept: Float64[np.ndarray, " d"]
    effects: Float64[np.ndarray, "K d"]

    @classmethod
    def fit(cls, z: Float64[np.ndarray, "n d"], y: Int8[np.ndarray, "n K"]) -> TargetMean:
        """Average the rows of every combination."""
        combinations, member = np.unique(y, axis=0, return_inverse=True)
        sums = np.zeros((len(combinations), z.shape[1]))
        np.add.at(sums, member.reshape(-1), z)
        return cls(combinations, sums / np.bincount(member.reshape(-1))[:, None], *least_squares_effects(z, y))

    def __call__(
        self, z: Float64[np.ndarray, "n d"], y: Int8[np.ndarray, "n K"], target: Int8[np.ndarray, "n K"]
    ) -> Float64[np.ndarray, "n d"]:
        """Return means; for a combination without a train row, the one that the least-squares effects predict."""
        out = self.intercept + target @ self.effects
        for combination, mean in zip(self.combinations, self.means, strict=True):
            out[(target == combination).all(axis=1)] = mean
        return project(out)
