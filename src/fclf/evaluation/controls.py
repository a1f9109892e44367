"""The edits that every result is read against, fitted on the train rows."""

from __future__ import annotations

import numpy as np

from fclf.closed.candidates import BASELINES, closed_forms
from fclf.closed.linear import ClosedForm, DoNothing, TargetMean
from fclf.closed.missing import completed
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
    constant = train.constant_attributes()
    if constant:
        raise InputError(
            f"No control can be fitted to {', '.join(constant)}: all train rows with a label have the same one. Give "
            "rows of both labels the split 'train', or evaluate the file that the checkpoint was trained on."
        )
    full = completed(z, y, seed)
    found: dict[str, ClosedForm] = {
        "do nothing": DoNothing(),
        "target mean": TargetMean.fit(z, full),
        "nearest real target row": NearestTarget.fit(z, full),
        **closed_forms(z, y, train.identities, names=BASELINES),
    }
    if slow:
        found["flow matching"] = FlowMatching.fit(z, full, seed=seed)
    return found
