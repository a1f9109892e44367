"""What a training step cannot be faster than: its matrix products alone, one after another."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["training_products"]


def training_products(
    rows: int, dim: int, attributes: int, hidden: int, probed: int, dtype: torch.dtype = torch.float32
) -> tuple[Callable[[], None], float]:
    """A chain of the products of one step of the reference recipe, and its floating-point operations.

    They are those of `fclf.training_run` and their layouts: the field forward and backward, two directions of its
    Jacobian forward and backward, similarities within the batch and with one prototype for each combination.

    Args:
        rows: of the batch.
        dim: width of the embeddings.
        attributes: K; at most 2^K prototypes.
        hidden: width of the field.
        probed: rows whose Jacobian is probed.
        dtype: of the field's products; similarities are float32.
    """
    products: list[tuple[Tensor, Tensor, Tensor]] = []

    def add(left: Tensor, right: Tensor) -> None:
        products.append((left, right, torch.empty(left.shape[0], right.shape[1], dtype=left.dtype)))

    def linear(n: int, inner: int, outer: int, *, first: bool) -> None:
        x, weight, gradient = (torch.randn(s, dtype=dtype) for s in ((n, inner), (outer, inner), (n, outer)))
        add(x, weight.T)
        add(gradient.T, x)
        if not first:  # nobody asks for the gradient of the embeddings
            add(gradient, weight)

    for n, extra in ((rows, attributes), (2 * probed, 0)):
        linear(n, dim + extra, hidden, first=True)
        linear(n, hidden, hidden, first=False)
        linear(n, hidden, hidden, first=False)
        linear(n, hidden, dim, first=False)
    z, similar = torch.randn(rows, dim), torch.randn(rows, rows)
    add(z, z.T)
    add(similar, z)
    count = min(2**attributes, rows)
    members, centres = torch.randn(rows, count), torch.randn(count, dim)
    add(members.T, z)
    add(z, centres.T)
    add(members, centres)  # gradient of the rows, and below that of the prototypes and of the rows in their means
    add(members.T, z)
    add(members, centres)

    def chain() -> None:
        for left, right, out in products:
            torch.mm(left, right, out=out)

    return chain, sum(2.0 * left.shape[0] * left.shape[1] * right.shape[1] for left, right, _ in products)
