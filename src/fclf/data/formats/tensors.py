"""The reference's `train_embeddings.pt`: a bare tensor (n, d), its rows in the order of the annotation list."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fclf.errors import InputError
from fclf.files import atomic_write, check_unpacked

__all__ = ["load_plain", "read_tensor", "write_tensor"]

FLOATS = (torch.float16, torch.float32, torch.float64)


def load_plain(path: Path) -> Any:
    """What `torch.save` wrote, if it is tensors and plain values; nothing in the file is executed.

    Raises:
        InputError: if a checksum is wrong, which torch does not look at.
        Exception: nearly any, for a file that is damaged in another way or holds more; callers say what they wanted.
    """
    if zipfile.is_zipfile(path):  # files older than torch 1.6 are no archives and have no checksums
        with zipfile.ZipFile(path) as archive:
            check_unpacked(path, sum(member.file_size for member in archive.infolist()))
            damaged = archive.testzip()
        if damaged:
            raise InputError(f"{path} is damaged: the checksum of its part {damaged} is wrong.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns about its own storage classes in files of the older format
        content = torch.load(path, map_location="cpu", weights_only=True)
    check_unpacked(path, _promised(content, set()))
    return content


def _promised(content: Any, seen: set[int]) -> int:
    """Bytes of all tensors, were each written out once: strides of 0 make any number of rows of one.

    What was `seen` is not looked at again: a list that holds another twice, forty times over, has a billion parts.
    """
    if id(content) in seen:
        return 0
    seen.add(id(content))
    if isinstance(content, torch.Tensor):
        return content.numel() * content.element_size()
    parts = content.values() if isinstance(content, dict) else content if isinstance(content, (list, tuple)) else ()
    return sum(_promised(part, seen) for part in parts)


def read_tensor(path: Path, what: str) -> NDArray[Any]:
    """Read a dense tensor of float16, 32 or 64 as an array; nothing in the file is executed.

    Raises:
        InputError: if the file is damaged, holds more than tensors and plain values, or is not one such tensor.
    """
    try:
        content = load_plain(path)
    except (InputError, FileNotFoundError, PermissionError):
        raise
    except Exception as error:  # a damaged or foreign file can raise nearly anything
        raise InputError(
            f"{what}: {path} cannot be read as a tensor ({type(error).__name__}). It may be truncated or hold pickled "
            "objects; torch.save(embeddings, path) with a tensor (n, d) writes such a file."
        ) from error
    if isinstance(content, dict):
        keys = ", ".join(repr(key) for key in list(content)[:5]) or "nothing"
        raise InputError(
            f"{what}: {path} holds a dictionary ({keys}); a bare tensor (n, d) was expected: "
            "torch.save(content['embeddings'], path), with the key that holds it."
        )
    if not isinstance(content, torch.Tensor):
        raise InputError(f"{what}: {path} holds a {type(content).__name__}; a bare tensor (n, d) was expected.")
    if content.layout != torch.strided or content.dtype not in FLOATS or content.is_meta:
        raise InputError(
            f"{what}: {path} holds a tensor of type {content.dtype}, layout {content.layout}; dense float16, 32 or 64 "
            "was expected: torch.save(tensor.to_dense().float(), path)."
        )
    array: NDArray[Any] = content.detach().numpy()
    return array


def write_tensor(path: Path, embeddings: NDArray[Any]) -> None:
    """Write one array as a bare tensor; the file is whole or absent."""
    with atomic_write(path) as file:
        torch.save(torch.from_numpy(np.ascontiguousarray(embeddings)), file)
