from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

from fclf.applications.scorers import Scorer
from fclf.errors import InputError

W, B = np.arange(1.0, 5.0), 0.5
Z = np.eye(4)


def network(path, columns: int, *, sigmoid: bool = False, width: int = 4, batch: int | str = "n"):
    weights = np.stack([-W, W][-columns:] if columns < 3 else [W] * 3, axis=1).astype(np.float32)[:width]
    nodes = [helper.make_node("MatMul", ["z", "w"], ["s"])]
    if sigmoid:
        nodes.append(helper.make_node("Sigmoid", ["s"], ["p"]))
    out = "p" if sigmoid else "s"
    graph = helper.make_graph(
        nodes,
        "scorer",
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [batch, width])],
        [helper.make_tensor_value_info(out, TensorProto.FLOAT, [batch, columns])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("suffix", [".npz", ".json", ".safetensors"])
def test_linear_weights_are_read_from_every_format(tmp_path, suffix):
    path = tmp_path / f"scorer{suffix}"
    if suffix == ".npz":
        np.savez(path, weights=W, bias=B)
    elif suffix == ".json":
        path.write_text(json.dumps({"weights": W.tolist(), "bias": B}))
    else:
        save_file({"weights": W, "bias": np.array([B])}, path)
    scorer = Scorer.load(path, 4)
    np.testing.assert_allclose(scorer.score(Z), W + B)
    assert scorer.threshold == 0
    assert Scorer.load(path, 4, 3.0).decide(scorer.score(Z)).tolist() == [False, False, True, True]


@pytest.mark.parametrize("batch", ["n", 3])
def test_networks_give_one_or_two_scores_a_row(tmp_path, batch):
    one = Scorer.load(network(tmp_path / "one.onnx", 1, batch=batch), 4)
    np.testing.assert_allclose(one.score(Z), W)
    assert one.threshold == 0
    two = Scorer.load(network(tmp_path / "two.onnx", 2, batch=batch), 4)
    np.testing.assert_allclose(two.score(Z), 2 * W)
    probability = Scorer.load(network(tmp_path / "p.onnx", 1, sigmoid=True), 4)
    assert probability.threshold == 0.5


def test_what_is_no_scorer_is_refused(tmp_path):
    np.savez(tmp_path / "wide.npz", weights=np.ones(9), bias=0.0)
    np.savez(tmp_path / "nothing.npz", other=W)
    np.savez(tmp_path / "pickled.npz", weights=np.array([{"a": 1}], dtype=object), bias=0.0)
    np.savez(tmp_path / "nan.npz", weights=np.array([1, 2, np.nan, 4]), bias=0.0)
    (tmp_path / "list.json").write_text("[1, 2]")
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "text.json").write_text('{"weights": ["a", "b"]}')
    (tmp_path / "broken.onnx").write_bytes(b"no network")
    (tmp_path / "broken.safetensors").write_bytes(b"no tensors")
    (tmp_path / "scorer.pkl").write_bytes(b"")
    network(tmp_path / "wide.onnx", 1, width=3)
    network(tmp_path / "three.onnx", 3)
    np.savez(tmp_path / "good.npz", weights=W, bias=B)
    with pytest.raises(InputError, match="--threshold nan"):
        Scorer.load(tmp_path / "good.npz", 4, float("nan"))
    for name, message in {
        "wide.npz": r"\(9,\).*\(4,\)",
        "nothing.npz": "no `weights`; it holds other",
        "pickled.npz": "pickled",
        "nan.npz": "finite",
        "list.json": "an object",
        "broken.json": "cannot be read",
        "text.json": "must be numbers",
        "broken.onnx": "cannot be read as ONNX",
        "broken.safetensors": "cannot be read",
        "scorer.pkl": "read from .onnx, .npz",
        "wide.onnx": r"\(n, 4\)",
        "three.onnx": r"\(64, 3\)",
        "absent.npz": "no file",
    }.items():
        with pytest.raises(InputError, match=message):
            Scorer.load(tmp_path / name, 4)
