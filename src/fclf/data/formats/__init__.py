"""Embedding files of every format, read to and written from one dictionary of arrays.

A reader gives the arrays under the keys that `EmbeddingSet.from_arrays` checks and judges no value itself; a writer
takes the same dictionary. Whatever is written is read back equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from fclf.errors import InputError
from fclf.files import existing_file, read_npz, write_npz

__all__ = ["READABLE", "WRITABLE", "check_writable", "read", "write"]

READABLE = (".npz", ".parquet", ".pt")
WRITABLE = (".npz", ".parquet")
"""Formats that hold everything a set can hold; `.pt` holds embeddings and nothing else."""


def read(path: Path, what: str) -> dict[str, NDArray[Any]]:
    """Arrays of an embedding file, by its suffix; nothing in the file is executed.

    Raises:
        InputError: if there is no such file, its suffix is another one, or it is damaged.
    """
    suffix = existing_file(path, what).suffix.lower()
    # The libraries are imported when a file needs them: torch takes two seconds, pyarrow a fifth of one.
    if suffix == ".npz":
        return read_npz(path, what)
    if suffix == ".parquet":
        from fclf.data.formats.parquet import read_parquet  # noqa: PLC0415

        return read_parquet(path, what)
    if suffix == ".pt":
        from fclf.data.formats.tensors import read_tensor  # noqa: PLC0415

        return {"embeddings": read_tensor(path, what)}
    raise InputError(f"{path} ends in '{path.suffix}'; embeddings are read from {', '.join(READABLE)} files.")


def write(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays to a file in the format of its suffix; the file is whole or absent.

    Raises:
        InputError: if the suffix is another one, or the format cannot hold all of the arrays.
    """
    if path.suffix.lower() == ".pt" and set(arrays) == {"embeddings"}:
        from fclf.data.formats.tensors import write_tensor  # noqa: PLC0415

        return write_tensor(path, arrays["embeddings"])
    check_writable(path)
    if path.suffix.lower() == ".npz":
        return write_npz(path, arrays)
    from fclf.data.formats.parquet import write_parquet  # noqa: PLC0415

    return write_parquet(path, arrays)


def check_writable(path: Path) -> None:
    """Refuse a name in whose format not everything can be written, before any work is done for it."""
    suffix = path.suffix.lower()
    if suffix == ".pt":
        raise InputError(
            f"{path} ends in '.pt', a bare tensor that cannot hold ids, labels or splits; "
            f"type a name that ends in {' or '.join(WRITABLE)}."
        )
    if suffix not in WRITABLE:
        raise InputError(f"{path} ends in '{path.suffix}'; type a name that ends in {' or '.join(WRITABLE)}.")
