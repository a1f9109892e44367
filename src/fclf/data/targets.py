"""Target attributes: random flips for training, planned edits for evaluation."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

__all__ = ["combination_codes", "flip_attributes"]


def flip_attributes(
    y: Float[Tensor, "n K"],
    generator: torch.Generator,
    *,
    probability: float = 1.0,
    min_flips: int = 1,
    max_flips: int = 2,
) -> Float[Tensor, "n K"]:
    """Flip `min_flips` to `max_flips` distinct attributes of every row, all rows at once.

    The number of flips is uniform on its range and so is the choice of attributes. With `probability` below 1
    the *whole batch* stays as it is otherwise, as in the reference's first training loop. The same number of
    random values is drawn whatever happens, so that batches after this one do not depend on it.

    Args:
        y: attributes, 0 or 1.
        generator: source of randomness, on the CPU.
        probability: that this batch is flipped at all.
        min_flips: fewest flips a row.
        max_flips: most flips a row; at most K are made.
    """
    n, k = y.shape
    flipped = torch.rand((), generator=generator) < probability
    highest = min(max_flips, k)
    counts = torch.randint(min(min_flips, highest), highest + 1, (n, 1), generator=generator)
    ranks = torch.rand((n, k), generator=generator).argsort(dim=1).argsort(dim=1)
    flips = ((ranks < counts) & flipped).to(y.device)
    return torch.where(flips, 1 - y, y)


def combination_codes(y: Float[Tensor, "n K"]) -> Int64[Tensor, " n"]:
    """Number 0..C-1 of each row's combination of attributes among the C that occur in `y`, in sorted order.

    Rows are compared whole, so K is not bounded by the bits of an integer.
    """
    return torch.unique(y, dim=0, return_inverse=True)[1]
