"""Files that would run something, or read something else, do neither; docs/threat-model.md says what proves what."""

import json
import re
import shutil
from importlib.resources import files

import numpy as np
import onnx
import pytest
import torch
import yaml
from onnx import TensorProto, helper
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from fclf.applications.scorers import Scorer
from fclf.config import load_config
from fclf.decoder.training import STATE, Pairs, TrainingSettings, train_decoder
from fclf.encoders import open_encoder
from fclf.errors import InputError
from tests.faults.inputs.contract import Plant


def tag_of(sign):
    return f"!!python/object/apply:os.mkdir ['{sign}']"


def test_a_configuration_runs_nothing(tmp_path):
    sign, path = tmp_path / "executed", tmp_path / "config.yaml"
    path.write_text(f"training:\n  num_epochs: {tag_of(sign)}\n")
    with pytest.raises(InputError, match="is not YAML"):
        load_config(path)
    with pytest.raises(InputError, match="training"):
        load_config("edit", [f"training.num_epochs={tag_of(sign)}"])
    assert not sign.exists()
    yaml.unsafe_load(path.read_text())
    assert sign.exists()  # the plant works


def linear(path, location=None, operator="MatMul", domain=""):
    """A network from pictures whose weights lie in a file of their own, where `location` says."""
    weights = onnx.numpy_helper.from_array(np.random.default_rng(0).normal(size=(48, 5)).astype(np.float32), "w")
    if location is not None:
        onnx.external_data_helper.set_external_data(weights, str(location), length=48 * 5 * 4)
        weights.ClearField("raw_data")
        weights.data_location = TensorProto.EXTERNAL
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node(operator, ["f", "w"], ["y"], domain=domain)],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 5])],
        [weights],
    )
    sets = [helper.make_opsetid("", 18), *([helper.make_opsetid(domain, 1)] if domain else [])]
    model = helper.make_model(graph, opset_imports=sets, ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("how", ["above", "absolute", "link"])
def test_a_network_reads_no_file_outside_its_folder(how, tmp_path):
    place = tmp_path / "model"
    place.mkdir()
    outside = tmp_path / "outside.data"
    outside.write_bytes(np.ones((48, 5), np.float32).tobytes())
    shutil.copy(outside, place / "inside.data")
    assert open_encoder(f"onnx:{linear(place / 'good.onnx', 'inside.data')}").dim == 5
    (place / "link.data").symlink_to(outside)
    location = {"above": "../outside.data", "absolute": outside, "link": "link.data"}[how]
    with pytest.raises(InputError, match="no ONNX network that can be run"):
        open_encoder(f"onnx:{linear(place / 'bad.onnx', location)}")


def test_a_network_with_operators_of_its_own_is_refused(tmp_path):
    path = linear(tmp_path / "own.onnx", operator="Own", domain="somebody.else")
    with pytest.raises(InputError, match="no ONNX network that can be run"):
        open_encoder(f"onnx:{path}")


def scorer(path, location, place):
    """A scorer with one weight in a file of its own: of the graph, of a constant, or of a branch."""
    weight = onnx.numpy_helper.from_array(np.ones((4, 1), np.float32), "w")
    onnx.external_data_helper.set_external_data(weight, str(location), length=16)
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    rows, scores = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", w]) for n, w in (("z", 4), ("s", 1)))
    product = helper.make_node("MatMul", ["z", "w"], ["s"])
    if place == "graph":
        graph = helper.make_graph([product], "g", [rows], [scores], [weight])
    elif place == "constant":
        constant = helper.make_node("Constant", [], ["w"])
        constant.attribute.append(helper.make_attribute("value", weight))
        graph = helper.make_graph([constant, product], "g", [rows], [scores])
    else:
        branch = helper.make_graph([product], "b", [], [scores], [weight])
        both = helper.make_node("If", ["yes"], ["s"], then_branch=branch, else_branch=branch)
        yes = onnx.numpy_helper.from_array(np.array(True), "yes")
        graph = helper.make_graph([both], "g", [rows], [scores], [yes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("place", ["graph", "constant", "branch"])
def test_a_scorer_reads_no_file_outside_its_folder(place, tmp_path):
    folder, outside = tmp_path / "scorers", tmp_path / "outside.data"
    folder.mkdir()
    outside.write_bytes(np.ones(4, np.float32).tobytes())
    shutil.copy(outside, folder / "inside.data")
    good = Scorer.load(scorer(folder / "good.onnx", "inside.data", place), 4)
    assert good.score(np.eye(4)).tolist() == [1, 1, 1, 1]
    (folder / "link.data").symlink_to(outside)
    (folder / "up").symlink_to(tmp_path)
    for location in ("../outside.data", outside, "link.data", "up/outside.data", "../scorers/../outside.data"):
        with pytest.raises(InputError, match="cannot be read as ONNX"):
            Scorer.load(scorer(folder / "bad.onnx", location, place), 4)


def test_a_scorer_with_operators_of_its_own_is_refused(tmp_path):
    path = linear(tmp_path / "own.onnx", operator="Own", domain="somebody.else")
    with pytest.raises(InputError, match="cannot be read as ONNX"):
        Scorer.load(path, 48)


def test_settings_beside_a_network_run_nothing(tmp_path):
    sign, path = tmp_path / "executed", linear(tmp_path / "network.onnx")
    beside = path.with_suffix(".yaml")
    beside.write_text(f"size: {tag_of(sign)}\n")
    with pytest.raises(InputError):
        open_encoder(f"onnx:{path}")
    assert not sign.exists()


def test_code_beside_a_model_is_never_run(tmp_path):
    sign = tmp_path / "executed"
    (tmp_path / "own.py").write_text(f"import os\nos.mkdir({str(sign)!r})\nclass Config: pass\n")
    config = {"model_type": "somebodys", "auto_map": {"AutoConfig": "own.Config"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="holds no CLIP model"):
        open_encoder(f"clip:{tmp_path}")
    assert not sign.exists()


def test_pickled_weights_of_a_model_are_not_opened(tmp_path):
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPVisionConfig(**small, image_size=32, patch_size=8, projection_dim=12)
    CLIPVisionModelWithProjection(config).save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    sign = tmp_path / "executed"
    torch.save({"weight": Plant(sign)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match="holds no CLIP model"):
        open_encoder(f"clip:{tmp_path}")
    assert not sign.exists()
    torch.load(tmp_path / "pytorch_model.bin", weights_only=False)
    assert sign.exists()  # the plant works


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_state_of_a_decoders_training_runs_nothing(tmp_path):
    pairs = Pairs(np.eye(8, dtype=np.float32), np.zeros((8, 64, 64, 3), np.uint8))
    sign = tmp_path / "executed"
    (tmp_path / "run").mkdir()
    torch.save({"settings": Plant(sign)}, tmp_path / "run" / STATE)
    with pytest.raises(InputError, match=r"cannot be read \(UnpicklingError\)"):
        train_decoder(pairs, pairs, TrainingSettings(), tmp_path / "run", fingerprint="a", resume=True)
    assert not sign.exists()
    torch.load(tmp_path / "run" / STATE, weights_only=False)
    assert sign.exists()  # the plant works


SINKS = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|createContextualFragment"
)
"""Ways by which a script makes markup or code of a text."""


@pytest.mark.parametrize("name", ["serve/static/page.js", "serve/static/docs.js", "report/html/zoom.js"])
def test_no_script_makes_markup_of_what_it_is_told(name):
    assert SINKS.findall((files("fclf") / name).read_text(encoding="utf-8")) == []
    assert SINKS.search("element.innerHTML = id")
