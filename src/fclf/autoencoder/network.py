"""The network from a portrait to a unit embedding."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["CHANNELS", "DIM", "Encoder", "embed"]

DIM = 128
CHANNELS = (24, 48, 96, 160)
GROUPS = 8
BATCH = 250
SIZE = 64
"""Side of the pictures in pixels."""


class Encoder(nn.Module):
    """Four convolutions of stride 2, one linear map, and a projection to the unit sphere."""

    def __init__(self, dim: int = DIM) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inner = 3
        for outer in CHANNELS:
            layers += [nn.Conv2d(inner, outer, 4, stride=2, padding=1), nn.GroupNorm(GROUPS, outer), nn.SiLU()]
            inner = outer
        self.features = nn.Sequential(*layers)
        self.embed = nn.Linear(inner * (SIZE // 2 ** len(CHANNELS)) ** 2, dim)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it

    def forward(self, x: Float[Tensor, "n 3 64 64"]) -> Float[Tensor, "n d"]:
        """Unit embeddings of pictures in [0, 1]."""
        return F.normalize(self.embed(self.features(2 * x - 1).flatten(1)), dim=1)


def embed(pictures: UInt8[np.ndarray, "n 64 64 3"], encoder: Encoder) -> Float32[np.ndarray, "n d"]:
    """Unit embeddings of portraits."""
    x = torch.from_numpy(pictures).permute(0, 3, 1, 2)
    with torch.inference_mode():
        z = torch.cat([encoder(part.float().div(255)) for part in torch.split(x, BATCH)])
    out: Float32[np.ndarray, "n d"] = z.numpy()
    return out
