"""What a decoded image is compared by: its colours, its edges, and how strong edges are in each place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

__all__ = ["DecoderLoss", "gradient_error"]

LEVELS = 4
"""Of the pyramid: full resolution and three halvings."""
PATCH = 8
"""Side in pixels of the places whose edge strength is compared."""
FLAT = 1e-4
"""Added to squared gradients, so that the root has a slope at flat places (colours are in [0, 1])."""


@dataclass(frozen=True)
class DecoderLoss:
    r"""Weighted sum of three terms, each a mean over pixels.

    $$|x - y| + \lambda_g \, \tfrac{1}{L}\sum_l |\nabla x_l - \nabla y_l| + \lambda_e\, |S(x) - S(y)|$$

    The gradient term compares finite differences at L levels of an average-pooled pyramid (Mathieu et al., 2016,
    https://arxiv.org/abs/1511.05440, at one scale). An embedding does not say where each hair is, and the best guess of
    a gradient of unknown sign is zero: both terms like fog. The last one compares S, the root mean square of the
    gradients in 8 x 8 pixels, which does not ask where in a place an edge is, only that it be as strong.
    """

    gradient: float = 1.0
    r"""$\lambda_g$."""
    strength: float = 0.5
    r"""$\lambda_e$."""
    charbonnier: float = 0.0
    r"""If positive, $\sqrt{(x-y)^2+\epsilon^2}$ with this epsilon instead of the absolute difference."""

    def __call__(self, x: Float[Tensor, "n 3 s s"], y: Float[Tensor, "n 3 s s"]) -> Float[Tensor, ""]:
        """Loss of decoded images x against real images y."""
        loss = ((x - y).square() + self.charbonnier**2).sqrt().mean() if self.charbonnier else (x - y).abs().mean()
        if self.gradient:
            loss = loss + self.gradient * gradient_error(x, y)
        if self.strength:
            loss = loss + self.strength * (_strength(x) - _strength(y)).abs().mean()
        return loss


def gradient_error(x: Float[Tensor, "n 3 s s"], y: Float[Tensor, "n 3 s s"]) -> Float[Tensor, ""]:
    """Mean absolute difference of finite differences, over both axes and the levels of a pyramid."""
    difference = x - y  # pooling and differences are linear
    total = difference.new_zeros(())
    for level in range(LEVELS):
        if level:
            difference = F.avg_pool2d(difference, 2)
        total = total + sum(d.abs().mean() for d in _gradients(difference)) / (2 * LEVELS)
    return total


def gradient_energy(x: Float[Tensor, "n 3 s s"]) -> float:
    """Mean squared finite difference, the sum over both axes."""
    return float(sum(d.double().square().mean() for d in _gradients(x)))


def _gradients(x: Float[Tensor, "n c h w"]) -> Iterator[Tensor]:
    yield x[..., 1:, :] - x[..., :-1, :]
    yield x[..., :, 1:] - x[..., :, :-1]


def _strength(x: Float[Tensor, "n 3 s s"]) -> Float[Tensor, "n 3 p p"]:
    down, right = (F.pad(d, pad) for d, pad in zip(_gradients(x), ((0, 0, 0, 1), (0, 1, 0, 0)), strict=True))
    return (F.avg_pool2d(down.square() + right.square(), PATCH, PATCH // 2) + FLAT).sqrt()
