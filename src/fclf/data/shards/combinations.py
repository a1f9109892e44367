"""All labels of a row as one number of 1 to 8 bytes."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int8, Shaped

from fclf.errors import InputError

__all__ = ["MAX_ATTRIBUTES", "check_fits", "codes_of", "labels_of"]

MAX_ATTRIBUTES = 40
"""3^40 is less than 2^64."""


def check_fits(names: tuple[str, ...]) -> None:
    """Refuse more attributes than a number holds."""
    if len(names) > MAX_ATTRIBUTES:
        raise InputError(
            f"{len(names)} attributes came, but of shards at most {MAX_ATTRIBUTES} can be learned together: the labels "
            "of a row are held as one number of 8 bytes. Choose some with --attributes A,B,..."
        )


def codes_of(labels: Int8[np.ndarray, "n K"]) -> Shaped[np.ndarray, " n"]:
    r"""$\sum_k (y_k + 1)\, 3^k$ in the smallest type that holds it; labels are 0, 1 or -1 (`UNKNOWN`)."""
    total = np.zeros(len(labels), np.uint64)
    for column in labels.T[::-1]:
        total = total * np.uint64(3) + (column + 1).astype(np.uint64)
    return total.astype(np.min_scalar_type(3 ** labels.shape[1] - 1))


def labels_of(codes: Shaped[np.ndarray, " n"], count: int) -> Int8[np.ndarray, "n K"]:
    """The labels again, of so many attributes."""
    rest = codes.astype(np.uint64)
    labels = np.empty((len(codes), count), np.int8)
    for k in range(count):
        rest, digit = np.divmod(rest, np.uint64(3))
        labels[:, k] = digit.astype(np.int8) - 1
    return labels
