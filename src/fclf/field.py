"""Vector fields over embeddings, conditioned on attributes."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from fclf import sphere
from fclf.closed.linear import ClosedForm
from fclf.closed.state import from_arrays, to_arrays
from fclf.forward_mode import norm_relu
from fclf.labels import UNKNOWN

__all__ = ["ChangeField", "ChangeResidual", "SharedPass", "TargetField"]

CHUNK = 1024
"""Rows of which a start is asked at a time, so that what it needs stays small."""

ROUNDING = 4
"""Times the precision: a movement of less has no direction."""
FARTHEST = math.cos(1.5)
"""Least cosine with a destination; a quarter of a turn takes forever along a heading that is fixed."""


class TargetField(nn.Module):
    r"""The reference's field $v(z, y)$, conditioned on the target attributes.

    An MLP on $[z, y]$ of widths d+K, h, h, h, d: LayerNorm and ReLU after the first two layers, ReLU after the
    third. The last layer starts at $\mathcal N(0, 0.01^2)$ with zero bias, so that the flow starts near the
    identity. Its velocity is *not* tangent to the sphere; the flow projects. An attribute that is unknown comes in as
    one half, between no and yes.

    Args:
        dim: width d of the embeddings.
        num_attributes: K.
        hidden_dim: h.
        seed: of the initial weights; global random states neither matter nor decide them.
    """

    def __init__(self, dim: int, num_attributes: int, *, hidden_dim: int = 256, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):  # layers draw values of their own, which are replaced below
            self.layers = nn.Sequential(
                nn.Linear(dim + num_attributes, hidden_dim),
                nn.LayerNorm(hidden_dim),
                nn.ReLU(),
                nn.Linear(hidden_dim, hidden_dim),
                nn.LayerNorm(hidden_dim),
                nn.ReLU(),
                nn.Linear(hidden_dim, hidden_dim),
                nn.ReLU(),
            )
            self.last = nn.Linear(hidden_dim, dim)
        generator = torch.Generator().manual_seed(seed)
        for layer in self.layers:
            if isinstance(layer, nn.Linear):  # torch's own initial values, from a generator of our own
                nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=generator)
                bound = 1 / math.sqrt(layer.in_features)
                nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
        nn.init.normal_(self.last.weight, std=0.01, generator=generator)
        nn.init.zeros_(self.last.bias)

    def forward(self, z: Float[Tensor, "n d"], y: Float[Tensor, "n K"]) -> Float[Tensor, "n d"]:
        """Velocity at `z` toward the attributes `y`, in embedding units per unit of flow time."""
        velocity: Tensor = self.last(self.layers(_conditioned(z, y)))
        return velocity

    def with_products(
        self, z: Float[Tensor, "n d"], y: Float[Tensor, "n K"], directions: Float[Tensor, "k m d"]
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, "k m d"]]:
        r"""Velocity at all rows, and products $J\,u$ of the Jacobian $J = \partial v/\partial z$ at the first m.

        The products share the one pass of the values, so k of them cost k more rows of the same matrix products.

        Args:
            z: embeddings.
            y: target attributes.
            directions: k directions u for each of the first m rows.
        """
        first, second, third = (layer for layer in self.layers if isinstance(layer, nn.Linear))
        norms = [layer for layer in self.layers if isinstance(layer, nn.LayerNorm)]
        value = first(_conditioned(z, y))
        along = functional.linear(directions, first.weight[:, : z.shape[-1]])
        value, along = norm_relu(value, along, norms[0])
        value, along = norm_relu(second(value), functional.linear(along, second.weight), norms[1])
        value = functional.relu(third(value))
        along = functional.linear(along, third.weight) * value[: directions.shape[1]].detach().sign()
        return self.last(value), functional.linear(along, self.last.weight)


def _conditioned(z: Float[Tensor, "n d"], y: Float[Tensor, "n K"]) -> Float[Tensor, "n d+K"]:
    return torch.cat([z, torch.where(y == UNKNOWN, 0.5, y)], dim=-1)


class SharedPass:
    """The field in one batch: where it was probed, its velocity is known and not computed again.

    Args:
        field: the field.
        precision: of the matrix products; their sums are float32 and velocities of the type of the input all the same.
    """

    def __init__(self, field: TargetField, precision: torch.dtype = torch.float32) -> None:
        self.field, self.precision = field, precision
        self._known: tuple[Tensor, Tensor, Tensor] | None = None

    def __call__(self, z: Float[Tensor, "n d"], y: Float[Tensor, "n K"]) -> Float[Tensor, "n d"]:
        """Velocity at `z`; the one that is known if `z` and `y` are the very tensors that were probed."""
        if self._known is not None and z is self._known[0] and y is self._known[1]:
            return self._known[2]
        with self._products(z):
            velocity: Tensor = self.field(z, y)
        return velocity.to(z.dtype)

    def with_products(
        self, z: Float[Tensor, "n d"], y: Float[Tensor, "n K"], directions: Float[Tensor, "k m d"]
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, "k m d"]]:
        """As `TargetField.with_products`; remembers the velocity."""
        with self._products(z):
            velocity, along = self.field.with_products(z, y, directions)
        self._known = z, y, velocity.to(z.dtype)
        return self._known[2], along.to(z.dtype)

    def _products(self, z: Tensor) -> torch.autocast:
        lower = self.precision != torch.float32
        return torch.autocast(z.device.type, self.precision if lower else torch.bfloat16, enabled=lower)


class ChangeField(nn.Module):
    r"""A field on the change of attributes: along the great circle to a closed form's destination, and a residual.

    $$v(x, c) = T_x\,(g + \rho\, r(x, t - y)), \qquad g = \operatorname{arsinh}(\tan\varphi)\,u$$

    with the tangent projection $T_x$ at x, and for each row the unit tangent u at its *source* toward the closed
    form's destination at angle $\varphi$. Following $T_x\,g$ for a time of 1 turns the source by
    $\operatorname{gd}(\|g\|) = \varphi$, exactly onto that destination; longer or shorter flows go on or stop on the
    same great circle. Where nothing changes both parts are zero, and so is the field.

    Args:
        start: the closed form, which looks at each source once.
        residual: velocity of x for the change in {-1, 0, 1}^K, zero for no change.
        amount: $\rho$, how much of the residual is used.
    """

    def __init__(self, start: ClosedForm, residual: nn.Module | None = None, amount: float = 1.0) -> None:
        super().__init__()
        self.start = start
        self.residual = residual
        self.amount = amount

    def condition(
        self, z: Float[Tensor, "n d"], source: Float[Tensor, "n K"], target: Float[Tensor, "n K"]
    ) -> Float[Tensor, "n d+K"]:
        """What the velocity is conditioned on: g of every row, and its change."""
        labels, wanted = (y.detach().cpu().numpy().astype(np.int8) for y in (source, target))
        begin = z.detach().cpu()
        start = self._single if begin.dtype == torch.float32 else None
        if start is None:
            begin, start = begin.double(), self.start
        out = torch.empty(len(z), z.shape[1] + target.shape[1], dtype=z.dtype)
        for first in range(0, len(z), CHUNK):
            rows = slice(first, first + CHUNK)
            x = begin[rows]
            end = torch.from_numpy(start(x.numpy(), labels[rows], wanted[rows]))
            cosine = torch.einsum("nd,nd->n", x, end)[:, None]
            side = torch.addcmul(end, x, cosine, value=-1)  # of length sin(phi), tangent at x
            sine = torch.linalg.vector_norm(side, dim=1, keepdim=True)
            tangent = torch.where(cosine > FARTHEST, sine / cosine.clamp_min(FARTHEST), 1 / FARTHEST)
            rate = torch.asinh(tangent) / sine.clamp_min(torch.finfo(sine.dtype).tiny)
            rate[(labels[rows] == wanted[rows]).all(axis=1)] = 0
            rate[sine <= ROUNDING * torch.finfo(sine.dtype).eps] = 0
            torch.mul(side, rate, out=out[rows, : z.shape[1]])
        out[:, z.shape[1] :] = (target - source).cpu()
        return out.to(z.device)

    @cached_property
    def _single(self) -> ClosedForm | None:
        """The start in float32; None for one that is no closed form of ours."""
        try:
            return from_arrays(to_arrays(self.start), np.float32)
        except (TypeError, ValueError):
            return None

    def solution(
        self, z: Float[Tensor, "n d"], c: Float[Tensor, "n d+K"]
    ) -> Callable[[float], Float[Tensor, "n d"]] | None:
        r"""Where rows are after a time s, $\cos\theta\,z + \sin\theta\,u$ with $\theta = \operatorname{gd}(s\|g\|)$.

        Without a residual the flow is known in closed form, and no integrator is asked; None with one.
        """
        if self.residual is not None and self.amount:
            return None
        heading = c[:, : z.shape[1]]
        rate = torch.linalg.vector_norm(heading, dim=1, keepdim=True)

        def at(time: float) -> Float[Tensor, "n d"]:
            angle = 2 * torch.atan(torch.tanh(rate * (time / 2)))
            amount = torch.sin(angle) / rate.clamp_min(torch.finfo(rate.dtype).tiny)
            return sphere.project(torch.addcmul(torch.cos(angle) * z, amount, heading))

        return at

    def forward(self, z: Float[Tensor, "n d"], c: Float[Tensor, "n d+K"]) -> Float[Tensor, "n d"]:
        """Velocity at `z`, tangent to the sphere."""
        heading, change = c[:, : z.shape[1]], c[:, z.shape[1] :]
        if self.residual is not None and self.amount:
            heading = heading + self.amount * self.residual(z, change)
        return sphere.tangent(z, heading)


class ChangeResidual(nn.Module):
    r"""A low-rank velocity of the row and the change, exactly zero where nothing changes.

    $$r(z, c) = s\,\bigl[(H\,\operatorname{silu}(A x + a)) \odot (G_1 c + G_2 |c|)\bigr] U, \qquad x = (z - \mu)/s$$

    with the change c in {-1, 0, 1}^K. $G_1$ is the part that turns around with the change and $G_2$ the part that does
    not. Without a bias in H or the gates r(z, 0) = 0 whatever was learned. The size is linear in K: combinations share
    the rank. U starts at zero, so that training starts at the closed form.

    Args:
        mean: $\mu$ of the train rows.
        spread: s, the mean over dimensions of their standard deviation.
        num_attributes: K.
        hidden: hidden units.
        rank: of the velocities.
        seed: of the initial weights; global random states neither matter nor decide them.
    """

    mean: Tensor
    spread: Tensor

    def __init__(
        self,
        mean: Float[Tensor, " d"],
        spread: float,
        num_attributes: int,
        *,
        hidden: int = 64,
        rank: int = 16,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.register_buffer("mean", mean.detach().clone())
        self.register_buffer("spread", torch.tensor(spread, dtype=mean.dtype))
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape: int, std: float = 1.0) -> nn.Parameter:
            return nn.Parameter(torch.randn(shape, generator=generator, dtype=mean.dtype) * std)

        d = len(mean)
        self.inward = normal(d, hidden, std=1 / math.sqrt(d))
        self.bias = normal(hidden, std=0.1)
        self.mix = normal(hidden, rank, std=1 / math.sqrt(hidden))
        self.turning = normal(num_attributes, rank)
        self.lasting = normal(num_attributes, rank)
        self.outward = nn.Parameter(torch.zeros(rank, d, dtype=mean.dtype))

    def forward(self, z: Float[Tensor, "n d"], change: Float[Tensor, "n K"]) -> Float[Tensor, "n d"]:
        """Velocity at `z`, in embedding units per unit of flow time; not yet tangent to the sphere."""
        x = (z - self.mean) / self.spread
        factors = functional.silu(x @ self.inward + self.bias) @ self.mix
        gates = change @ self.turning + change.abs() @ self.lasting
        return self.spread * (factors * gates) @ self.outward
