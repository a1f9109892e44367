r"""Geometry of the unit sphere $S^{d-1}$ in $\mathbb{R}^d$: pure functions on the last axis.

Formulas: Absil, Mahony & Sepulchre, *Optimization Algorithms on Matrix Manifolds*, 2008, chapters 3 to 5.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["distance", "exp", "log", "project", "tangent"]


def project(x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
    r"""Nearest point of the sphere, $x / \|x\|$, for norms whose square the number format can hold.

    The norm is bounded below by the smallest normal number, so the zero vector stays zero instead of turning
    into NaN; it has no nearest point and callers check for it where it can occur.
    """
    return _Project.apply(x)  # type: ignore[no-untyped-call]


def tangent(x: Float[Tensor, "*n d"], v: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
    r"""Part of `v` that is tangent to the sphere at the unit vector `x`, $v - \langle x, v\rangle x$."""
    return v - (x * v).sum(-1, keepdim=True) * x


def exp(x: Float[Tensor, "*n d"], v: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
    r"""Point reached from `x` along the great circle of the tangent vector `v`.

    $$\exp_x(v) = \cos\|v\|\,x + \operatorname{sinc}\|v\|\,v$$

    The result is projected once more, so that rounding does not accumulate over many steps.
    """
    angle = torch.linalg.vector_norm(v, dim=-1, keepdim=True)
    return project(torch.cos(angle) * x + torch.sinc(angle / torch.pi) * v)


def log(x: Float[Tensor, "*n d"], y: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
    r"""Tangent vector at `x` whose `exp` is `y`; its length is the `distance`.

    Defined for $y \neq -x$. At the antipode every direction is as short: the result is zero there.
    """
    side = tangent(x, y)
    length = torch.linalg.vector_norm(side, dim=-1, keepdim=True)
    angle = distance(x, y).unsqueeze(-1)
    rounding = 4 * torch.finfo(x.dtype).eps  # what is left of the tangent part at the antipode has no direction
    antipode = (length <= rounding) & (angle > 1)
    return side * torch.where(antipode, 0, angle / length.clamp_min(torch.finfo(x.dtype).tiny))


def distance(x: Float[Tensor, "*n d"], y: Float[Tensor, "*n d"]) -> Float[Tensor, " *n"]:
    r"""Angle between unit vectors in radians, $2\operatorname{atan2}(\|x - y\|, \|x + y\|)$.

    Exact for small and for nearly opposite angles, where the arc cosine of the dot product loses half of its
    digits (Kahan, *How Futile are Mindless Assessments of Roundoff*, 2006, section 12).
    """
    return 2 * torch.atan2(torch.linalg.vector_norm(x - y, dim=-1), torch.linalg.vector_norm(x + y, dim=-1))


class _Project(torch.autograd.Function):
    r"""$x / \|x\|$ with the gradient $(g - \langle g, e\rangle e)/\|x\|$, in fewer passes than autograd's."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp_min(torch.finfo(x.dtype).tiny)
        unit = x / length
        ctx.save_for_backward(unit, length)
        return unit

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        unit, length = ctx.saved_tensors
        along = torch.linalg.vecdot(grad, unit).unsqueeze(-1)
        return torch.addcmul(grad, unit, along, value=-1).div_(length)
