"""Edits of files larger than memory: the same bits as in memory, the same refusals, and memory that stays flat."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from fclf.checkpoint import Checkpoint
from fclf.cli import main
from fclf.config import load_config
from fclf.data.embeddings import EmbeddingSet
from fclf.data.planted import planted
from fclf.data.stream import EmbeddingStream
from fclf.streaming import edit_stream
from fclf.train import train

CONFIGS = {
    "transport": ("edit", ["model.start=transport"]),
    "shift": ("edit", ["model.start=shift"]),
    "target": ("fclf_config", ["training.num_epochs=1", "model.hidden_dim=8"]),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder, data = tmp_path_factory.mktemp("runs"), planted(900, 12)[0]
    for name, (recipe, overrides) in CONFIGS.items():
        train(data, load_config(recipe, overrides), folder / name)
    return folder


@pytest.fixture(scope="module")
def many():
    """5,000 rows: two blocks and a half of the smallest size."""
    return planted(5000, 12, seed=5)[0]


@pytest.fixture(scope="module")
def file(many, tmp_path_factory):
    """The rows with more columns than embeddings, in row groups that end nowhere near a block."""
    path = tmp_path_factory.mktemp("files") / "many.parquet"
    many.save(tmp_path_factory.mktemp("whole") / "many.parquet")
    want = np.where(np.arange(5000) % 3 == 2, -1, np.arange(5000) % 3)
    extras = {"note": np.array([f"row {i}" for i in range(5000)]), "want": want}
    replace(many, extras=extras).save(path)
    table = parquet.read_table(path).replace_schema_metadata({**parquet.read_schema(path).metadata, b"theirs": b"kept"})
    table = table.append_column("nested", pa.array([[{"a": i}] for i in range(5000)]))
    table = table.set_column(table.schema.get_field_index("id"), "id", table["id"].dictionary_encode())
    parquet.write_table(table, path, row_group_size=777)
    return path


def edit(run, source, output, *more):
    return main(["edit", "--checkpoint", str(run), "--embeddings", str(source), "--output", str(output), *more])


def columns(path):
    """Every column that a file written from memory has, as plain values (the embedding as its bits)."""
    table = parquet.read_table(path)
    flat = table["embedding"].combine_chunks().flatten().to_numpy().tobytes()
    return {"embedding": flat, **{name: table[name].to_pylist() for name in table.column_names if name != "embedding"}}


@pytest.mark.parametrize("block_rows", [1, 2048, 4097, None])
@pytest.mark.parametrize("name", CONFIGS)
def test_any_block_gives_the_bits_of_all_rows_at_once(runs, many, file, name, block_rows, tmp_path):
    model, out = Checkpoint.load(runs / name), tmp_path / "out.parquet"
    with EmbeddingStream(file) as stream:
        done = edit_stream(model, stream, out, {"Smiling": 1}, ["Male"], block_rows=block_rows)
    expected = model.edit(many, {"Smiling": 1}, ["Male"])
    assert done.rows == 5000
    assert np.abs(expected.embeddings - many.embeddings).max() > 0.01  # something is done
    expected.save(tmp_path / "expected.parquet")
    found, wanted = columns(out), columns(tmp_path / "expected.parquet")
    assert {name: found[name] for name in wanted} == wanted
    assert set(found) - set(wanted) == {"note", "want", "nested"}


def test_every_column_and_the_metadata_stay(runs, file, tmp_path):
    out = tmp_path / "out.parquet"
    assert edit(runs / "shift", file, out, "--flip", "Male") == 0
    before, after = parquet.read_table(file), parquet.read_table(out)
    assert after.column_names == before.column_names
    assert after.schema.metadata == before.schema.metadata
    assert after.schema.field("embedding").type == pa.list_(pa.float32(), 12)
    changed = [name for name in before.column_names if after[name].to_pylist() != before[name].to_pylist()]
    assert changed == ["embedding", "Male"]
    assert parquet.ParquetFile(out).metadata.num_row_groups == 1


@pytest.mark.parametrize(
    "more",
    [
        ("--split", "test"),
        ("--split", "val", "--infer-labels"),
        ("--strength", "0.5"),
        ("--keep", "0.1"),
        ("--set", "Young=@want", "--split", "judge"),
    ],
)
def test_options_do_what_they_do_in_memory(runs, many, file, more, tmp_path):
    """The same rows from an .npz file, which is edited in memory."""
    whole, out = tmp_path / "whole.npz", tmp_path / "out.parquet"
    replace(many, extras={"want": np.asarray(parquet.read_table(file)["want"])}).save(whole)
    assert edit(runs / "transport", file, out, "--flip", "Male", *more) == 0
    assert edit(runs / "transport", whole, tmp_path / "expected.parquet", "--flip", "Male", *more) == 0
    found, wanted = columns(out), columns(tmp_path / "expected.parquet")
    assert len(wanted["id"]) in (5000, (many.split == more[1]).sum(), (many.split == more[-1]).sum())
    assert {name: found[name] for name in wanted} == wanted


def test_a_split_of_our_own_is_that_of_all_rows(runs, many, tmp_path, capsys):
    source, out = tmp_path / "source.parquet", tmp_path / "out.parquet"
    bare = replace(many, split=None)
    bare.save(source)
    assert edit(runs / "shift", source, out, "--flip", "Male", "--split", "test") == 0
    assert "rows are split 56/8/16/20 by identity" in capsys.readouterr().err
    assert EmbeddingSet.load(out).ids.tolist() == bare.with_split(0).part("test").ids.tolist()
    assert set(EmbeddingSet.load(out).split) == {"test"}
