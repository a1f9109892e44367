"""What an encoder is, and how one is named."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float, Float32
from numpy.typing import NDArray
from PIL import Image

from fclf.encoders.preparation import read_preparation
from fclf.errors import InputError

__all__ = ["Encoder", "EncoderFailure", "NoDirection", "open_encoder", "optional_library", "unit"]

KINDS = "clip:NAME or clip:FOLDER, onnx:FILE, or portraits"


class EncoderFailure(InputError):
    """The network does not give embeddings of what it is given."""


class NoDirection(EncoderFailure):
    """Embeddings that are zero or not finite, of some pictures."""

    def __init__(self, message: str, rows: NDArray[np.intp]) -> None:
        super().__init__(message)
        self.rows = rows
        """Which of the pictures."""


class Encoder(Protocol):
    """A network from pictures to unit embeddings."""

    @property
    def dim(self) -> int:
        """Width of the embeddings."""
        ...

    @property
    def fingerprint(self) -> str:
        """The kind, and a digest of weights and preparation: equal for equal embeddings of the same pictures."""
        ...

    def encode(self, pictures: Sequence[Image.Image]) -> Float32[np.ndarray, "n d"]:
        """Unit embeddings of RGB pictures of any size."""
        ...


def open_encoder(name: str, *, preparation: dict[str, Any] | None = None, threads: int = 1) -> Encoder:
    """Load an encoder by its name.

    Args:
        name: `clip:` and a model of the Hugging Face hub or a local folder, `onnx:` and a file, or `portraits`.
        preparation: settings of `Preparation` for an ONNX network; those of the YAML file beside it
            (`NETWORK.yaml` for `NETWORK.onnx`) where they are absent.
        threads: of an ONNX network; those of torch are set for the whole process.

    Raises:
        InputError: for another name, a missing file or library, or settings that the encoder does not have.
    """
    kind, _, where = name.partition(":")
    if kind == "onnx" and where:
        from fclf.encoders.onnx import OnnxEncoder  # noqa: PLC0415  # an extra

        path = Path(where)
        return OnnxEncoder.load(path, read_preparation(path, preparation or {}), threads)
    if preparation:
        raise InputError(
            f"--encoder {name}: {', '.join(sorted(preparation))} can be set for an ONNX network only; this encoder "
            "brings its own preparation of pictures."
        )
    if kind == "clip" and where:
        from fclf.encoders.clip import ClipEncoder  # noqa: PLC0415  # an extra

        return ClipEncoder.load(where)
    if name == "portraits":
        from fclf.encoders.portraits import PortraitEncoder  # noqa: PLC0415  # torch takes a second

        return PortraitEncoder.load()
    raise InputError(f"--encoder {name}: there is no such encoder; type {KINDS}.")


def optional_library(name: str, extra: str) -> Any:
    """Import a library that only some encoders need."""
    try:
        return import_module(name)
    except ImportError as error:
        raise InputError(
            f"This needs {name}, which is not installed: pip install 'fclf[{extra}]' ({error})."
        ) from error


def unit(z: Float[np.ndarray, "n d"], name: str) -> Float32[np.ndarray, "n d"]:
    """Project what a network gave to the sphere.

    Raises:
        NoDirection: for rows without one.
    """
    norms = np.linalg.norm(z.astype(np.float64), axis=1, keepdims=True)
    lost = ~(np.isfinite(norms) & (norms > 0))
    if lost.any():
        raise NoDirection(
            f"{name} gave {int(lost.sum())} of {len(z)} embeddings that are zero or not finite, so they have no "
            "direction. Check the weights, and mean and deviation of its input.",
            np.flatnonzero(lost),
        )
    return (z / norms).astype(np.float32)
