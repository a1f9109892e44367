"""Carrying embeddings along a field: the only place that steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Num
from torch import Tensor

from fclf import sphere

__all__ = ["ConditionOf", "Flow", "Method", "Solved", "Trajectory", "VectorField", "step"]

VectorField = Callable[[Tensor, Tensor], Tensor]
"""Velocity (n, d) at embeddings (n, d) under conditions (n, c): the target attributes, for fields of the reference."""

ConditionOf = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Conditions of sources (n, d) with attributes (n, K) that go to attributes (n, K)."""

Method = Literal["euler", "heun", "rk4"]


@runtime_checkable
class Solved(Protocol):
    """A field whose flow may be known in closed form, such as `fclf.field.ChangeField`."""

    def solution(self, z: Tensor, y: Tensor) -> Callable[[float], Tensor] | None:
        """Where rows (n, d) are after a time, or None if that has to be integrated."""
        ...


@dataclass(frozen=True)
class Trajectory:
    """Where each embedding was at each time."""

    points: Float[Tensor, "t n d"]
    """Unit vectors; the first are the sources, the last the destinations."""
    times: Float[Tensor, " t"]

    @property
    def start(self) -> Float[Tensor, "n d"]:
        """Sources."""
        return self.points[0]

    @property
    def end(self) -> Float[Tensor, "n d"]:
        """Destinations."""
        return self.points[-1]


@dataclass(frozen=True)
class Flow:
    """A field and how it is followed.

    Args:
        field: velocity of z toward y.
        steps: number of integrator steps.
        step_size: flow time of one step.
        method: `euler` (order 1, the reference's step), `heun` (order 2) or `rk4` (order 4).
        condition_of: what the field is conditioned on; the target attributes if absent.
    """

    field: VectorField
    steps: int = 10
    step_size: float = 0.1
    method: Method = "euler"
    condition_of: ConditionOf | None = None

    def condition(
        self, z: Float[Tensor, "n d"], source: Float[Tensor, "n K"], target: Float[Tensor, "n K"]
    ) -> Float[Tensor, "n c"]:
        """The `y` of `path`, `trajectory` and `edit`, computed once from each source, its attributes and its target."""
        return target if self.condition_of is None else self.condition_of(z, source, target)

    def inputs(
        self, z: Float[np.ndarray, "n d"], source: Num[np.ndarray, "n K"], target: Num[np.ndarray, "n K"]
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n c"]]:
        """The `z` and `y` of `path`, `trajectory` and `edit`, from arrays of any precision."""
        rows, own, wanted = (torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32)) for x in (z, source, target))
        return rows, self.condition(rows, own, wanted)

    def path(
        self, z: Float[Tensor, "n d"], y: Float[Tensor, "n K"], strength: float = 1.0
    ) -> Iterator[Float[Tensor, "n d"]]:
        """Yield the sources and then the embeddings after each step; `strength` scales the flow time.

        A strength of 0 yields the sources themselves, bit for bit. A field that is `Solved` is asked where its flow
        goes, and not integrated.
        """
        yield z
        at = self._solution(z, y)
        for number in range(1, self.steps + 1):
            if strength != 0:
                size = self.step_size * strength
                z = step(self.field, z, y, size, self.method) if at is None else at(number * size)
            yield z

    def trajectory(self, z: Float[Tensor, "n d"], y: Float[Tensor, "n K"], strength: float = 1.0) -> Trajectory:
        """Follow the field and keep every point: (steps + 1) n d numbers."""
        points = torch.stack(list(self.path(z, y, strength)))
        times = torch.arange(self.steps + 1, dtype=z.dtype, device=z.device) * (self.step_size * strength)
        return Trajectory(points, times)

    def edit(
        self, z: Float[Tensor, "n d"], y: Float[Tensor, "n K"], strength: float = 1.0, batch_size: int = 2048
    ) -> Float[Tensor, "n d"]:
        """Destinations only, without gradients and a batch at a time, so that memory does not grow with n."""
        out = torch.empty_like(z)
        with torch.no_grad():
            for first in range(0, len(z), batch_size):
                rows = slice(first, first + batch_size)
                at = self._solution(z[rows], y[rows])
                if at is not None and strength != 0:
                    out[rows] = at(self.steps * self.step_size * strength)
                    continue
                for point in self.path(z[rows], y[rows], strength):
                    last = point
                out[rows] = last
        return out

    def _solution(
        self, z: Float[Tensor, "n d"], y: Float[Tensor, "n c"]
    ) -> Callable[[float], Float[Tensor, "n d"]] | None:
        """Where rows are after a time, from fields that know."""
        return self.field.solution(z, y) if isinstance(self.field, Solved) else None


def step(
    field: VectorField,
    z: Float[Tensor, "n d"],
    y: Float[Tensor, "n K"],
    size: float,
    method: Method = "euler",
) -> Float[Tensor, "n d"]:
    r"""One step of flow time `size`, projected to the sphere.

    Euler is the reference's step, $z \leftarrow (z + h v(z, y)) / \|z + h v(z, y)\|$, with the whole velocity.
    Heun's and Runge and Kutta's classical steps, of order 2 and 4, are taken on the tangent part of the velocity at
    the projected stage, $f(x) = T_{x/\|x\|} v(x/\|x\|, y)$: the field on the sphere that projected Euler follows as
    $h \to 0$, extended off the sphere so smoothly that the projection at the end does not cost the order
    (Hairer, Lubich & Wanner, *Geometric Numerical Integration*, 2006, section IV.4).
    """
    if method == "euler":
        return sphere.project(torch.add(z, field(z, y), alpha=size))

    def slope(x: Tensor) -> Tensor:
        x = sphere.project(x)
        return sphere.tangent(x, field(x, y))

    k1 = slope(z)
    if method == "heun":
        return sphere.project(z + size / 2 * (k1 + slope(z + size * k1)))
    k2 = slope(z + size / 2 * k1)
    k3 = slope(z + size / 2 * k2)
    k4 = slope(z + size * k3)
    return sphere.project(z + size / 6 * (k1 + 2 * k2 + 2 * k3 + k4))
