"""The edits that every result is read against, fitted on the train rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fclf.closed.affine import Affine
from fclf.closed.linear import ClosedForm, DoNothing, Shift, TargetMean, least_squares_effects
from fclf.closed.nearest import NearestTarget
from fclf.closed.quantile import QuantileShift
from fclf.data.embeddings import EmbeddingSet
from fclf.evaluation.flow_matching import FlowMatching

__all__ = ["controls"]


def controls(train: EmbeddingSet, *, slow: bool = False, seed: int = 0) -> dict[str, ClosedForm]:
    """Fit every control on the train rows, whose attributes must all occur with both values.

    Args:
        train: rows that training has read.
        slow: train flow matching too, which takes as long as all the rest of an evaluation.
        seed: of that.
    """
    z, y = train.embeddings.astype(np.float64), np.asarray(train.attributes)
    effects = least_squares_effects(z, y)[1]
    quantile = QuantileShift.fit(z, y, train.identities)
    found: dict[str, ClosedForm] = {
        "do nothing": DoNothing(),
        "target mean": TargetMean.fit(z, y),
        "nearest real target row": NearestTarget.fit(z, y),
        "shift x1": Shift(effects),
        "shift x1.5": Shift(effects, 1.5),
        "affine": Affine.fit(z, y),
        "quantile shift": quantile,
        "quantile shift x1.15": replace(quantile, strength=1.15),
        "quantile shift, half controlled": replace(quantile, control=0.5),
    }
    if slow:
        found["flow matching"] = FlowMatching.fit(z, y, seed=seed)
    return found
