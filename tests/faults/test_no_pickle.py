"""Nothing that is read executes a pickle: each reader is given one that would, and no reader could be told to."""

import ast
import base64
import io
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from pyarrow import parquet

import fclf
from fclf.applications.scorers import Scorer
from fclf.checkpoint import Checkpoint
from fclf.data.embeddings import EmbeddingSet
from fclf.data.planted import planted
from fclf.data.shards.folder import find_shards
from fclf.data.shards.reading import open_shard
from fclf.data.stream import EmbeddingStream
from fclf.data.table import LabelTable
from fclf.decoder import Decoder
from fclf.encoders import embed_folder, open_encoder
from fclf.encoders.portraits import PortraitEncoder
from fclf.errors import InputError
from fclf.evaluation.results import Report
from fclf.hub import CONFIG, WEIGHTS
from tests.faults.inputs.contract import Plant

Z = np.eye(3, 8, dtype=np.float32)


def archive(path, plant, **others):
    np.savez(path, **others, embeddings=np.array([plant] * 3, dtype=object))


def bare(path, plant):
    path.write_bytes(pickle.dumps(plant))


def tensors(path, plant):
    torch.save({"weights": plant}, path)


def older_tensors(path, plant):
    torch.save({"weights": plant}, path, _use_new_zipfile_serialization=False)


def array(path, plant):
    np.save(path, np.array([plant] * 3, dtype=object))


def table(path, plant):
    """With an array in its schema metadata, which is an `.npy` file as text."""
    buffer = io.BytesIO()
    np.save(buffer, np.array([plant], dtype=object))
    metadata = {"fclf.array.more": base64.b64encode(buffer.getvalue())}
    lists = pa.FixedSizeListArray.from_arrays(pa.array(Z.ravel()), 8)
    parquet.write_table(pa.table({"embedding": lists}).replace_schema_metadata(metadata), path)


def shard(path):
    with open_shard(find_shards(str(path))[0]) as reader:
        return list(reader.blocks(2))


def stream(path):
    with EmbeddingStream(path) as rows:
        return list(rows.blocks(2, rows.index()))


def scorer(path):
    return Scorer.load(path, 8)


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch warns of its own classes in files of the older format
@pytest.mark.parametrize(
    ("name", "write", "read"),
    [
        ("a.npz", archive, EmbeddingSet.load),
        ("a.npz", bare, EmbeddingSet.load),
        ("a.parquet", bare, EmbeddingSet.load),
        ("a.parquet", table, EmbeddingSet.load),
        ("a.pt", tensors, EmbeddingSet.load),
        ("a.pt", older_tensors, EmbeddingSet.load),
        ("a.pt", bare, EmbeddingSet.load),
        ("a.npy", array, shard),
        ("a.npy", bare, shard),
        ("a.parquet", bare, shard),
        ("a.parquet", bare, LabelTable.read),
        ("a.csv", bare, LabelTable.read),
        ("a.pt", tensors, Checkpoint.load),
        ("a.pt", older_tensors, Checkpoint.load),
        ("a.pt", bare, Checkpoint.load),
        ("a.safetensors", bare, Decoder.load),
        ("a.safetensors", tensors, Decoder.load),
        ("a.npz", archive, scorer),
        ("a.pkl", bare, scorer),
        ("a.json", bare, scorer),
        ("a.safetensors", tensors, scorer),
        ("a.onnx", bare, scorer),
        ("a.onnx", bare, lambda path: open_encoder(f"onnx:{path}")),
    ],
)
def test_a_file_is_refused_and_its_pickle_not_executed(name, write, read, tmp_path):
    sign, path = tmp_path / "executed", tmp_path / name
    write(path, Plant(sign))
    with pytest.raises(InputError):
        read(path)
    assert not sign.exists()


def test_what_is_carried_along_unread_is_not_executed_either(tmp_path):
    sign, path = tmp_path / "executed", tmp_path / "a.parquet"
    table(path, Plant(sign))
    assert len(shard(path)) == 2
    assert len(stream(path)) == 2
    assert not sign.exists()


def test_pickles_beside_a_shared_model_are_not_opened(tmp_path):
    sign = tmp_path / "executed"
    shared = tmp_path / "shared"
    fclf.fit(planted(600, 8)[0], overrides={"model.start": "shift"}).save_pretrained(shared)
    for name in ("pytorch_model.bin", "model.pt", "training_args.bin"):
        tensors(shared / name, Plant(sign))
    fclf.Editor.from_pretrained(shared)
    tensors(shared / WEIGHTS, Plant(sign))
    with pytest.raises(InputError):
        fclf.Editor.from_pretrained(shared)
    bare(shared / CONFIG, Plant(sign))
    with pytest.raises(InputError):
        fclf.Editor.from_pretrained(shared)
    assert not sign.exists()


def test_the_points_of_a_report_are_not_executed(tmp_path):
    sign = tmp_path / "executed"
    data = planted(600, 8)[0]
    fclf.fit(data, overrides={"model.start": "shift"}).evaluate(data).save(tmp_path)
    assert Report.load(tmp_path).points.original.ndim == 2
    with np.load(tmp_path / "points.npz") as found:
        arrays = dict(found)
    np.savez(tmp_path / "points.npz", **{**arrays, "original": np.array([Plant(sign)], dtype=object)})
    with pytest.raises(InputError):
        Report.load(tmp_path)
    assert not sign.exists()


def test_the_parts_of_an_unfinished_embedding_are_not_executed(tmp_path):
    sign, work = tmp_path / "executed", tmp_path / "parts"
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    Image.new("RGB", (64, 64), "red").save(pictures / "a.png")
    embed_folder(pictures, PortraitEncoder.load(), work)
    np.savez(work / "000000.npz", embeddings=np.array([Plant(sign)], dtype=object), unreadable=np.array(json.dumps({})))
    with pytest.raises(InputError):
        embed_folder(pictures, PortraitEncoder.load(), work, resume=True)
    assert not sign.exists()


@pytest.mark.parametrize("execute", [
    lambda path: pickle.loads(path.read_bytes()),
    lambda path: torch.load(path, weights_only=False),
    lambda path: np.load(path, allow_pickle=True)["embeddings"],
])  # fmt: skip
def test_the_plant_works(execute, tmp_path):
    sign, path = tmp_path / "executed", tmp_path / "a.npz"
    for write in (bare, tensors, archive):
        shutil.rmtree(sign, ignore_errors=True)
        write(path, Plant(sign))
        try:
            execute(path)
        except Exception:
            continue
        if sign.exists():
            return
    raise AssertionError("no plant was executed")


SAFE = {"torch.load": ("weights_only", True), "np.load": ("allow_pickle", False), "read_array": ("allow_pickle", False)}
"""Readers that execute pickles unless they are told not to, and what tells them."""
NEVER = ("pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal")


def unsafe(source):
    """Lines of a module that could execute what they read."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            if any(name.split(".")[0] in NEVER for name in names):
                yield node.lineno
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            given = {word.arg: getattr(word.value, "value", None) for word in node.keywords}
            for name, (word, value) in SAFE.items():
                if called.endswith(name) and given.get(word) is not value:
                    yield node.lineno
            if called in ("eval", "exec", "compile", "__import__", "yaml.unsafe_load", "yaml.full_load"):
                yield node.lineno
            if called == "yaml.load" and ast.unparse(node.args[1]) != "_PlainLoader":
                yield node.lineno


def test_no_module_could_execute_what_it_reads():
    modules = sorted(Path(fclf.__file__).parent.rglob("*.py"))
    assert len(modules) > 200
    assert {str(path): lines for path in modules if (lines := list(unsafe(path.read_text(encoding="utf-8"))))} == {}


@pytest.mark.parametrize(
    "line",
    ["import pickle", "from joblib import load", "torch.load(p)", "torch.load(p, weights_only=False)", "np.load(p)",
     "np.load(p, allow_pickle=True)", "eval(x)", "yaml.load(x, yaml.Loader)", "np.lib.format.read_array(f)"],
)  # fmt: skip
def test_and_one_that_could_is_noticed(line):
    assert list(unsafe(line)) == [1]
