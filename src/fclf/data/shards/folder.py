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

    @property
    def files(self) -> tuple[str, ...]:
        """Addresses of all of it."""
        return (self.address,) if self.metadata is None else (self.address, self.metadata)


def is_sharded(address: str) -> bool:
    """Whether an address is a folder, a pattern or a remote place, and so not a file that is read as a whole."""
    if "://" in address or "*" in address:
        return True
    fs, path = fsspec.core.url_to_fs(address)
    return bool(fs.isdir(path))


def find_shards(address: str) -> list[Shard]:
    """Shards of a folder, or of a pattern such as `FOLDER/img_emb_*.npy`, in the order of their numbers.

    Args:
        address: local or of any file system that fsspec knows (`s3://...`, `gs://...`, `hf://...`).

    Raises:
        InputError: if nothing is there, two shards would have one name, or it is not clear which files are meant.
    """
    fs, path = _file_system(address)
    try:
        if "*" in path:
            files = sorted(fs.glob(path))
            place = path.split("*", maxsplit=1)[0].rpartition("/")[0]
        else:
            files, place = sorted(fs.find(path, maxdepth=2)), path
    except (OSError, ValueError) as error:
        raise InputError(f"--embeddings {address} cannot be listed ({type(error).__name__}: {error}).") from error
    files = [file for file in files if not PurePosixPath(file).name.startswith((".", "_"))]
    arrays, tables = ([file for file in files if file.lower().endswith(suffix)] for suffix in (".npy", ".parquet"))
    if arrays:
        beside = tables if "*" not in path else sorted(f for f in fs.find(place, maxdepth=2) if f.endswith(".parquet"))
        shards = _arrays(fs, arrays, beside or _metadata_beside(fs, place), address)
    else:
        shards = [Shard(PurePosixPath(file).stem, "parquet", fs.unstrip_protocol(file)) for file in tables]
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
    if "*" not in path and not fs.exists(path):
        raise InputError(f"Embeddings: there is no file or folder {address}.")
    return fs, path


def _metadata_beside(fs: Any, place: str) -> list[str]:
    """Where the folder of the arrays alone was named, their metadata are in `metadata` beside it."""
    folder = f"{place.rstrip('/').rpartition('/')[0]}/metadata"
    return sorted(fs.glob(f"{folder}/*.parquet")) if fs.isdir(folder) else []


def _arrays(fs: Any, arrays: Sequence[str], tables: Sequence[str], address: str) -> list[Shard]:
    kinds = sorted({NUMBER.sub("", PurePosixPath(file).stem) for file in arrays})
    if len(kinds) > 1:
        raise InputError(
            f"--embeddings {address} holds {len(kinds)} kinds of .npy files ({', '.join(kinds)}). Name one with a "
            f"pattern: {address.rstrip('/')}/{kinds[0]}*.npy"
        )
    of_number: dict[int | str, str] = {}
    for table in tables:
        key = _number(table)
        if key in of_number:
            raise InputError(f"{of_number[key]} and {table} may both be the metadata of a shard; keep one of them.")
        of_number[key] = table
    shards = []
    for file in arrays:
        found = of_number.get(_number(file))
        if tables and found is None:
            raise InputError(f"{file} has no metadata: no .parquet file beside it ends in the same number.")
        where = None if found is None else fs.unstrip_protocol(found)
        shards.append(Shard(PurePosixPath(file).stem, "npy", fs.unstrip_protocol(file), where))
    return shards


def _number(file: str) -> int | str:
    stem = PurePosixPath(file).stem
    found = NUMBER.search(stem)
    return stem if found is None else int(found[1])


def _order(name: str) -> tuple[int, str]:
    found = NUMBER.search(name)
    return (-1 if found is None else int(found[1]), name)
