"""Labels that are not known, where all labels of a row are needed at once."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int8

from fclf.closed.probe import Standardiser
from fclf.labels import UNKNOWN

__all__ = ["completed"]

PENALTY = 0.03
"""scikit-learn's C of the probabilities: of a stronger penalty they are too near one half, and effects too short."""


def completed(z: Float[np.ndarray, "n d"], y: Int8[np.ndarray, "n K"], seed: int = 0) -> Int8[np.ndarray, "n K"]:
    r"""Draw every unknown label from what the embedding says of it, $y_k \sim \mathrm{Bernoulli}(P(y_k = 1 \mid z))$.

    Drawn labels leave means and effects unbiased where the probability is right, while the likeliest label makes
    effects too long, rows without any unknown label may be few, and a label in between makes effects too short
    (Little & Rubin, 2019, *Statistical Analysis with Missing Data*, section 4.3). Known labels are never changed.

    Args:
        z: embeddings.
        y: their labels, 0, 1 or `UNKNOWN`; every attribute must be known of rows with both values.
        seed: of the draws.
    """
    if (y != UNKNOWN).all():
        return y
    from sklearn.linear_model import LogisticRegression

    x, out = Standardiser.fit(z).in_float32(z), y.copy()
    for k, labels in enumerate(y.T):
        unknown = labels == UNKNOWN
        if unknown.any():
            model = LogisticRegression(C=PENALTY, max_iter=5000).fit(x[~unknown], labels[~unknown])
            chance = model.predict_proba(x[unknown])[:, 1]
            out[unknown, k] = np.random.default_rng((seed, k)).random(len(chance)) < chance
    return out
