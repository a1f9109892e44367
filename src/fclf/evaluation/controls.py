"""The edits that every result is read against, fitted on the train rows."""

from __future__ import annotations

import numpy as np

from fclf.closed.candidates import BASELINES, closed_forms
from fclf.closed.linear import ClosedForm, DoNothing, TargetMean
from fclf.closed.nearest import NearestTarget
from fclf.data.embeddings import EmbeddingSet
from fclf.errors import InputError
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
    constant = [name for name, labels in zip(train.attribute_names, y.T, strict=True) if labels.min() == labels.max()]
    if constant:
        raise InputError(
            f"No control can be fitted to {', '.join(constant)}: all {len(y)} train rows have the same label. Give "
            "rows of both labels the split 'train', or evaluate the file that the checkpoint was trained on."
        )
    found: dict[str, ClosedForm] = {
        "do nothing": DoNothing(),
        "target mean": TargetMean.fit(z, y),
        "nearest real target row": NearestTarget.fit(z, y),
        **closed_forms(z, y, train.identities, names=BASELINES),
    }
    if slow:
        found["flow matching"] = FlowMatching.fit(z, y, seed=seed)
    return found
