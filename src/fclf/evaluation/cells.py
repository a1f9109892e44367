"""Spread and distance of all edits of one attribute in one direction: measured however many attributes there are.

With many attributes no combination has rows enough. So all edits that give an attribute a value are compared with all
real rows that have the value by themselves, weighted so that their other attributes are as common as the edits'.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64, Int8
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from fclf.evaluation.discrepancy import weighted_within
from fclf.evaluation.edits import EditPlan
from fclf.evaluation.results import CellScores
from fclf.evaluation.spread import distances
from fclf.labels import UNKNOWN

__all__ = ["CellBench", "balancing", "cell_benches", "residual_variance"]

MIN_EFFECTIVE = 20
"""Fewest edits and effective real rows that are compared."""
MAX_ROWS = 400
"""Edits and real rows of a cell whose pairs are compared, so that time is linear in attributes and in rows."""
RARER = 10
"""Edits whose other attributes are so many times rarer among real rows than among edits have no like among them."""

Matrix = Float64[np.ndarray, "n d"]
Labels = Int8[np.ndarray, "n K"]
Weights = Float64[np.ndarray, " n"]
RANK = 1e-9
"""Singular values that are so much smaller than the largest are rounding."""


@dataclass(frozen=True)
class CellBench:
    """The edits of a cell that have their like among real rows, and those real rows with their weights."""

    attribute: str
    to: int
    z: Matrix
    others: Labels
    """Other attributes of the real rows."""
    target_others: Labels
    """Those that the compared edits end with."""
    edits: NDArray[np.intp]
    """All of the cell, row numbers in the plan."""
    basis: Float64[np.ndarray, "m p"]
    """Orthonormal, of what the other attributes before and after explain linearly of all edits of the cell."""
    compared: NDArray[np.intp]
    """Those compared with real rows; none where there are too few real rows like them."""
    real: NDArray[np.intp]
    weights: Weights
    """Of the real rows, sum 1."""
    energy_source: float | None
    source_spread: float

    def measure(self, edited: Matrix) -> CellScores:
        """Measure edits of the whole plan."""
        kept = _unexplained(edited[self.edits], self.basis) / self.source_spread if self.source_spread > 0 else None
        ends = edited[self.compared]
        return self._scores(ends, self.target_others, np.full(len(ends), 1 / max(len(ends), 1)), kept)

    def measure_real(self, rng: np.random.Generator) -> CellScores:
        """Measure a random half of the real rows against the other half, each with its weights."""
        if self.energy_source is None:
            return self._scores(self.z[:0], self.others[:0], self.weights[:0], None)
        half, rest = np.split(rng.permutation(len(self.real)), [len(self.real) // 2])
        weights, kept = self.weights[half] / self.weights[half].sum(), self.weights[rest] / self.weights[rest].sum()
        other = replace(self, real=self.real[rest], others=self.others[rest], weights=kept)
        return other._scores(self.z[self.real[half]], self.others[half], weights, None)

    def _scores(self, ends: Matrix, labels: Labels, own: Weights, kept: float | None) -> CellScores:
        energy = ratio = None
        if self.energy_source is not None:
            real = self.z[self.real]
            energy = _energy(ends, own, real, self.weights)
            if min(_effective(own), _effective(self.weights)) >= MIN_EFFECTIVE + labels.shape[1]:
                below = residual_variance(real, self.others, self.weights)
                ratio = residual_variance(ends, labels, own) / below if below > 0 else None
        return CellScores(
            attribute=self.attribute,
            to=self.to,
            edits=len(self.edits),
            compared=len(ends),
            effective_real=_effective(self.weights),
            energy_source=self.energy_source,
            energy_edited=energy,
            variance_ratio=ratio,
            spread_kept=kept,
        )


def cell_benches(
    z: Matrix,
    y: Labels,
    names: tuple[str, ...],
    plan: EditPlan,
    rng: np.random.Generator,
    known: NDArray[np.bool_] | None = None,
) -> list[CellBench]:
    """Every attribute x direction that is edited; real rows are those whose label of the attribute is `known`."""
    real_of = y if known is None else np.where(known, y, UNKNOWN)
    found = []
    for k, name in enumerate(names):
        others = np.delete(np.arange(len(names)), k)
        for to in (1, 0):
            edits = np.flatnonzero(plan.flips[:, k] & (plan.target[:, k] == to))
            if not len(edits):
                continue
            real = np.flatnonzero(real_of[:, k] == to)
            labels = plan.target[edits][:, others]
            alike, odds = balancing(labels, y[real][:, others])
            chosen = np.sort(rng.permutation(np.flatnonzero(alike))[:MAX_ROWS])
            drawn = np.sort(rng.permutation(np.flatnonzero(odds > 0))[:MAX_ROWS])
            real, weights = real[drawn], odds[drawn] / max(odds[drawn].sum(), np.finfo(np.float64).tiny)
            energy = None
            if len(chosen) >= MIN_EFFECTIVE and _effective(weights) >= MIN_EFFECTIVE:
                sources = z[plan.source[edits[chosen]]]
                energy = _energy(sources, np.full(len(chosen), 1 / len(chosen)), z[real], weights)
            else:
                chosen = chosen[:0]
            explained = np.column_stack([np.ones(len(labels)), labels, plan.original[edits][:, others]])
            left, size, _ = np.linalg.svd(explained, full_matrices=False)
            basis = left[:, size > RANK * size[0]]
            found.append(
                CellBench(
                    attribute=name,
                    to=to,
                    z=z,
                    others=y[real][:, others],
                    target_others=labels[chosen],
                    edits=edits,
                    basis=basis,
                    compared=edits[chosen],
                    real=real,
                    weights=weights,
                    energy_source=energy,
                    source_spread=_unexplained(z[plan.source[edits]], basis),
                )
            )
    return found


def balancing(edits: Labels, real: Labels, rarer: float = RARER) -> tuple[NDArray[np.bool_], Weights]:
    r"""Which edits have their like among real rows, and weights that give the real rows the edits' other attributes.

    A class-balanced logistic regression tells edits from real rows by the labels; its odds $p / (1 - p)$ are how much
    more common a row's labels are among edits, and the weight of a real row (odds weighting, as for the effect on the
    treated: Hirano, Imbens & Ridder, 2003, https://doi.org/10.1111/1468-0262.00442). Rows with odds above `rarer` are
    left out on both sides (trimming: Crump et al., 2009, https://doi.org/10.1093/biomet/asn055).
    """
    if not len(real):
        return np.zeros(len(edits), bool), np.zeros(0)
    if not edits.shape[1]:
        return np.ones(len(edits), bool), np.ones(len(real))
    model = LogisticRegression(class_weight="balanced", max_iter=1000)
    model.fit(np.concatenate([edits, real]), np.repeat([1, 0], [len(edits), len(real)]))
    odds, real_odds = np.exp(model.decision_function(edits)), np.exp(model.decision_function(real))
    return odds <= rarer, np.where(real_odds <= rarer, real_odds, 0.0)


def residual_variance(x: Matrix, labels: Labels, w: Weights) -> float:
    r"""Variance that is not explained by the labels, summed over dimensions, by weights that sum to 1.

    $$\sum_i w_i \|r_i\|^2 \,/\, (1 - \operatorname{tr}[(X^\top W X)^{+} X^\top W^2 X])$$

    for the residuals $r$ of the weighted regression of `x` on $X = [1, \text{labels}]$: unbiased for rows of equal
    variance. Without labels it is the unbiased variance. What is explained is left out because a collapse to one point
    a combination keeps it: with many attributes nearly every row has a combination of its own.
    """
    design = np.column_stack([np.ones(len(x)), labels])
    inverse = np.linalg.pinv(design.T @ (design * w[:, None]), hermitian=True)
    residuals = x - design @ (inverse @ (design.T @ (x * w[:, None])))
    free = 1 - np.trace(inverse @ (design.T @ (design * (w * w)[:, None])))
    return float(w @ (residuals * residuals).sum(axis=1) / free)


def _unexplained(x: Matrix, basis: Float64[np.ndarray, "m p"]) -> float:
    residuals = x - basis @ (basis.T @ x)
    return float((residuals * residuals).sum())


def _energy(x: Matrix, v: Weights, y: Matrix, w: Weights) -> float:
    return float(
        2 * v @ distances(x, y) @ w - weighted_within(distances(x, x), v) - weighted_within(distances(y, y), w)
    )


def _effective(w: Weights) -> float:
    """Number of rows with equal weights that would average as well (Kish, 1965)."""
    return float(w.sum() ** 2 / (w @ w)) if len(w) else 0.0
