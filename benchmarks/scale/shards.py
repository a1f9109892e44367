"""Generated shards in the layout of clip-retrieval."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

__all__ = ["NAMES", "write_shards"]

NAMES = ("Smiling", "Young", "Male", "Eyeglasses", "Mustache")
SHARES = (0.5, 0.75, 0.4, 0.07, 0.04)


def write_shards(folder: Path, rows: int, shards: int, dim: int = 512, seed: int = 0) -> None:
    """`img_emb_N.npy` of float16 and `metadata_N.parquet`: clusters by label with noise; two rows a person."""
    folder.mkdir(parents=True, exist_ok=True)
    effects = np.random.default_rng(seed).standard_normal((len(NAMES), dim)).astype(np.float32)
    effects *= 0.5 / np.linalg.norm(effects, axis=1, keepdims=True)
    per = rows // shards
    for number in range(shards):
        rng = np.random.default_rng((seed, number))
        y = (rng.random((per, len(NAMES))) < SHARES).astype(np.int8)
        z = rng.standard_normal((per, dim), dtype=np.float32)
        z /= np.sqrt(np.float32(dim))
        z += y @ effects
        z /= np.linalg.norm(z, axis=1, keepdims=True)
        np.save(folder / f"img_emb_{number}.npy", z.astype(np.float16))
        first = number * per
        table = {"id": [f"{first + row:010d}" for row in range(per)], "identity": (first + np.arange(per)) // 2}
        table |= {name: y[:, k] for k, name in enumerate(NAMES)}
        parquet.write_table(pa.table(table), folder / f"metadata_{number}.parquet")
