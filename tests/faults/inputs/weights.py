"""Bad files of trained models: checkpoints, shared folders, decoders, scorers and networks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import safetensors.numpy
import torch
from numpy.random import Generator
from onnx import TensorProto, helper

import fclf
from fclf.applications.scorers import Scorer
from fclf.data.embeddings import EmbeddingSet
from fclf.decoder import Decoder
from fclf.encoders import open_encoder

from .contract import Attempt, Plant, command, reading
from .embeddings import odd_arrays
from .material import DIM, Material
from .mutations import mutated, mutated_text
from .values import ODD, changed

__all__ = ["KINDS"]


def _tensors(sign: Path) -> list[Any]:
    z = torch.zeros(3, DIM, dtype=torch.float64)
    return [
        *ODD, z, z.float(), z[0], z[:, :0], z[:1].expand(10**9, DIM), z.to(torch.complex64), z.to_sparse(),
        z.to("meta"),
        torch.tensor(float("nan")), torch.full((DIM, DIM), float("inf")), torch.tensor(3), torch.tensor([True]),
        Plant(sign),
    ]  # fmt: skip


def checkpoint(material: Material, folder: Path, rng: Generator, sign: Path) -> Attempt:
    path = folder / "bad.pt"
    content = material.contents[int(rng.integers(2))]
    if rng.random() < 0.4:
        torch.save(content, path, _use_new_zipfile_serialization=bool(rng.random() < 0.8))
        path.write_bytes(mutated(path.read_bytes(), rng))
    else:
        torch.save(changed(content, rng, _tensors(sign)), path)
    output = folder / "out" / "edited.npz"
    output.parent.mkdir()
    arguments = ["edit", "--checkpoint", str(path), "--embeddings", str(material.good), "--output", str(output)]
    first = material.data.attribute_names[0]
    return command([*arguments, "--flip", first, "--infer-labels"], output, EmbeddingSet.load)


def shared(material: Material, folder: Path, rng: Generator, sign: Path) -> Attempt:
    place = folder / "shared"
    shutil.copytree(material.shared, place)
    victim = place / str(rng.choice(["config.json", "config.json", "model.safetensors"]))
    if victim.suffix == ".json" and rng.random() < 0.7:
        victim.write_bytes(json.dumps(changed(material.json(victim), rng)).encode("utf-8", "surrogatepass"))
    elif victim.suffix == ".json":
        victim.write_bytes(mutated_text(victim.read_text(encoding="utf-8"), rng))
    else:
        victim.write_bytes(_safetensors(victim.read_bytes(), rng))

    def read() -> None:
        editor = fclf.Editor.from_pretrained(place)
        editor.edit(material.few.embeddings, {editor.attribute_names[0]: 1}, abstain=True)

    return reading(read)


def _safetensors(content: bytes, rng: Generator) -> bytes:
    """Bytes changed, or the header, which is JSON, and tensors of other shapes."""
    how = rng.random()
    if how < 0.4:
        return mutated(content, rng)
    size = int.from_bytes(content[:8], "little")
    if how < 0.8:
        header = json.dumps(changed(json.loads(content[8 : 8 + size]), rng)).encode("utf-8", "surrogatepass")
    else:
        header = mutated_text(content[8 : 8 + size].decode(), rng)
    length = len(header) if rng.random() < 0.9 else int(rng.choice([0, 2**31, 2**63]))
    return length.to_bytes(8, "little") + header + content[8 + size :]


def decoder(material: Material, folder: Path, rng: Generator, sign: Path) -> Attempt:
    path = folder / "bad.safetensors"
    path.write_bytes(_safetensors(material.decoder.read_bytes(), rng))
    return reading(lambda: Decoder.load(path).decode(material.few.embeddings[:1]))


def _network(dim: int, outputs: int, pictures: bool) -> onnx.ModelProto:
    size = 48 if pictures else dim
    weights = np.random.default_rng(0).normal(size=(size, outputs)).astype(np.float32)
    nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["y"])]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 4, 4] if pictures else ["n", dim])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", outputs])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def _odd_network(model: onnx.ModelProto, rng: Generator) -> bytes:
    """A network with other inputs, outputs, operators or names."""
    graph = model.graph
    how = int(rng.integers(9))
    if how == 0:
        del graph.input[:]
    elif how == 1:
        del graph.output[:]
    elif how == 2:
        graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, ["n", 2]))
    elif how == 3:
        shapes: list[Any] = [
            [],
            ["n"],
            [0, 3, 4, 4],
            [2, 3, 4, 4],
            ["n", 3, 0, 4],
            ["n", -3, 4, 4],
            None,
            ["n", 3, 10**6, 10**6],
        ]
        kind = int(rng.choice([TensorProto.FLOAT, TensorProto.STRING, TensorProto.INT64, TensorProto.FLOAT16]))
        graph.input[0].CopyFrom(helper.make_tensor_value_info("x", kind, shapes[int(rng.integers(len(shapes)))]))
    elif how == 4:
        graph.node[-1].op_type = str(rng.choice(["Add", "Identity", "Loop", "", "Gemm", "Softmax", "ReduceSum"]))
    elif how == 5:
        values = np.full(tuple(graph.initializer[0].dims), rng.choice([np.nan, np.inf, 0.0]), np.float32)
        graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(values, "w"))
    elif how == 6:
        graph.initializer[0].dims[0] = int(rng.choice([0, 1, 10**9]))
    elif how == 7:
        graph.node[0].input[0] = "y"  # of itself
    else:
        model.opset_import[0].version = int(rng.choice([0, 1, 999]))
    return model.SerializeToString()


def _onnx(dim: int, outputs: int, pictures: bool, rng: Generator) -> bytes:
    model = _network(dim, outputs, pictures)
    return mutated(model.SerializeToString(), rng) if rng.random() < 0.5 else _odd_network(model, rng)


def scorer(material: Material, folder: Path, rng: Generator, sign: Path) -> Attempt:
    sound: dict[str, Any] = {"weights": np.ones(DIM, np.float32), "bias": np.zeros(1, np.float32)}
    path = folder / f"bad{rng.choice(['.npz', '.json', '.safetensors', '.onnx'])}"
    if path.suffix == ".npz":
        np.savez(path, **odd_arrays(sound, rng, sign)) if rng.random() < 0.7 else np.savez(path, **sound)
        path.write_bytes(path.read_bytes() if rng.random() < 0.5 else mutated(path.read_bytes(), rng))
    elif path.suffix == ".json":
        path.write_text(
            json.dumps(changed({"weights": [1.0] * DIM, "bias": 0.0}, rng)), encoding="utf-8", errors="surrogatepass"
        )
    elif path.suffix == ".safetensors":
        path.write_bytes(_safetensors(safetensors.numpy.save(sound), rng))
    else:
        path.write_bytes(_onnx(DIM, int(rng.choice([1, 2, 3])), False, rng))

    def read() -> None:
        found = Scorer.load(path, DIM)
        scores = found.score(material.few.embeddings.astype(np.float64))
        assert np.isfinite(scores).all()

    return reading(read)


def network(material: Material, folder: Path, rng: Generator, sign: Path) -> Attempt:
    path = folder / "bad.onnx"
    path.write_bytes(_onnx(DIM, DIM, True, rng))
    return reading(lambda: open_encoder(f"onnx:{path}"))


KINDS = {"checkpoint": checkpoint, "shared": shared, "decoder": decoder, "scorer": scorer, "network": network}
"""By name: what makes a bad file in a folder, and how it is tried."""
