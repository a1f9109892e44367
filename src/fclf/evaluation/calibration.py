"""How far to follow a flow so that destinations are organised by their targets, and not more."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import brentq

from fclf.data.embeddings import EmbeddingSet
from fclf.errors import InputError
from fclf.evaluation.bench import MAX_SAMPLE
from fclf.evaluation.edits import plan_edits
from fclf.evaluation.geometry import silhouette
from fclf.flow import Flow

__all__ = ["MAX_STRENGTH", "SilhouetteCalibration"]

MAX_STRENGTH = 2.0
"""Largest factor on the flow time: a flow is not followed further than twice as far as it was trained."""
GRID = 0.25
TOLERANCE = 0.002
"""Of the strength."""


class SilhouetteCalibration:
    r"""The smallest strength at which the val rows' silhouette by target is $s^*$.

    Unmoved rows lie among those of their own attributes, so that the silhouette $s(\lambda)$ by target starts low, and
    a trained pull toward the targets raises it with the flow time $\lambda$, continuously. Where it first rises
    through $s^*$ is found between the points of a grid by Brent's method (Brent, 1973, *Algorithms for Minimization
    without Derivatives*, chapter 4).

    Args:
        val: rows to edit, every row x every attribute, at most as many edits as an evaluation samples.
        target: $s^*$.

    Raises:
        InputError: if the val rows are too few for a silhouette.
    """

    def __init__(self, val: EmbeddingSet, target: float) -> None:
        plan = plan_edits(np.asarray(val.attributes), val.attribute_names, exclusive=val.exclusive)
        plan = plan.take(np.random.default_rng(0).permutation(len(plan))[:MAX_SAMPLE])
        self.z = torch.from_numpy(val.embeddings)[plan.source]
        self.labels, self.targets = (torch.from_numpy(y).float() for y in (plan.original, plan.target))
        self.codes = np.unique(plan.target, axis=0, return_inverse=True)[1].reshape(-1)
        self.wanted = target
        combinations = len(np.unique(self.codes))
        if not 2 <= combinations < len(plan):
            raise InputError(
                f"inference.silhouette_by_target needs val rows to calibrate on, but {len(val)} rows make {len(plan)} "
                f"edits with {combinations} target combination(s). Use more val rows, or set it to null."
            )

    def __call__(self, flow: Flow) -> tuple[float, float]:
        """Return the strength and the silhouette there: `MAX_STRENGTH` and what is there if it never does."""
        low, before = 0.0, self._silhouette(flow, 0.0)
        for high in np.arange(GRID, MAX_STRENGTH + GRID / 2, GRID).tolist():
            found = self._silhouette(flow, high)
            if before < self.wanted <= found:
                strength = float(brentq(lambda s: self._silhouette(flow, s) - self.wanted, low, high, xtol=TOLERANCE))
                return strength, self._silhouette(flow, strength)
            low, before = high, found
        return MAX_STRENGTH, before

    def _silhouette(self, flow: Flow, strength: float) -> float:
        ends = flow.edit(self.z, flow.condition(self.z, self.labels, self.targets), strength)
        value = silhouette(ends.double().numpy(), self.codes)
        return -1.0 if value is None else value
