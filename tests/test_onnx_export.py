from __future__ import annotations

import copy
import json
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import fclf
from fclf import onnx_export
from fclf.checkpoint import Checkpoint
from fclf.cli import main
from fclf.closed.personal import PersonalEffects
from fclf.closed.state import to_arrays
from fclf.config import load_config
from fclf.data.planted import planted
from fclf.errors import InputError
from fclf.field import ChangeField, ChangeResidual
from fclf.onnx_export import export_onnx
from fclf.train import train
from fclf.weights import change_weights

D, K = 24, 5
WITHIN = 1e-5


@pytest.fixture(scope="module")
def data():
    return planted(1500, D)[0]


@pytest.fixture(scope="module")
def checkpoints(data, tmp_path_factory):
    """One of every kind of field."""
    found = {}
    for start in ("shift", "affine", "quantile", "transport", "learned"):
        config = load_config("edit", [f"model.start={start}", f"model.effect_steps={30 * (start == 'learned')}"])
        found[start] = train(data, config, tmp_path_factory.mktemp(start))
    transport = found["transport"]
    form = transport.flow().field.start
    rng = np.random.default_rng(0)
    personal = PersonalEffects(rng.normal(size=(D, 6)), rng.normal(size=(K, 6, D)) * 0.02, gain=0.1)
    found["personal"] = rebuilt(transport, replace(form, personal=personal))
    residual = ChangeResidual(torch.full((D,), 0.1), 0.2, K, seed=3)
    torch.nn.init.normal_(residual.outward, std=0.05, generator=torch.Generator().manual_seed(0))
    found["residual"] = rebuilt(transport, form, residual, 0.5)
    quantile = found["quantile"].flow().field.start
    found["controlled"] = rebuilt(found["quantile"], replace(quantile, control=0.5, strength=1.15))
    settings = ["training.num_epochs=1", "training.evaluate_every=0", "model.hidden_dim=16"]
    found["target"] = train(data, load_config("fclf_config", settings), tmp_path_factory.mktemp("target"))
    return found


KINDS = ("shift", "affine", "quantile", "controlled", "transport", "personal", "learned", "residual", "target")


WITH_KEEP = ("transport", "personal", "residual")


def rebuilt(checkpoint, start, residual=None, amount=1.0):
    return replace(checkpoint, weights=change_weights(ChangeField(start, residual, amount)))


def ran(path, z, source, target):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    arrays = (np.asarray(array, dtype=np.float32) for array in (z, source, target))
    return session.run(["edited"], dict(zip(("z", "source", "target"), arrays, strict=True)))[0]


def in_torch(checkpoint, z, source, target, strength=1.0):
    """The flow itself, in float64."""
    rows, own, wanted = (torch.from_numpy(np.asarray(array)).double() for array in (z, source, target))
    flow = checkpoint.flow()
    field = copy.deepcopy(flow.field).double()
    flow = replace(flow, field=field, condition_of=getattr(field, "condition", None))
    ends = flow.edit(rows, flow.condition(rows, own, wanted), strength).double().numpy()
    still = (np.asarray(source) == np.asarray(target)).all(axis=1)
    if checkpoint.config.model.kind == "change":
        ends[still] = z[still]
    return ends


def asked(data, seed, n=200):
    """Rows, their labels and random targets, rows that stay among them."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, len(data), n)
    source = data.attributes[rows]
    target = np.where(rng.random((n, K)) < 0.4, 1 - source, source)
    target[:5] = source[:5]
    return data.embeddings[rows], source, target


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("strength", [1.0, 0.4, 1.7])
def test_it_is_what_torch_computes(checkpoints, data, kind, strength, tmp_path):
    z, source, target = asked(data, 1)
    path = export_onnx(checkpoints[kind], tmp_path / "edit.onnx", strength=strength)
    out = ran(path, z, source, target)
    assert out.dtype == np.float32
    wanted = in_torch(checkpoints[kind], z, source, target, strength)
    np.testing.assert_allclose(out, wanted, atol=WITHIN)
    assert np.abs(wanted - z).max() > 0.01  # there is something to be equal in
    if kind != "target":
        assert (out[:5] == z[:5]).all()


@settings(max_examples=12)
@given(
    st.integers(0, 10**6), st.floats(0, 1), st.floats(0.05, 3), st.sampled_from(["transport", "personal", "residual"])
)
def test_it_is_with_any_targets_keep_and_strength(checkpoints, data, tmp_path_factory, seed, keep, strength, kind):
    checkpoint = checkpoints[kind].with_keep(keep)
    z, source, target = asked(data, seed)
    path = export_onnx(checkpoint, tmp_path_factory.getbasetemp() / "any.onnx", strength=strength)
    np.testing.assert_allclose(
        ran(path, z, source, target), in_torch(checkpoint, z, source, target, strength), atol=WITHIN
    )


def test_what_users_get_in_float32_is_as_near(checkpoints, data, tmp_path):
    z, source, target = asked(data, 2, 1500)
    rows = replace(data.take(np.arange(len(z))), embeddings=z, attributes=source)
    path = fclf.Editor(checkpoints["transport"]).export_onnx(tmp_path / "edit.onnx")
    difference = np.abs(ran(path, z, source, target) - checkpoints["transport"].carry(rows, target).embeddings).max(
        axis=1
    )
    # a logit that float32 rounds to the other side of one of the 1,001 quantiles goes to the next one
    assert np.mean(difference > WITHIN) < 0.003


@pytest.mark.parametrize("method", ["euler", "heun", "rk4"])
@pytest.mark.parametrize("kind", ["target", "residual"])
def test_every_integrator(checkpoints, data, method, kind, tmp_path):
    inference = checkpoints[kind].config.inference.model_copy(update={"method": method, "num_flow_steps": 4})
    checkpoint = replace(checkpoints[kind], config=checkpoints[kind].config.model_copy(update={"inference": inference}))
    z, source, target = asked(data, 3)
    out = ran(export_onnx(checkpoint, tmp_path / "edit.onnx"), z, source, target)
    np.testing.assert_allclose(out, in_torch(checkpoint, z, source, target), atol=WITHIN)


@pytest.mark.parametrize("n", [0, 1, 3000])
def test_any_number_of_rows(checkpoints, data, n, tmp_path):
    z, source, target = asked(data, 4, max(n, 1))
    path = export_onnx(checkpoints["transport"], tmp_path / "edit.onnx")
    assert ran(path, z[:n], source[:n], target[:n]).shape == (n, D)


def test_strength_zero_is_the_identity(checkpoints, data, tmp_path):
    z, source, target = asked(data, 5)
    for kind in ("transport", "target"):
        assert (ran(export_onnx(checkpoints[kind], tmp_path / "e.onnx", strength=0), z, source, target) == z).all()


def test_the_keep_of_an_editor(checkpoints, data, tmp_path):
    editor = fclf.Editor(checkpoints["transport"])
    z, source, target = asked(data, 6)
    out = ran(editor.export_onnx(tmp_path / "keep.onnx", keep=0.9), z, source, target)
    np.testing.assert_allclose(out, in_torch(editor.checkpoint.with_keep(0.9), z, source, target), atol=WITHIN)
    assert np.abs(out - ran(editor.export_onnx(tmp_path / "edit.onnx"), z, source, target)).max() > 1e-3


def test_changes_beyond_the_table_are_not_guessed(checkpoints, data, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_export, "MOST_NUMBERS", 15 * (2 * K) ** 2)  # K single changes and 10 pairs
    z, source, target = asked(data, 7)
    path = export_onnx(checkpoints["transport"], tmp_path / "edit.onnx")
    out = ran(path, z, source, target)
    few = (source != target).sum(axis=1) <= 2
    assert few.any()
    assert not few.all()
    np.testing.assert_allclose(out[few], in_torch(checkpoints["transport"], z, source, target)[few], atol=WITHIN)
    assert np.isnan(out[~few]).all()
    assert metadata(path)["max_changes"] == "2"


def metadata(path):
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


def test_the_file_says_what_it_is(checkpoints, tmp_path):
    path = export_onnx(checkpoints["transport"], tmp_path / "edit.onnx", strength=0.5)
    said = metadata(path)
    assert json.loads(said["attribute_names"]) == list(checkpoints["transport"].attribute_names)
    assert said["strength"] == "0.5"
    assert said["max_changes"] == str(K)
    assert said["data_fingerprint"] == checkpoints["transport"].data_fingerprint
    again = export_onnx(checkpoints["transport"], tmp_path / "again.onnx", strength=0.5)
    assert again.read_bytes() == path.read_bytes()


def test_forms_that_are_not_known_are_refused_by_name(checkpoints, tmp_path, monkeypatch):
    class Unheard:
        def __call__(self, z, y, target):
            return z

    flow = replace(checkpoints["shift"].flow(), field=ChangeField(Unheard()))
    monkeypatch.setattr(Checkpoint, "flow", lambda self: flow)
    with pytest.raises(InputError, match="Unheard cannot be exported"):
        export_onnx(checkpoints["shift"], tmp_path / "edit.onnx")
    monkeypatch.setattr(Checkpoint, "flow", lambda self: replace(flow, field=lambda z, y: z))
    with pytest.raises(InputError, match="function cannot be exported"):
        export_onnx(checkpoints["shift"], tmp_path / "edit.onnx")
    with pytest.raises(InputError, match="strength"):
        export_onnx(checkpoints["shift"], tmp_path / "edit.onnx", strength=-1)
    assert list(tmp_path.iterdir()) == []


def test_the_command(checkpoints, data, tmp_path, capsys):
    fclf.Editor(checkpoints["transport"]).save(tmp_path / "run")
    base = ["export", "--checkpoint", str(tmp_path / "run"), "--output"]
    assert main([*base, str(tmp_path / "edit.onnx"), "--keep", "0.7", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["inputs"] == ["z", "source", "target"]
    z, source, target = asked(data, 8)
    wanted = in_torch(checkpoints["transport"].with_keep(0.7), z, source, target)
    np.testing.assert_allclose(ran(tmp_path / "edit.onnx", z, source, target), wanted, atol=WITHIN)
    assert main([*base, str(tmp_path / "edit.pt")]) == 2
    assert ".onnx" in capsys.readouterr().err


def test_the_whole_form_is_in_the_table(checkpoints):
    """A new part of conditional transport must not be forgotten by the export."""
    parts = {name.split(".")[1] for name in to_arrays(checkpoints["transport"].flow().field.start)}
    known = {"means", "weights", "offsets", "deviations", "quantiles", "spread", "reliability", "keep", "floor"}
    assert parts == known | {"personal", "learned"}
