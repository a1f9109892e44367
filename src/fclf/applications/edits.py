"""Edits of arrays by a checkpoint, in the form of the closed forms that every use is read against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fclf.closed.candidates import closed_forms
from fclf.closed.support import LEVEL
from fclf.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Bool, Float64, Int8

    from fclf.checkpoint import Checkpoint
    from fclf.closed.linear import ClosedForm
    from fclf.data.embeddings import EmbeddingSet

__all__ = ["FLOW", "accepted_rows", "controls_of", "edits_at", "learned_rows"]

FLOW = "flow"
"""Name of the checkpoint's edits in every table."""


def edits_at(model: Checkpoint, strength: float = 1.0) -> ClosedForm:
    """Edits of a checkpoint at one strength; rows that have their target's labels already stay."""
    flow = model.flow()

    def edit(
        z: Float64[np.ndarray, "n d"], y: Int8[np.ndarray, "n K"], target: Int8[np.ndarray, "n K"]
    ) -> Float64[np.ndarray, "n d"]:
        out = z.astype(np.float64)
        moving = (y != target).any(axis=1)
        if moving.any() and strength:
            rows, condition = flow.inputs(z[moving], y[moving], target[moving])
            out[moving] = flow.edit(rows, condition, strength).double().numpy()
        return out

    return edit


def learned_rows(model: Checkpoint, data: EmbeddingSet) -> EmbeddingSet:
    """The train rows with all labels of the checkpoint's attributes, for controls to be fitted on.

    Raises:
        InputError: if there are none, or an attribute has only one value among them.
    """
    train = model.matching(data).with_split(model.config.data.split_seed).part("train").fully_labelled()
    y = np.asarray(train.attributes)
    constant = [name for name, labels in zip(train.attribute_names, y.T, strict=True) if labels.min() == labels.max()]
    if constant:
        raise InputError(
            f"All {len(y)} train rows have the same label of {', '.join(constant)}, so no control can be fitted. Give "
            "the file that the checkpoint was trained on, or rows of both labels with the split 'train'."
        )
    return train


def controls_of(train: EmbeddingSet, names: Sequence[str]) -> dict[str, ClosedForm]:
    """Closed forms of `fclf.closed.candidates`, fitted on train rows."""
    z, y = train.embeddings.astype(np.float64), np.asarray(train.attributes)
    found = closed_forms(z, y, train.identities, names=names)
    return {name: found[name] for name in names}


def accepted_rows(
    model: Checkpoint, edited: Float64[np.ndarray, "n d"], target: Int8[np.ndarray, "n K"]
) -> Bool[np.ndarray, " n"] | None:
    """Which edits end where rows of their labels are, by the checkpoint's support; None where it holds none."""
    if model.support is None:
        return None
    accepted: Bool[np.ndarray, " n"] = model.support.score(edited, target) >= LEVEL
    return accepted
