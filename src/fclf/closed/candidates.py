"""Every closed form by name, simplest first: rows of a table, and what an edit is chosen from."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import replace
from functools import cache

import numpy as np
from jaxtyping import Float64, Int8, Int64

from fclf.closed.affine import Affine
from fclf.closed.conditional_vae import OnStep
from fclf.closed.linear import ClosedForm, Shift, least_squares_effects
from fclf.closed.missing import completed
from fclf.closed.quantile import QuantileShift
from fclf.closed.transport import ConditionalTransport

__all__ = ["BASELINES", "LEARNED", "PERSONAL", "STARTS", "closed_forms"]

PERSONAL = "conditional transport, personal"
"""With effects that other pictures of the same person tell."""
LEARNED = "conditional transport, learned"
"""With effects that a network learned."""
STARTS = {
    "shift": "shift x1",
    "affine": "affine",
    "quantile": "quantile shift",
    "transport": "conditional transport",
    "learned": LEARNED,
}
"""Names in a configuration, and in tables."""
BASELINES = (
    "shift x1",
    "shift x1.5",
    "affine",
    "quantile shift",
    "quantile shift x1.15",
    "quantile shift, half controlled",
)
"""Those that stand beside every flow."""

LARGEST = 1 << 24
"""Numbers in the maps of an affine form, K x d x d, from which it is fitted only if nothing else is asked for: of width
4,096 every attribute takes 134 MB, and two decompositions of nearly a minute each."""


def closed_forms(
    z: Float64[np.ndarray, "n d"],
    y: Int8[np.ndarray, "n K"],
    identities: Int64[np.ndarray, " n"] | None = None,
    *,
    keep: float = 0.5,
    seed: int = 0,
    names: Container[str] | None = None,
    learn_steps: int = 0,
    on_step: OnStep | None = None,
) -> dict[str, ClosedForm]:
    """Fit closed forms on train rows; the affine one is left out of several where it would be too large (`LARGEST`).

    Args:
        z: embeddings.
        y: their attributes, each with both values; labels that are not known are drawn (`completed`) where all labels
            of a row are needed at once, and elsewhere left out.
        identities: who they show, for what is cross-fitted.
        keep: operating point of those that have one.
        seed: of the folds.
        names: fit these only.
        learn_steps: of the one that is learned, which is left out without any.
        on_step: told of the loss of each of them.
    """
    full = completed(z, y, seed)

    @cache
    def effects() -> Float64[np.ndarray, "K d"]:
        return least_squares_effects(z, full)[1]

    @cache
    def quantile() -> QuantileShift:
        return QuantileShift.fit(z, y, identities, seed=seed)

    @cache
    def transport() -> ConditionalTransport:
        return ConditionalTransport.fit(z, y, identities, keep=keep, seed=seed)

    fits: dict[str, Callable[[], ClosedForm]] = {
        "shift x1": lambda: Shift(effects()),
        "shift x1.5": lambda: Shift(effects(), 1.5),
        "affine": lambda: Affine.fit(z, full),
        "quantile shift": quantile,
        "quantile shift x1.15": lambda: replace(quantile(), strength=1.15),
        "quantile shift, half controlled": lambda: replace(quantile(), control=0.5),
        "conditional transport": transport,
        PERSONAL: lambda: transport().with_personal_effects(z, full, identities, seed=seed),
    }
    if learn_steps:
        fits[LEARNED] = lambda: transport().with_learned_effects(z, full, steps=learn_steps, seed=seed, on_step=on_step)
    chosen = [name for name in fits if names is None or name in names]
    if len(chosen) > 1 and y.shape[1] * z.shape[1] ** 2 >= LARGEST:
        chosen = [name for name in chosen if name != "affine"]
    return {name: fits[name]() for name in chosen}
