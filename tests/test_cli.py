"""The commands as a user types them: exit codes, messages, files."""

import json
import os
import shlex
import subprocess
import sys
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from fclf.cli import main
from fclf.cli.editing import assignments_by_row
from fclf.data.embeddings import EmbeddingSet
from fclf.data.planted import planted
from fclf.errors import InputError
from fclf.evaluation.flow_matching import FlowMatching


@pytest.fixture(scope="module")
def embeddings(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "planted.npz"
    planted(900, 16)[0].save(path)
    return path


@pytest.fixture(scope="module")
def run_dir(embeddings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert train(embeddings, folder) == 0
    return folder


def train(embeddings, folder, *more):
    overrides = ("--set", "training.num_epochs=2", "--set", "model.hidden_dim=16")
    return main(
        [
            "train",
            "--config",
            "fclf_config",
            "--embeddings",
            str(embeddings),
            "--output-dir",
            str(folder),
            *overrides,
            *more,
        ]
    )


def edit(run_dir, embeddings, output, *more):
    base = ["edit", "--checkpoint", str(run_dir), "--embeddings", str(embeddings), "--output", str(output)]
    return main([*base, *more])


def test_a_finished_run_has_the_promised_files(run_dir):
    found = {str(p.relative_to(run_dir)) for p in run_dir.rglob("*") if p.is_file() and "tfevents" not in p.name}
    assert found == {
        "checkpoints/fclf_best.pt",
        "checkpoints/fclf_latest.pt",
        "config.yaml",
        "logs/metrics.jsonl",
        "run.json",
    }
    assert json.loads((run_dir / "run.json").read_text())["state"] == "finished"


def test_training_into_a_folder_with_a_run_needs_a_flag(embeddings, run_dir, capsys):
    before = (run_dir / "checkpoints" / "fclf_latest.pt").read_bytes()
    assert train(embeddings, run_dir) == 2
    message = capsys.readouterr().err
    assert "--resume" in message
    assert "--overwrite" in message
    assert (run_dir / "checkpoints" / "fclf_latest.pt").read_bytes() == before


def test_the_saved_config_trains_the_same_weights(embeddings, run_dir, tmp_path):
    code = main(
        [
            "train",
            "--embeddings",
            str(embeddings),
            "--config",
            str(run_dir / "config.yaml"),
            "--output-dir",
            str(tmp_path),
        ]
    )
    assert code == 0
    assert Path(tmp_path / "logs/metrics.jsonl").read_text() == (run_dir / "logs/metrics.jsonl").read_text()


def test_seed_changes_the_run(embeddings, run_dir, tmp_path):
    assert train(embeddings, tmp_path, "--seed", "1") == 0
    assert (tmp_path / "logs/metrics.jsonl").read_text() != (run_dir / "logs/metrics.jsonl").read_text()


def test_a_recipe_for_other_attributes_learns_those_of_the_file_and_says_so(tmp_path, capsys):
    data = planted(300, 8)[0]
    renamed = EmbeddingSet.from_arrays(
        {"embeddings": data.embeddings, "attributes": data.attributes[:, :2], "attribute_names": ["red", "blue"]}
    )
    renamed.save(tmp_path / "other.npz")
    assert train(tmp_path / "other.npz", tmp_path / "run", "--json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["attributes"] == ["red", "blue"]
    assert "all of its 2" in err
    assert "split 56/8/16/20 by row" in err


def test_chosen_attributes_are_learned_in_their_order(embeddings, tmp_path, capsys):
    assert train(embeddings, tmp_path, "--attributes", "Male,Smiling", "--json") == 0
    assert json.loads(capsys.readouterr().out)["attributes"] == ["Male", "Smiling"]


def test_evaluate_writes_metrics_and_figures_and_prints_the_controls(embeddings, run_dir, tmp_path, capsys):
    base = ["evaluate", "--checkpoint", str(run_dir), "--embeddings", str(embeddings), "--output-dir", str(tmp_path)]
    assert main([*base, "--projection", "pca"]) == 0
    out = capsys.readouterr().out
    for name in ("flow", "do nothing", "target mean", "shift x1.5", "affine", "held-out real", "±", "What else"):
        assert name in out
    assert "flow matching" not in out
    for name in ("The spec's bands, epoch ", "after 5 (now)", "'overtrained'", "4 unique combinations", "AUC"):
        assert name in out
    assert out.splitlines()[-1] == f"Report: {tmp_path / 'report.html'}"
    written = (tmp_path / "report.html").read_bytes()
    assert main(["report", str(tmp_path)]) == 0
    assert (tmp_path / "report.html").read_bytes() == written
    capsys.readouterr()
    metrics = json.loads((tmp_path / "transfer_metrics.json").read_text())
    assert metrics["schema_version"] == 2
    assert metrics["rows"]["edits"] == 5 * metrics["rows"]["evaluated"]
    figures = sorted((tmp_path / "figures").iterdir())
    names = ["combinations", "destinations", "leakage", "loss_curves", "paths", "trajectories"]
    assert [p.name for p in figures] == [f"{name}.png" for name in names]
    assert all(p.read_bytes().startswith(b"\x89PNG") for p in figures)
    assert main([*base, "--mode", "single", "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["rows"]["edits"] == again["rows"]["evaluated"]
    assert (metrics["projection"], again["projection"]) == ("pca", "umap" if find_spec("umap") else "pca")
    assert len(metrics["history"]) == metrics["epoch"]


def test_slow_controls_are_fitted_on_request(embeddings, run_dir, tmp_path, capsys, monkeypatch):
    fit = FlowMatching.fit
    monkeypatch.setattr(FlowMatching, "fit", lambda z, y, *, seed: fit(z, y, seed=seed, steps=3))
    base = ["evaluate", "--checkpoint", str(run_dir), "--embeddings", str(embeddings), "--output-dir", str(tmp_path)]
    assert main([*base, "--mode", "single", "--projection", "pca", "--slow-controls", "--json"]) == 0
    names = [row["name"] for row in json.loads(capsys.readouterr().out)["table"]]
    assert names[-2:] == ["flow matching", "held-out real"]


def test_evaluation_refuses_judges_from_the_training_rows(embeddings, run_dir, tmp_path, capsys):
    data = EmbeddingSet.load(embeddings)
    swapped = np.where(data.split == "train", "judge", np.where(data.split == "judge", "train", data.split))
    arrays = {"embeddings": data.embeddings, "attributes": data.attributes, "ids": data.ids, "split": swapped}
    EmbeddingSet.from_arrays({**arrays, "attribute_names": data.attribute_names}).save(tmp_path / "leaky.npz")
    base = ["evaluate", "--checkpoint", str(run_dir), "--embeddings", str(tmp_path / "leaky.npz")]
    assert main([*base, "--output-dir", str(tmp_path / "out")]) == 2
    assert "judge rows were used to train" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_edit_keeps_rows_order_and_columns(embeddings, run_dir, tmp_path):
    assert edit(run_dir, embeddings, tmp_path / "out.npz", "--set", "Smiling=1") == 0
    before, after = EmbeddingSet.load(embeddings), EmbeddingSet.load(tmp_path / "out.npz")
    assert after.embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(after.embeddings, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(after.ids, before.ids)
    np.testing.assert_array_equal(after.split, before.split)
    assert (after.attributes[:, 0] == 1).all()
    np.testing.assert_array_equal(after.attributes[:, 1:], before.attributes[:, 1:])
    assert (np.abs(after.embeddings - before.embeddings).max(axis=1) > 0).all()


def test_edit_of_one_split_flips_each_rows_own_label(embeddings, run_dir, tmp_path):
    assert edit(run_dir, embeddings, tmp_path / "out.npz", "--flip", "Male", "--split", "test") == 0
    before, after = EmbeddingSet.load(embeddings).part("test"), EmbeddingSet.load(tmp_path / "out.npz")
    np.testing.assert_array_equal(after.ids, before.ids)
    np.testing.assert_array_equal(after.attributes[:, 2], 1 - before.attributes[:, 2])


def test_strength_zero_changes_no_embedding(embeddings, run_dir, tmp_path):
    assert edit(run_dir, embeddings, tmp_path / "out.npz", "--flip", "Male", "--strength", "0") == 0
    before, after = EmbeddingSet.load(embeddings), EmbeddingSet.load(tmp_path / "out.npz")
    np.testing.assert_array_equal(after.embeddings, before.embeddings)


def test_embeddings_without_labels_need_every_attribute_set(embeddings, run_dir, tmp_path, capsys):
    EmbeddingSet.from_arrays({"embeddings": EmbeddingSet.load(embeddings).embeddings}).save(tmp_path / "bare.npz")
    assert edit(run_dir, tmp_path / "bare.npz", tmp_path / "out.npz", "--set", "Smiling=1") == 2
    assert "have no label for Young" in capsys.readouterr().err
    assert not (tmp_path / "out.npz").exists()
    every = [part for name in ("Smiling", "Young", "Male", "Eyeglasses", "Mustache") for part in ("--set", f"{name}=1")]
    assert edit(run_dir, tmp_path / "bare.npz", tmp_path / "out.npz", *every) == 0
    assert EmbeddingSet.load(tmp_path / "out.npz").attribute_names[0] == "Smiling"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--set", "Smilling=1"], "did you mean 'Smiling'"),
        (["--set", "Smiling=2"], "NAME=0 or NAME=1"),
        (["--set", "Smiling=1", "--flip", "Smiling"], "both set and flipped"),
        ([], "Nothing to edit"),
        (["--flip", "Male", "--split", "holdout"], "no split 'holdout'"),
        (["--flip", "Male", "--strength", "-1"], "strength"),
        (["--flip", "Male", "--strength", "inf"], "strength"),
        (["--flip", "Male", "--strength", "1e38"], "Lower --strength"),
        (["--set", "Smiling=1", "--set", "Smiling=0"], "both 0 and 1"),
        (["--flip", "Male", "--checkpoint", "missing"], "neither a checkpoint file nor a folder"),
        (["--flip", "Male", "--output", "x.txt"], ".npz"),
    ],
)
def test_a_bad_edit_exits_2_with_one_message_and_no_file(embeddings, run_dir, tmp_path, capsys, arguments, says):
    assert edit(run_dir, embeddings, tmp_path / "out.npz", *arguments) == 2
    err = capsys.readouterr().err
    assert says in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--set", "loss.lambda_identiy=1"], "did you mean loss.lambda_identity?"),
        (["--set", "loss.temperature=0"], "loss.temperature"),
        (["--config", "nowhere"], "fclf_config"),
        (["--set", "model.embedding_dim=512"], "embedding_dim is 512, but the embeddings have width 16"),
        (["--attributes", "Smilin"], "did you mean 'Smiling'"),
        (["--device", "cuda:99"], "--device cpu"),
        (["--resume", "--overwrite"], "contradict"),
        (["--resume"], "Leave out --resume"),
        (["--embeddings", "nowhere.npz"], "no file nowhere.npz"),
        (["--frobnicate"], "--frobnicate"),
    ],
)
def test_a_bad_training_exits_2_with_one_message_and_no_folder(embeddings, tmp_path, capsys, arguments, says):
    assert train(embeddings, tmp_path / "run", *arguments) == 2
    err = capsys.readouterr().err
    assert says in " ".join(err.split())
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_not_a_number_exits_3(embeddings, tmp_path, capsys, monkeypatch):
    nan = lambda *_, **__: __import__("torch").tensor(float("nan"), requires_grad=True)  # noqa: E731
    monkeypatch.setattr("fclf.losses.objective.squared_distance", nan)
    assert train(embeddings, tmp_path / "run") == 3
    assert "training.learning_rate=5e-5" in capsys.readouterr().err


def test_an_interrupt_exits_130_and_the_run_can_be_resumed(embeddings, run_dir, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("fclf.cli.train_command.progress_bar", _calling(interrupt))
        assert train(embeddings, tmp_path) == 130
    assert train(embeddings, tmp_path, "--resume") == 0
    assert (tmp_path / "logs/metrics.jsonl").read_text() == (run_dir / "logs/metrics.jsonl").read_text()


def _calling(function):
    return lambda *_: nullcontext(function)


@pytest.mark.parametrize("command", [[], ["train"], ["evaluate"], ["edit"], ["demo"], ["portraits", "sheet"]])
def test_every_command_has_help(command, capsys):
    assert main([*command, "--help"]) == 0
    out = capsys.readouterr().out
    assert "Usage: fclf" in out
    assert not command or "Example: fclf" in out


def test_help_and_import_load_nothing_heavy():
    code = (
        "import sys, fclf.cli\n"
        "assert fclf.cli.main(['--help']) == 0\n"
        "heavy = {'torch', 'numpy', 'yaml', 'pydantic', 'sklearn', 'matplotlib', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    environment = {**os.environ, "PYTHONWARNINGS": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


def test_overwrite_removes_a_run_and_nothing_else(embeddings, tmp_path):
    assert train(embeddings, tmp_path) == 0
    for name in ("checkpoints/other.bin", "logs/app.log", "notes.txt"):
        (tmp_path / name).write_text("mine")
    assert train(embeddings, tmp_path, "--overwrite") == 0
    for name in ("checkpoints/other.bin", "logs/app.log", "notes.txt"):
        assert (tmp_path / name).read_text() == "mine"


def test_people_that_training_has_seen_cannot_be_judges(embeddings, run_dir, tmp_path, capsys):
    data = EmbeddingSet.load(embeddings)
    judge, train_rows = data.split == "judge", np.flatnonzero(data.split == "train")
    identities = data.identities.copy()
    identities[judge] = identities[train_rows[0]]  # the same pictures, said to show somebody of the train rows
    split = np.where(identities == identities[train_rows[0]], "judge", data.split)
    split[judge] = "judge"
    kept = ~np.isin(np.arange(len(data)), np.flatnonzero((split == "judge") & ~judge))
    arrays = {"embeddings": data.embeddings, "attributes": data.attributes, "identities": identities, "split": split}
    arrays = {name: value[kept] for name, value in arrays.items()} | {"attribute_names": data.attribute_names}
    EmbeddingSet.from_arrays(arrays).save(tmp_path / "leaky.npz")
    base = ["evaluate", "--checkpoint", str(run_dir), "--embeddings", str(tmp_path / "leaky.npz")]
    assert main([*base, "--output-dir", str(tmp_path / "out")]) == 2
    assert "people" in capsys.readouterr().err


def test_a_file_with_some_of_the_recipes_attributes_is_told_what_to_type(tmp_path, capsys):
    data = planted(300, 8)[0]
    arrays = {
        "embeddings": data.embeddings,
        "attributes": data.attributes[:, :2],
        "attribute_names": ["Smiling", "Young"],
    }
    EmbeddingSet.from_arrays(arrays).save(tmp_path / "two.npz")
    assert train(tmp_path / "two.npz", tmp_path / "run") == 2
    assert "--attributes Smiling,Young" in capsys.readouterr().err


def test_the_next_line_can_be_pasted(tmp_path, capsys):
    data = planted(600, 8)[0]
    signed = np.where(data.attributes == 1, 1, -1)
    np.savez(
        tmp_path / "my faces.npz", embeddings=data.embeddings, attributes=signed, attribute_names=data.attribute_names
    )
    assert train(tmp_path / "my faces.npz", tmp_path / "my run", "--labels", "signed") == 0
    line = capsys.readouterr().out.splitlines()[-1].removeprefix("Next: fclf ")
    assert main([*shlex.split(line), "--projection", "pca"]) == 0


@pytest.mark.parametrize(
    ("typed", "values", "columns"),
    [
        ("Smiling=1", {"Smiling": 1}, {}),
        ("age=young=0", {"age=young": 0}, {}),
        ("Young=@want", {}, {"Young": "want"}),
        ("age=young=@want=this", {}, {"age=young": "want=this"}),
        ("@home=1", {"@home": 1}, {}),
    ],
)
def test_names_and_columns_may_hold_what_parts_them(typed, values, columns):
    assert assignments_by_row([typed]) == (values, columns)


@pytest.mark.parametrize("typed", ["Smiling", "Smiling=2", "Smiling=", "=@", "a=b", "Young=@"])
def test_what_sets_nothing_is_refused(typed):
    with pytest.raises(InputError, match="type NAME=0 or NAME=1"):
        assignments_by_row([typed])
