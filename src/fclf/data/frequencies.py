"""Five attributes with the joint frequencies they have in CelebA (Liu et al., 2015)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Int8, Int64

__all__ = ["ATTRIBUTES", "draw_attributes", "frequencies"]

ATTRIBUTES = ("Smiling", "Young", "Male", "Eyeglasses", "Mustache")

# How many of CelebA's 202,599 images have each combination; attribute k is bit k of the position.
# fmt: off
COMBINATION_COUNTS = (
    4260, 9624, 48603, 52961, 11675, 9309, 27802, 18228, 426, 566, 1004, 718, 3289, 2491, 2153, 1073,
    1, 0, 0, 1, 2095, 1212, 2603, 1032, 0, 1, 0, 0, 602, 314, 417, 139,
)
# fmt: on

PER_PERSON = ("Young", "Male")
"""The same in every picture of a person."""


def _combinations() -> Int8[np.ndarray, "C K"]:
    """All combinations of the attributes, in the order of their bits."""
    k = len(ATTRIBUTES)
    return ((np.arange(2**k)[:, None] >> np.arange(k)) & 1).astype(np.int8)


def frequencies() -> Float64[np.ndarray, " K"]:
    """Share of images that have each attribute."""
    counts = np.array(COMBINATION_COUNTS, dtype=np.float64)
    return counts / counts.sum() @ _combinations()


def draw_attributes(person: Int64[np.ndarray, " n"], rng: np.random.Generator) -> Int8[np.ndarray, "n K"]:
    """Draw a person's own attributes from their joint frequencies, then each picture's others given those.

    Args:
        person: number of the person of every picture, ascending from 0.
        rng: of the draws.
    """
    every = _combinations()
    shares = np.array(COMBINATION_COUNTS, dtype=np.float64)
    own = [ATTRIBUTES.index(name) for name in PER_PERSON]
    kind = every[:, own] @ (1 << np.arange(len(own)))
    kinds = np.arange(2 ** len(own))
    totals = np.array([shares[kind == value].sum() for value in kinds])
    of_person = rng.choice(kinds, size=person[-1] + 1, p=totals / totals.sum())[person]
    chosen = np.empty(len(person), dtype=np.intp)
    for value in kinds:
        rows = np.flatnonzero(of_person == value)
        possible = np.flatnonzero(kind == value)
        chosen[rows] = rng.choice(possible, size=len(rows), p=shares[possible] / shares[possible].sum())
    return every[chosen]
