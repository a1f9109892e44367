"""Folders of shards for tests, and what is in them afterwards."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from fclf.cli import main
from fclf.data.embeddings import EmbeddingSet


def parts(data, count):
    """The rows in `count` runs, of which no two are equally long."""
    cuts = np.linspace(0, len(data), count + 1).astype(int)
    cuts[1:-1] += np.arange(1, count) % 3
    return [data.take(np.arange(start, stop)) for start, stop in pairwise(cuts)]


def parquet_folder(folder, data, count=4):
    """`part-0.parquet` and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, part in enumerate(parts(data, count)):
        part.save(folder / f"part-{number}.parquet")
    return folder


def npy_folder(folder, data, count=4, dtype=np.float16, nested=True, named=False, more=None):
    """The layout of clip-retrieval; `named` metadata say which columns are attributes."""
    arrays, tables = (folder / "img_emb", folder / "metadata") if nested else (folder, folder)
    arrays.mkdir(parents=True, exist_ok=True)
    tables.mkdir(parents=True, exist_ok=True)
    for number, part in enumerate(parts(data, count)):
        np.save(arrays / f"img_emb_{number}.npy", part.embeddings.astype(dtype))
        labels = {name: part.attributes[:, k] for k, name in enumerate(part.attribute_names)}
        table = pa.table({"image_path": [f"{i}.jpg" for i in part.ids], **labels, **(more or {})})
        names = json.dumps(list(part.attribute_names))
        parquet.write_table(
            table.replace_schema_metadata({"theirs": "kept", **({"fclf.attributes": names} if named else {})}),
            tables / f"metadata_{number}.parquet",
            row_group_size=1000,
        )
    return folder


def edit(run, source, output, *more):
    """`fclf edit`; its exit code."""
    return main(["edit", "--checkpoint", str(run), "--embeddings", str(source), "--output", str(output), *more])


def outputs(folder):
    """Every file that readers of the folder see, by its place: its bytes."""
    files = [path for path in Path(folder).rglob("*") if path.is_file() and "_manifest" not in path.parts]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(files)}


def times(folder):
    """When each of them was written."""
    return {place: (Path(folder) / place).stat().st_mtime_ns for place in outputs(folder)}


def leftovers(folder):
    """Files that are not finished."""
    return [path for path in Path(folder).rglob("*") if path.name.endswith(".part")]


def record(folder, name):
    """What the manifest says of a shard."""
    return json.loads((Path(folder) / "_manifest" / "shards" / f"{name}.json").read_text())


def raw_embeddings(path):
    """The embeddings of a Parquet file as they are stored."""
    column = parquet.read_table(path)["embedding"].combine_chunks()
    return column.flatten().to_numpy().reshape(-1, column.type.list_size)


def bits(data: EmbeddingSet):
    """Embeddings as bytes."""
    return data.embeddings.tobytes()
