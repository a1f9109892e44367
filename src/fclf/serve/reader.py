"""Who reads attributes off embeddings: a judge that shares nothing with training, or who else, and said so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float64
from scipy.special import expit

from fclf.checkpoint import Checkpoint
from fclf.closed.probe import LinearClassifier
from fclf.data.embeddings import UNKNOWN, EmbeddingSet
from fclf.data.targets import own_labels
from fclf.evaluation.judges import LinearJudge, Standardiser

__all__ = ["Reader", "classifier_of"]

FEWEST = 2
"""Judge rows of either value without which an attribute cannot be learned."""


@dataclass(frozen=True)
class Reader:
    """Probabilities of attributes, and where they come from."""

    kind: Literal["judge", "classifier", "none"]
    said: str
    """Who reads, in words."""
    model: LinearJudge | LinearClassifier | None = None
    rows: Bool[np.ndarray, " n"] | None = None
    """Rows of the file that the judge was trained on."""

    def __call__(self, z: Float64[np.ndarray, "n d"]) -> Float64[np.ndarray, "n K"] | None:
        """Probability of each attribute by a logistic regression on balanced classes, or None."""
        return None if self.model is None else expit(self.model.logits(z))

    @classmethod
    def fit(cls, checkpoint: Checkpoint, data: EmbeddingSet, seen: Bool[np.ndarray, " n"]) -> Reader:
        """A linear judge trained on the judge rows, or else the checkpoint's classifier.

        Rows that training has read never train the judge, nor do rows of people it has seen.

        Args:
            checkpoint: whose attributes are read.
            data: the rows that are served.
            seen: which of them training has read.
        """
        names = checkpoint.attribute_names
        y = own_labels(data, names)
        rows = np.asarray(data.with_split(checkpoint.config.data.split_seed).split) == "judge"
        rows &= (y != UNKNOWN).all(axis=1) & ~seen
        if data.identities is not None and seen.any():
            rows &= ~np.isin(data.identities, checkpoint.seen_identities)
        taught = y[rows].sum(axis=0, dtype=np.int64) if rows.any() else np.zeros(len(names), dtype=np.int64)
        if (np.minimum(taught, int(rows.sum()) - taught) >= FEWEST).all():
            z = data.embeddings[rows].astype(np.float64)
            inputs = Standardiser.fit(z)
            if inputs.spread > 0:
                said = f"A linear judge, trained on {len(z):,} rows of people that training never read."
                return cls("judge", said, LinearJudge.fit(inputs, z, y[rows]), rows)
        model = classifier_of(checkpoint)
        if model is None:
            return cls("none", "Nobody reads attributes: the file has no judge rows, and the model no classifier.")
        said = "The model's own classifier, trained on its train rows: not independent, as the file has no judge rows."
        return cls("classifier", said, model)


def classifier_of(checkpoint: Checkpoint) -> LinearClassifier | None:
    """The classifier of the train rows that a checkpoint may hold."""
    if not checkpoint.classifier:
        return None
    return LinearClassifier(**{name: value.numpy() for name, value in checkpoint.classifier.items()})
