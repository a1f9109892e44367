"""Contrastive terms on flowed embeddings and their target attributes."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional

from fclf import sphere

__all__ = ["agreement", "batch_prototypes", "pairwise_infonce", "pairwise_mse", "prototype_infonce"]


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


def agreement(y: Float[Tensor, "n K"], share: float = 1.0) -> Bool[Tensor, "n n"]:
    """Which rows agree on at least this share of the attributes; 1 asks for the same combination.

    The reference looked for `y @ y.T == K`, which holds for two all-ones rows only.
    """
    k = y.shape[1]
    same = y @ y.T + (1 - y) @ (1 - y).T
    return same >= share * k - 1e-4


def pairwise_infonce(z: Float[Tensor, "n d"], positive: Bool[Tensor, "n n"], temperature: float) -> Float[Tensor, ""]:
    r"""InfoNCE within the batch.

    $$-\frac1{|A|}\sum_{i \in A}\log\frac{\sum_{j \neq i,\, j \in P(i)} \exp(\langle z_i, z_j\rangle/\tau)}
    {\sum_{j \neq i} \exp(\langle z_i, z_j\rangle/\tau)}$$

    over the rows $A$ that have a positive; zero, with a gradient, if there is none.

    Args:
        z: unit vectors.
        positive: whether j is a positive of i; the diagonal does not count.
        temperature: $\tau$.
    """
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    logits = (z @ z.T / temperature).masked_fill(itself, -torch.inf)
    positive = positive & ~itself
    anchors = positive.any(dim=1)
    if not anchors.any():
        return (z * 0).sum()
    logits, positive = logits[anchors], positive[anchors]
    near = logits.masked_fill(~positive, -torch.inf).logsumexp(dim=1)
    return (logits.logsumexp(dim=1) - near).mean()
