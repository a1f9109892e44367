"""What a decoded image is compared by: its colours and its edges."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

__all__ = ["DecoderLoss", "gradient_energy", "gradient_error"]

LEVELS = 4
"""Of the pyramid: full resolution and three halvings."""


@dataclass(frozen=True)
class DecoderLoss:
    r"""Colours and edges, each a mean over pixels.

    $$|x - y| + \lambda\, \tfrac{1}{L}\sum_l |\nabla x_l - \nabla y_l|$$

    The gradient term compares finite differences at L levels of an average-pooled pyramid (Mathieu et al., 2016,
    https://arxiv.org/abs/1511.05440, at one scale). Colours alone leave the strokes of a face in the fog, as they cover
    few pixels.
    """

    gradient: float = 4.0
    r"""$\lambda$."""

    def __call__(self, x: Float[Tensor, "n 3 s s"], y: Float[Tensor, "n 3 s s"]) -> Float[Tensor, ""]:
        """Loss of decoded images x against real images y."""
        colours = (x - y).abs().mean()
        return colours + self.gradient * gradient_error(x, y) if self.gradient else colours


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
