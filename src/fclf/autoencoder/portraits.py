"""The packaged autoencoder, and sets of embeddings of portraits made with it."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
from safetensors import SafetensorError

from fclf.autoencoder.network import Encoder, embed
from fclf.autoencoder.training import Autoencoder
from fclf.data.embeddings import EmbeddingSet
from fclf.data.frequencies import ATTRIBUTES
from fclf.data.portraits import Sitters, draw
from fclf.decoder import Decoder
from fclf.decoder.state import read_part
from fclf.errors import InputError
from fclf.files import existing_file

__all__ = ["WEIGHTS", "load_encoder", "portrait_set", "save"]

WEIGHTS = Path(str(files("fclf.autoencoder") / "portraits.safetensors"))
"""The packaged weights: float16, encoder and decoder."""
PREFIX = "encoder."


def save(model: Autoencoder, path: str | Path, about: dict[str, object] | None = None) -> None:
    """Write both networks as float16 into one file, of which `Decoder.load` reads its part."""
    others = {f"{PREFIX}{name}": value.half() for name, value in model.encoder.state_dict().items()}
    Decoder(model.decoder, about or {}).save(path, half=True, others=others)


def load_encoder(path: str | Path = WEIGHTS) -> Encoder:
    """Read the encoder's part of such a file.

    Raises:
        InputError: if there is none, or it holds no such encoder.
    """
    path = existing_file(Path(path), "Portrait encoder")
    encoder = Encoder()
    try:
        tensors = read_part(path, PREFIX)[1]
        encoder.load_state_dict({name: value.float() for name, value in tensors.items()})
    except (SafetensorError, OSError, RuntimeError) as error:
        raise InputError(
            f"Portrait encoder: {path} holds none ({error}). Train one: fclf portraits train --output FILE"
        ) from error
    return encoder.eval().requires_grad_(False)


def portrait_set(people: Sitters, encoder: Encoder | None = None, *, seed: int = 0) -> EmbeddingSet:
    """Draw people and embed them; split 56/8/16/20 by person with a seed."""
    z = embed(draw(people), encoder or load_encoder())
    data = EmbeddingSet.from_arrays(
        {
            "embeddings": z,
            "attributes": people.attributes,
            "attribute_names": np.array(ATTRIBUTES),
            "ids": np.array([f"portrait-{row:06d}" for row in range(len(people))]),
            "identities": people.identities,
        },
        source="portraits",
    )
    return data.with_split(seed)
