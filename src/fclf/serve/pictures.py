"""Pictures in and out: uploads that are checked before a pixel is decoded, and pictures as text for a JSON answer."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from fclf.data.images import find_images, read_picture, square, upright
from fclf.errors import InputError

__all__ = ["FORMATS", "Gallery", "PictureError", "as_data_url", "decode_upload"]

FORMATS = {"image/jpeg": "JPEG", "image/png": "PNG", "image/webp": "WEBP"}
"""Content types that are taken, and Pillow's names of them; no other decoder is ever asked."""
THUMBNAIL = 96
"""Side of a neighbour's picture in pixels."""
KEPT = 2048
"""Thumbnails that are kept, of about 4 kB each."""


class PictureError(ValueError):
    """An upload that is no picture that can be used: says what came and what to send."""


def decode_upload(content: bytes, kind: str, pixels: int) -> Image.Image:
    """The picture, upright and in RGB; its size is read from the header and refused before anything is decoded.

    Raises:
        PictureError: for another format than was said, too many pixels, or a damaged file.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=[FORMATS[kind]]) as image:
                if image.width * image.height > pixels:
                    raise PictureError(
                        f"The picture has {image.width:,} x {image.height:,} pixels, and {pixels:,} are the most that "
                        "are taken. Make it smaller and upload it again."
                    )
                return upright(image)
    except PictureError:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise PictureError(f"The picture has far too many pixels; {pixels:,} are the most that are taken.") from error
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error and more
        raise PictureError(
            f"This is not a {FORMATS[kind]} picture that can be read: it is damaged, or something else by that name."
        ) from error


def as_data_url(picture: UInt8[np.ndarray, "h w 3"], kind: str = "PNG") -> str:
    """The picture as text that an `img` shows."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, kind, **({"compress_level": 1} if kind == "PNG" else {"quality": 85}))
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


class Gallery:
    """Thumbnails of rows by id. What is read was found when the server started: no request names a file."""

    def __init__(self, folder: Path, ids: Sequence[str]) -> None:
        self._paths = find_images(folder, ids)
        if not self._paths:
            raise InputError(
                f"--images {folder}: there is no image for any of {len(ids):,} rows, such as {ids[0]}. Name the folder "
                "that holds images whose names are the rows' ids."
            )
        self._thumbnail = lru_cache(maxsize=KEPT)(self._read)

    def __len__(self) -> int:
        return len(self._paths)

    def picture(self, name: str) -> str | None:
        """The thumbnail of a row, or None where it has no image that can be read."""
        return self._thumbnail(name) if name in self._paths else None

    def _read(self, name: str) -> str | None:
        try:
            return as_data_url(square(read_picture(self._paths[name]), THUMBNAIL), "JPEG")
        except Exception:  # a file that was damaged or removed is no reason not to answer
            return None
