"""Bad pictures, in a folder that is embedded, beside a sound one."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator
from PIL import Image

from fclf.data.embeddings import EmbeddingSet
from fclf.data.images import load_images

from .contract import Attempt, command
from .material import Material
from .mutations import mutated

__all__ = ["KINDS"]

FORMATS = (("png", "PNG"), ("jpg", "JPEG"), ("gif", "GIF"), ("bmp", "BMP"), ("webp", "WEBP"), ("tiff", "TIFF"))
MODES = ("RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "I;16", "F", "YCbCr", "HSV", "LAB", "I")
SHAPES = ((1, 1), (1, 64), (64, 1), (3000, 2), (17, 23), (64, 64), (2, 3000))


def sound(rng: Generator, mode: str, size: tuple[int, int]) -> Image.Image:
    """A picture of noise."""
    pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    return Image.fromarray(pixels[..., 0].astype(np.uint16)) if mode == "I;16" else picture.convert(mode)


def huge(rng: Generator) -> bytes:
    """A PNG of some bytes that claims 50,000 x 50,000 pixels, or a size that is none."""
    width, height = [(50_000, 50_000), (2**31 - 1, 1), (0, 5), (13_000, 13_000), (1, 2**31 - 1)][int(rng.integers(5))]

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


def texts_that_unpack() -> bytes:
    """A PNG whose description takes a hundred megabytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 4, 4, 8, 2, 0, 0, 0)
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(100 << 20)))
    rows = chunk(b"IDAT", zlib.compress(bytes(4 * 13)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + text + rows + chunk(b"IEND", b"")


def content(rng: Generator) -> bytes:
    """A picture that is cut, changed, animated, turned, of an odd mode or shape, or no picture."""
    how = rng.random()
    if how < 0.06:
        return huge(rng)
    if how < 0.08:
        return texts_that_unpack()
    if how < 0.12:
        return [b"", b"GIF89a", b"<svg/>", b"%PDF-1.4", b"\0" * 5000, b"BM", b"II*\0", b"RIFF\0\0\0\0WEBP"][
            int(rng.integers(8))
        ]
    picture = sound(rng, MODES[int(rng.integers(len(MODES)))], SHAPES[int(rng.integers(len(SHAPES)))])
    kind = FORMATS[int(rng.integers(len(FORMATS)))][1]
    options: dict[str, Any] = {}
    if kind in ("GIF", "WEBP", "TIFF", "PNG") and rng.random() < 0.3:
        options = {"save_all": True, "append_images": [picture] * 3}
    if kind in ("JPEG", "PNG", "WEBP") and rng.random() < 0.3:
        exif = Image.Exif()
        exif[0x0112] = int(rng.choice([0, 1, 3, 6, 8, 9, 255]))
        options["exif"] = exif
    buffer = io.BytesIO()
    try:
        picture.save(buffer, kind, **options)
    except (OSError, ValueError, KeyError, SystemError):  # no file of the kind holds such a picture
        buffer = io.BytesIO()
        picture.convert("RGB").save(buffer, kind)
    return buffer.getvalue() if rng.random() < 0.4 else mutated(buffer.getvalue(), rng)


def embedded(material: Material, folder: Path, rng: Generator, sign: Path) -> Attempt:
    images = folder / "images"
    images.mkdir()
    sound(np.random.default_rng(0), "RGB", (64, 64)).save(images / "sound.png")
    for number in range(4):
        (images / f"bad{number}.{FORMATS[int(rng.integers(len(FORMATS)))][0]}").write_bytes(content(rng))
    output = folder / "out" / "embedded.npz"
    output.parent.mkdir()
    arguments = ["embed", "--images", str(images), "--encoder", "portraits", "--output", str(output)]

    def written(path: Path) -> None:
        found = EmbeddingSet.load(path)
        assert "sound.png" in found.ids.tolist()  # whatever lies beside it
        load_images(images, found.ids.tolist(), 16)

    return command(arguments, output, written)


KINDS = {"pictures": embedded}
"""By name: what makes bad files in a folder, and how they are tried."""
