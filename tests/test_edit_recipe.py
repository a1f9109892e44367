"""The recipe `edit` as a user types it."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from fclf import residual as residual_module
from fclf.checkpoint import Checkpoint
from fclf.cli import main
from fclf.closed.candidates import STARTS
from fclf.config import load_config
from fclf.data.embeddings import EmbeddingSet
from fclf.data.planted import planted
from fclf.errors import InputError
from fclf.evaluation.selection import Choice
from fclf.field import ChangeField, ChangeResidual
from fclf.train import train
from fclf.weights import change_weights

fit_module = sys.modules["fclf.fitting"]


@pytest.fixture(scope="module")
def embeddings(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "planted.npz"
    planted(1500, 16)[0].save(path)
    return path


FEW_STEPS = ("--set", "model.residual_steps=10")
CLOSED = "model.residual_steps=0"


@pytest.fixture(scope="module")
def run_dir(embeddings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert main(["train", "--embeddings", str(embeddings), "--output-dir", str(folder), *FEW_STEPS]) == 0
    return folder


@pytest.fixture(scope="module")
def transport_dir(embeddings, tmp_path_factory):
    """A run whose start is conditional transport, whatever the val rows say."""
    config, folder = load_config("edit", ["model.start=transport", CLOSED]), tmp_path_factory.mktemp("transport")
    train(EmbeddingSet.load(embeddings), config, folder)
    return folder


@pytest.fixture(scope="module")
def transport(transport_dir):
    return Checkpoint.load(transport_dir)


def edit(run_dir, embeddings, output, *more):
    base = ["edit", "--checkpoint", str(run_dir), "--embeddings", str(embeddings), "--output", str(output)]
    return main([*base, *more])


def test_it_is_the_default_and_says_what_it_chose(embeddings, run_dir, tmp_path, capsys):
    assert main(["train", "--embeddings", str(embeddings), "--output-dir", str(tmp_path), *FEW_STEPS]) == 0
    said = capsys.readouterr().out
    checkpoint = Checkpoint.load(tmp_path)
    assert checkpoint.config.model.kind == "change"
    assert checkpoint.choice["chosen"] in said
    assert "against" in said
    assert "residual x1" in said
    assert json.loads((tmp_path / "run.json").read_text())["state"] == "finished"
    again = Checkpoint.load(run_dir)
    assert again.weights.keys() == checkpoint.weights.keys()
    assert all((again.weights[name] == value).all() for name, value in checkpoint.weights.items())


def test_json_has_the_choice(embeddings, tmp_path, capsys):
    assert main(["train", "--embeddings", str(embeddings), "--output-dir", str(tmp_path), "--json", *FEW_STEPS]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["choice"]["chosen"] in {trial["name"] for trial in found["choice"]["trials"]}
    assert found["last"] is None


def test_set_touches_no_row_that_has_the_value_and_no_other_column(run_dir, embeddings, tmp_path):
    assert edit(run_dir, embeddings, tmp_path / "out.npz", "--set", "Smiling=1") == 0
    before, after = EmbeddingSet.load(embeddings), EmbeddingSet.load(tmp_path / "out.npz")
    smiling = before.attributes[:, 0] == 1
    assert smiling.any()
    assert (after.embeddings[smiling] == before.embeddings[smiling]).all()
    assert (np.linalg.norm(after.embeddings[~smiling] - before.embeddings[~smiling], axis=1) > 0.01).all()
    assert (after.attributes[:, 0] == 1).all()
    assert (after.attributes[:, 1:] == before.attributes[:, 1:]).all()
    assert (after.ids == before.ids).all()


def test_strength_zero_is_the_identity_bit_for_bit(run_dir, embeddings, tmp_path):
    assert edit(run_dir, embeddings, tmp_path / "out.npz", "--flip", "Male", "--strength", "0") == 0
    assert (EmbeddingSet.load(tmp_path / "out.npz").embeddings == EmbeddingSet.load(embeddings).embeddings).all()


def test_rows_without_labels_need_infer_labels_which_counts_them(run_dir, embeddings, tmp_path, capsys):
    labelled = EmbeddingSet.load(embeddings)
    labels = labelled.attributes.copy()
    labels[:7, 2] = -1
    some = tmp_path / "some.npz"
    np.savez(
        some, embeddings=labelled.embeddings, attributes=labels, attribute_names=np.array(labelled.attribute_names)
    )
    bare = tmp_path / "bare.npz"
    np.savez(bare, embeddings=labelled.embeddings)
    for path, unknown in ((some, 7), (bare, len(labelled))):
        more = ("--set", "Smiling=1", "--labels", "missing")
        assert edit(run_dir, path, tmp_path / "out.npz", *more) == 2
        message = capsys.readouterr().err
        assert "--infer-labels" in message
        assert str(unknown) in message
        assert not (tmp_path / "out.npz").exists()
        assert edit(run_dir, path, tmp_path / "out.npz", *more, "--infer-labels") == 0
        assert f"for {unknown:,} of {len(labelled):,} rows" in capsys.readouterr().err
        found = EmbeddingSet.load(tmp_path / "out.npz")
        assert (found.attributes[:, 0] == 1).all()
        assert (found.attributes[:, 1:] == labelled.attributes[:, 1:]).mean() > 0.75  # as good as a linear probe
        (tmp_path / "out.npz").unlink()


def test_all_attributes_set_is_no_excuse_for_unknown_sources(run_dir, embeddings, tmp_path, capsys):
    """A field on the change must know what changes."""
    bare = tmp_path / "bare.npz"
    np.savez(bare, embeddings=EmbeddingSet.load(embeddings).embeddings)
    every = [part for name in ("Smiling", "Young", "Male", "Eyeglasses", "Mustache") for part in ("--set", f"{name}=1")]
    assert edit(run_dir, bare, tmp_path / "out.npz", *every) == 2
    assert "what changes" in capsys.readouterr().err


def test_keep_moves_along_the_front_without_fitting_again(transport, embeddings):
    rows = EmbeddingSet.load(embeddings).part("test")
    faithful, default, controlled = (
        transport.with_keep(keep).edit(rows, flip=["Male"]).embeddings for keep in (0.0, 0.5, 1.0)
    )
    assert (transport.edit(rows, flip=["Male"]).embeddings == default).all()
    assert np.abs(faithful - controlled).max() > 0.01
    with pytest.raises(InputError, match="between 0"):
        transport.with_keep(1.5)


@pytest.fixture(scope="module")
def with_residual(transport):
    """The same checkpoint with a residual that is used by half."""
    data_mean = torch.zeros(transport.dim)
    residual = ChangeResidual(data_mean, 0.2, len(transport.attribute_names))
    torch.nn.init.normal_(residual.outward, std=0.05, generator=torch.Generator().manual_seed(0))
    start = transport.flow().field.start
    return replace(transport, weights=change_weights(ChangeField(start, residual, 0.5)))


def test_a_residual_is_saved_and_loaded_and_stays_at_another_keep(with_residual, transport, embeddings, tmp_path):
    with_residual.save(tmp_path / "fclf_best.pt")
    again = Checkpoint.load(tmp_path)
    rows = EmbeddingSet.load(embeddings).part("test")

    def ends(checkpoint):
        return checkpoint.edit(rows, {"Male": 1}).embeddings

    assert (ends(again) == ends(with_residual)).all()
    assert np.abs(ends(again) - ends(transport)).max() > 1e-3
    still = rows.attributes[:, 2] == 1
    assert (ends(again)[still] == rows.embeddings[still]).all()
    field = again.with_keep(1.0).flow().field
    assert field.amount == 0.5
    assert field.start.keep == 1.0
    assert torch.equal(field.residual.outward, with_residual.flow().field.residual.outward)


@pytest.mark.parametrize("lost", ["residual.amount", "residual.outward", "residual.mean"])
def test_a_residual_that_is_not_whole_is_refused(with_residual, tmp_path, lost):
    weights = {name: value for name, value in with_residual.weights.items() if name != lost}
    replace(with_residual, weights=weights).save(tmp_path / "fclf_best.pt")
    with pytest.raises(InputError, match="do not fit together"):
        Checkpoint.load(tmp_path)


def test_what_the_val_rows_choose_is_what_is_trained_on_all_rows(embeddings, tmp_path, monkeypatch):
    """Where the choice is a residual, by the rows' verdict, the checkpoint holds it; the same seed, the same bits."""

    def choose(train_rows, val_rows, *, keep, seed, start, learn, **rest):
        assert start is None
        return Choice(chosen="shift x1 + residual x0.5", start="shift x1", amount=0.5, reason="because", keep=keep)

    monkeypatch.setattr(fit_module, "choose", choose)
    config = load_config("edit", ["model.residual_steps=3", "model.hidden_dim=8", "model.rank=2"])
    made = [train(EmbeddingSet.load(embeddings), config, tmp_path / name) for name in ("a", "b")]
    field = made[0].flow().field
    assert field.amount == 0.5
    assert field.residual.outward.any()
    assert field.residual.mix.shape == (8, 2)
    assert all(torch.equal(made[1].weights[name], value) for name, value in made[0].weights.items())


def test_a_loss_that_is_not_a_number_leaves_a_run_that_failed(embeddings, tmp_path, monkeypatch):
    monkeypatch.setattr(residual_module, "weighted_energy", lambda *_: torch.full((10,), torch.nan))
    arguments = ["--embeddings", str(embeddings), "--output-dir", str(tmp_path), *FEW_STEPS]
    assert main(["train", *arguments]) == 3
    assert json.loads((tmp_path / "run.json").read_text())["state"] == "failed"


def test_there_is_no_epoch_to_stop_on(embeddings, tmp_path, capsys):
    arguments = ["--embeddings", str(embeddings), "--output-dir", str(tmp_path / "run"), "--stop-on", "collapse"]
    assert main(["train", *arguments]) == 2
    assert "no epochs to stop at" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_progress_runs_to_the_end_of_the_bar(embeddings, tmp_path):
    seen = []
    train(EmbeddingSet.load(embeddings), load_config("edit", list(FEW_STEPS[1:])), tmp_path, on_epoch=seen.append)
    epochs = [record["epoch"] for record in seen]
    assert len(epochs) in (20, 30)
    assert epochs == sorted(epochs)
    assert epochs[-1] <= 50


def test_keep_is_refused_where_the_field_has_none(embeddings, tmp_path, capsys):
    config = load_config("edit", ["model.start=shift", CLOSED])
    train(EmbeddingSet.load(embeddings), config, tmp_path / "run")
    assert edit(tmp_path / "run", embeddings, tmp_path / "out.npz", "--flip", "Male", "--keep", "0.8") == 2
    assert "model.start=transport" in capsys.readouterr().err


@pytest.mark.parametrize("start", sorted(STARTS))
def test_every_closed_form_is_a_field_with_the_same_api(embeddings, tmp_path, start):
    data = EmbeddingSet.load(embeddings)
    checkpoint = train(data, load_config("edit", [f"model.start={start}", "model.effect_steps=5", CLOSED]), tmp_path)
    rows = data.part("test")
    edited = checkpoint.edit(rows, {"Male": 1})
    np.testing.assert_allclose(np.linalg.norm(edited.embeddings, axis=1), 1, atol=1e-5)
    change = rows.attributes[:, 2] == 0
    assert (np.linalg.norm(edited.embeddings - rows.embeddings, axis=1)[change] > 0.01).all()
    assert (edited.embeddings[~change] == rows.embeddings[~change]).all()


def test_a_finished_run_is_refused_or_replaced(run_dir, embeddings, capsys):
    command = ["train", "--embeddings", str(embeddings), "--output-dir", str(run_dir), *FEW_STEPS]
    assert main(command) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0


def test_evaluate_takes_it(run_dir, embeddings, tmp_path):
    arguments = ["--checkpoint", run_dir, "--embeddings", embeddings, "--output-dir", tmp_path, "--projection", "pca"]
    assert main(["evaluate", *map(str, arguments)]) == 0
    table = json.loads((tmp_path / "transfer_metrics.json").read_text())["table"]
    rows = {row["name"]: row for row in table}
    assert rows["flow"]["linear"]["success"] > rows["do nothing"]["linear"]["success"] + 0.3
    assert not rows["flow"]["collapsed"]


def test_resuming_a_finished_fit_gives_it_back_and_refuses_other_settings(transport_dir, embeddings, capsys):
    command = ["train", "--embeddings", str(embeddings), "--output-dir", str(transport_dir), "--resume"]
    settings = ["--set", "model.start=transport", "--set", CLOSED]
    before = (transport_dir / "checkpoints" / "fclf_latest.pt").read_bytes()
    assert main([*command, *settings]) == 0
    assert (transport_dir / "checkpoints" / "fclf_latest.pt").read_bytes() == before
    assert main([*command, *settings, "--set", "model.keep=0.9"]) == 2
    assert "model.keep 0.5 -> 0.9" in capsys.readouterr().err


def test_resume_without_a_run_is_refused(embeddings, tmp_path, capsys):
    assert main(["train", "--embeddings", str(embeddings), "--output-dir", str(tmp_path / "new"), "--resume"]) == 2
    assert "there is no run" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_an_overwritten_run_takes_its_evaluation_along(embeddings, tmp_path, capsys):
    command = ["train", "--embeddings", str(embeddings), "--output-dir", str(tmp_path), "--set", "model.start=shift"]
    assert main(command) == 0
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation" / "transfer_metrics.json").write_text("{}")
    assert main([*command, "--overwrite"]) == 0
    assert not (tmp_path / "evaluation" / "transfer_metrics.json").exists()


def test_a_rare_attribute_that_decides_the_choice_is_named(embeddings, tmp_path, capsys):
    data = EmbeddingSet.load(embeddings)
    labels = data.attributes.copy()
    train_rows = np.flatnonzero(data.split == "train")
    labels[train_rows, 1] = 0
    labels[train_rows[:2], 1] = 1
    rare = EmbeddingSet.from_arrays({**data.to_arrays(), "attributes": labels})
    rare.save(tmp_path / "rare.npz")
    assert main(["train", "--embeddings", str(tmp_path / "rare.npz"), "--output-dir", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out
    assert "Young" in said
    assert "--attributes" in said


def test_train_rows_of_one_label_are_refused_by_an_evaluation(run_dir, embeddings, tmp_path, capsys):
    data = EmbeddingSet.load(embeddings)
    labels = data.attributes.copy()
    labels[data.split == "train", 1] = 1
    EmbeddingSet.from_arrays({**data.to_arrays(), "attributes": labels}).save(tmp_path / "constant.npz")
    arguments = ["--checkpoint", run_dir, "--embeddings", tmp_path / "constant.npz", "--output-dir", tmp_path / "out"]
    assert main(["evaluate", *map(str, arguments)]) == 2
    assert "Young" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
