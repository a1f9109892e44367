"""Files that are either whole or absent."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from fclf.errors import FULL, InputError
from fclf.locks import lock

PART = ".part"
"""Suffix of what is not whole yet."""
ALWAYS = 1 << 28
"""Bytes that any file may take in memory."""
UNPACKED = 200
"""Times its size that a larger one may; rows that differ take one to four times the size of their file."""


@contextmanager
def atomic_write(path: Path, mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a temporary file beside `path` and move it there only when the block ends without an error.

    The content is flushed to the disk before the move, so that a reader, or a machine that loses power, sees
    the old file or the new one and never a part of one. What a killed process had begun for the same path is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent, glob.escape(path.name))
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=PART, dir=path.parent)
    try:
        with naming(path), os.fdopen(handle, mode, encoding=None if "b" in mode else "utf-8") as file:
            lock(handle)  # says that it is no leftover, for as long as it is open
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.chmod(name, 0o666 & ~_umask())  # mkstemp makes files that only their owner can read
            os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name the file where there is no room for it: what a write raises does not."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL and error.filename is None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def remove_leftovers(folder: Path, pattern: str) -> None:
    """Remove what killed processes had begun to write in a folder for files of this name; what is being written stays.

    Args:
        folder: where; it may be absent.
        pattern: name of the files, or a glob of names.
    """
    for path in folder.glob(f".{pattern}.????????{PART}"):  # as mkstemp names them
        with suppress(OSError), path.open("rb") as file:
            if lock(file.fileno()):
                path.unlink()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_json(path: Path, content: Any) -> None:
    """Write `content` as indented JSON, atomically; NaN and infinity are refused, as JSON has neither."""
    with atomic_write(path, "w") as file:
        json.dump(content, file, indent=2, allow_nan=False)
        file.write("\n")


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as `.npz`, atomically, with the same bytes for the same arrays; object arrays are refused.

    `numpy.savez` would take an array named `file` or `allow_pickle` for its own argument.
    """
    with atomic_write(path) as file, zipfile.ZipFile(file, "w", allowZip64=True) as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy")  # dated 1980, whenever it is written
            with archive.open(member, "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, np.asanyarray(array), allow_pickle=False)


def read_npz(path: Path, what: str) -> dict[str, np.ndarray]:
    """Read every array of an `.npz` file; pickled objects are never executed.

    Raises:
        InputError: if there is no such file, or it is not a whole archive of plain arrays.
    """
    path = existing_file(path, what)
    try:
        with path.open("rb") as stream:
            loaded = np.load(stream, allow_pickle=False)
            if not isinstance(loaded, np.lib.npyio.NpzFile):
                raise InputError(f"{what}: {path} holds a single array; an .npz archive of named arrays was expected.")
            assert loaded.zip is not None
            promised = sum(member.file_size for member in loaded.zip.infolist())
            check_unpacked(path, promised)
            return {key: loaded[key] for key in loaded.files}
    except InputError:
        raise
    except (FileNotFoundError, PermissionError) as error:
        raise InputError(f"{what}: {path} cannot be read ({error.strerror}).") from error
    except Exception as error:  # a damaged archive can raise nearly anything: zlib, struct, zipfile, numpy
        raise InputError(
            f"{what}: {path} cannot be read as .npz ({type(error).__name__}: {error}). It may be truncated or hold "
            "pickled objects; numpy.savez(path, name=array, ...) writes such a file."
        ) from error


def check_unpacked(path: Path, promised: int) -> None:
    """Refuse a file that would fill the memory: its content promises far more bytes than rows that differ need.

    Raises:
        InputError: if it promises more than `UNPACKED` times its own size, beyond `ALWAYS`.
    """
    size = path.stat().st_size
    if promised > ALWAYS + UNPACKED * size:
        raise InputError(
            f"{path} has {size:,} bytes and would take {promised:,} in memory, as files do that are made to fill it. "
            "If what it holds is meant to be alike throughout, write it uncompressed (numpy.savez), or in parts."
        )


def digest(*parts: bytes | memoryview) -> str:
    """SHA-256 of the parts one after the other, as hexadecimal text."""
    sha = hashlib.sha256()
    for part in parts:
        sha.update(part)
    return sha.hexdigest()


def existing_file(path: Path, what: str) -> Path:
    """Return `path` if it is a file; raise `InputError` naming what was looked for otherwise."""
    if path.is_dir():
        raise InputError(f"{what}: {path} is a folder, a file was expected.")
    if not path.exists():
        nearby = sorted(p.name for p in path.parent.glob(f"*{path.suffix}"))[:5] if path.parent.is_dir() else []
        hint = f" In that folder: {', '.join(nearby)}." if nearby else ""
        raise InputError(f"{what}: there is no file {path}.{hint}")
    return path
