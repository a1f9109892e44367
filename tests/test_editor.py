from __future__ import annotations

import importlib
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

import fclf
from fclf.checkpoint import Checkpoint
from fclf.data.embeddings import EmbeddingSet
from fclf.data.planted import planted
from fclf.errors import InputError

D = 48
OVERRIDES = {"model.start": "transport", "model.residual_steps": 0}


@pytest.fixture(scope="module")
def data():
    return planted(1500, D, geometry="middle")[0]


@pytest.fixture(scope="module")
def editor(data):
    return fclf.fit(data, overrides=OVERRIDES)


@pytest.fixture(scope="module")
def rows(data):
    return data.part("test")


def expected(editor, rows, **assign):
    return editor.checkpoint.edit(rows, assign).embeddings


def assert_near(out, wanted, tolerance):
    """Of rounded rows some stand at another of the 1,001 quantiles, and the outermost are far apart."""
    near = (np.abs(out.astype(np.float64) - wanted) <= tolerance).all(axis=1)
    assert near.all() if tolerance < 1e-4 else near.mean() > 0.9


def test_public_names_are_functions_whatever_is_imported():
    importlib.import_module("fclf.editor")
    importlib.import_module("fclf.fitting")
    assert callable(fclf.fit)
    assert fclf.load is importlib.import_module("fclf.editor").load
    assert {"fit", "load", "Editor"} <= set(dir(fclf))


def test_fit_leaves_nothing_behind_and_is_what_training_makes(data, editor, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    again = fclf.fit(data, overrides=[f"{key}={value}" for key, value in OVERRIDES.items()], seed=0)
    assert list(tmp_path.iterdir()) == []
    assert all(torch.equal(value, again.checkpoint.weights[key]) for key, value in editor.checkpoint.weights.items())
    kept = fclf.fit(data, overrides=OVERRIDES, output_dir=tmp_path / "run")
    assert Checkpoint.load(tmp_path / "run").data_fingerprint == kept.checkpoint.data_fingerprint
    with pytest.raises(InputError, match="--overwrite"):
        fclf.fit(data, overrides=OVERRIDES, output_dir=tmp_path / "run")


def test_the_reference_recipe_is_trained_too(data):
    settings = {"training.num_epochs": 1, "model.hidden_dim": 8, "training.evaluate_every": 0}
    editor = fclf.fit(data, "fclf_config", overrides=settings, attributes=["Smiling", "Male"])
    assert editor.attribute_names == ("Smiling", "Male")
    z = data.embeddings[:5]
    assert editor.edit(z, {"Smiling": 1}).shape == z.shape
    assert editor.checkpoint.support is not None


def test_val_set_is_chosen_on_and_all_of_the_train_set_fitted(data):
    train, val = data.part("train"), data.part("val")
    editor = fclf.fit(train, val_set=val, overrides=OVERRIDES)
    assert len(editor.checkpoint.seen_ids) == len(train) + len(val)
    bare = EmbeddingSet.from_arrays({key: value for key, value in train.to_arrays().items() if key != "split"})
    assert len(fclf.fit(bare, val_set=val, overrides=OVERRIDES).checkpoint.seen_ids) == len(train) + len(val)
    with pytest.raises(InputError, match="width"):
        fclf.fit(train, val_set=planted(100, 12)[0])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_arrays_in_arrays_out(editor, rows, dtype):
    z = rows.embeddings.astype(dtype)
    before = z.copy()
    out = editor.edit(z, {"Male": 1}, rows.attributes)
    assert out.dtype == dtype
    assert (z == before).all()
    assert_near(out, expected(editor, rows, Male=1), 1e-3 if dtype == np.float16 else 1e-6)
    still = rows.attributes[:, 2] == 1
    assert still.any()
    assert (out[still] == z[still]).all()
    assert (out[~still] != z[~still]).any(axis=1).all()
    assert (editor.edit(z, {"Male": 1}, rows.attributes, strength=0) == z).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_tensors_in_tensors_out(editor, rows, dtype):
    z = torch.from_numpy(rows.embeddings).to(dtype)
    out = editor.edit(z, {"Male": 1}, torch.from_numpy(rows.attributes))
    assert isinstance(out, torch.Tensor)
    assert out.dtype == dtype
    assert out.device == z.device
    tolerance = {torch.float16: 1e-3, torch.bfloat16: 1e-2}.get(dtype, 1e-6)
    assert_near(out.double().numpy(), expected(editor, rows, Male=1), tolerance)


def test_sets_in_sets_out(editor, rows):
    out = editor.edit(rows, {"Male": 1})
    assert isinstance(out, EmbeddingSet)
    assert (out.embeddings == expected(editor, rows, Male=1)).all()
    assert (out.attributes[:, 2] == 1).all()
    assert (out.ids == rows.ids).all()
    assert out.split is not None


def test_targets_for_every_row_and_flips(editor, rows):
    values = np.arange(len(rows)) % 2
    out = editor.edit(rows.embeddings, {"Male": values}, rows.attributes)
    for value in (0, 1):
        np.testing.assert_allclose(out[values == value], expected(editor, rows, Male=value)[values == value], atol=1e-6)
    flipped = editor.edit(rows.embeddings, labels=rows.attributes, flip="Male")
    assert (flipped == editor.checkpoint.edit(rows, flip=["Male"]).embeddings).all()


def test_labels_are_inferred_where_they_are_absent_with_their_confidence(editor, rows):
    _, info = editor.edit(rows.embeddings, {"Male": 1}, return_info=True)
    assert info.inferred.all()
    assert ((info.confidence > 0.5) & (info.confidence <= 1)).all()
    right = info.labels == rows.attributes
    assert right.mean() > 0.75
    assert info.confidence[right].mean() > info.confidence[~right].mean()
    given = rows.attributes.astype(np.float64)
    given[:7, 2] = np.nan
    _, info = editor.edit(rows.embeddings, {"Smiling": 1}, given, return_info=True)
    assert info.inferred.sum() == 7
    assert (info.confidence[~info.inferred] == 1).all()
    assert (info.labels[7:] == rows.attributes[7:]).all()
    named, info = editor.edit(rows.embeddings, {"Smiling": 1}, {"Male": rows.attributes[:, 2]}, return_info=True)
    assert info.inferred.mean() == 0.8
    assert named.shape == rows.embeddings.shape
    labels, confidence = editor.infer(rows.embeddings)
    assert (labels == editor.edit(rows.embeddings, {"Male": 1}, return_info=True)[1].labels).all()
    assert (confidence > 0.5).all()


FAR = {"Smiling": 1}


def test_it_abstains_from_edits_that_no_real_row_resembles(editor, rows):
    healthy, info = editor.edit(rows, FAR, abstain=True, return_info=True)
    assert info.accepted.mean() > 0.8
    far, refused = editor.edit(rows, FAR, strength=4, abstain=True, return_info=True)
    assert refused.abstained.mean() > info.abstained.mean() + 0.1
    gone = refused.abstained
    assert (far.embeddings[gone] == rows.embeddings[gone]).all()
    assert (far.attributes[gone] == rows.attributes[gone]).all()
    assert (far.attributes[~gone, 0] == 1).all()
    np.testing.assert_array_equal(
        refused.score,
        editor.checkpoint.support.score(editor.edit(rows, FAR, strength=4).embeddings, info.target),
    )
    anyway, seen = editor.edit(rows, FAR, strength=4, return_info=True)
    assert (refused.score == editor.checkpoint.support.score(anyway.embeddings, info.target)).all()
    assert not seen.abstained.any()
    assert (seen.accepted == refused.accepted).all()
    assert (anyway.attributes[:, 0] == 1).all()
    strict = editor.edit(rows, FAR, abstain=0.5, return_info=True)[1]
    assert strict.abstained.sum() > info.abstained.sum()
    assert strict.level == 0.5
    assert healthy.dim == rows.dim


def test_old_checkpoints_give_no_score_and_cannot_abstain(editor, rows):
    old = fclf.Editor(replace(editor.checkpoint, support=None))
    assert old.edit(rows, {"Male": 1}, return_info=True)[1].score is None
    with pytest.raises(InputError, match="Train again"):
        old.edit(rows, {"Male": 1}, abstain=True)


def test_keep_is_that_of_the_checkpoint_or_another(editor, rows):
    ends = [editor.edit(rows, flip=["Male"], keep=keep).embeddings for keep in (None, 0.5, 1.0)]
    assert (ends[0] == ends[1]).all()
    assert np.abs(ends[0] - ends[2]).max() > 0.01
    for number in range(40):
        editor.edit(rows.embeddings[:1], {"Male": 1}, keep=number / 40)
    assert len(editor._at_keep) <= 16


def test_a_trajectory_begins_at_the_rows_and_ends_at_the_edit(editor, rows):
    path = editor.trajectory(rows.embeddings, {"Male": 1}, rows.attributes, strength=0.7)
    assert (path.start.numpy() == rows.embeddings).all()
    np.testing.assert_allclose(path.end.numpy(), editor.edit(rows, {"Male": 1}, strength=0.7).embeddings, atol=1e-5)
    assert path.points.shape[1:] == rows.embeddings.shape


def test_saved_and_loaded_it_gives_the_same_bits(editor, rows, tmp_path):
    editor.save(tmp_path / "here")
    editor.save(tmp_path / "model.pt")
    for path in ("here", "model.pt"):
        again = fclf.load(tmp_path / path)
        assert (again.edit(rows, {"Male": 1}).embeddings == editor.edit(rows, {"Male": 1}).embeddings).all()


def test_it_is_evaluated_on_the_set_that_it_was_fitted_on(editor, data):
    report = editor.evaluate(data)
    assert report.flow.name == "flow"
    assert report.metrics.verdict.name


def test_many_threads_get_what_one_gets(editor, rows):
    wanted = {keep: editor.edit(rows, {"Male": 1}, keep=keep).embeddings for keep in (0.1, 0.4, 0.9)}
    editor._at_keep.clear()
    wrong: list[object] = []

    def work(keep):
        try:
            for _ in range(5):
                if not (editor.edit(rows, {"Male": 1}, keep=keep).embeddings == wanted[keep]).all():
                    wrong.append(keep)
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(keep,)) for keep in wanted for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_nothing_in_nothing_out(editor):
    for empty in (np.zeros((0, D)), torch.zeros(0, D, dtype=torch.float16)):
        out, info = editor.edit(empty, {"Male": 1}, return_info=True)
        assert out.shape == (0, D)
        assert out.dtype == empty.dtype
        assert info.labels.shape == (0, 5)
        assert info.score.shape == (0,)


def unit(n, d, seed=0):
    x = np.random.default_rng(seed).normal(size=(n, d))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("z", "assign", "more", "message"),
    [
        pytest.param(unit(3, 8), {"Male": 1}, {}, "width 48, but these have width 8", id="width"),
        pytest.param(unit(1, D)[0], {"Male": 1}, {}, r"z\[None\]", id="one row"),
        pytest.param(unit(3, D)[:, :, None], {"Male": 1}, {}, "rows, width", id="three axes"),
        pytest.param(3 * unit(3, D), {"Male": 1}, {}, "unit vectors", id="not unit"),
        pytest.param(unit(3, D) * np.nan, {"Male": 1}, {}, "NaN", id="NaN"),
        pytest.param(np.ones((3, D), dtype=int), {"Male": 1}, {}, "float16, float32 or float64", id="integers"),
        pytest.param(unit(3, D), {"Mael": 1}, {}, "did you mean 'Male'", id="misspelt"),
        pytest.param(unit(3, D), {"Male": 2}, {}, "set to 2", id="two"),
        pytest.param(unit(3, D), {"Male": "yes"}, {}, "0 or 1", id="text"),
        pytest.param(unit(3, D), {"Male": [0, 1]}, {}, r"shape \(2,\)", id="too few"),
        pytest.param(unit(3, D), {}, {}, "Nothing to edit", id="nothing"),
        pytest.param(unit(3, D), ["Male"], {}, "mapping", id="list"),
        pytest.param(unit(3, D), {"Male": 1}, {"flip": ["Male"]}, "both set and flipped", id="both"),
        pytest.param(unit(3, D), {"Male": 1}, {"labels": np.zeros((3, 2))}, r"\(3, 5\) was expected", id="labels"),
        pytest.param(unit(3, D), {"Male": 1}, {"labels": np.full((3, 5), 7)}, "0, 1", id="sevens"),
        pytest.param(unit(3, D), {"Male": 1}, {"labels": np.full((3, 5), -1)}, "//", id="signed"),
        pytest.param(unit(3, D), {"Male": 1}, {"labels": {"Mael": [0, 1, 1]}}, "did you mean", id="label name"),
        pytest.param(unit(3, D), {"Male": 1}, {"strength": -1}, "strength", id="backwards"),
        pytest.param(unit(3, D), {"Male": 1}, {"strength": np.nan}, "strength", id="strength NaN"),
        pytest.param(unit(3, D), {"Male": 1}, {"keep": 2}, "between 0", id="keep"),
        pytest.param(unit(3, D), {"Male": 1}, {"abstain": 7.0}, "level between 0 and 1", id="level"),
    ],
)
def test_what_does_not_fit_is_refused(editor, z, assign, more, message):
    with pytest.raises(InputError, match=message):
        editor.edit(z, assign, **more)


def test_gradients_are_not_lost_in_silence(editor, rows):
    z = torch.from_numpy(rows.embeddings).requires_grad_()
    with pytest.raises(InputError, match="detach"):
        editor.edit(z, {"Male": 1})
    with torch.no_grad():
        assert not editor.edit(z, {"Male": 1}).requires_grad


def test_rows_of_any_length_are_projected_on_request(editor, rows):
    out = editor.edit(3 * rows.embeddings, {"Male": 1}, rows.attributes, normalize=True)
    np.testing.assert_allclose(out, expected(editor, rows, Male=1), atol=1e-5)


def test_arrays_are_no_set_to_fit_on(rows):
    with pytest.raises(InputError, match="from_arrays"):
        fclf.fit(rows.embeddings)


@pytest.mark.parametrize(
    ("package", "extra", "use"),
    [
        ("huggingface_hub", "hub", lambda editor, path: editor.save_pretrained(path)),
        ("onnx", "onnx", lambda editor, path: editor.export_onnx(path / "edit.onnx")),
    ],
)
def test_an_extra_that_is_missing_is_named(editor, tmp_path, monkeypatch, package, extra, use):
    for name in [name for name in sys.modules if name.split(".")[0] == package] + ["fclf.hub", "fclf.onnx_export"]:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.delitem(sys.modules, "fclf.tracing", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=rf"pip install 'fclf\[{extra}\]'"):
        use(editor, tmp_path)


def test_nothing_optional_is_imported_before_it_is_asked_for():
    code = "import sys, fclf; fclf.fit, fclf.load; print({'onnx', 'huggingface_hub'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
