"""CelebA's annotation files (Liu et al., 2015): attributes, the official partition, and who is shown.

Line ends are CRLF or LF. `list_attr_celeba.txt` is required; without `list_eval_partition.txt` or
`identity_CelebA.txt` their part of `Annotations` is absent. Files lie in the folder itself, or in its `Anno` and `Eval`
as they are distributed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int8, Int64
from numpy.typing import NDArray

from fclf.errors import InputError, shortened

__all__ = ["ATTRIBUTE_FILE", "IDENTITY_FILE", "PARTITION_FILE", "Annotations", "read_annotations"]

ATTRIBUTE_FILE = "list_attr_celeba.txt"
PARTITION_FILE = "list_eval_partition.txt"
IDENTITY_FILE = "identity_CelebA.txt"
SUBFOLDERS = ("", "Anno", "Eval")
SHOWN = 60  # characters of a bad line that a message quotes


@dataclass(frozen=True)
class Annotations:
    """What is written about every listed image, in the order of the list."""

    ids: NDArray[np.str_]
    """File names of the images, distinct."""
    attribute_names: tuple[str, ...]
    attributes: Int8[np.ndarray, "n K"]
    """0 or 1."""
    partition: Int8[np.ndarray, " n"] | None = None
    """Official part: 0 train, 1 val, 2 test."""
    identities: Int64[np.ndarray, " n"] | None = None

    def __len__(self) -> int:
        return len(self.ids)


def read_annotations(folder: Path) -> Annotations:
    """Read the annotation files of a folder.

    Raises:
        InputError: if there is no `list_attr_celeba.txt`, or a line of any file is malformed (with its number).
    """
    path = _find(folder, ATTRIBUTE_FILE)
    if path is None:
        raise InputError(
            (f"{folder} has no {ATTRIBUTE_FILE}." if folder.is_dir() else f"There is no folder {folder}.")
            + f" Name the folder of CelebA that holds {ATTRIBUTE_FILE}, {PARTITION_FILE} and {IDENTITY_FILE}."
        )
    ids, names, attributes = _read_attributes(path)
    columns = {}
    for file, kind, what in ((PARTITION_FILE, rb"[012]", "0, 1 or 2"), (IDENTITY_FILE, rb"\d{1,18}", "a whole number")):
        found = _find(folder, file)
        columns[file] = None if found is None else _read_column(found, ids, kind, what)
    partition = columns[PARTITION_FILE]
    return Annotations(
        ids=ids,
        attribute_names=names,
        attributes=attributes,
        partition=None if partition is None else partition.astype(np.int8),
        identities=columns[IDENTITY_FILE],
    )


def _find(folder: Path, name: str) -> Path | None:
    candidates = [folder / sub / name for sub in SUBFOLDERS]
    return next((path for path in candidates if path.is_file()), None)


def _lines(path: Path) -> list[bytes]:
    lines = path.read_bytes().split(b"\n")
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def _bad_line(path: Path, number: int, line: bytes, expected: str) -> InputError:
    quoted = shortened(line.decode("utf-8", "replace").strip(), SHOWN)
    return InputError(
        f"{path}, line {number}: '{quoted}' came; {expected} was expected. Copy the file from its source again."
    )


def _read_attributes(path: Path) -> tuple[NDArray[np.str_], tuple[str, ...], Int8[np.ndarray, "n K"]]:
    """Three passes in C instead of eight million conversions: a pattern checks each line, bytes become labels."""
    lines = _lines(path)
    count = lines[0].strip() if lines else b""
    if not re.fullmatch(rb"\d{1,18}", count):
        raise _bad_line(path, 1, count, "the number of images")
    header = lines[1].split() if len(lines) > 1 else []
    if not header or any(re.fullmatch(rb"-?\d+", name) for name in header) or len(set(header)) < len(header):
        raise _bad_line(path, 2, lines[1] if len(lines) > 1 else b"", "a line of distinct attribute names")
    names = tuple(name.decode("utf-8", "replace") for name in header)
    form = re.compile(rb"(\S+)((?:[ \t]+-?1){%d})\s*" % len(names)).fullmatch
    ids: list[bytes] = []
    labels: list[bytes] = []
    for number, line in enumerate(lines[2:], start=3):
        match = form(line)
        if match is None:
            raise _bad_line(path, number, line, f"a file name and {len(names)} labels, each -1 or 1,")
        ids.append(match[1])
        labels.append(match[2])
    if len(ids) != int(count):
        raise InputError(
            f"{path}: line 1 announces {int(count):,} images, but {len(ids):,} lines follow the header. "
            "The file is not whole: copy it from its source again."
        )
    if not ids:
        raise InputError(f"{path} lists no images.")
    digits = b"".join(labels).translate(None, b" \t").replace(b"-1", b"0")
    attributes = (np.frombuffer(digits, dtype=np.uint8) - ord("0")).astype(np.int8).reshape(len(ids), len(names))
    if len(set(ids)) < len(ids):
        seen: set[bytes] = set()
        number = next(k for k, name in enumerate(ids, start=3) if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise _bad_line(path, number, lines[number - 1], "an image that no earlier line names")
    return np.char.decode(np.array(ids), "utf-8", "replace"), names, attributes


def _read_column(path: Path, ids: NDArray[np.str_], kind: bytes, what: str) -> Int64[np.ndarray, " n"]:
    """One number for each of `ids`, in their order, from lines of a name and a number."""
    form = re.compile(rb"(\S+)[ \t]+(" + kind + rb")\s*").fullmatch
    values: dict[str, int] = {}
    for number, line in enumerate(_lines(path), start=1):
        match = form(line)
        if match is None:
            raise _bad_line(path, number, line, f"a file name and {what}")
        values[match[1].decode("utf-8", "replace")] = int(match[2])
        if len(values) < number:
            raise _bad_line(path, number, line, "an image that no earlier line names")
    listed = ids.tolist()
    missing = [name for name in listed if name not in values]
    if missing:
        raise InputError(
            f"{path} says nothing about {len(missing):,} of the {len(listed):,} images of {ATTRIBUTE_FILE} "
            f"(first: {missing[0]}). The two belong to different or partial copies: copy both from their source again."
        )
    return np.array([values[name] for name in listed], dtype=np.int64)
