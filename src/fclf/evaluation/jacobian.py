"""Does the field contract, and does it swirl: statistics of its exact Jacobian."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from fclf.evaluation.readings import FieldScores
from fclf.flow import VectorField

__all__ = ["field_scores", "jacobians"]


def jacobians(field: VectorField, z: Float[Tensor, "n d"], y: Float[Tensor, "n K"]) -> Float[Tensor, "n d d"]:
    r"""$J_{ij} = \partial v_i / \partial z_j$ at each row, exactly.

    A row is repeated d times and copy i asks for the gradient of $v_i$: one forward and one backward pass of d rows
    for each row of `z`. `torch.func.jacrev` gives the same, but takes two seconds to load.
    """
    d = z.shape[1]
    outputs = torch.eye(d, dtype=z.dtype, device=z.device)
    exact = torch.empty(len(z), d, d, dtype=z.dtype, device=z.device)
    with torch.enable_grad():
        for number in range(len(z)):
            copies = z[number].expand(d, d).clone().requires_grad_()
            velocity = field(copies, y[number].expand(d, -1))
            if velocity.requires_grad:  # a field that does not look at z has none
                found = torch.autograd.grad(velocity, copies, outputs, allow_unused=True, materialize_grads=True)[0]
            else:
                found = torch.zeros_like(copies)
            exact[number] = found
    return exact


def field_scores(field: VectorField, z: Float[Tensor, "n d"], y: Float[Tensor, "n K"]) -> FieldScores:
    r"""Divergence and curl of the field at unit vectors `z` toward `y`.

    The divergence is $\operatorname{tr} J$ and the magnitude of the curl $\|(J - J^\top)/2\|_F$, the part of the
    Jacobian that no gradient of a potential has. Both are of the velocity in all of $\mathbb{R}^d$, which is what
    the specification's regularisers weigh, not of its part tangent to the sphere. Memory grows with n d^2.
    """
    exact = jacobians(field, z, y)
    divergence = exact.diagonal(dim1=1, dim2=2).sum(-1).double()
    curl = torch.linalg.matrix_norm(exact - exact.mT).double() / 2
    return FieldScores(
        rows=len(z),
        divergence_mean=divergence.mean().item(),
        divergence_rms=_rms(divergence),
        curl_mean=curl.mean().item(),
        curl_rms=_rms(curl),
        jacobian_rms=_rms(torch.linalg.matrix_norm(exact).double()),
    )


def _rms(values: Float[Tensor, " n"]) -> float:
    return values.square().mean().sqrt().item()
