"""Images of embeddings, found by the rows' ids and brought to one size."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8
from numpy.typing import NDArray
from PIL import Image, ImageOps

from fclf.data.celeba import IMAGES
from fclf.data.labelling import stem
from fclf.errors import InputError

__all__ = ["SUFFIXES", "find_images", "load_images", "read_picture", "square", "upright"]

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm"})


def load_images(
    folder: str | Path, ids: Sequence[str] | NDArray[np.str_], size: int
) -> tuple[UInt8[np.ndarray, "n size size 3"], Bool[np.ndarray, " n"]]:
    """Read the image of every id: the largest square in its middle, resized once (Lanczos), RGB.

    Args:
        folder: a folder of images, or one in CelebA's official layout, which has them in `img_align_celeba`.
        ids: names of the images, with or without folders before and an extension after (`labelling.stem`); of two
            files that differ in the extension alone, the one of the very name of the id is taken, else the first.
        size: side in pixels.

    Returns:
        Images, zero where there is none, and whether there is one.

    Raises:
        InputError: if there is no such folder, or images cannot be decoded, naming them.
    """
    paths = find_images(folder, ids)
    images = np.zeros((len(ids), size, size, 3), dtype=np.uint8)
    found = np.zeros(len(ids), dtype=np.bool_)
    broken = []
    for row, name in enumerate(map(str, ids)):
        path = paths.get(name)
        if path is None:
            continue
        try:
            images[row] = square(read_picture(path), size)
        except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error and more
            broken.append(f"{path.name} ({str(error).replace(str(path), path.name) or type(error).__name__})")
        else:
            found[row] = True
    if broken:
        more = f" and {len(broken) - 4:,} more" if len(broken) > 4 else ""
        raise InputError(
            f"{len(broken):,} images in {folder} cannot be read: {', '.join(broken[:4])}{more}. "
            "Copy them again, or remove them: rows without an image are skipped."
        )
    return images, found


def find_images(folder: str | Path, ids: Sequence[str] | NDArray[np.str_]) -> dict[str, Path]:
    """The image file of every id that has one, by the rule of `load_images`; the folder is listed once.

    Raises:
        InputError: if there is no such folder.
    """
    files = _files(Path(folder))
    found = {}
    for name in map(str, ids):
        candidates = files.get(stem(name), [])
        if candidates:
            own = (path for path in candidates if path.name == name.rpartition("/")[2])
            found[name] = next(own, candidates[0])
    return found


def _files(folder: Path) -> dict[str, list[Path]]:
    """Image files of the folder by what they share with an id, in the order of their names."""
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise InputError(f"Images: {folder} {what}; name a folder of images whose file names are the rows' ids.")
    folder = next((path for sub in ("", "Img") if (path := folder / sub / IMAGES).is_dir()), folder)
    files: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in SUFFIXES:
            files.setdefault(stem(path.name), []).append(path)
    return files


def read_picture(path: Path) -> Image.Image:
    """The first frame of an image file, `upright`.

    Raises:
        Exception: of any class, as decoders do, for a file that cannot be decoded or claims more pixels than
            `PIL.Image.MAX_IMAGE_PIXELS`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(path) as image:
            return upright(image)


def upright(image: Image.Image) -> Image.Image:
    """An image as its EXIF says it stands, RGB; what is transparent becomes white."""
    turned = ImageOps.exif_transpose(_eight_bits(image))
    if not turned.has_transparency_data:
        return turned.convert("RGB")
    clear = turned.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear).convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits at 8; Pillow would cut what is brighter than 255 of 65,535, which is nearly all, to white.

    Raises:
        ValueError: for other numbers, as nobody knows which of them is white.
    """
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        wide = np.asarray(image).astype(np.float64)  # PNG of 16 bits has mode I in older versions of Pillow
        grey = Image.fromarray(np.rint(wide / 257).astype(np.uint8))
        grey.info = {key: value for key, value in image.info.items() if key != "transparency"}  # of 65,535 too
        return grey
    if image.mode in ("I", "F"):
        raise ValueError("pixels are 32-bit numbers without a known white; convert it to 8 bits")
    return image


def square(picture: Image.Image, size: int) -> UInt8[np.ndarray, "size size 3"]:
    """The largest square in the middle of a picture, resized once (Lanczos)."""
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    middle = picture.crop((left, top, left + side, top + side))  # as `resize(box=...)` also reads what lies outside
    return np.asarray(middle.resize((size, size), Image.Resampling.LANCZOS))
