"""Linear probes: what a direction in the embeddings says of an attribute."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int8, Int64

from fclf.labels import UNKNOWN

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

__all__ = [
    "FINE_PENALTY",
    "LinearClassifier",
    "Standardiser",
    "cross_fitted_logits",
    "first_half",
    "logistic_weights",
    "some_people",
]

FOLDS = 5
FINE_PENALTY = 3e-3
"""scikit-learn's C at which a probe reads about what a classifier of its own would."""

PART = 8192
"""Rows that are held in float64 at once."""


@dataclass(frozen=True)
class Standardiser:
    """Centres inputs and divides them by one number, so that a penalty means the same on a cone and a sphere."""

    mean: Float64[np.ndarray, " d"]
    spread: float
    """Mean over dimensions of the standard deviation."""

    @classmethod
    def fit(cls, z: Float[np.ndarray, "n d"]) -> Standardiser:
        """Measure mean and spread in float64, some rows at a time so that memory does not double."""
        mean = z.mean(axis=0, dtype=np.float64)
        squares = sum(((z[rows] - mean) ** 2).sum(axis=0) for rows in _parts(len(z)))
        return cls(mean, float(np.sqrt(squares / len(z)).mean()))

    def __call__(self, z: Float[np.ndarray, "n d"]) -> Float64[np.ndarray, "n d"]:
        """Standardise."""
        return (z - self.mean) / self.spread

    def in_float32(self, z: Float[np.ndarray, "n d"]) -> Float32[np.ndarray, "n d"]:
        """Standardise and round, some rows at a time."""
        out = np.empty(z.shape, dtype=np.float32)
        for rows in _parts(len(z)):
            out[rows] = self(z[rows])
        return out


@dataclass(frozen=True)
class LinearClassifier:
    """One class-balanced logistic regression per attribute, of embeddings as they are."""

    weights: Float64[np.ndarray, "K d"]
    offsets: Float64[np.ndarray, " K"]

    @classmethod
    def fit(cls, z: Float[np.ndarray, "n d"], y: Int8[np.ndarray, "n K"], penalty: float) -> LinearClassifier:
        """Fit on standardised rows, with scikit-learn's C as the penalty."""
        inputs = Standardiser.fit(z)
        weights, biases = logistic_weights(inputs.in_float32(z), y, penalty)  # half the time of float64
        weights, biases = weights.astype(np.float64) / inputs.spread, biases.astype(np.float64)
        return cls(weights, biases - weights @ inputs.mean)

    def logits(self, z: Float64[np.ndarray, "n d"]) -> Float64[np.ndarray, "n K"]:
        """Log odds of each attribute."""
        return z @ self.weights.T + self.offsets


def _parts(n: int) -> Iterator[slice]:
    return (slice(first, first + PART) for first in range(0, n, PART))


def logistic_weights(
    x: Float64[np.ndarray, "n d"], y: Int8[np.ndarray, "n K"], penalty: float
) -> tuple[Float64[np.ndarray, "K d"], Float64[np.ndarray, " K"]]:
    """Weights and biases of one class-balanced logistic regression per attribute, with scikit-learn's C.

    An attribute is learned from the rows that have a label of it.
    """
    models = [_fitted(x, labels, penalty) for labels in y.T]
    return np.stack([model.coef_[0] for model in models]), np.array([model.intercept_[0] for model in models])


def cross_fitted_logits(
    x: Float64[np.ndarray, "n d"],
    y: Int8[np.ndarray, "n K"],
    penalty: float,
    identities: Int64[np.ndarray, " n"] | None = None,
    seed: int = 0,
) -> Float64[np.ndarray, "n K"]:
    """Logits of rows by probes that have not seen them, nor anybody shown in them: five folds.

    In-sample logits are farther apart than those of new rows. People are dealt to the folds at random, those who ever
    have the attribute apart from the others, so that every fold has its share of a rare one. An attribute with fewer
    than two people of a value cannot be held out; its logits are in-sample. Probes learn from rows with a label, and
    rows without one have logits too.
    """
    out = np.empty(y.shape)
    x = x.astype(np.float32, copy=False)
    people, who = np.unique(np.arange(len(y)) if identities is None else identities, return_inverse=True)
    shuffled = np.random.default_rng(seed).permutation(len(people))
    for k, labels in enumerate(y.T):
        ever, never = np.zeros((2, len(people)), dtype=bool)
        ever[who[labels == 1]] = never[who[labels == 0]] = True
        folds = min(FOLDS, int(ever.sum()), int(never.sum()))
        if folds < 2:
            out[:, k] = _fitted(x, labels, penalty).decision_function(x)
            continue
        fold = np.empty(len(people), dtype=np.intp)
        fold[shuffled[np.argsort(ever[shuffled], kind="stable")]] = np.arange(len(people)) % folds
        mine = fold[who]
        for number in range(folds):
            held = mine == number
            out[held, k] = _fitted(x[~held], labels[~held], penalty).decision_function(x[held])
    return out


def first_half(n: int, identities: Int64[np.ndarray, " n"] | None, seed: int) -> Bool[np.ndarray, " n"]:
    """Which of n rows show the first half of the people, drawn at random; of the rows where nobody is named."""
    people, who = np.unique(np.arange(n) if identities is None else identities, return_inverse=True)
    first: Bool[np.ndarray, " n"] = (np.random.default_rng(seed).permutation(len(people)) % 2 == 0)[who]
    return first


def some_people(n: int, identities: Int64[np.ndarray, " n"] | None, most: int, seed: int) -> Int64[np.ndarray, " r"]:
    """At most so many of n rows, whole people drawn at random, in the order of the rows."""
    if n <= most:
        return np.arange(n)
    people, who = np.unique(np.arange(n) if identities is None else identities, return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(people))
    taken = order[np.cumsum(np.bincount(who, minlength=len(people))[order]) <= most]
    return np.flatnonzero(np.isin(who, taken))


def _fitted(x: Float[np.ndarray, "n d"], labels: Int8[np.ndarray, " n"], penalty: float) -> LogisticRegression:
    """A class-balanced logistic regression on the rows that have a label."""
    from sklearn.linear_model import LogisticRegression

    known = labels != UNKNOWN
    if not known.all():
        x, labels = x[known], labels[known]
    return LogisticRegression(C=penalty, class_weight="balanced", max_iter=5000).fit(x, labels)
