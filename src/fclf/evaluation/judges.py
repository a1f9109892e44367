"""Classifiers that say which attributes an embedding shows.

They are trained on the judge rows only, never on rows or people that training has read and never on flowed rows,
and are asked about flipped targets. Sharing rows with training has turned a success of .80 into .98.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float64, Int8
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from fclf.closed.probe import Standardiser, logistic_weights
from fclf.data.embeddings import EmbeddingSet
from fclf.errors import InputError
from fclf.labels import UNKNOWN

__all__ = ["Judge", "Judges", "LinearJudge", "MLPJudge", "Standardiser", "cell_shares"]

PENALTY = 0.003
"""scikit-learn's C of the linear judge."""


class Judge(Protocol):
    """Predicts all K attributes of each row."""

    def predict(self, z: Float64[np.ndarray, "n d"]) -> Int8[np.ndarray, "n K"]:
        """0 or 1 per attribute."""
        ...


@dataclass(frozen=True)
class LinearJudge:
    """One class-balanced logistic regression per attribute (C = 0.003 on standardised inputs)."""

    inputs: Standardiser
    weights: Float64[np.ndarray, "K d"]
    biases: Float64[np.ndarray, " K"]

    @classmethod
    def fit(cls, inputs: Standardiser, z: Float64[np.ndarray, "n d"], y: Int8[np.ndarray, "n K"]) -> LinearJudge:
        """Fit on judge rows."""
        return cls(inputs, *logistic_weights(inputs(z), y, PENALTY))

    def logits(self, z: Float64[np.ndarray, "n d"]) -> Float64[np.ndarray, "n K"]:
        """Log odds of each attribute."""
        return self.inputs(z) @ self.weights.T + self.biases

    def predict(self, z: Float64[np.ndarray, "n d"]) -> Int8[np.ndarray, "n K"]:
        """0 or 1 per attribute."""
        return (self.logits(z) > 0).astype(np.int8)

    def remainder(self, z: Float64[np.ndarray, "n d"]) -> Float64[np.ndarray, "n d"]:
        """Centred unit vectors without the span of the judges: what of `z` says nothing about the attributes."""
        basis = np.linalg.qr(self.weights.T)[0]
        centred = z - self.inputs.mean
        rest = centred - (centred @ basis) @ basis.T
        return rest / np.maximum(np.linalg.norm(rest, axis=1, keepdims=True), np.finfo(np.float64).tiny)


@dataclass(frozen=True)
class MLPJudge:
    """One network with 128 hidden units per attribute, on balanced rows (L2 3, early stopping)."""

    inputs: Standardiser
    models: tuple[MLPClassifier, ...]

    @classmethod
    def fit(
        cls, inputs: Standardiser, z: Float64[np.ndarray, "n d"], y: Int8[np.ndarray, "n K"], seed: int = 0
    ) -> MLPJudge:
        """Fit on judge rows; the rarer label's rows are drawn again until both labels have as many."""
        rng = np.random.default_rng(seed)
        x = inputs(z)
        models = []
        for labels in y.T:
            rows = np.flatnonzero(labels != UNKNOWN)
            rare = rows[labels[rows] == (labels[rows].mean() < 0.5)]
            rows = np.concatenate([rows, rng.choice(rare, len(rows) - 2 * len(rare))])
            model = MLPClassifier((128,), alpha=3.0, early_stopping=len(rows) >= 50, max_iter=300, random_state=seed)
            with warnings.catch_warnings():  # few rows are few steps; how good a judge is, is measured on other rows
                warnings.simplefilter("ignore", ConvergenceWarning)
                models.append(model.fit(x[rows], labels[rows]))
        return cls(inputs, tuple(models))

    def predict(self, z: Float64[np.ndarray, "n d"]) -> Int8[np.ndarray, "n K"]:
        """0 or 1 per attribute."""
        x = self.inputs(z)
        return np.stack([model.predict(x) for model in self.models], axis=1).astype(np.int8)


@dataclass(frozen=True)
class Judges:
    """The linear and the network judge, fitted on the same rows."""

    linear: LinearJudge
    mlp: MLPJudge
    rows: int

    @classmethod
    def fit(cls, data: EmbeddingSet, seed: int = 0) -> Judges:
        """Fit both on `data`, the judge rows.

        Raises:
            InputError: if an attribute has fewer than two rows with one of its values.
        """
        y = np.asarray(data.attributes)
        for k, name in enumerate(data.attribute_names):
            ones, zeros = (int((y[:, k] == value).sum()) for value in (1, 0))
            if min(ones, zeros) < 2:
                raise InputError(
                    f"The judge rows cannot teach '{name}': {ones} of {ones + zeros} have it. At least two with and "
                    "two without are needed; give more rows the split 'judge', or train again with --attributes, "
                    "without it."
                )
        z = data.embeddings.astype(np.float64)
        inputs = Standardiser.fit(z)
        if inputs.spread == 0:
            raise InputError(f"The {len(z)} judge rows are all the same embedding, so nothing can be judged.")
        return cls(LinearJudge.fit(inputs, z, y), MLPJudge.fit(inputs, z, y, seed), len(z))


def cell_shares(
    right: NDArray[np.bool_], asked: NDArray[np.bool_], value: Int8[np.ndarray, "n K"], names: tuple[str, ...]
) -> dict[str, float]:
    """Share of judgements that are right, for each attribute x value; cells that nobody asks about are left out.

    Args:
        right: whether each judgement is, (n, K).
        asked: which judgements count, (n, K).
        value: the value that each ought to have.
        names: of the K attributes.
    """
    cells = {}
    for k, name in enumerate(names):
        for to in (1, 0):
            rows = asked[:, k] & (value[:, k] == to)
            if rows.any():
                cells[f"{name}={to}"] = float(right[rows, k].mean())
    return cells
