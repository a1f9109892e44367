"""A folder at any address of which every file is whole or absent, and shards written into it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import posixpath
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

import fsspec
import numpy as np
import pyarrow as pa
from fsspec.implementations.local import LocalFileSystem

from fclf.data.formats.parquet import arrays_of
from fclf.data.formats.parquet_blocks import BlockWriter, to_the_end
from fclf.data.shards.folder import Shard
from fclf.errors import InputError
from fclf.files import atomic_write

__all__ = ["OutputError", "OutputFolder", "ShardWriter", "Written", "is_below", "write_shard"]

T = TypeVar("T")

LEFT = ".part"
"""How the names of files end that were not finished; they begin with a dot."""
DEFERRED = ("s3", "s3a", "gs", "gcs")
"""Protocols whose uploads appear as a whole when they are committed, and need no other name before."""


class OutputError(OSError):
    """Something could not be written: the fault is not of the rows."""


@dataclass(frozen=True)
class Written:
    """A file that was written."""

    place: str
    """Below the folder."""
    size: int
    """Bytes."""
    sha256: str


def is_below(place: str) -> bool:
    """Whether a place, as a file says it, is one below a folder: relative, and never out of it."""
    if not isinstance(place, str) or "\0" in place or any("\ud800" <= sign <= "\udfff" for sign in place):
        return False
    return posixpath.normpath(place) == place and place.split("/")[0] not in ("", ".", "..")


def _is_inside(path: str, folder: str) -> bool:
    """Whether a file is where its name says, and its folder is no link to elsewhere."""
    top = os.path.realpath(folder)
    return os.path.commonpath([top, os.path.realpath(posixpath.dirname(path))]) == top


class OutputFolder:
    """A folder, local or of any file system that fsspec knows."""

    def __init__(self, address: str) -> None:
        try:
            self.fs, path = fsspec.core.url_to_fs(address)
        except (ValueError, ImportError) as error:
            raise InputError(f"--output {address}: {error}") from error
        self.path: str = path.rstrip("/")
        self.local = type(self.fs) is LocalFileSystem
        self.address: str = self.fs.unstrip_protocol(self.path)
        """Absolute, for other processes."""

    def at(self, place: str) -> str:
        """Path of a place below the folder."""
        return posixpath.join(self.path, place)

    @contextmanager
    def open(self, place: str) -> Iterator[_Counted]:
        """A file to write from its beginning to its end, which is there when the block ends without an error.

        Raises:
            OutputError: if it cannot be written.
        """
        path = self.at(place)
        whole = atomic_write(Path(path)) if self.local else self._uploaded(path)
        with _reached(path, "written"):
            file = whole.__enter__()
        try:
            yield _Counted(file, place)
        except BaseException as error:
            with suppress(Exception):  # what went wrong before is what is said
                whole.__exit__(type(error), error, error.__traceback__)
            raise
        with _reached(path, "written"):
            whole.__exit__(None, None, None)

    @contextmanager
    def _uploaded(self, path: str) -> Iterator[IO[bytes]]:
        protocols = (self.fs.protocol,) if isinstance(self.fs.protocol, str) else self.fs.protocol
        deferred = not set(DEFERRED).isdisjoint(protocols)
        folder, name = posixpath.split(path)
        part = path if deferred else posixpath.join(folder, f".{name}{LEFT}")
        if not deferred:
            self.fs.makedirs(folder, exist_ok=True)
        file = self.fs.open(part, "wb", **({"autocommit": False} if deferred else {}))
        try:
            yield file
        except BaseException:
            file.close()  # fsspec knows no other end; it is not under the file's name
            file.discard() if deferred else self.fs.rm_file(part)
            raise
        file.close()
        if deferred:
            file.commit()
            return
        if self.fs.exists(path):  # some file systems move onto nothing that is there
            self.fs.rm_file(path)
        self.fs.mv(part, path)

    def write_json(self, place: str, content: Any) -> None:
        """Write `content` as JSON; NaN and infinity are refused."""
        with self.open(place) as file:
            file.write(json.dumps(content, indent=1, allow_nan=False).encode() + b"\n")

    def read(self, place: str) -> bytes | None:
        """All of a file; None where there is none."""
        return self._look(place, lambda path: bytes(self.fs.cat_file(path)))

    def size(self, place: str) -> int | None:
        """Bytes of a file; None where there is none."""
        return self._look(place, lambda path: int(self.fs.info(path)["size"]))

    def sha256(self, place: str) -> str | None:
        """Of a file's content; None where there is none."""

        def of(path: str) -> str:
            with self.fs.open(path, "rb") as file:
                return _sha256(file)

        return self._look(place, of)

    def _look(self, place: str, find: Callable[[str], T]) -> T | None:
        path = self.at(place)
        with _reached(path, "read"):
            try:
                return find(path)
            except (FileNotFoundError, NotADirectoryError):
                return None

    def remove(self, place: str) -> None:
        """Remove a file, if it is there."""
        path = self.at(place)
        if self.local and not _is_inside(path, self.path):
            raise OutputError(
                f"{path} lies outside of {self.path}, behind a link. Nothing is removed there: move it away."
            )
        with _reached(path, "removed"), suppress(FileNotFoundError):
            self.fs.rm_file(path)

    def files(self, below: str = "") -> list[str]:
        """Places of all files below a place, hidden ones too."""
        start = self.at(below) if below else self.path
        with _reached(start, "listed"):
            self.fs.invalidate_cache()
            if not self.fs.isdir(start):
                return []
            return sorted(posixpath.relpath(file, self.path) for file in self.fs.find(start))

    def clean(self) -> None:
        """Remove what killed writers have left."""
        for place in self.files():
            name = posixpath.basename(place)
            if name.startswith(".") and name.endswith(LEFT):
                self.remove(place)


class _Counted(io.RawIOBase):
    """What is written to it goes on to a file, is counted and hashed on its way."""

    def __init__(self, file: IO[bytes], place: str) -> None:
        super().__init__()
        self._file, self._place, self._bytes, self._sha = file, place, 0, hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        with memoryview(data) as view:
            with _reached(self._place, "written"):
                self._file.write(view)
            self._sha.update(view)
            self._bytes += view.nbytes
            return view.nbytes

    def tell(self) -> int:
        return self._bytes

    @property
    def written(self) -> Written:
        """What it is by now."""
        return Written(self._place, self._bytes, self._sha.hexdigest())


@contextmanager
def _reached(path: str, what: str) -> Iterator[None]:
    """Say that the place of the outputs is at fault; the errors of object stores are of many kinds."""
    try:
        yield
    except OutputError:
        raise
    except Exception as error:
        reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        raise OutputError(f"{path} cannot be {what}: {reason}.") from error


def _sha256(file: IO[bytes]) -> str:
    sha = hashlib.sha256()
    while block := file.read(1 << 20):
        sha.update(block)
    return sha.hexdigest()


class ShardWriter:
    """Rows of a shard, written in the layout of the shard that they come from."""

    def __init__(self, files: list[_Counted], rows: int, arrays: bool) -> None:
        self._files, self._rows, self._done = files, rows, 0
        self._array = files[0] if arrays else None
        tables = files[1:] if arrays else files
        self._table = BlockWriter(tables[0]) if tables else None

    def write(self, table: pa.Table) -> None:
        """Write some rows that follow each other; of an `.npy` file, `embedding` has the type."""
        if self._array is not None:
            rows = arrays_of(table.select(["embedding"]), (), self._array.written.place)["embeddings"]
            if not self._done:
                header = {"descr": rows.dtype.str, "fortran_order": False, "shape": (self._rows, rows.shape[1])}
                np.lib.format.write_array_header_1_0(self._array, header)
            self._array.write(np.ascontiguousarray(rows).data.cast("B"))
        if self._table is not None:
            self._table.write(table if self._array is None else table.drop_columns(["embedding"]))
        self._done += len(table)

    def finish(self) -> None:
        """Write what stands at the end of files."""
        if self._done != self._rows:
            raise ValueError(f"{self._rows} rows were promised, but {self._done} were written.")
        if self._table is not None:
            self._table.finish()

    def abandon(self) -> None:
        """Let go of files that will not be kept."""
        if self._table is not None:
            self._table.abandon()

    @property
    def written(self) -> tuple[Written, ...]:
        """The files."""
        return tuple(file.written for file in self._files)


@contextmanager
def write_shard(folder: OutputFolder, shard: Shard, rows: int) -> Iterator[ShardWriter]:
    """A writer of the files of a shard, each of which is whole or absent.

    Args:
        folder: where they go.
        shard: whose layout and places they have.
        rows: that will be written, which an `.npy` file says at its beginning.

    Raises:
        OutputError: if they cannot be written.
    """
    if shard.metadata is None:
        with folder.open(shard.places[0]) as file, to_the_end(ShardWriter([file], rows, shard.kind == "npy")) as writer:
            yield writer
        return
    with (
        folder.open(shard.places[0]) as array,
        folder.open(shard.places[1]) as table,
        to_the_end(ShardWriter([array, table], rows, True)) as writer,
    ):
        yield writer
