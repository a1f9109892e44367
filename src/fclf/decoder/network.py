"""The network from an embedding to an image."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["SIZES", "ImageDecoder"]

SIZES = (64, 128)
GRID = 4
"""Side of the coarsest map."""
GROUPS = 8


class ImageDecoder(nn.Module):
    r"""Embeddings to images: standardised, spread over a 4 x 4 map, convolved up to size / 4, then shuffled to pixels.

    The last convolution yields 4 x 4 pixels at every place of its map (Shi et al., 2016,
    https://arxiv.org/abs/1609.05158): full resolution costs no convolution at full resolution, which on a CPU would
    be most of the time.

    Args:
        dim: width d of the embeddings.
        size: side of the images in pixels, one of `SIZES`.
        width: channels of the finest map are 2 x `width`, of the coarsest 4 x `width`.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, dim: int, size: int = 64, width: int = 32) -> None:
        super().__init__()
        if size not in SIZES:
            raise ValueError(f"`size` is {size}; images have {' or '.join(map(str, SIZES))} pixels a side.")
        self.dim, self.size, self.width = dim, size, width
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(()))
        self.spread = nn.Linear(dim, 4 * width * GRID * GRID)
        stages = [_stage(4 * width, 3 * width, 1), _stage(3 * width, 2 * width, 2)]
        if size == 128:
            stages.append(_stage(2 * width, 2 * width, 1))
        self.stages = nn.ModuleList(stages)
        self.shuffle = 4
        self.pixels = nn.Conv2d(2 * width, 3 * self.shuffle**2, 3, padding=1)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it

    def standardise(self, z: Float[Tensor, "n d"]) -> None:
        """Take the mean and the spread of these embeddings as those of the input: a cone has a mean of .9."""
        centred = z - z.mean(dim=0)
        self.mean.copy_(z.mean(dim=0))
        self.scale.copy_(centred.square().mean().sqrt().clamp_min(1e-6))

    def forward(self, z: Float[Tensor, "n d"]) -> Float[Tensor, "n 3 s s"]:
        """Images in [0, 1]."""
        spread = F.silu(self.spread((z - self.mean) / self.scale))
        x = spread.view(len(z), 4 * self.width, GRID, GRID).contiguous(memory_format=torch.channels_last)
        for stage in self.stages:
            x = stage(F.interpolate(x, scale_factor=2))
        return torch.sigmoid(F.pixel_shuffle(self.pixels(x), self.shuffle))


def _stage(inner: int, outer: int, depth: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for number in range(depth):
        layers += [nn.Conv2d(outer if number else inner, outer, 3, padding=1), nn.GroupNorm(GROUPS, outer), nn.SiLU()]
    return nn.Sequential(*layers)
