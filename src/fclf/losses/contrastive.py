"""Contrastive terms on flowed embeddings and their target attributes."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from fclf import sphere

__all__ = ["pairwise_infonce", "pairwise_mse", "prototype_infonce", "prototypes"]


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


def prototypes(z: Float[Tensor, "n d"], codes: Int64[Tensor, " n"]) -> Float[Tensor, "C d"]:
    """Normalised mean of the rows of each combination; `codes` number the combinations 0..C-1 without a gap."""
    membership = functional.one_hot(codes).to(z.dtype)
    return sphere.project(membership.T @ z)


def prototype_infonce(
    z: Float[Tensor, "n d"], codes: Int64[Tensor, " n"], temperature: float, *, stop_gradient: bool = False
) -> Float[Tensor, ""]:
    r"""InfoNCE of each row against one prototype per target combination of the batch (FIX 3).

    $$-\frac1n\sum_i \log\frac{\exp(\langle z_i, p_{c(i)}\rangle/\tau)}{\sum_c \exp(\langle z_i, p_c\rangle/\tau)}$$

    Prototypes are normalised means of the *flowed* rows, so nothing ties them to where real embeddings are, and
    the optimum is one point a combination. `stop_gradient` holds them fixed within a step.
    """
    centres = prototypes(z.detach() if stop_gradient else z, codes)
    return functional.cross_entropy(z @ centres.T / temperature, codes)


def pairwise_infonce(z: Float[Tensor, "n d"], codes: Int64[Tensor, " n"], temperature: float) -> Float[Tensor, ""]:
    r"""InfoNCE within the batch: rows of the same target combination are positives.

    $$-\frac1{|A|}\sum_{i \in A}\log\frac{\sum_{j \neq i,\, c(j) = c(i)} \exp(\langle z_i, z_j\rangle/\tau)}
    {\sum_{j \neq i} \exp(\langle z_i, z_j\rangle/\tau)}$$

    over the rows $A$ that have a positive; zero, with a gradient, if there is none.
    """
    logits = z @ z.T / temperature
    logits = logits.masked_fill(torch.eye(len(z), dtype=torch.bool, device=z.device), -torch.inf)
    positive = codes[:, None] == codes[None, :]
    positive.fill_diagonal_(False)
    anchors = positive.any(dim=1)
    if not anchors.any():
        return (z * 0).sum()
    logits, positive = logits[anchors], positive[anchors]
    near = logits.masked_fill(~positive, -torch.inf).logsumexp(dim=1)
    return (logits.logsumexp(dim=1) - near).mean()
