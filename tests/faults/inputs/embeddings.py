"""Bad files of embeddings: `.npz`, `.parquet`, `.pt` and shards."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from pyarrow import parquet

from fclf.data import formats
from fclf.data.embeddings import EmbeddingSet
from fclf.data.formats.parquet import write_parquet
from fclf.data.shards.folder import find_shards
from fclf.data.shards.index import ShardIndex
from fclf.data.shards.reading import open_shard

from .contract import Attempt, Plant, command, reading
from .material import DIM, Material
from .mutations import mutated

__all__ = ["KINDS"]

BOMB = 4 << 30
"""Bytes that a small file unpacks to."""


def odd_arrays(arrays: dict[str, Any], rng: Generator, sign: Path) -> dict[str, Any]:
    """Arrays of a sound file in which one to three are of another type, shape or content, missing or too many."""
    arrays = dict(arrays)
    for _ in range(int(rng.choice((1, 1, 2, 3)))):
        key = str(rng.choice([*arrays, "embeddings"]))
        if key in arrays:
            found = _odd_array(arrays, key, rng, sign)
            if found is None:
                del arrays[key]
            else:
                arrays[key if rng.random() < 0.95 else f"{key}{rng.choice(['', ' ', '2', '/x', ':null'])}x"] = found
    return arrays


def _odd_array(arrays: dict[str, Any], key: str, rng: Generator, sign: Path) -> Any:
    array = np.array(arrays[key])
    ways = (
        "missing",
        "type",
        "shape",
        "order",
        "value",
        "rows",
        "object",
        "empty",
        "text",
        "record",
        "scalar",
        "other",
    )
    how = ways[int(rng.integers(len(ways)))]
    if how == "missing":
        return None
    if how == "type":
        kind = str(
            rng.choice(["f2", "f4", "f8", ">f4", "g", "c8", "i1", "i8", "u8", "?", "U3", "S3", "M8[s]", "m8[D]"])
        )
        with np.errstate(all="ignore"):
            try:
                return array.astype(kind)
            except (TypeError, ValueError):
                return np.zeros(array.shape, kind)
    if how == "shape":
        return array.reshape([(-1,), (1, *array.shape), (*array.shape, 1), array.shape[::-1]][int(rng.integers(4))])
    if how == "order":
        return np.asfortranarray(array[::-1]) if array.ndim else array
    if how == "rows":
        return (
            [array[:-1], np.concatenate([array, array]), array[:1], array[:0]][int(rng.integers(4))]
            if array.ndim
            else array
        )
    if how == "object":
        return np.array([Plant(sign)] * max(1, len(array) if array.ndim else 1), dtype=object)
    if how == "empty":
        return np.zeros(tuple(int(side) for side in rng.choice([0, 1, 3], array.ndim)), array.dtype)
    if how == "text":
        return np.array(rng.choice(["", "x", "\ud7ff", "test", "0", "é" * 500, "a\0b"], array.shape))
    if how == "record":
        return np.zeros(array.shape, [("a", "f4"), ("b", "i4")])
    if how == "scalar":
        return array.dtype.type(0) if array.dtype.kind in "biuf" else np.array("x")
    if how == "other":
        return np.array(arrays[str(rng.choice(list(arrays)))])
    return _odd_value(array, rng)


def _odd_value(array: NDArray[Any], rng: Generator) -> NDArray[Any]:
    array = array.copy()
    if not array.size:
        return array
    place = tuple(int(rng.integers(side)) for side in array.shape)
    if array.dtype.kind == "f":
        array[place] = rng.choice([np.nan, np.inf, -np.inf, 0.0, 3e4, 1e-30])
        if place and rng.random() < 0.3:
            array[place[0]] = 0
    elif array.dtype.kind in "iu":
        array[place] = int(rng.choice([-1, 2, 3, 100, -100, 127]))
    elif array.dtype.kind == "U":
        array = array.astype("U80")
        array[place] = str(rng.choice(["", "x", str(array.flat[0]), "\u202e", "../../x", "<b>", "train ", "\0"]))
    return array


def lying_npy(rng: Generator, array: NDArray[Any]) -> bytes:
    """An `.npy` whose header promises something else, or is huge, or is no header."""
    shape = [(10**12, DIM), (-1, DIM), (2**62, 2**62), (3, 10**9), (0, 10**9), (), (5,), "x", (1.5, 2)][
        int(rng.integers(9))
    ]
    kind = str(rng.choice(["<f4", "|O", "<f8", "<U9999999", "|V0", "zz", "<M8[Y]", "|S0"]))
    text = str({"descr": kind, "fortran_order": bool(rng.integers(2)), "shape": shape})
    how = int(rng.integers(6))
    if how == 0:
        text = "[" * 5000
    elif how == 1:
        text += " " * 9_000_000  # numpy looks at no header of more than 10,000 characters
    elif how == 2:
        text = text.replace("descr", "__import__('os')")
    header = text.encode("latin1") + b"\n"
    length = len(header) if rng.random() < 0.8 else int(rng.choice([0, 2**31, 2**32 - 1]))
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", length) + header + array.tobytes()


@cache
def bomb() -> bytes:
    """An `.npz` of four megabytes whose array takes four gigabytes: deflate writes a thousand zeros in a byte."""
    buffer = io.BytesIO()
    shape = (BOMB // 4 // DIM, DIM)
    with (
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("embeddings.npy", "w", force_zip64=True) as member,
    ):
        np.lib.format.write_array_header_1_0(member, {"descr": "<f4", "fortran_order": False, "shape": shape})
        for _ in range(BOMB >> 24):
            member.write(bytes(1 << 24))
    return buffer.getvalue()


def _npz(arrays: dict[str, Any], rng: Generator) -> bytes:
    buffer = io.BytesIO()
    save = np.savez_compressed if rng.random() < 0.3 else np.savez
    save(buffer, **arrays)
    return buffer.getvalue()


def npz(material: Material, folder: Path, rng: Generator, sign: Path) -> Attempt:
    path, how = folder / "bad.npz", rng.random()
    arrays = material.few.to_arrays()
    if how < 0.45:
        content = mutated(_npz(arrays, rng), rng)
    elif how < 0.85:
        content = _npz(odd_arrays(arrays, rng, sign), rng)
    elif how < 0.998:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for key in (
                ("attributes", "embeddings", "ids") if rng.random() < 0.5 else ("embeddings", "embeddings.npy/x")
            ):
                archive.writestr(f"{key}.npy", lying_npy(rng, material.few.embeddings))
        content = buffer.getvalue()
    else:
        content = bomb()
    path.write_bytes(content)
    return _edit(material, path, folder)


def table(material: Material, folder: Path, rng: Generator, sign: Path) -> Attempt:
    path, how = folder / "bad.parquet", rng.random()
    if how < 0.5:
        write_parquet(path, material.few.to_arrays())
        path.write_bytes(mutated(path.read_bytes(), rng))
    else:
        odd = odd_table(material, rng)
        try:
            parquet.write_table(
                odd, path, use_dictionary=bool(rng.integers(2)), row_group_size=int(rng.choice([1, 5, 100]))
            )
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # no Parquet file can hold it
            path.write_bytes(b"PAR1")
    return _edit(material, path, folder, ".parquet" if rng.random() < 0.5 else ".npz")


def odd_table(material: Material, rng: Generator) -> pa.Table:
    """A table whose columns or schema metadata are odd."""
    few = material.few
    n = len(few)
    columns: dict[str, Any] = {
        "embedding": pa.FixedSizeListArray.from_arrays(pa.array(few.embeddings.ravel()), DIM),
        "id": pa.array(few.ids.tolist()),
        **{name: pa.array(few.attributes[:, k]) for k, name in enumerate(few.attribute_names)},
    }
    metadata: dict[str, Any] = {"fclf.attributes": json.dumps(list(few.attribute_names))}
    odd: list[Any] = [
        pa.array([None] * n), pa.array([None, *range(n - 1)]), pa.array(["x"] * n), pa.array([b"\xff"] * n),
        pa.array([{"a": 1}] * n), pa.array([[1.0]] * n), pa.array([[]] * n, pa.list_(pa.float32())),
        pa.array([float("nan")] * n), pa.array([2**62] * n), pa.array([1.5] * n), pa.array([True] * n),
        pa.array(["a", "b"] * (n // 2)).dictionary_encode(), pa.array([0] * n, pa.timestamp("us", "UTC")),
        pa.array([[1.0] * (k % 3) for k in range(n)]), pa.array([[0.0] * DIM] * n, pa.list_(pa.float64())),
        pa.array([None] + [[0.5] * DIM] * (n - 1), pa.list_(pa.float32(), DIM)), pa.array([1] * n, pa.decimal128(9)),
        pa.array([[None] * DIM] * n, pa.list_(pa.float32(), DIM)), pa.array([""] * n), pa.array(["train"] * n),
    ]  # fmt: skip
    for _ in range(int(rng.choice((1, 1, 2)))):
        key = str(rng.choice([*columns, "split", "identity", "attributes", "ids", "x:null", "x"]))
        columns[key] = odd[int(rng.integers(len(odd)))]
    if rng.random() < 0.4:
        key = str(rng.choice(["fclf.attributes", "fclf.array.x", "fclf.encoder", "fclf.array.ids", "fclf.array."]))
        texts = ("", "[", "[1]", '["nobody"]', '["embedding"]', "[" * 3000, "{}", "AAAA", "null", "\0", "k05VTVBZ")
        metadata[key] = texts[int(rng.integers(len(texts)))]
    rows = [columns[name] for name in columns]
    names = [name if rng.random() < 0.97 else "id" for name in columns]
    found = pa.table(rows, names=names).replace_schema_metadata(metadata)
    return found.slice(0, int(rng.choice([n, n, n, 0, 1])))


def tensor(material: Material, folder: Path, rng: Generator, sign: Path) -> Attempt:
    path, how = folder / "bad.pt", rng.random()
    z = torch.from_numpy(material.few.embeddings)
    if how < 0.5:
        torch.save(z, path, _use_new_zipfile_serialization=bool(rng.random() < 0.8))
        path.write_bytes(mutated(path.read_bytes(), rng))
    else:
        odd: list[Any] = [
            z.double(), z.half(), z.bfloat16(), z.to(torch.complex64), z.to_sparse(), z.T, z[0], z[None], z[:0],
            z * 0, z * 2,
            z[:1].expand(10**9, DIM), z.to(torch.int8), torch.nn.Parameter(z), {"embeddings": z}, [z], None, "x", 5,
            {"a": Plant(sign)}, Plant(sign), torch.nn.Linear(2, 2), z.to("meta"), z[0, 0], z[:, :3],
            z.clone().index_fill_(0, torch.tensor([1]), float("nan")),
            torch.quantize_per_tensor(z, 0.1, 0, torch.qint8), z.requires_grad_(False)[::2], {}, {1: {2: z}},
        ]  # fmt: skip
        torch.save(odd[int(rng.integers(len(odd)))], path)
    return _edit(material, path, folder, infer=True)


def _edit(material: Material, path: Path, folder: Path, suffix: str = ".npz", infer: bool = False) -> Attempt:
    """As `fclf edit` would."""
    output = folder / "out" / f"edited{suffix}"
    output.parent.mkdir()
    arguments = ["edit", "--checkpoint", str(material.run), "--embeddings", str(path), "--output", str(output)]
    arguments += ["--set", f"{material.data.attribute_names[0]}=1", *(["--infer-labels"] if infer else [])]
    return command(arguments, output, _written)


def _written(path: Path) -> None:
    """A stream carries any columns along, also those that no set holds."""
    if path.suffix == ".npz":
        EmbeddingSet.load(path)
        return
    rows = parquet.read_table(path, columns=["embedding"])["embedding"].combine_chunks()
    EmbeddingSet.from_arrays({"embeddings": rows.flatten().to_numpy().reshape(len(rows), DIM)})


def shards(material: Material, folder: Path, rng: Generator, sign: Path) -> Attempt:
    place, few = folder / "shards", material.few
    place.mkdir()
    labels = {name: few.attributes[:, k] for k, name in enumerate(few.attribute_names)}
    for number in range(2):
        np.save(place / f"img_emb_{number}.npy", few.embeddings.astype(np.float16))
        parquet.write_table(pa.table({"id": few.ids.tolist(), **labels}), place / f"metadata_{number}.parquet")
    victim = place / str(rng.choice(["img_emb_0.npy", "metadata_1.parquet", "img_emb_1.npy"]))
    how = rng.random()
    if how < 0.5:
        victim.write_bytes(mutated(victim.read_bytes(), rng))
    elif how < 0.6:
        victim.unlink()
    elif how < 0.8:
        (place / "img_emb_0.npy").write_bytes(lying_npy(rng, few.embeddings))
    elif how < 0.9:
        parquet.write_table(odd_table(material, rng).slice(0, 12), place / "metadata_0.parquet")
    else:
        np.save(place / "img_emb_0.npy", np.array([Plant(sign)] * 12, dtype=object), allow_pickle=True)

    def read() -> None:
        for shard in find_shards(str(place)):
            with open_shard(shard) as reader:
                for _ in reader.blocks(5):
                    pass
        index = ShardIndex.read(str(place), few.attribute_names)
        index.sample({"train": 5, "test": 5})

    return reading(read)


def write_and_read(material: Material, folder: Path, rng: Generator, sign: Path) -> Attempt:
    """What is read can be written, in every format that holds it, and comes back the same."""
    arrays = odd_arrays(material.few.to_arrays(), rng, sign)

    def read() -> None:
        data = EmbeddingSet.from_arrays(arrays)
        for suffix in formats.WRITABLE:
            path = folder / f"again{suffix}"
            data.save(path)
            again = EmbeddingSet.load(path)
            assert again.fingerprint() == data.fingerprint(), suffix

    return reading(read)


KINDS = {
    "npz": npz,
    "parquet": table,
    "pt": tensor,
    "shards": shards,
    "arrays": write_and_read,
}
"""By name: what makes a bad file in a folder, and how it is tried."""
