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

from fclf.encoders.encoder import EncoderFailure, optional_library, unit
from fclf.errors import InputError
from fclf.files import digest

__all__ = ["ClipEncoder"]

KINDS = ("clip", "clip_vision_model")
"""What `config.json` calls a whole CLIP model, and its picture tower alone."""
OTHERWISE = (
    "Name a CLIP model with its projection, such as clip:openai/clip-vit-base-patch32, or export the network to ONNX "
    "and type onnx:FILE."
)


@dataclass(frozen=True)
class ClipEncoder:
    """Vision transformer and projection of a CLIP model (Radford et al., 2021, https://arxiv.org/abs/2103.00020)."""

    model: Any
    processor: Any
    name: str
    fingerprint: str

    @classmethod
    def load(cls, name: str) -> ClipEncoder:
        """Read a model folder, or fetch a model of the Hugging Face hub; computed in float32 however it is stored.

        Raises:
            InputError: if neither can be had, or what is had is another kind of model, lacks weights, or does not take
                the pictures that its own processor makes.
        """
        transformers = optional_library("transformers", "clip")
        # Without torchvision the generic class would look for it; this one prepares pictures with PIL.
        prepare = optional_library("transformers.models.clip.image_processing_pil_clip", "clip")
        try:
            with _quiet(transformers):
                # Left open, code that lies beside the weights is asked about at the terminal, and then run.
                config = transformers.AutoConfig.from_pretrained(name, trust_remote_code=False)
                if config.model_type not in KINDS:
                    raise InputError(f"clip:{name} is a model of kind '{config.model_type}', not CLIP. {OTHERWISE}")
                model, loaded = transformers.CLIPVisionModelWithProjection.from_pretrained(
                    name, use_safetensors=True, dtype=torch.float32, output_loading_info=True
                )
                processor = prepare.CLIPImageProcessorPil.from_pretrained(name)
        except InputError:
            raise
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            what = "that folder" if Path(name).is_dir() else "neither a folder here, nor a model that could be fetched,"
            raise InputError(
                f"clip:{name}: {what} holds no CLIP model ({str(error).splitlines()[0]}). A model folder has "
                "config.json, model.safetensors and preprocessor_config.json."
            ) from error
        # transformers draws what a file lacks at random, and embeddings of such weights look like any others.
        lacking = sorted(loaded["missing_keys"]) + sorted(str(key) for key in loaded["mismatched_keys"])
        if lacking:
            raise InputError(f"clip:{name} lacks {len(lacking)} weights (first: {lacking[0]}). {OTHERWISE}")
        model = model.eval().requires_grad_(False)
        weights = (value.contiguous().numpy().data.cast("B") for _, value in sorted(model.state_dict().items()))
        fingerprint = f"clip:{digest(*weights, processor.to_json_string().encode())[:16]}"
        encoder = cls(model, processor, name, fingerprint)
        encoder.encode([Image.new("RGB", (64, 48), (90, 120, 150))])  # refused now, and not after an hour of reading
        return encoder

    @property
    def dim(self) -> int:
        """Width of the projection."""
        return int(self.model.config.projection_dim)

    def encode(self, pictures: Sequence[Image.Image]) -> Float32[np.ndarray, "n d"]:
        """Unit embeddings of RGB pictures."""
        if not pictures:
            return np.zeros((0, self.dim), np.float32)
        pixels = self.processor(images=list(pictures), return_tensors="pt")["pixel_values"]
        try:
            with torch.inference_mode():
                z = self.model(pixel_values=pixels).image_embeds
        except (ValueError, RuntimeError) as error:
            raise EncoderFailure(
                f"clip:{self.name} does not take pictures of {tuple(pixels.shape[2:])}, which its own "
                f"preprocessor_config.json makes: {str(error).splitlines()[0]}"
            ) from error
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
