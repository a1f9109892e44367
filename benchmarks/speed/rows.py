"""Generated rows to measure on."""

from __future__ import annotations

import numpy as np

from fclf.data.embeddings import EmbeddingSet
from fclf.data.frequencies import ATTRIBUTES, draw_attributes

__all__ = ["CELEBA_TRAIN", "DIM", "celeba_sized", "random_rows"]

CELEBA_TRAIN = 162_770
DIM = 512


def random_rows(rows: int, attributes: int = 5, dim: int = DIM) -> EmbeddingSet:
    """Unit vectors without any structure, and random labels: what is timed does not depend on the values."""
    rng = np.random.default_rng(0)
    z = rng.standard_normal((rows, dim), dtype=np.float32)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    names = [f"attribute {number}" for number in range(attributes)]
    labels = rng.integers(0, 2, (rows, attributes), dtype=np.int8)
    return EmbeddingSet.from_arrays({"embeddings": z, "attributes": labels, "attribute_names": np.array(names)})


def celeba_sized(seed: int = 0) -> EmbeddingSet:
    """Generated rows with CelebA's number and frequencies of attributes, split as its partition is."""
    rng = np.random.default_rng(seed)
    parts = {"train": CELEBA_TRAIN, "val": 6_000, "judge": 8_000, "test": 6_000}
    split = np.repeat(list(parts), list(parts.values()))
    person = np.arange(len(split)) // 10
    y = draw_attributes(person, rng)
    factors = 24
    loadings = rng.normal(size=(factors, DIM)) * (np.arange(1, factors + 1) ** -0.5)[:, None]
    effects = 0.35 * rng.normal(size=(y.shape[1], DIM))
    z = rng.normal(size=(person[-1] + 1, factors)).astype(np.float32)[person] @ loadings.astype(np.float32)
    z += (y - y.mean(axis=0)).astype(np.float32) @ effects.astype(np.float32)
    z += 0.55 * rng.standard_normal(size=z.shape, dtype=np.float32)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    return EmbeddingSet.from_arrays(
        {
            "embeddings": z,
            "attributes": y,
            "attribute_names": np.array(ATTRIBUTES),
            "identities": person,
            "split": split,
            "ids": np.array([f"row-{number:06d}" for number in range(len(z))]),
        }
    )
