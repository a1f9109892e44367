"""Any ONNX network from a picture to an embedding, run by onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray
from PIL import Image

from fclf.encoders.encoder import EncoderFailure, optional_library, unit
from fclf.encoders.preparation import Preparation
from fclf.errors import InputError
from fclf.files import digest, existing_file

__all__ = ["OnnxEncoder"]


@dataclass(frozen=True)
class OnnxEncoder:
    """A network with one input of pictures, whose first output is one vector a picture."""

    session: Any
    path: Path
    preparation: Preparation
    size: tuple[int, int]
    """Height and width of its input."""
    channels_first: bool
    batch: int | None
    """Pictures that it takes at once; None for any number."""
    dim: int
    fingerprint: str

    @classmethod
    def load(cls, path: Path, preparation: Preparation, threads: int = 1) -> OnnxEncoder:
        """Read a network; what is not set of its input is taken from its shape.

        Raises:
            InputError: if it is no ONNX network, its input is no picture, or its output no vector.
        """
        runtime = optional_library("onnxruntime", "onnx")
        content = existing_file(path, "ONNX network").read_bytes()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        try:
            # By path and not by content: weights in files of their own are looked for beside the network.
            session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors share no class but this
            raise InputError(f"{path} is no ONNX network that can be run: {str(error).splitlines()[0]}") from error
        inputs = session.get_inputs()
        shape = inputs[0].shape
        if len(inputs) != 1 or len(shape) != 4 or inputs[0].type != "tensor(float)":
            listed = ", ".join(f"{i.name} {i.type} {i.shape}" for i in inputs)
            raise InputError(
                f"{path} takes {listed}; a network from pictures takes one float tensor of four dimensions, "
                "(n, 3, h, w) or (n, h, w, 3)."
            )
        first = _channels_first(path, shape, preparation)
        size = _size(path, shape[2:] if first else shape[1:3], preparation)
        batch = shape[0] if isinstance(shape[0], int) and shape[0] > 0 else None
        others = [part.read_bytes() for part in _weight_files(path)]
        key = f"{preparation.model_dump_json(exclude={'size', 'layout'})} {size} {first}"
        fingerprint = f"onnx:{digest(content, *others, key.encode())[:16]}"
        encoder = cls(session, path, preparation, size, first, batch, 0, fingerprint)
        probe = encoder._run([Image.new("RGB", size, colour) for colour in ((90, 120, 150), (200, 60, 30))])
        return cls(session, path, preparation, size, first, batch, probe.shape[1], fingerprint)

    def encode(self, pictures: Sequence[Image.Image]) -> Float32[np.ndarray, "n d"]:
        """Unit embeddings of RGB pictures."""
        if not pictures:
            return np.zeros((0, self.dim), np.float32)
        return unit(self._run(pictures), str(self.path))

    def _run(self, pictures: Sequence[Image.Image]) -> Float32[np.ndarray, "n d"]:
        x = np.stack([self.preparation(picture, self.size) for picture in pictures])
        x = np.ascontiguousarray(x.transpose(0, 3, 1, 2) if self.channels_first else x)
        at_once = self.batch or len(x)
        missing = -len(x) % at_once
        x = np.concatenate([x, np.zeros((missing, *x.shape[1:]), x.dtype)]) if missing else x
        name = self.session.get_inputs()[0].name
        parts = []
        for begin in range(0, len(x), at_once):
            try:
                found = self.session.run(None, {name: x[begin : begin + at_once]})[0]
            except Exception as error:  # as above
                text = str(error).splitlines()[0]
                raise EncoderFailure(f"{self.path} cannot be run on pictures of {self.size}: {text}") from error
            parts.append(self._vectors(np.asarray(found, dtype=np.float32), at_once))
        return np.concatenate(parts)[: len(pictures)]

    def _vectors(self, found: NDArray[np.float32], count: int) -> Float32[np.ndarray, "n d"]:
        """The output as one vector a picture; axes of length 1 after it, as pooling leaves them, are dropped."""
        flat = found.reshape(found.shape[:2]) if found.ndim > 2 and found.size == np.prod(found.shape[:2]) else found
        if flat.ndim != 2 or len(flat) != count or flat.shape[1] < 2:
            outputs = ", ".join(f"{output.name} {output.shape}" for output in self.session.get_outputs())
            raise EncoderFailure(
                f"{self.path} gave shape {found.shape} for {count} pictures; of its first output one vector a picture, "
                f"({count}, d), was expected. It has {outputs}. Export the network with the embedding first."
            )
        return flat


def _weight_files(path: Path) -> list[Path]:
    """Files beside a network that hold its weights, which large networks have; sorted."""
    onnx = optional_library("onnx", "onnx")
    names: set[str] = set()

    def look(graph: Any) -> None:
        tensors = list(graph.initializer)
        for node in graph.node:
            for attribute in node.attribute:
                tensors += [attribute.t, *attribute.tensors]
                for inner in (attribute.g, *attribute.graphs):
                    look(inner)
        for tensor in tensors:
            names.update(entry.value for entry in tensor.external_data if entry.key == "location")

    look(onnx.load(path, load_external_data=False).graph)
    return [existing_file(path.parent / name, "Weights of the ONNX network") for name in sorted(names)]


def _channels_first(path: Path, shape: Sequence[Any], preparation: Preparation) -> bool:
    if preparation.layout is not None:
        return preparation.layout == "NCHW"
    if (shape[1] == 3) == (shape[3] == 3):
        raise InputError(
            f"{path} takes {list(shape)}, which does not say where the channels are: type --layout NCHW or NHWC."
        )
    return bool(shape[1] == 3)


def _size(path: Path, own: Sequence[Any], preparation: Preparation) -> tuple[int, int]:
    fixed = [side if isinstance(side, int) and side > 0 else None for side in own]
    if preparation.size is None:
        if None in fixed:
            raise InputError(f"{path} takes pictures of any size; say which it was trained on: --size HEIGHT,WIDTH.")
        return int(own[0]), int(own[1])
    if any(mine is not None and mine != given for mine, given in zip(fixed, preparation.size, strict=True)):
        raise InputError(f"{path} takes pictures of {own[0]} x {own[1]}, but --size {preparation.size} came.")
    return preparation.size
