"""What training asks every few epochs: does the flow of the val rows still have the spread of real rows?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float64
from numpy.typing import NDArray

from fclf.data.embeddings import EmbeddingSet
from fclf.evaluation.edits import comparable_groups, plan_edits
from fclf.evaluation.geometry import silhouette
from fclf.evaluation.spread import total_variance
from fclf.flow import Flow

__all__ = ["SpreadMonitor"]

MIN_ROWS = 20
MAX_EDITS = 20_000


class SpreadMonitor:
    """Silhouette by target and variance ratio of the val rows, every row x every attribute.

    Variances are compared with the *train* rows of the target combination, as the val rows of one are few, in groups
    of `MIN_ROWS` edits and real rows or more. Judges are not asked: they wait for the evaluation.

    At most `MAX_EDITS` edits are made, of val rows drawn at random.

    Args:
        train: real rows to compare with.
        val: rows to edit.
        seed: of the sample of `sample` edits.
        sample: edits in the silhouette, which compares all pairs.
    """

    def __init__(self, train: EmbeddingSet, val: EmbeddingSet, *, seed: int = 0, sample: int = 1000) -> None:
        rows = np.random.default_rng(seed).permutation(len(val))[: max(1, MAX_EDITS // len(val.attribute_names))]
        val = val.take(np.sort(rows))
        labels = np.asarray(val.attributes)
        self.plan = plan_edits(labels, val.attribute_names, "each")
        self.z = torch.from_numpy(val.embeddings)[self.plan.source]
        self.source, self.target = (torch.from_numpy(y).float() for y in (self.plan.original, self.plan.target))
        self.codes = np.unique(self.plan.target, axis=0, return_inverse=True)[1].reshape(-1)
        self.sample = np.random.default_rng(seed).permutation(len(self.plan))[:sample]
        self.groups = self._groups(train)

    def _groups(self, train: EmbeddingSet) -> list[tuple[np.ndarray, float]]:
        """Edits of each group of the same change and target, and the variance of real rows there."""
        real = train.embeddings.astype(np.float64)
        groups = comparable_groups(self.plan, np.asarray(train.attributes), MIN_ROWS, MIN_ROWS)
        return [(g.edits, total_variance(real[g.real])) for g in groups if np.ptp(real[g.real], axis=0).any()]

    def __call__(self, flow: Flow) -> Mapping[str, float]:
        """`silhouette_by_target` and `variance_ratio`, each where it is defined."""
        ends = self._ends(flow, np.arange(len(self.plan)))
        found = {}
        by_target = self._silhouette(ends[self.sample])
        if by_target is not None:
            found["silhouette_by_target"] = by_target
        if self.groups:
            found["variance_ratio"] = float(np.mean([total_variance(ends[rows]) / var for rows, var in self.groups]))
        return found

    def silhouette(self, flow: Flow, strength: float = 1.0) -> float | None:
        """Silhouette by target at a strength; only the sampled edits are made."""
        return self._silhouette(self._ends(flow, self.sample, strength))

    def _ends(self, flow: Flow, edits: NDArray[np.intp], strength: float = 1.0) -> Float64[np.ndarray, "e d"]:
        z = self.z[edits]
        ends: Float64[np.ndarray, "e d"] = (
            flow.edit(z, flow.condition(z, self.source[edits], self.target[edits]), strength).double().numpy()
        )
        return ends

    def _silhouette(self, ends: Float64[np.ndarray, "s d"]) -> float | None:
        return silhouette(ends, self.codes[self.sample])
