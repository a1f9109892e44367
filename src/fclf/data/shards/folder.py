"""The files of a folder of shards: Parquet, or `.npy` embeddings with their metadata in Parquet.

The second is how clip-retrieval writes what img2dataset has fetched: `img_emb/img_emb_0.npy` and
`metadata/metadata_0.parquet`, or both in one folder.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

import fsspec

from fclf.errors import InputError

__all__ = ["Shard", "find_shards", "is_sharded"]

NUMBER = re.compile(r"(\d+)$")
"""Of a shard, at the end of its name."""


@dataclass(frozen=True)
class Shard:
    """One part of the rows: a Parquet file, or an `.npy` file and the Parquet file that says what its rows are."""

    name: str
    """Without folder and suffix; distinct in its folder, and what the shard's output is called."""
    kind: Literal["parquet", "npy"]
    address: str
    """Of the embeddings."""
    metadata: str | None = None
    """Of the labels, ids and whatever else, for an `.npy` file that has them."""
    places: tuple[str, ...] = ()
    """Of its files, below the folder that was named: where the files of its output stand."""
    flaw: str = ""
    """What is wrong with it, where the list of files already tells; it cannot be opened then."""

    @property
    def files(self) -> tuple[str, ...]:
        """Addresses of all of it."""
        return (self.address,) if self.metadata is None else (self.address, self.metadata)


def is_sharded(address: str) -> bool:
    """Whether an address is a folder, a pattern, a remote place or an `.npy` file, not a file to read as a whole."""
    if "://" in address or "*" in address or address.lower().endswith(".npy"):
        return True
    fs, path = fsspec.core.url_to_fs(address)
    return bool(fs.isdir(path))


def find_shards(address: str, *, lenient: bool = False) -> list[Shard]:
    """Shards of a folder, or of a pattern such as `FOLDER/img_emb_*.npy`, in the order of their numbers.

    Args:
        address: local or of any file system that fsspec knows (`s3://...`, `gs://...`, `hf://...`).
        lenient: give a shard without its metadata its `flaw`, instead of refusing all of them.

    Raises:
        InputError: if nothing is there, two shards would have one name, or it is not clear which files are meant.
    """
    fs, path = _file_system(address)
    try:
        fs.invalidate_cache()  # of an earlier look, which object stores keep for ever
        if "*" not in path and not fs.exists(path):
            raise InputError(f"Embeddings: there is no file or folder {address}.")
        if "*" in path:
            files = sorted(fs.glob(path))
            place = path.split("*", maxsplit=1)[0].rpartition("/")[0]
        else:
            files, place = sorted(fs.find(path)), path
            if files == [path]:
                place = path.rpartition("/")[0]
        whole = place == path  # all of a folder was named, its metadata too
        arrays, tables = (_with_suffix(files, suffix, place) for suffix in (".npy", ".parquet"))
        if arrays and not whole:
            deepest = max(len(PurePosixPath(file).relative_to(place or "/").parts) for file in arrays)
            tables = _with_suffix(sorted(fs.find(place, maxdepth=deepest + 1)), ".parquet", place)
        if arrays and not tables:
            tables = _metadata_beside(fs, place)
    except InputError:
        raise
    except Exception as error:  # those of object stores are of many kinds
        raise InputError(f"--embeddings {address} cannot be listed ({type(error).__name__}: {error}).") from error
    _check_one_kind(arrays, address, place)
    if any(not _is_below(file, place) for file in tables):
        place = place.rpartition("/")[0]
    if arrays:
        shards = _arrays(fs, arrays, tables, place, lenient)
    else:
        shards = [_shard(fs, place, "parquet", file) for file in tables]
    if not shards:
        raise InputError(
            f"--embeddings {address} holds no shards: .parquet files, or .npy files with metadata in .parquet files "
            "(img_emb_0.npy and metadata_0.parquet), were expected."
        )
    twice = [name for name, count in Counter(shard.name for shard in shards).items() if count > 1]
    if twice:
        raise InputError(
            f"--embeddings {address} holds {len(twice)} names twice (first: {twice[0]}), in folders below it. Name one "
            f"of those folders, or a pattern such as {address.rstrip('/')}/*.parquet."
        )
    return sorted(shards, key=lambda shard: _order(shard.name))


def _file_system(address: str) -> tuple[Any, str]:
    try:
        fs, path = fsspec.core.url_to_fs(address)
    except (ValueError, ImportError) as error:
        raise InputError(f"--embeddings {address}: {error}") from error
    return fs, path


def _with_suffix(files: Sequence[str], suffix: str, place: str) -> list[str]:
    """Those that nobody hid from readers of the folder, by their own name or by one of a folder below it."""

    def hidden(file: str) -> bool:
        return any(part.startswith((".", "_")) for part in PurePosixPath(file).relative_to(place or "/").parts)

    return [file for file in files if file.lower().endswith(suffix) and not hidden(file)]


def _is_below(file: str, place: str) -> bool:
    return PurePosixPath(file).is_relative_to(place or "/")


def _shard(
    fs: Any, place: str, kind: Literal["parquet", "npy"], file: str, metadata: str | None = None, flaw: str = ""
) -> Shard:
    files = [file] if metadata is None else [file, metadata]
    return Shard(
        name=PurePosixPath(file).stem,
        kind=kind,
        address=fs.unstrip_protocol(file),
        metadata=None if metadata is None else fs.unstrip_protocol(metadata),
        places=tuple(PurePosixPath(f).relative_to(place or "/").as_posix() for f in files),
        flaw=flaw,
    )


def _metadata_beside(fs: Any, place: str) -> list[str]:
    """Where the folder of the arrays alone was named, their metadata are in `metadata` beside it."""
    folder = f"{place.rstrip('/').rpartition('/')[0]}/metadata"
    return sorted(fs.glob(f"{folder}/*.parquet")) if fs.isdir(folder) else []


def _arrays(fs: Any, arrays: Sequence[str], tables: Sequence[str], place: str, lenient: bool) -> list[Shard]:
    of_number: dict[int | str, str] = {}
    for table in tables:
        key = _number(table)
        if key in of_number:
            raise InputError(f"{of_number[key]} and {table} may both be the metadata of a shard; keep one of them.")
        of_number[key] = table
    shards = []
    for file in arrays:
        found, flaw = of_number.get(_number(file)), ""
        if tables and found is None:
            flaw = f"{file} has no metadata: no .parquet file beside it ends in the same number."
        if flaw and not lenient:
            raise InputError(flaw)
        shards.append(_shard(fs, place, "npy", file, found, flaw))
    return shards


def _check_one_kind(arrays: Sequence[str], address: str, place: str) -> None:
    kinds = sorted({_kind(file) for file in arrays})
    if len(kinds) > 1:
        where = _typed_folder([file for file in arrays if _kind(file) == kinds[0]], address, place)
        raise InputError(
            f"--embeddings {address} holds {len(kinds)} kinds of .npy files ({', '.join(kinds)}). Name one with a "
            f"pattern: {where}{kinds[0]}*.npy"
        )


def _kind(file: str) -> str:
    return NUMBER.sub("", PurePosixPath(file).stem)


def _typed_folder(files: Sequence[str], address: str, place: str) -> str:
    """The folder in which these files are, as it would be typed, with a slash; `**` for several, or one further down.

    From there their metadata are found too: below it, or in `metadata` beside it.
    """
    top = address.split("*", maxsplit=1)[0].rpartition("/")[0] if "*" in address else address.rstrip("/")
    below = {PurePosixPath(file).parent.relative_to(place or "/").as_posix() for file in files}
    found = below.pop() if len(below) == 1 and "/" not in min(below) else "**"
    return "/".join(part for part in (top, found) if part not in ("", ".")) + "/"


def _number(file: str) -> int | str:
    stem = PurePosixPath(file).stem
    found = NUMBER.search(stem)
    return stem if found is None else int(found[1])


def _order(name: str) -> tuple[int, str]:
    found = NUMBER.search(name)
    return (-1 if found is None else int(found[1]), name)
