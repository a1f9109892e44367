"""Terms that restrain the flow."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor

__all__ = ["squared_movement"]


def squared_movement(
    start: Float[Tensor, "n d"], end: Float[Tensor, "n d"], reduction: Literal["sum", "mean"] = "sum"
) -> Float[Tensor, ""]:
    r"""The identity term: mean over rows of $\|z_\mathrm{end} - z_\mathrm{start}\|^2$.

    With `reduction="mean"` the squares are averaged over dimensions instead of summed, as in the reference: 1/d
    of the above, so that an identity weight of 1.0 at d = 512 weighs the squared distance by 0.002.
    """
    squares = (end - start).square()
    return squares.sum(dim=-1).mean() if reduction == "sum" else squares.mean()
