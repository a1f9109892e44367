"""Classifiers over embeddings that are audited: linear weights or an ONNX network; nothing in a file is executed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from fclf.encoders.encoder import optional_library
from fclf.errors import InputError
from fclf.files import existing_file, read_npz
from fclf.parsing import parse_json

__all__ = ["READABLE", "Scorer"]

READABLE = (".onnx", ".npz", ".safetensors", ".json")
LINE = "numpy.savez(path, weights=w, bias=b) with weights (d,) and one bias writes such a file."
BATCH = 4096


@dataclass(frozen=True)
class Scorer:
    """Gives every embedding a score; it decides yes above a threshold."""

    score: Callable[[Float64[np.ndarray, "n d"]], Float64[np.ndarray, " n"]]
    threshold: float
    kind: str

    @classmethod
    def load(cls, path: Path, dim: int, threshold: float | None = None) -> Scorer:
        r"""Read a scorer.

        Linear: `weights` (d,) and `bias` of an `.npz`, `.safetensors` or `.json` file; the score is
        $\langle w, z\rangle + b$, the threshold 0. ONNX: one input (n, d), and an output (n,) or (n, 1), with the
        threshold 0, or .5 where all scores of the first call are between 0 and 1; or (n, 2), of which the second less
        the first is the score and the threshold 0.

        Args:
            path: the file.
            dim: width of the embeddings.
            threshold: instead of these.

        Raises:
            InputError: for any other file, and weights of another width.
        """
        if threshold is not None and not np.isfinite(threshold):
            raise InputError(f"--threshold {threshold}: the threshold must be a finite number.")
        suffix = existing_file(path, "Scorer").suffix.lower()
        if suffix == ".onnx":
            return _onnx(path, dim, threshold)
        if suffix not in READABLE:
            raise InputError(f"--scorer {path}: scorers are read from {', '.join(READABLE)} files. {LINE}")
        weights, bias = _linear(_arrays(path, suffix), path, dim)

        def score(z: Float64[np.ndarray, "n d"]) -> Float64[np.ndarray, " n"]:
            return z @ weights + bias

        return cls(score, 0.0 if threshold is None else threshold, "linear")

    def decide(self, scores: Float64[np.ndarray, " n"]) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Whether each score is a yes."""
        return scores > self.threshold


def _arrays(path: Path, suffix: str) -> dict[str, Any]:
    if suffix == ".npz":
        return dict(read_npz(path, "Scorer"))
    try:
        if suffix == ".safetensors":
            from safetensors.numpy import load  # noqa: PLC0415

            return dict(load(path.read_bytes()))
        content = parse_json(path.read_text(encoding="utf-8"))
    except OSError:
        raise
    except Exception as error:  # a damaged file can raise nearly anything
        raise InputError(
            f"--scorer {path} cannot be read as {suffix} ({type(error).__name__}: {error}). {LINE}"
        ) from error
    if not isinstance(content, dict):
        raise InputError(f'--scorer {path}: an object {{"weights": [...], "bias": 0.0}} was expected.')
    return content


def _linear(arrays: dict[str, Any], path: Path, dim: int) -> tuple[Float64[np.ndarray, " d"], float]:
    if "weights" not in arrays:
        raise InputError(f"--scorer {path} has no `weights`; it holds {', '.join(sorted(arrays)) or 'nothing'}. {LINE}")
    try:
        weights = np.asarray(arrays["weights"], dtype=np.float64)
        bias = np.asarray(arrays.get("bias", 0.0), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"--scorer {path}: `weights` and `bias` must be numbers. {LINE}") from error
    if weights.shape == (1, dim) or weights.shape == (dim, 1):
        weights = weights.reshape(dim)
    if weights.shape != (dim,) or bias.size != 1:
        raise InputError(
            f"--scorer {path}: `weights` {weights.shape} and `bias` {bias.shape} came; for these embeddings ({dim},) "
            "and one number are needed. It was made for other embeddings, or for several classes."
        )
    if not (np.isfinite(weights).all() and np.isfinite(bias).all()):
        raise InputError(f"--scorer {path}: `weights` and `bias` must be finite.")
    return weights, float(bias.reshape(-1)[0])


def _onnx(path: Path, dim: int, threshold: float | None) -> Scorer:
    onnxruntime = optional_library("onnxruntime", "onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common class
        raise InputError(f"--scorer {path} cannot be read as ONNX ({str(error).splitlines()[0]}).") from error
    inputs, outputs = session.get_inputs(), session.get_outputs()
    numbers = [output for output in outputs if output.type in ("tensor(float)", "tensor(double)", "tensor(float16)")]
    if len(inputs) != 1 or not numbers:
        raise InputError(
            f"--scorer {path}: one input and an output of real numbers were expected; it has {len(inputs)} inputs "
            f"and the outputs {', '.join(f'{o.name} {o.type}' for o in outputs)}. Of scikit-learn, "
            "export with zipmap=False."
        )
    types = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16}
    if inputs[0].type not in types:
        raise InputError(f"--scorer {path}: its input is {inputs[0].type}; embeddings are tensors of real numbers.")
    kind = types[inputs[0].type]
    shape = inputs[0].shape
    if len(shape) != 2 or (isinstance(shape[1], int) and shape[1] != dim):
        raise InputError(f"--scorer {path}: its input is {shape}, but these embeddings are (n, {dim}).")
    step = shape[0] if isinstance(shape[0], int) else BATCH
    two = False

    def run(z: Float64[np.ndarray, "n d"]) -> Float64[np.ndarray, " n"]:
        nonlocal two
        parts = []
        for first in range(0, len(z), step):
            part = z[first : first + step].astype(kind)
            filled = len(part)
            if isinstance(shape[0], int) and filled < step:
                part = np.concatenate([part, np.repeat(part[-1:], step - filled, axis=0)])
            try:
                found = session.run([numbers[0].name], {inputs[0].name: part})[0]
            except Exception as error:
                raise InputError(f"--scorer {path} failed on embeddings ({str(error).splitlines()[0]}).") from error
            parts.append(np.asarray(found, dtype=np.float64)[:filled])
        scores = np.concatenate(parts)
        two = scores.ndim == 2 and scores.shape[1] == 2
        if two:
            scores = scores[:, 1] - scores[:, 0]
        if scores.shape not in ((len(z),), (len(z), 1)) or not np.isfinite(scores).all():
            raise InputError(
                f"--scorer {path} gives {scores.shape} for {len(z)} rows; finite scores (n,), (n, 1) or "
                "(n, 2) are needed."
            )
        return scores.reshape(-1)

    # What it gives for unit vectors tells its form, and probabilities from logits.
    trial = np.random.default_rng(0).normal(size=(64, dim))
    scores = run(trial / np.linalg.norm(trial, axis=1, keepdims=True))
    usual = 0.5 if not two and scores.min() >= 0 and scores.max() <= 1 else 0.0
    return Scorer(run, usual if threshold is None else threshold, "onnx")
