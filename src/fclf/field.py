"""Vector fields over embeddings, conditioned on attributes."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["TargetField"]


class TargetField(nn.Module):
    r"""The reference's field $v(z, y)$, conditioned on the target attributes.

    An MLP on $[z, y]$ of widths d+K, h, h, h, d: LayerNorm and ReLU after the first two layers, ReLU after the
    third. The last layer starts at $\mathcal N(0, 0.01^2)$ with zero bias, so that the flow starts near the
    identity. Its velocity is *not* tangent to the sphere; the flow projects.

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
        velocity: Tensor = self.last(self.layers(torch.cat([z, y], dim=-1)))
        return velocity
