"""Embedding a folder of pictures, a shard at a time, so that a killed run continues where it was."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray
from PIL import Image

from fclf.data.images import SUFFIXES, read_picture
from fclf.encoders.encoder import Encoder
from fclf.errors import InputError
from fclf.files import digest, read_npz, write_json, write_npz

__all__ = ["Embedded", "Unreadable", "embed_folder", "work_folder"]

SHARD = 2048
"""Pictures of a shard: what a killed run does again."""
MANIFEST = "manifest.json"

OnPictures = Callable[[int], None]


@dataclass(frozen=True)
class Unreadable:
    """A file that is no picture."""

    name: str
    reason: str


@dataclass(frozen=True)
class Embedded:
    """Embeddings of a folder's pictures, in the order of their names."""

    embeddings: Float32[np.ndarray, "n d"]
    ids: NDArray[np.str_]
    """Paths below the folder."""
    unreadable: tuple[Unreadable, ...]
    encoder: str
    """Its fingerprint."""


def work_folder(output: Path) -> Path:
    """Where the shards of an unfinished run lie."""
    return output.with_name(f"{output.name}.parts")


def embed_folder(
    images: Path,
    encoder: Encoder,
    work: Path,
    *,
    batch_size: int = 64,
    resume: bool = False,
    on_pictures: OnPictures | None = None,
) -> Embedded:
    """Embed every picture below a folder.

    A picture is embedded with the same others whether the run was interrupted or not, so the bits are the same.
    The caller removes `work` once the result is safe (`finish`).

    Args:
        images: the folder; folders below it count too.
        encoder: the network.
        work: folder of shards and a manifest, made here.
        batch_size: pictures that are encoded at once.
        resume: go on from the shards that are there.
        on_pictures: told how many pictures are done.

    Raises:
        InputError: if there are no pictures, none can be read, or the shards are of another encoder or other files.
    """
    files = _pictures(images)
    names = [str(path.relative_to(images)) for path in files]
    listing = "\n".join(f"{name} {path.stat().st_size}" for name, path in zip(names, files, strict=True))
    manifest = {"encoder": encoder.fingerprint, "files": digest(listing.encode()), "batch_size": batch_size}
    _begin(work, manifest, resume)
    parts: list[Float32[np.ndarray, "m d"]] = []
    kept: list[str] = []
    unreadable: list[Unreadable] = []
    for number, first in enumerate(range(0, len(files), SHARD)):
        shard = work / f"{number:06d}.npz"
        if not shard.is_file():
            _embed_shard(files[first : first + SHARD], encoder, shard, batch_size)
        found = read_npz(shard, "Shard")
        bad = dict(json.loads(str(found["unreadable"])))
        parts.append(found["embeddings"])
        for place, name in enumerate(names[first : first + SHARD]):
            if str(place) in bad:
                unreadable.append(Unreadable(name, bad[str(place)]))
            else:
                kept.append(name)
        if on_pictures is not None:
            on_pictures(min(first + SHARD, len(files)))
    if not kept:
        shutil.rmtree(work)
        worst = unreadable[0]
        raise InputError(
            f"None of the {len(files)} files in {images} is a picture (first: {worst.name}, {worst.reason})."
        )
    return Embedded(np.concatenate(parts), np.array(kept), tuple(unreadable), encoder.fingerprint)


def _embed_shard(files: list[Path], encoder: Encoder, shard: Path, batch_size: int) -> None:
    unreadable: dict[str, str] = {}
    parts = [np.zeros((0, encoder.dim), np.float32)]
    for first in range(0, len(files), batch_size):
        pictures: list[Image.Image] = []
        for place, path in enumerate(files[first : first + batch_size], first):
            try:
                pictures.append(read_picture(path))
            except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error and more
                text = str(error).replace(str(path), path.name).splitlines()
                unreadable[str(place)] = text[0] if text else type(error).__name__
        parts.append(encoder.encode(pictures))
    write_npz(shard, {"embeddings": np.concatenate(parts), "unreadable": np.array(json.dumps(unreadable))})


def _pictures(images: Path) -> list[Path]:
    if not images.is_dir():
        what = "is a file" if images.exists() else "does not exist"
        raise InputError(f"--images {images} {what}; name a folder of pictures.")
    files = sorted(p for p in images.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not files:
        raise InputError(f"--images {images}: no file in it, nor below it, ends in {', '.join(sorted(SUFFIXES))}.")
    return files


def _begin(work: Path, manifest: dict[str, object], resume: bool) -> None:
    """Make the work folder, or check that the one that is there is of the same work."""
    path = work / MANIFEST
    if path.is_file() and resume:
        found = json.loads(path.read_text())
        other = [key for key in manifest if found.get(key) != manifest[key]]
        if other:
            raise InputError(
                f"--resume: {work} was begun with other {' and '.join(other)}. Give the same, or "
                "start anew with --overwrite."
            )
        return
    if work.exists():
        shutil.rmtree(work)
    work.mkdir(parents=True)
    write_json(path, manifest)
