"""What a decoder is worth on rows that training did not read, and a sheet of its images."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from PIL import Image, ImageDraw
from torch import Tensor

from fclf.decoder.loss import gradient_energy, gradient_error
from fclf.decoder.state import Decoder
from fclf.decoder.training import Pairs

__all__ = ["HeldOut", "ImageError", "nearest_rows", "sample_sheet"]

LABELS = ("real", "decoded", "nearest")
MARGIN = 60
ERRORS_APART = 2.0
"""Standard errors by which a decoder must be better to count as better."""


@dataclass(frozen=True)
class ImageError:
    """How far images are from the real ones, colours in [0, 1]."""

    mae: float
    """Mean absolute difference."""
    psnr: float
    """$-10 \\log_{10}$ of the mean squared difference over all images, in dB."""
    gradient_error: float
    """Mean absolute difference of finite differences over four scales (`gradient_error`)."""
    sharpness: float
    """Gradient energy as a share of the real images': fog has little. Noise has much, so look at the sheet too."""


@dataclass(frozen=True)
class HeldOut:
    """Errors of a decoder on held-out rows beside what needs no decoder."""

    decoded: ImageError
    others: ImageError
    """Images decoded from another row's embedding: no better than `decoded` where nothing was learned."""
    mean_image: ImageError
    """The mean of the train images: of all constants the one with the least squared error, so that only what an
    embedding says can do better."""
    nearest: ImageError
    """The image of the nearest train embedding (cosine after centring on the train mean)."""
    beats_mean: bool
    """Whether squared errors are below the mean image's by two standard errors, rows taken as independent."""
    beats_nearest: bool
    """The same against the nearest."""
    rows: int

    @classmethod
    def measure(cls, decoder: Decoder, train: Pairs, test: Pairs) -> HeldOut:
        """Decode the test rows and compare."""
        drawn = decoder.decode(test.z)
        other = np.roll(drawn, -(len(drawn) // 2), axis=0)  # rows far apart are seldom of the same person
        mean = np.broadcast_to(train.images.mean(axis=0).round().astype(np.uint8), test.images.shape)
        near = train.images[nearest_rows(train, test)]
        squares = {name: _squares(images, test.images) for name, images in zip("dmn", (drawn, mean, near), strict=True)}
        return cls(
            decoded=_error(drawn, test.images),
            others=_error(other, test.images),
            mean_image=_error(mean, test.images),
            nearest=_error(near, test.images),
            beats_mean=_clearly_below(squares["d"], squares["m"]),
            beats_nearest=_clearly_below(squares["d"], squares["n"]),
            rows=len(test),
        )

    def summary(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def nearest_rows(train: Pairs, test: Pairs) -> Int64[np.ndarray, " n"]:
    """Train row of the largest cosine after centring on the train mean, for each test row."""
    mean = train.z.mean(axis=0, dtype=np.float64).astype(np.float32)
    directions = train.z - mean
    directions /= np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-12)
    return ((test.z - mean) @ directions.T).argmax(axis=1)


def sample_sheet(decoder: Decoder, train: Pairs, test: Pairs, columns: int = 12) -> Image.Image:
    """Evenly chosen test rows as columns: the real image, the decoded one, and that of the nearest train row."""
    rows = np.unique(np.linspace(0, len(test) - 1, min(columns, len(test))).round().astype(np.int64))
    chosen = Pairs(test.z[rows], test.images[rows])
    strips = (chosen.images, decoder.decode(chosen.z), train.images[nearest_rows(train, chosen)])
    size = decoder.size
    sheet = Image.new("RGB", (MARGIN + len(rows) * size, len(strips) * size), "white")
    pen = ImageDraw.Draw(sheet)
    for number, (label, strip) in enumerate(zip(LABELS, strips, strict=True)):
        pen.text((4, number * size + size // 2 - 6), label, fill="black")
        sheet.paste(Image.fromarray(np.concatenate(list(strip), axis=1)), (MARGIN, number * size))
    return sheet


def _error(images: UInt8[np.ndarray, "n s s 3"], real: UInt8[np.ndarray, "n s s 3"]) -> ImageError:
    sums = np.zeros(5)
    for first in range(0, len(real), 256):  # a batch at a time, as float images are large
        x, y = (_tensor(part[first : first + 256]) for part in (images, real))
        values = [(x - y).abs().mean(), (x - y).double().square().mean(), gradient_error(x, y)]
        sums += len(y) * np.array([*map(float, values), gradient_energy(x), gradient_energy(y)])
    mae, square, gradients, energy, real_energy = sums / len(real)
    return ImageError(
        mae=float(mae),
        psnr=float(-10 * np.log10(max(square, 1e-12))),
        gradient_error=float(gradients),
        sharpness=float(energy / max(real_energy, 1e-12)),
    )


def _tensor(images: UInt8[np.ndarray, "n s s 3"]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).float() / 255


def _squares(images: UInt8[np.ndarray, "n s s 3"], real: UInt8[np.ndarray, "n s s 3"]) -> np.ndarray:
    """Mean squared difference of every image."""
    pairs = zip(images, real, strict=True)
    return np.array([np.square(x.astype(np.float32) - y.astype(np.float32)).mean() for x, y in pairs]) / 255**2


def _clearly_below(ours: np.ndarray, theirs: np.ndarray) -> bool:
    gain = theirs - ours
    if len(gain) < 2:
        return False
    return bool(gain.mean() > ERRORS_APART * gain.std(ddof=1) / np.sqrt(len(gain)))
