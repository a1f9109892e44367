"""Embedding a folder of pictures, a shard at a time, so that a killed run continues where it was."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray
from PIL import Image

from fclf.data.images import SUFFIXES, read_picture
from fclf.encoders.encoder import Encoder, NoDirection
from fclf.errors import InputError
from fclf.files import digest, read_npz, write_json, write_npz
from fclf.parsing import parse_json

__all__ = ["Embedded", "Unreadable", "embed_folder", "is_begun", "remove_work", "work_folder"]

SHARD = 512
"""Pictures of a shard, at most so many are embedded again after a kill: a minute of CLIP on one core."""
MANIFEST = "manifest.json"

OnPictures = Callable[[int, int, int], None]
"""Told how many pictures are done, how many of those an earlier run had done, and how many there are."""


@dataclass(frozen=True)
class Unreadable:
    """A file that is no picture, or one of which the network gives no embedding."""

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


def is_begun(work: Path) -> bool:
    """Whether an unfinished run of ours lies there."""
    return (work / MANIFEST).is_file()


def remove_work(work: Path) -> None:
    """Remove shards, and last the manifest that says whose they are: what is killed between can be taken up again."""
    for path in sorted(work.iterdir(), key=lambda path: path.name == MANIFEST):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    work.rmdir()


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
    The caller removes `work` once the result is safe.

    Args:
        images: the folder; folders below it count too.
        encoder: the network.
        work: folder of shards and a manifest, made here.
        batch_size: pictures that are encoded at once.
        resume: go on from the shards that are there.
        on_pictures: told of every batch.

    Raises:
        InputError: if there are no pictures, none can be read, the shards are of another encoder or other files, or
            `work` is a folder of something else.
    """
    files = _pictures(images)
    names = [path.relative_to(images).as_posix() for path in files]
    listing = "\n".join(f"{name} {path.stat().st_size}" for name, path in zip(names, files, strict=True))
    manifest = {
        "encoder": encoder.fingerprint,
        "files": digest(os.fsencode(listing)),
        "batch_size": batch_size,
        "shard": SHARD,
    }
    _begin(work, manifest, resume)
    earlier = sum(min(SHARD, len(files) - first) for number, first in _shards(files) if _path(work, number).is_file())
    done = earlier

    def tell(count: int) -> None:
        nonlocal done
        done += count
        if on_pictures is not None:
            on_pictures(done, earlier, len(files))

    tell(0)
    parts: list[Float32[np.ndarray, "m d"]] = []
    kept: list[str] = []
    unreadable: list[Unreadable] = []
    for number, first in _shards(files):
        shard = _path(work, number)
        if not shard.is_file():
            _embed_shard(files[first : first + SHARD], encoder, shard, batch_size, tell)
        found = read_npz(shard, "Shard")
        bad = dict(parse_json(str(found["unreadable"])))
        parts.append(found["embeddings"])
        for place, name in enumerate(names[first : first + SHARD]):
            if str(place) in bad:
                unreadable.append(Unreadable(os.fsencode(name).decode("utf-8", "replace"), bad[str(place)]))
            else:
                kept.append(name)
    if not kept:
        remove_work(work)
        worst = unreadable[0]
        raise InputError(
            f"None of the {len(files)} files in {images} could be embedded (first: {worst.name}, {worst.reason})."
        )
    return Embedded(np.concatenate(parts), np.array(kept), tuple(unreadable), encoder.fingerprint)


def _shards(files: list[Path]) -> Iterable[tuple[int, int]]:
    """Number and first file of every shard."""
    return enumerate(range(0, len(files), SHARD))


def _path(work: Path, number: int) -> Path:
    return work / f"{number:06d}.npz"


def _embed_shard(
    files: list[Path], encoder: Encoder, shard: Path, batch_size: int, tell: Callable[[int], None]
) -> None:
    unreadable: dict[str, str] = {}
    parts = [np.zeros((0, encoder.dim), np.float32)]
    for first in range(0, len(files), batch_size):
        batch = files[first : first + batch_size]
        pictures: list[Image.Image] = []
        places: list[int] = []
        for place, path in enumerate(batch, first):
            try:
                path.name.encode()  # ids are texts
                pictures.append(read_picture(path))
                places.append(place)
            except UnicodeEncodeError:
                unreadable[str(place)] = "its name is not UTF-8; rename it"
            except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error and more
                unreadable[str(place)] = _reason(error, path)
        found, lost = _encode(encoder, pictures)
        unreadable |= {str(places[row]): reason for row, reason in lost.items()}
        parts.append(found)
        tell(len(batch))
    write_npz(shard, {"embeddings": np.concatenate(parts), "unreadable": np.array(json.dumps(unreadable))})


def _encode(encoder: Encoder, pictures: list[Image.Image]) -> tuple[Float32[np.ndarray, "m d"], dict[int, str]]:
    """Embeddings of a batch, and which of its pictures have none; a batch in which none has one is refused."""
    try:
        return encoder.encode(pictures), {}
    except NoDirection as error:
        if 1 < len(pictures) == len(error.rows):
            raise
        lost = set(error.rows.tolist())
    kept = [picture for row, picture in enumerate(pictures) if row not in lost]
    return encoder.encode(kept), dict.fromkeys(lost, "its embedding is zero or not finite")


def _reason(error: Exception, path: Path) -> str:
    if path.is_file() and path.stat().st_size == 0:
        return "the file is empty"
    text = str(error).replace(str(path), path.name).splitlines()
    return text[0] if text else type(error).__name__


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
    if work.exists() and not path.is_file() and not _is_barely_begun(work):
        raise InputError(f"{work}, where shards would go, is there already and of something else. Move it away.")
    if path.is_file() and resume:
        found = _read_manifest(path)
        other = [key for key in manifest if found.get(key) != manifest[key]]
        if other:
            raise InputError(
                f"--resume: {work} was begun with other {' and '.join(other)}. Give the same, or "
                "start anew with --overwrite."
            )
        return
    if work.exists():
        remove_work(work)
    work.mkdir(parents=True)
    write_json(path, manifest)


def _is_barely_begun(work: Path) -> bool:
    """Whether a run was killed here before it had a manifest: then nobody else's files are lost with the folder."""
    return work.is_dir() and all(path.name.startswith(f".{MANIFEST}.") for path in work.iterdir())


def _read_manifest(path: Path) -> dict[str, object]:
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise InputError(f"--resume: {path} is damaged. Start anew with --overwrite.")
    return found
