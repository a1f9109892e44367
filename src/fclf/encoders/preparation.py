"""How a picture becomes the input of a network that does not say so itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from jaxtyping import Float32
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, model_validator

from fclf.errors import InputError, shortened
from fclf.parsing import parse_yaml

__all__ = ["Preparation", "read_preparation"]

Share = Annotated[float, Field(ge=0, le=1)]
Triple = tuple[float, float, float]


class Preparation(BaseModel):
    """Crop, size, order and scale of a network's input; the defaults are those of ImageNet's networks."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    size: tuple[PositiveInt, PositiveInt] | None = None
    """Height and width; taken from the network where it is absent."""
    crop: tuple[Share, Share, Share, Share] | None = None
    """Left, top, right and bottom of what is kept, as shares of width and height."""
    fit: Literal["stretch", "cover"] = "stretch"
    """Of what is left: all of it stretched to the size, or the largest middle part of the right shape."""
    mean: Triple = (0.485, 0.456, 0.406)
    std: Triple = (0.229, 0.224, 0.225)
    """Of red, green and blue in [0, 1], subtracted and divided by."""
    layout: Literal["NCHW", "NHWC"] | None = None
    """Channels before or after height and width; taken from the network where it is absent."""
    channels: Literal["RGB", "BGR"] = "RGB"

    @model_validator(mode="after")
    def _something_is_left(self) -> Self:
        if self.crop is not None and not (self.crop[0] < self.crop[2] and self.crop[1] < self.crop[3]):
            raise ValueError(f"crop: left, top, right, bottom {self.crop} leave nothing of the picture.")
        if min(self.std) <= 0:
            raise ValueError(f"std: deviations must be positive, but {self.std} came.")
        return self

    def __call__(self, picture: Image.Image, size: tuple[int, int]) -> Float32[np.ndarray, "h w 3"]:
        """Input of one picture, channels last."""
        box = (0.0, 0.0, float(picture.width), float(picture.height))
        if self.crop is not None:
            left, top, right, bottom = self.crop
            box = (left * picture.width, top * picture.height, right * picture.width, bottom * picture.height)
        if self.fit == "cover":
            box = _middle(box, size[1] / size[0])
        box = (box[0], box[1], max(box[2], box[0] + 1e-3), max(box[3], box[1] + 1e-3))
        small = picture.resize((size[1], size[0]), Image.Resampling.BILINEAR, box=box)
        mean, std = (np.array(values, np.float32) for values in (self.mean, self.std))
        x: Float32[np.ndarray, "h w 3"] = (np.asarray(small, dtype=np.float32) / 255 - mean) / std
        return x if self.channels == "RGB" else x[:, :, ::-1]


def _middle(box: tuple[float, float, float, float], shape: float) -> tuple[float, float, float, float]:
    """The largest middle part of a box whose width is so many times its height."""
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    less_width, less_height = max(width - height * shape, 0) / 2, max(height - width / shape, 0) / 2
    return left + less_width, top + less_height, right - less_width, bottom - less_height


def read_preparation(network: Path, settings: dict[str, Any]) -> Preparation:
    """Settings of a network: those of `NETWORK.yaml` beside `NETWORK.onnx`, then those that are given.

    Raises:
        InputError: for settings that do not exist or do not fit, all of them at once.
    """
    beside = network.with_suffix(".yaml")
    found: dict[str, Any] = {}
    if beside.is_file():
        try:
            found = parse_yaml(beside.read_text(encoding="utf-8")) or {}
        except (OSError, ValueError) as error:
            raise InputError(f"{beside} cannot be read as YAML: {error}") from error
        if not isinstance(found, dict):
            raise InputError(
                f"{beside} must hold settings such as `size: [112, 112]`, but it holds {shortened(repr(found))}."
            )
    try:
        return Preparation.model_validate({**found, **settings})
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'settings'}: {e['msg']}" for e in error.errors())
        source = f"{beside} and the options" if found else "the options"
        known = ", ".join(Preparation.model_fields)
        raise InputError(f"Preparation of pictures ({source}): {problems}. There are {known}.") from error
