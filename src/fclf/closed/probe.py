"""Linear probes: what a direction in the embeddings says of an attribute."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int8, Int64
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict

__all__ = ["Standardiser", "cross_fitted_logits", "logistic_weights"]

FOLDS = 5


@dataclass(frozen=True)
class Standardiser:
    """Centres inputs and divides them by one number, so that a penalty means the same on a cone and a sphere."""

    mean: Float64[np.ndarray, " d"]
    spread: float
    """Mean over dimensions of the standard deviation."""

    @classmethod
    def fit(cls, z: Float64[np.ndarray, "n d"]) -> Standardiser:
        """Measure mean and spread."""
        return cls(z.mean(axis=0), float(z.std(axis=0).mean()))

    def __call__(self, z: Float64[np.ndarray, "n d"]) -> Float64[np.ndarray, "n d"]:
        """Standardise."""
        return (z - self.mean) / self.spread


def logistic_weights(
    x: Float64[np.ndarray, "n d"], y: Int8[np.ndarray, "n K"], penalty: float
) -> tuple[Float64[np.ndarray, "K d"], Float64[np.ndarray, " K"]]:
    """Weights and biases of one class-balanced logistic regression per attribute, with scikit-learn's C."""
    models = [_logistic(penalty).fit(x, labels) for labels in y.T]
    return np.stack([model.coef_[0] for model in models]), np.array([model.intercept_[0] for model in models])


def cross_fitted_logits(
    x: Float64[np.ndarray, "n d"],
    y: Int8[np.ndarray, "n K"],
    penalty: float,
    identities: Int64[np.ndarray, " n"] | None = None,
    seed: int = 0,
) -> Float64[np.ndarray, "n K"]:
    """Logits of rows by probes that have not seen them, nor anybody shown in them: five folds.

    In-sample logits are farther apart than those of new rows. An attribute with fewer than two rows of a value cannot
    be held out; its logits are in-sample.
    """
    out = np.empty(y.shape)
    for k, labels in enumerate(y.T):
        units = np.arange(len(labels)) if identities is None else identities
        rarest = min(len(np.unique(units[labels == value])) for value in (0, 1))
        folds = min(FOLDS, rarest)
        if folds < 2:
            out[:, k] = _logistic(penalty).fit(x, labels).decision_function(x)
            continue
        kind = StratifiedKFold if identities is None else StratifiedGroupKFold
        cv = kind(folds, shuffle=True, random_state=seed)
        out[:, k] = cross_val_predict(
            _logistic(penalty), x, labels, groups=identities, cv=cv, method="decision_function"
        )
    return out


def _logistic(penalty: float) -> LogisticRegression:
    return LogisticRegression(C=penalty, class_weight="balanced", max_iter=5000)
