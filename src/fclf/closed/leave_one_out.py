"""Conditional transport with one of its parts taken out: what each part is there for."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from jaxtyping import Bool, Float64, Int8, Int64

from fclf.closed.linear import least_squares_effects
from fclf.closed.means import LabelMeans
from fclf.closed.transport import ConditionalTransport

__all__ = ["leave_one_out"]


def leave_one_out(
    z: Float64[np.ndarray, "n d"],
    y: Int8[np.ndarray, "n K"],
    identities: Int64[np.ndarray, " n"] | None = None,
    *,
    keep: float = 0.5,
    seed: int = 0,
) -> dict[str, ConditionalTransport]:
    """Fit conditional transport without each of its parts, on the same rows and folds as the whole.

    - *interactions*: means of the labels' main effects alone, so that glasses move everybody alike.
    - *displacement*: rows are corrected where they are, and not moved by what their labels predict.
    - *spread model*: rows keep their distance to the mean of their labels.
    - *own-logit correction*: nothing takes the edited attribute's logit to its quantile; others are held.
    - *floor*: the correction stops at the row's own quantile, however low.
    - *holding other logits*: the edited attribute's logit is all that is corrected.
    - *fine probes*: other logits are held as the coarse probes read them.

    Spread factors are measured anew after each change but that of the spread model itself.

    Args:
        z: train embeddings.
        y: their attributes, each with both values.
        identities: who they show.
        keep: operating point.
        seed: of the folds.
    """
    whole = ConditionalTransport.fit(z, y, identities, keep=keep, seed=seed)
    means = whole.means
    nowhere = replace(means, coefficients=np.zeros_like(means.coefficients))
    even = replace(means, log_variance=np.zeros_like(means.log_variance))
    changed = {
        "interactions": replace(whole, means=_main_effects(means, z, y)),
        "displacement": replace(whole, means=replace(nowhere, log_variance=even.log_variance)),
        "own-logit correction": _Partly.of(whole, own=False),
        "floor": replace(whole, floor=0.0),
        "holding other logits": _Partly.of(whole, others=False),
        "fine probes": _Partly.of(whole, fine=False),
    }
    found = {name: form.calibrated(z, y, seed) for name, form in changed.items()}
    return found | {"spread model": replace(whole, means=even, spread=np.ones_like(whole.spread))}


def _main_effects(means: LabelMeans, z: Float64[np.ndarray, "n d"], y: Int8[np.ndarray, "n K"]) -> LabelMeans:
    """Least-squares effects in the place of means with interactions; the spread stays."""
    intercept, effects = least_squares_effects(z, y)
    coefficients = np.zeros_like(means.coefficients)
    coefficients[0] = intercept + means.centre @ effects
    coefficients[1 : 1 + len(effects)] = effects
    return replace(means, coefficients=coefficients)


@dataclass(frozen=True)
class _Partly(ConditionalTransport):
    """Corrects what some of the probes read."""

    own: bool = True
    others: bool = True
    fine: bool = True

    @classmethod
    def of(cls, whole: ConditionalTransport, *, own: bool = True, others: bool = True, fine: bool = True) -> _Partly:
        parts = {part.name: getattr(whole, part.name) for part in fields(whole)}
        return cls(**parts, own=own, others=others, fine=fine)

    def _active(self, flips: Bool[np.ndarray, " K"]) -> Bool[np.ndarray, " 2K"]:
        held = ~flips & self.others
        return np.concatenate([held | (flips & self.own), held & self.fine])
