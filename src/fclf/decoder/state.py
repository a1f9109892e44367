"""Decoders as files: one safetensors file, whose header says how large the network is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from fclf.decoder.network import ImageDecoder
from fclf.errors import InputError
from fclf.files import atomic_write, existing_file
from fclf.parsing import parse_json

__all__ = ["NAME", "Decoder", "read_part"]

NAME = "decoder.safetensors"
"""Of the file in the folder of a run."""
PREFIX = "decoder."
"""Of the decoder's tensors; others in the same file, such as those of an encoder, are left alone."""
HEADER = "fclf"
"""Key of the header's metadata; a single one, as the order of several is not the same twice."""
SIZES = ("dim", "size", "width")
BATCH = 64
RECIPE = "fclf decoder train --embeddings FILE --images DIR --output-dir DIR"


@dataclass(frozen=True, eq=False)
class Decoder:
    """A trained network from embeddings to images, and what its file says of it."""

    network: ImageDecoder
    about: Mapping[str, Any] = field(default_factory=dict)
    """What else the header holds, such as the fingerprint of the data: plain JSON."""

    @property
    def dim(self) -> int:
        """Width d of the embeddings."""
        return self.network.dim

    @property
    def size(self) -> int:
        """Side of the images in pixels."""
        return self.network.size

    def decode(self, z: Float[np.ndarray, "n d"] | Float[Tensor, "n d"]) -> UInt8[np.ndarray, "n s s 3"]:
        """Images of embeddings, RGB; the same input gives the same images.

        Raises:
            InputError: for embeddings of another width, or with values that are not finite.
        """
        z = torch.as_tensor(z, dtype=torch.float32, device="cpu")
        if z.ndim != 2 or z.shape[1] != self.dim:
            came = f"width {z.shape[1]}" if z.ndim == 2 else f"shape {tuple(z.shape)}"
            raise InputError(
                f"The decoder draws embeddings of width {self.dim}, but these have {came}. Use embeddings of the "
                f"encoder it was trained with, or train one for these: {RECIPE}"
            )
        off = ~torch.isfinite(z).all(dim=1)
        if off.any():
            raise InputError(f"Row {int(off.nonzero()[0])} of the embeddings to draw is not finite.")
        pictures = np.empty((len(z), self.size, self.size, 3), dtype=np.uint8)
        self.network.eval()
        with torch.inference_mode():
            for first in range(0, len(z), BATCH):
                drawn = self.network(z[first : first + BATCH]).mul(255).round().to(torch.uint8)
                pictures[first : first + BATCH] = drawn.permute(0, 2, 3, 1).numpy()
        return pictures

    def save(self, path: str | Path, *, half: bool = False, others: Mapping[str, Tensor] | None = None) -> None:
        """Write the file; it is whole or absent, and the same bytes for the same decoder.

        Args:
            path: the file.
            half: store float16, half as large, which `load` reads as float32.
            others: more tensors for the same file, in the type they shall have there, as those of an encoder.
        """
        dtype = torch.float16 if half else torch.float32
        tensors = {f"{PREFIX}{name}": value.to(dtype) for name, value in self.network.state_dict().items()}
        clash = sorted(name for name in others or {} if name.startswith(PREFIX))
        if clash:
            raise ValueError(f"`others` may hold no {PREFIX}*, but {', '.join(clash)} came; those are the decoder's.")
        tensors |= others or {}
        header = {**self.about, "decoder": {name: getattr(self.network, name) for name in SIZES}}
        plain = {name: tensors[name].detach().cpu().contiguous() for name in sorted(tensors)}
        content = to_bytes(plain, {HEADER: json.dumps(header, allow_nan=False)})
        with atomic_write(Path(path)) as file:
            file.write(content)

    @classmethod
    def load(cls, path: str | Path) -> Decoder:
        """Read the file, or the one in the folder of a run; nothing in it is executed.

        Raises:
            InputError: if there is none, or it is damaged or not a decoder.
        """
        path = Path(path)
        path = existing_file(path / NAME if (path / NAME).is_file() else path, "Decoder")
        try:
            metadata, tensors = read_part(path, PREFIX)
        except (SafetensorError, OSError) as error:
            raise InputError(
                f"Decoder: {path} cannot be read as safetensors ({error}). It is damaged or something else; train one: "
                f"{RECIPE}"
            ) from error
        about, sizes = _header(metadata, path)
        try:
            with torch.device("meta"):  # no memory is taken for sizes that the file does not bear out
                expected = {name: value.shape for name, value in ImageDecoder(**sizes).state_dict().items()}
        except (ValueError, RuntimeError, OverflowError, TypeError) as error:
            raise InputError(f"Decoder: {path} names sizes that no decoder has: {error}") from error
        _check_tensors(tensors, expected, path)
        with torch.random.fork_rng(devices=[]):  # weights that are replaced shall not move the caller's random state
            network = ImageDecoder(**sizes)
        network.load_state_dict({name: value.float() for name, value in tensors.items()})
        return cls(network.eval().requires_grad_(False), about)


def read_part(path: Path, prefix: str) -> tuple[dict[str, str], dict[str, Tensor]]:
    """The metadata of a safetensors file, and its tensors of one network, named without their prefix."""
    with safe_open(path, framework="pt") as file:
        names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118  (no mapping)
        return file.metadata() or {}, {name.removeprefix(prefix): file.get_tensor(name) for name in names}


def _header(metadata: Mapping[str, str], path: Path) -> tuple[dict[str, Any], dict[str, int]]:
    try:
        about = parse_json(metadata[HEADER])
        sizes = about.pop("decoder")
        sizes = {name: sizes[name] for name in SIZES}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"Decoder: {path} is a safetensors file, but its header does not name a decoder of fclf. "
            f"Train one: {RECIPE}"
        ) from error
    wrong = [f"{name} {value!r}" for name, value in sizes.items() if type(value) is not int or value < 1]
    if wrong:
        raise InputError(f"Decoder: {path} names sizes that are no positive integers: {', '.join(wrong)}.")
    return about, sizes


def _check_tensors(tensors: Mapping[str, Tensor], expected: Mapping[str, torch.Size], path: Path) -> None:
    """Name everything that keeps these tensors from being the network's, at once."""
    problems = [f"{name} is missing" for name in sorted(expected.keys() - tensors.keys())]
    problems += [f"{name} is unknown" for name in sorted(tensors.keys() - expected.keys())]
    for name in sorted(expected.keys() & tensors.keys()):
        value, shape = tensors[name], expected[name]
        if value.shape != shape:
            problems.append(f"{name} has shape {tuple(value.shape)} instead of {tuple(shape)}")
        elif not value.is_floating_point():
            problems.append(f"{name} is {value.dtype}, not floating point")
        elif not torch.isfinite(value).all():
            problems.append(f"{name} holds values that are not finite")
    if problems:
        more = f" and {len(problems) - 4} more" if len(problems) > 4 else ""
        raise InputError(f"Decoder: {path} does not hold what its header says: {'; '.join(problems[:4])}{more}.")
