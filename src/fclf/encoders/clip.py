"""CLIP's picture tower by transformers, without torchvision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from PIL import Image

from fclf.encoders.encoder import optional_library, unit
from fclf.errors import InputError
from fclf.files import digest

__all__ = ["ClipEncoder"]


@dataclass(frozen=True)
class ClipEncoder:
    """Vision transformer and projection of a CLIP model (Radford et al., 2021, https://arxiv.org/abs/2103.00020)."""

    model: Any
    processor: Any
    name: str
    fingerprint: str

    @classmethod
    def load(cls, name: str) -> ClipEncoder:
        """Read a model folder, or fetch a model of the Hugging Face hub.

        Raises:
            InputError: if neither can be had.
        """
        transformers = optional_library("transformers", "clip")
        # Without torchvision the generic class would look for it; this one prepares pictures with PIL.
        prepare = optional_library("transformers.models.clip.image_processing_pil_clip", "clip")
        try:
            with _quiet(transformers):
                model = transformers.CLIPVisionModelWithProjection.from_pretrained(name, use_safetensors=True)
                processor = prepare.CLIPImageProcessorPil.from_pretrained(name)
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            what = "that folder" if Path(name).is_dir() else "neither a folder here, nor a model that could be fetched,"
            raise InputError(
                f"clip:{name}: {what} holds no CLIP model ({str(error).splitlines()[0]}). A model folder has "
                "config.json, model.safetensors and preprocessor_config.json."
            ) from error
        model = model.eval().requires_grad_(False)
        weights = (value.contiguous().numpy().data.cast("B") for _, value in sorted(model.state_dict().items()))
        return cls(model, processor, name, f"clip:{digest(*weights, processor.to_json_string().encode())[:16]}")

    @property
    def dim(self) -> int:
        """Width of the projection."""
        return int(self.model.config.projection_dim)

    def encode(self, pictures: Sequence[Image.Image]) -> Float32[np.ndarray, "n d"]:
        """Unit embeddings of RGB pictures."""
        if not pictures:
            return np.zeros((0, self.dim), np.float32)
        pixels = self.processor(images=list(pictures), return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            z = self.model(pixel_values=pixels).image_embeds
        return unit(z.float().numpy(), f"clip:{self.name}")


class _quiet:
    """transformers reports what it leaves out of a whole CLIP model's weights, the text tower, and draws a bar."""

    def __init__(self, transformers: Any) -> None:
        self.logging = transformers.utils.logging

    def __enter__(self) -> None:
        self.before = self.logging.get_verbosity()
        self.logging.set_verbosity_error()
        self.logging.disable_progress_bar()

    def __exit__(self, *_: object) -> None:
        self.logging.set_verbosity(self.before)
        self.logging.enable_progress_bar()
