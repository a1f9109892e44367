"""Terms that restrain the flow: how far it moves, and what its Jacobian does."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from fclf.flow import VectorField
from fclf.forward_mode import ComposedLayerNorm

__all__ = ["JacobianProbe", "Reduction", "curl", "divergence", "probe_jacobian", "smoothness", "squared_distance"]

Reduction = Literal["sum", "mean"]
"""Over dimensions: the sum does not depend on how many there are, the mean is what the reference takes."""


def squared_distance(
    x: Float[Tensor, "n d"], y: Float[Tensor, "n d"], reduction: Reduction = "sum"
) -> Float[Tensor, ""]:
    r"""Mean over rows of $\|x - y\|^2$; of source and destination, the identity term.

    With `reduction="mean"` the squares are averaged over dimensions instead of summed, as in the reference: 1/d
    of the above, so that an identity weight of 1.0 at d = 512 weighs the squared distance by 0.002.
    """
    if reduction == "mean":
        return functional.mse_loss(x, y)
    return functional.mse_loss(x, y, reduction="sum") / len(x)


@dataclass(frozen=True)
class JacobianProbe:
    r"""Two independent random directions and what the Jacobian $J = \partial v/\partial z$ makes of them.

    Everything below is estimated from these two forward-mode products, whatever d: the exact divergence takes d of
    them, and central differences 2d field passes.
    """

    u: Float[Tensor, "n d"]
    """Entries of 1 and -1, as likely, as those of `w`: $\\mathbb{E}[u u^\\top] = I$."""
    w: Float[Tensor, "n d"]
    ju: Float[Tensor, "n d"]
    jw: Float[Tensor, "n d"]


@runtime_checkable
class ForwardMode(Protocol):
    """A field that has its own forward mode, such as `fclf.field.TargetField`."""

    def with_products(self, z: Tensor, y: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """Velocity (n, d), and products (k, m, d) of the Jacobian of the first m rows with k directions each."""
        ...


def probe_jacobian(
    field: VectorField,
    z: Float[Tensor, "n d"],
    y: Float[Tensor, "n K"],
    generator: torch.Generator,
    share: float = 1.0,
) -> JacobianProbe:
    """Multiply two random directions per row by the Jacobian of the field, in forward mode.

    Gradients flow through the products to the field's parameters.

    Args:
        field: one with `ForwardMode` is asked once for everything, and any other once a direction.
        z: embeddings; in random order if `share` is below 1.
        y: target attributes.
        generator: on the CPU.
        share: of the rows, at least one, from the first on. Rows in random order make the first ones a uniform sample,
            so a mean over them is unbiased for the mean over all.
    """
    m = max(1, round(share * len(z)))
    directions = _random_signs((2, m, z.shape[1]), generator).to(z)
    u, w = directions
    if isinstance(field, ForwardMode):
        return JacobianProbe(u, w, *field.with_products(z, y, directions)[1])

    def product(direction: Tensor) -> Tensor:
        return torch.func.jvp(lambda x: field(x, y[:m]), (z[:m],), (direction,))[1]

    with ComposedLayerNorm():
        return JacobianProbe(u, w, product(u), product(w))


def _random_signs(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Entries of 1 and -1, eight from each random byte: a tenth of the time of normal ones, and estimates vary less."""
    count = math.prod(shape)
    words = torch.randint(-(2**63), 2**63 - 1, (-(-count // 64),), generator=generator)
    return SIGNS.index_select(0, words.view(torch.uint8).to(torch.int32)).flatten()[:count].view(shape)


SIGNS = ((torch.arange(256)[:, None] >> torch.arange(8)) & 1) * 2.0 - 1
"""Those of each byte's bits."""


def divergence(probe: JacobianProbe, reduction: Reduction = "sum") -> Float[Tensor, ""]:
    r"""Unbiased estimate of the mean over rows of the squared divergence $(\operatorname{tr} J)^2$.

    $u^\top J u$ estimates the trace (Hutchinson, 1989, https://doi.org/10.1080/03610918908812806). Its square would
    overestimate the squared trace by its variance; the product of two independent estimates does not. It can be
    negative. With `reduction="mean"` the divergence is the mean and not the sum of $\partial v_i/\partial z_i$.
    """
    product = (probe.u * probe.ju).sum(-1) * (probe.w * probe.jw).sum(-1)
    d = probe.u.shape[-1]
    return product.mean() / (d**2 if reduction == "mean" else 1)


def curl(probe: JacobianProbe, reduction: Reduction = "sum") -> Float[Tensor, ""]:
    r"""Unbiased estimate of the mean over rows of $\tfrac12\|J - J^\top\|_F^2 = \sum_{i<j}(J_{ij} - J_{ji})^2$.

    In three dimensions this is the squared length of the curl; it is zero for a gradient field. From
    $\mathbb{E}(u^\top A w)^2 = \|A\|_F^2$ for independent directions. With `reduction="mean"` it is the mean over
    the d(d-1)/2 pairs.
    """
    skew = (probe.u * probe.jw).sum(-1) - (probe.w * probe.ju).sum(-1)
    d = probe.u.shape[-1]
    return skew.square().mean() / 2 / (max(d * (d - 1) // 2, 1) if reduction == "mean" else 1)


def smoothness(probe: JacobianProbe, reduction: Reduction = "sum") -> Float[Tensor, ""]:
    r"""Unbiased estimate of the mean over rows of $\|J\|_F^2$, which is small where the field changes slowly.

    From $\mathbb{E}\|J u\|^2 = \|J\|_F^2$. With `reduction="mean"` it is the mean over the $d^2$ entries.
    """
    squares = (probe.ju.square().sum(-1) + probe.jw.square().sum(-1)) / 2
    d = probe.u.shape[-1]
    return squares.mean() / (d**2 if reduction == "mean" else 1)
