"""A run that goes on under other versions, threads or devices, or from a half-removed one: never mixed silently."""

import json
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import fclf.provenance
import fclf.train
import fclf.training_run
from fclf.checkpoint import Checkpoint
from fclf.cli import main
from fclf.config import parse_config
from fclf.data.planted import planted
from fclf.errors import InputError, ResumeWarning
from fclf.provenance import conditions

ROWS = planted(150, 8)[0].select(("Smiling", "Male"))


class Stopped(Exception):
    pass


def settings(**training):
    usual = {"num_epochs": 4, "batch_size": 32, "checkpoint_every": 2, "learning_rate": 0.01}
    return parse_config({"model": {"hidden_dim": 8}, "training": usual | training}, "test")


def train(folder, config=None, **options):
    return fclf.train.train(ROWS, config or settings(), folder, device="cpu", **options)


def stop_after(epoch):
    def stop(record):
        if record["epoch"] == epoch:
            raise Stopped

    return stop


def begun(folder, epoch=2):
    with pytest.raises(Stopped):
        train(folder, on_epoch=stop_after(epoch))


def same_weights(one, other):
    return all(torch.equal(value, other.weights[name]) for name, value in one.weights.items())


def elsewhere(monkeypatch, **changed):
    for module in (fclf.provenance, fclf.training_run):
        monkeypatch.setattr(module, "conditions", lambda *args: conditions(*args) | changed)


@pytest.mark.parametrize(
    "changed", [{"torch": "9.9"}, {"fclf": "0.0"}, {"numpy": "3"}, {"threads": 64}, {"instructions": "NONE"}]
)
def test_other_conditions_are_said_and_recorded(tmp_path, monkeypatch, changed):
    begun(tmp_path)
    elsewhere(monkeypatch, **changed)
    (name, value), *_ = changed.items()
    with pytest.warns(ResumeWarning, match=f"after epoch 2 with {name} .* -> {value}. .*--overwrite"):
        made = train(tmp_path, resume=True)
    assert [stretch["epoch"] for stretch in made.made_with] == [1, 3]
    assert [stretch[name] == value for stretch in made.made_with] == [False, True]
    assert json.loads((tmp_path / "run.json").read_text())[name] == value
    assert Checkpoint.load(tmp_path / "checkpoints" / "fclf_epoch_2.pt").made_with == made.made_with[:1]


def test_the_same_conditions_and_a_finished_run_are_not_worth_a_word(tmp_path, monkeypatch):
    begun(tmp_path)
    made = train(tmp_path, resume=True)  # a warning is an error here
    assert made.made_with == ({"epoch": 1, **conditions("cpu")},)
    elsewhere(monkeypatch, torch="9.9")
    assert train(tmp_path, resume=True).made_with == made.made_with  # nothing was mixed


def test_versions_are_plain_text_that_a_safe_reader_knows():
    assert {type(value) for value in conditions("cpu").values()} == {str, int}


def test_a_checkpoint_that_does_not_say_goes_on_and_says_it_from_then_on(tmp_path):
    begun(tmp_path)
    path = tmp_path / "checkpoints" / "fclf_latest.pt"
    replace(Checkpoint.load(path), made_with=()).save(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert train(tmp_path, resume=True).made_with == ({**conditions("cpu"), "epoch": 3},)


@pytest.mark.parametrize("number", [1, 3, 99, None])
def test_another_format_is_refused(tmp_path, number):
    begun(tmp_path)
    path = tmp_path / "checkpoints" / "fclf_latest.pt"
    torch.save(torch.load(path, weights_only=True) | {"format": number}, path)
    content = path.read_bytes()
    with pytest.raises(InputError, match=rf"not a checkpoint of this version of fclf \(format {number or 'none'}"):
        train(tmp_path, resume=True)
    assert path.read_bytes() == content


def test_the_command_line_says_it_in_one_line(tmp_path, capsys):
    ROWS.save(tmp_path / "rows.npz")
    typed = ["train", "--config", "fclf_config", "--embeddings", str(tmp_path / "rows.npz"), "--attributes", "Smiling"]
    typed += ["--set", "training.num_epochs=2", "--set", "model.hidden_dim=8", "--set", "training.evaluate_every=0"]
    typed += ["--output-dir", str(tmp_path / "run")]
    assert main(typed) == 0
    latest, first = (tmp_path / "run" / "checkpoints" / f"fclf_{name}.pt" for name in ("latest", "best"))
    saved = Checkpoint.load(latest)
    old = {**saved.made_with[0], "torch": "1.0"}
    replace(saved, made_with=(old,), history=saved.history[:1], epoch=1).save(latest)
    capsys.readouterr()
    assert main([*typed, "--resume"]) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "torch" in line]
    assert len(said) == 1
    assert said[0].startswith(
        f"Warning: The run goes on after epoch 1 with torch 1.0 -> {old['torch'] and torch.__version__}"
    )
    assert first.is_file()


# An overwrite that is killed half-way.


def removals(folder, monkeypatch, count):
    """Stop at so many removals of files of the earlier run."""
    unlink, done = Path.unlink, 0

    def some(path, missing_ok=False):
        nonlocal done
        if path.suffix in (".pt", ".jsonl", ".yaml"):
            done += 1
            if done > count:
                raise Stopped
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", some)


@pytest.mark.parametrize("count", range(7))
def test_an_overwrite_that_was_stopped_is_not_taken_for_the_run_that_it_removed(tmp_path, monkeypatch, count):
    """Same data and settings but for the seed of a warm start, which no configuration tells."""
    whole = train(tmp_path / "whole", settings(num_epochs=2))
    train(tmp_path / "run", settings(seed=5))
    with monkeypatch.context() as patch:
        removals(tmp_path / "run", patch, count)
        try:
            train(tmp_path / "run", settings(num_epochs=2), overwrite=True)
            assert count == 6
        except Stopped:
            pass
    state = json.loads((tmp_path / "run" / "run.json").read_text())
    assert state["seed"] == 0  # of the new one, before the first file is gone
    made = train(tmp_path / "run", settings(num_epochs=2), resume=True)
    assert same_weights(made, whole)
    assert len((tmp_path / "run" / "logs" / "metrics.jsonl").read_text().splitlines()) == 2
    names = [sorted(path.name for path in (tmp_path / f / "checkpoints").iterdir()) for f in ("run", "whole")]
    assert names[0] == names[1]


def test_an_overwrite_from_another_run_that_was_stopped_is_not_begun_from_nothing(tmp_path, monkeypatch):
    earlier = train(tmp_path / "earlier", settings(num_epochs=1))
    train(tmp_path / "run")
    with monkeypatch.context() as patch:
        removals(tmp_path / "run", patch, 1)
        with pytest.raises(Stopped):
            train(tmp_path / "run", overwrite=True, warm_start=earlier)
    with pytest.raises(InputError, match="started from another one"):
        train(tmp_path / "run", resume=True)
