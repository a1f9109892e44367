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
SHUFFLE = 4
"""Pixels a side that each place of the finest map becomes."""


class ImageDecoder(nn.Module):
    r"""Embeddings to images: a code spread over a 4 x 4 map, convolved up to a quarter of the size, shuffled to pixels.

    The code also scales and shifts every map's channels (Karras et al., 2019, https://arxiv.org/abs/1812.04948), as
    what a code says of a small thing such as glasses is lost on the way through 4 x 4 places, and each place has a
    learned vector of its own. The last convolution yields 4 x 4 pixels at every place (Shi et al., 2016,
    https://arxiv.org/abs/1609.05158): full resolution costs no convolution at full resolution, which on a CPU would
    be most of the time.

    Args:
        dim: width d of the embeddings.
        size: side of the images in pixels, one of `SIZES`.
        width: channels of the finest map are 2 x `width`, of the coarsest 4 x `width`, of the code 12 x `width`.
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
        code = 12 * width
        self.code = nn.Sequential(nn.Linear(dim, code), nn.SiLU(), nn.Linear(code, code), nn.SiLU())
        self.spread = nn.Linear(code, 4 * width * GRID * GRID)
        maps = [(4 * width, 3 * width, 8), (3 * width, 2 * width, 16), (2 * width, 2 * width, size // SHUFFLE)]
        self.stages = nn.ModuleList(_Stage(inner, outer, side, code) for inner, outer, side in maps)
        self.pixels = nn.Conv2d(2 * width, 3 * SHUFFLE**2, 3, padding=1)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it

    def standardise(self, z: Float[Tensor, "n d"]) -> None:
        """Take the mean and the spread of these embeddings as those of the input: a cone has a mean of .9."""
        centred = z - z.mean(dim=0)
        self.mean.copy_(z.mean(dim=0))
        self.scale.copy_(centred.square().mean().sqrt().clamp_min(1e-6))

    def forward(self, z: Float[Tensor, "n d"]) -> Float[Tensor, "n 3 s s"]:
        """Images in [0, 1]."""
        code = self.code((z - self.mean) / self.scale)
        x = F.silu(self.spread(code)).view(len(z), 4 * self.width, GRID, GRID)
        x = x.contiguous(memory_format=torch.channels_last)
        for stage in self.stages:
            x = stage(x, code)
        return torch.sigmoid(F.pixel_shuffle(self.pixels(x), SHUFFLE))


class _Stage(nn.Module):
    """Enlarge a map to `side` places a side, and convolve it as the code says."""

    def __init__(self, inner: int, outer: int, side: int, code: int) -> None:
        super().__init__()
        self.side = side
        self.places = nn.Parameter(0.3 * torch.randn(1, inner, side, side))
        self.convolution = nn.Conv2d(inner, outer, 3, padding=1)
        self.norm = nn.GroupNorm(GROUPS, outer)
        self.style = nn.Linear(code, 2 * outer)
        nn.init.normal_(self.style.weight, std=0.3 / code**0.5)

    def forward(self, x: Float[Tensor, "n i h w"], code: Float[Tensor, "n c"]) -> Float[Tensor, "n o s s"]:
        if x.shape[-1] != self.side:
            x = F.interpolate(x, size=(self.side, self.side))
        x = self.norm(self.convolution(x + self.places))
        scale, shift = self.style(code)[:, :, None, None].chunk(2, dim=1)
        return F.silu(x * (1 + scale) + shift)
