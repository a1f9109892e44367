"""Signed distances of plane shapes, one shape a picture, and painting them: batched tensors throughout.

A signed distance is negative inside of a shape. All lengths are in units of half of a picture; y points down.
The formulas of the primitives are those collected by Quilez (https://iquilezles.org/articles/distfunctions2d).
"""

from __future__ import annotations

from typing import NamedTuple, Self

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Canvas", "Plane", "arc", "box", "ellipse", "segment", "smooth_union"]

Number = Tensor | float
"""A number for all pictures, or one a picture, (n, 1, 1)."""


class Plane(NamedTuple):
    """Coordinates of every pixel of every picture in some frame."""

    x: Float[Tensor, "n h w"]
    y: Float[Tensor, "n h w"]

    def at(self, x: Number, y: Number) -> Plane:
        """The same plane with its origin at (x, y)."""
        return Plane(self.x - x, self.y - y)

    def turned(self, angle: Number) -> Plane:
        """The same plane with its axes turned by an angle in radians."""
        angle = torch.as_tensor(angle, dtype=self.x.dtype)
        cos, sin = angle.cos(), angle.sin()
        return Plane(cos * self.x + sin * self.y, cos * self.y - sin * self.x)

    def mirrored(self) -> Plane:
        """Both halves as the right one: what is drawn on it appears on both sides."""
        return Plane(self.x.abs(), self.y)


def ellipse(p: Plane, rx: Number, ry: Number) -> Float[Tensor, "n h w"]:
    """Ellipse about the origin: exact on its edge, to first order near it."""
    u, v = p.x / rx, p.y / ry
    k0 = (u * u + v * v).sqrt()
    k1 = ((u / rx) ** 2 + (v / ry) ** 2).sqrt().clamp_min(1e-6)
    return k0 * (k0 - 1) / k1


def box(p: Plane, width: Number, height: Number, rounding: Number = 0.0) -> Float[Tensor, "n h w"]:
    """Rectangle of half sides `width` and `height` about the origin, its corners rounded within them."""
    dx, dy = p.x.abs() - width + rounding, p.y.abs() - height + rounding
    outside = (dx.clamp_min(0) ** 2 + dy.clamp_min(0) ** 2).sqrt()
    return outside + torch.maximum(dx, dy).clamp_max(0) - rounding


def segment(p: Plane, ax: Number, ay: Number, bx: Number, by: Number) -> Float[Tensor, "n h w"]:
    """Distance to the segment from a to b: a stroke once half of its thickness is taken off."""
    dx, dy = torch.as_tensor(bx - ax, dtype=p.x.dtype), torch.as_tensor(by - ay, dtype=p.x.dtype)
    px, py = p.x - ax, p.y - ay
    along = ((px * dx + py * dy) / (dx * dx + dy * dy).clamp_min(1e-9)).clamp(0, 1)
    return ((px - along * dx) ** 2 + (py - along * dy) ** 2).sqrt()


def arc(p: Plane, width: Number, bend: Number) -> Float[Tensor, "n h w"]:
    """Distance to the parabola y = bend (1 - (x / width)^2) for |x| <= width, to first order in its slope.

    Its ends are at (-width, 0) and (width, 0); a positive bend hangs down.
    """
    x = torch.minimum(torch.maximum(p.x, -torch.as_tensor(width)), torch.as_tensor(width))
    slope = -2 * bend * x / width**2
    vertical = (p.y - bend * (1 - (x / width) ** 2)).abs() / (1 + slope**2).sqrt()
    return (vertical**2 + (p.x - x) ** 2).sqrt()


def smooth_union(a: Float[Tensor, "n h w"], b: Float[Tensor, "n h w"], radius: Number) -> Float[Tensor, "n h w"]:
    """Union of two shapes with the corner between them filled (polynomial smooth minimum)."""
    mix = ((radius - (a - b).abs()) / radius).clamp_min(0)
    return torch.minimum(a, b) - mix * mix * radius / 4


class Canvas:
    """Pictures that are painted on, (n, 3, h, w) in [0, 1]."""

    def __init__(self, ground: Float[Tensor, "n 3 h w"], pixel: Float[Tensor, "n 1 1"]) -> None:
        self.picture = ground
        self.pixel = pixel
        """Width of a pixel in the frame in which distances are measured: the width of an edge."""

    def cover(self, distance: Float[Tensor, "n h w"], soft: Number = 0.0) -> Float[Tensor, "n h w"]:
        """Share of each pixel inside of a shape; `soft` widens the edge."""
        return (0.5 - distance / (self.pixel + soft)).clamp(0, 1)

    def paint(self, cover: Float[Tensor, "n h w"], colour: Float[Tensor, "n 3 #h #w"], opacity: Number = 1.0) -> Self:
        """Lay a colour over the picture where `cover` is, and as much as `opacity`."""
        self.picture = torch.lerp(self.picture, colour.expand_as(self.picture), (cover * opacity)[:, None])
        return self

    def fill(
        self,
        distance: Float[Tensor, "n h w"],
        colour: Float[Tensor, "n 3 #h #w"],
        opacity: Number = 1.0,
        soft: Number = 0.0,
    ) -> Self:
        """Paint the inside of a shape."""
        return self.paint(self.cover(distance, soft), colour, opacity)
