"""Contrastive terms on flowed embeddings and their target attributes."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float, Int64, Num
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from fclf import sphere

__all__ = ["agreement", "batch_prototypes", "pairwise_infonce", "pairwise_mse", "prototype_infonce"]

LOWEST = -80.0
"""Exponents are not lower: beside 1 nothing is lost, and numbers below the normal ones of float32 are very slow."""
SMALLEST = 1e-20
"""In a sum of weights below this such exponents may show."""


def pairwise_mse(z: Float[Tensor, "n d"], y: Float[Tensor, "n K"], temperature: float) -> Float[Tensor, ""]:
    r"""The reference's loss before the specification's fixes.

    $$\frac1{n^2}\sum_{i \neq j}\Bigl(\sigma(\langle z_i, z_j\rangle/\tau) - \tfrac1K\langle y_i, y_j\rangle\Bigr)^2$$

    Both matrices have a zero diagonal and the mean is over all $n^2$ entries, as in the reference.

    Args:
        z: unit vectors.
        y: target attributes, 0 or 1.
        temperature: $\tau$.
    """
    n, k = y.shape
    difference = torch.sigmoid(z @ z.T / temperature) - y @ y.T / k
    return difference.masked_fill(torch.eye(n, dtype=torch.bool, device=z.device), 0).square().mean()


def batch_prototypes(z: Float[Tensor, "n d"], codes: Int64[Tensor, " n"]) -> Float[Tensor, "C d"]:
    """Normalised mean of the rows of each combination; `codes` number the combinations 0..C-1 without a gap."""
    membership = functional.one_hot(codes).to(z.dtype)
    return sphere.project(membership.T @ z)


def prototype_infonce(
    z: Float[Tensor, "n d"], centres: Float[Tensor, "C d"], own: Int64[Tensor, " n"], temperature: float
) -> Float[Tensor, ""]:
    r"""InfoNCE of each row against one prototype per target combination (FIX 3).

    $$-\frac1{|A|}\sum_{i \in A}\log\frac{\exp(\langle z_i, p_{c(i)}\rangle/\tau)}
    {\sum_c \exp(\langle z_i, p_c\rangle/\tau)}$$

    over the rows $A$ that have a prototype. Where the prototypes are means of the *flowed* rows, as in the
    specification, nothing ties them to where real embeddings are, and the optimum is one point a combination.

    Args:
        z: flowed embeddings.
        centres: unit prototypes.
        own: position of each row's prototype, or -1 for a row that has none.
        temperature: $\tau$.
    """
    if not (own >= 0).any():
        return (z * 0).sum()
    return functional.cross_entropy(z @ centres.T / temperature, own, ignore_index=-1)


def agreement(
    y: Float[Tensor, "m K"], share: float = 1.0, others: Float[Tensor, "n K"] | None = None
) -> Float[Tensor, "m n"]:
    """1 for rows that agree on at least this share of the attributes, 0 for others; 1 asks for the same combination.

    Rows are compared with each other, or with `others`.

    The reference looked for `y @ y.T == K`, which holds for two all-ones rows only.
    """
    k = y.shape[1]
    signs = 2 * y - 1  # the product of two rows' signs is the number of equal attributes minus that of others
    return (signs @ (signs if others is None else 2 * others - 1).T).ge_((2 * share - 1) * k - 2e-4)


def pairwise_infonce(
    z: Float[Tensor, "n d"], positive: Num[Tensor, "n n"] | Bool[Tensor, "n n"], temperature: float
) -> Float[Tensor, ""]:
    r"""InfoNCE within the batch.

    $$-\frac1{|A|}\sum_{i \in A}\log\frac{\sum_{j \neq i,\, j \in P(i)} \exp(\langle z_i, z_j\rangle/\tau)}
    {\sum_{j \neq i} \exp(\langle z_i, z_j\rangle/\tau)}$$

    over the rows $A$ that have a positive; zero, with a gradient, if there is none.

    Args:
        z: unit vectors.
        positive: 1 where j is a positive of i, and 0 elsewhere; the diagonal does not count.
        temperature: $\tau$.
    """
    positive = positive.to(z.dtype)
    anchors = (positive.sum(dim=1) - positive.diagonal())[:, None] > 0.5
    count = int(anchors.sum())
    if not count:
        return (z * 0).sum()
    return _PairwiseInfoNCE.apply(z, positive, anchors, count, temperature)  # type: ignore[no-untyped-call]


class _PairwiseInfoNCE(torch.autograd.Function):
    """Value and gradient from one matrix of similarities and one exponential.

    The gradient of the logits is the difference of two softmaxes, G, and that of the rows (G + G^T) z / temperature:
    one matrix product, where that of `z @ z.T` takes two. Masks are numbers, as truth values are slow on a CPU.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor, positive: Tensor, anchors: Tensor, count: int, temperature: float) -> Tensor:
        weights = (z @ z.T).fill_diagonal_(-torch.inf)
        top = weights.amax(dim=1, keepdim=True)
        weights.sub_(top).div_(temperature).clamp_min_(LOWEST).exp_().fill_diagonal_(0)
        chosen = weights * positive
        near, total = (w.sum(dim=1, keepdim=True) for w in (chosen, weights))
        loss = total.log() - near.log()
        far = (anchors & (near < SMALLEST)).nonzero()[:, 0]
        if len(far):  # positives that are lost beside the nearest row are compared with the nearest of themselves
            own = (z[far] @ z.T).masked_fill_(positive[far] == 0, -torch.inf)
            own[torch.arange(len(far)), far] = -torch.inf
            most = own.amax(dim=1, keepdim=True)
            chosen[far] = own.sub_(most).div_(temperature).clamp_min_(LOWEST).exp_().mul_(own > LOWEST)
            near[far] = chosen[far].sum(dim=1, keepdim=True)
            loss[far] = total[far].log() - near[far].log() + (top[far] - most) / temperature
        scale = anchors.to(z.dtype) / (count * temperature)
        gradient = weights.mul_(scale / total).sub_(chosen.mul_(scale / near.clamp_min(SMALLEST)))
        ctx.save_for_backward(z, gradient)
        return torch.where(anchors, loss, 0).sum() / count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None]:
        z, gradient = ctx.saved_tensors
        return ((gradient + gradient.T) @ z).mul_(grad), None, None, None, None
