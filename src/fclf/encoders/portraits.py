"""The packaged portrait autoencoder as an encoder of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32
from PIL import Image, ImageOps

from fclf.autoencoder import DIM, WEIGHTS, embed, load_encoder
from fclf.autoencoder.network import SIZE
from fclf.autoencoder.network import Encoder as Network
from fclf.files import digest

__all__ = ["PortraitEncoder"]


@dataclass(frozen=True)
class PortraitEncoder:
    """Middle square of a picture, at the size of a portrait, through the packaged network."""

    network: Network
    fingerprint: str

    @classmethod
    def load(cls) -> PortraitEncoder:
        """Read the packaged weights."""
        return cls(load_encoder(), f"portraits:{digest(WEIGHTS.read_bytes())[:16]}")

    @property
    def dim(self) -> int:
        """Width of the embeddings."""
        return DIM

    def encode(self, pictures: Sequence[Image.Image]) -> Float32[np.ndarray, "n d"]:
        """Unit embeddings of RGB pictures."""
        if not pictures:
            return np.zeros((0, DIM), np.float32)
        small = [ImageOps.fit(picture, (SIZE, SIZE), Image.Resampling.LANCZOS) for picture in pictures]
        return embed(np.stack([np.asarray(picture) for picture in small]), self.network)
