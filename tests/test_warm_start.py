"""Runs that begin from an earlier one: what is taken over, what is not, and who counts as seen."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from fclf.checkpoint import Checkpoint
from fclf.cli import main
from fclf.config import load_config
from fclf.data.planted import planted
from fclf.errors import InputError
from fclf.evaluation.protocol import evaluate
from fclf.train import train

SMALL = ["training.num_epochs=1", "model.hidden_dim=8", "training.evaluate_every=0"]
FIRST = "layers.0.weight"


@pytest.fixture(scope="module")
def data():
    return planted(900, 12)[0]


def target(data, folder, *names, overrides=(), **more):
    chosen = [f"data.attributes={','.join(names)}"] if names else ["data.attributes=Smiling,Male,Young"]
    return train(data, load_config("fclf_config", [*SMALL, *chosen, *overrides]), folder, **more)


@pytest.fixture(scope="module")
def earlier(data, tmp_path_factory):
    """Longer trained than what starts from it."""
    return target(
        data,
        tmp_path_factory.mktemp("runs") / "run",
        overrides=["training.num_epochs=15", "training.learning_rate=1e-3"],
    )


@pytest.fixture(scope="module")
def still(data, earlier, tmp_path_factory):
    """Begun from it with other attributes, and hardly moved away, so that its weights show what it began with."""
    frozen = ["training.learning_rate=1e-12", "training.min_learning_rate=0"]
    folder = tmp_path_factory.mktemp("runs") / "still"
    return target(data, folder, "Male", "Mustache", "Smiling", overrides=frozen, warm_start=earlier)


def test_weights_are_taken_over_by_the_names_of_attributes(data, earlier, still, tmp_path):
    cold = target(data, tmp_path / "cold", "Male", "Mustache", "Smiling", overrides=["training.learning_rate=1e-12"])
    begun, old, fresh = (checkpoint.weights for checkpoint in (still, earlier, cold))
    for name in set(old) - {FIRST}:
        torch.testing.assert_close(begun[name], old[name], atol=1e-8, rtol=0)
    expected = torch.cat([old[FIRST][:, :12], old[FIRST][:, [13]], fresh[FIRST][:, [13]], old[FIRST][:, [12]]], dim=1)
    torch.testing.assert_close(begun[FIRST], expected, atol=1e-8, rtol=0)
    assert not torch.allclose(old[FIRST][:, :12], fresh[FIRST][:, :12], atol=1e-4)  # the two can be told apart


def test_it_is_recorded_without_a_path(earlier, still, data, tmp_path):
    record = still.warm_start
    assert record["data_fingerprint"] == earlier.data_fingerprint
    assert record["attributes"] == ["Male", "Smiling"]
    assert record["attributes_new"] == ["Mustache"]
    assert record["attributes_left_out"] == ["Young"]
    again = target(data, tmp_path / "again", warm_start=still)
    run = json.loads((tmp_path / "again" / "run.json").read_text())
    assert run["warm_start"]["before"]["data_fingerprint"] == earlier.data_fingerprint
    assert str(tmp_path) not in json.dumps(run)
    again.save(tmp_path / "copy.pt")
    loaded = Checkpoint.load(tmp_path / "copy.pt")
    assert (loaded.warm_start, loaded.seen_before) == (again.warm_start, again.seen_before)
    assert earlier.warm_start == {}


def test_it_starts_where_the_earlier_run_ended(data, earlier, tmp_path):
    cold, warm = target(data, tmp_path / "cold"), target(data, tmp_path / "warm", warm_start=earlier)
    for name in ("loss", "movement"):
        ended, begun, fresh = (run.history[at][name] for run, at in ((earlier, -1), (warm, 0), (cold, 0)))
        assert abs(begun - ended) < abs(fresh - ended) / 4
    assert warm.training_state["optimizer"]["state"][0]["step"] == cold.training_state["optimizer"]["state"][0]["step"]


@pytest.mark.parametrize(
    ("overrides", "names", "says"),
    [
        (["model.hidden_dim=16"], (), "--set model.hidden_dim=8"),
        ([], ("Mustache",), "none of which is among Mustache"),
    ],
)
def test_what_does_not_fit_is_refused(data, earlier, tmp_path, overrides, names, says):
    with pytest.raises(InputError, match=says):
        target(data, tmp_path / "run", *names, overrides=overrides, warm_start=earlier)
    assert not (tmp_path / "run").exists()


def test_another_width_and_another_kind_are_refused(data, earlier, tmp_path):
    with pytest.raises(InputError, match="width 12, but these have width 16"):
        target(planted(300, 16)[0], tmp_path / "run", warm_start=earlier)
    with pytest.raises(InputError, match="looks at the target"):
        train(data, load_config("edit"), tmp_path / "run", warm_start=earlier)
    assert not (tmp_path / "run").exists()


def test_it_contradicts_resume(data, earlier, tmp_path):
    target(data, tmp_path / "run")
    with pytest.raises(InputError, match="contradict each other"):
        target(data, tmp_path / "run", resume=True, warm_start=earlier)


def test_a_warm_run_that_is_stopped_goes_on_to_the_same_weights(data, earlier, tmp_path):
    class Stop(Exception):
        pass

    def stop(record):
        if record["epoch"] == 1:
            raise Stop

    two = ["training.num_epochs=2"]
    whole = target(data, tmp_path / "whole", overrides=two, warm_start=earlier)
    with pytest.raises(Stop):
        target(data, tmp_path / "run", overrides=two, warm_start=earlier, on_epoch=stop)
    resumed = target(data, tmp_path / "run", overrides=two, resume=True)
    assert all(torch.equal(resumed.weights[name], value) for name, value in whole.weights.items())
    assert (resumed.warm_start, resumed.seen_ids) == (whole.warm_start, whole.seen_ids)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["warm_start"] == whole.warm_start
    for path in (tmp_path / "run" / "checkpoints").iterdir():
        path.unlink()  # stopped before its first checkpoint: going on would begin without the earlier run
    with pytest.raises(InputError, match="Type --warm-start with that run again"):
        target(data, tmp_path / "run", overrides=two, resume=True)


def test_the_command(data, earlier, tmp_path, capsys):
    data.save(tmp_path / "data.npz")
    earlier.save(tmp_path / "earlier.pt")
    sets = [part for setting in SMALL for part in ("--set", setting)]
    base = ["train", "--config", "fclf_config", "--embeddings", str(tmp_path / "data.npz"), *sets]
    base += ["--attributes", "Smiling,Mustache", "--output-dir", str(tmp_path / "run")]
    assert main([*base, "--warm-start", str(tmp_path / "earlier.pt")]) == 0
    assert "Warm start: weights, for Smiling (new: Mustache; left out: Male, Young)." in capsys.readouterr().err
    assert main([*base, "--warm-start", str(tmp_path / "earlier.pt"), "--resume"]) == 2
    assert main([*base, "--overwrite", "--warm-start", str(tmp_path / "nothing")]) == 2
    assert "--warm-start" in capsys.readouterr().err


# A field on the change


@pytest.fixture(scope="module")
def chosen(data, tmp_path_factory):
    return train(data, load_config("edit"), tmp_path_factory.mktemp("edit") / "run")


def test_a_choice_is_taken_over_and_fitted_anew(data, chosen, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules["fclf.fitting"], "choose", lambda *_, **__: pytest.fail("nothing is to be chosen"))
    with pytest.raises(pytest.fail.Exception):
        train(data, load_config("edit"), tmp_path / "cold")
    other = planted(900, 12, seed=1)[0]
    warm = train(other, load_config("edit"), tmp_path / "warm", warm_start=chosen)
    assert warm.choice["start"] == chosen.choice["start"]
    assert "taken over from an earlier run" in warm.choice["reason"]
    assert warm.choice["trials"] == []
    assert set(warm.weights) == set(chosen.weights)
    assert any(not torch.equal(warm.weights[name], value) for name, value in chosen.weights.items())


def test_it_is_fitted_as_a_cold_run_fits_it(data, chosen, tmp_path):
    affine = replace(chosen, choice={**chosen.choice, "start": "affine"})
    warm = train(data, load_config("edit"), tmp_path / "warm", warm_start=affine)
    cold = train(data, load_config("edit", ["model.start=affine"]), tmp_path / "cold")
    assert warm.weights.keys() == cold.weights.keys()
    assert all(torch.equal(cold.weights[name], value) for name, value in warm.weights.items())


def test_what_the_choice_needs_is_asked_for(data, chosen, tmp_path):
    needs = replace(chosen, choice={**chosen.choice, "start": "conditional transport, learned"})
    with pytest.raises(InputError, match=r"--set model\.effect_steps"):
        train(data, load_config("edit"), tmp_path / "run", warm_start=needs)
    other = next(name for name in ("affine", "shift") if name not in chosen.choice["start"])
    with pytest.raises(InputError, match=f"model.start is {other}"):
        train(data, load_config("edit", [f"model.start={other}"]), tmp_path / "run", warm_start=chosen)
    with pytest.raises(InputError, match="looks at the change"):
        target(data, tmp_path / "run", warm_start=chosen)


# Who counts as seen


def resplit(data, seed):
    return replace(data, split=None).with_split(seed)


def moved(data, names):
    """The same people with other embeddings and ids, so that only their number tells who they are."""
    z = data.embeddings[:, ::-1].copy()
    return replace(data, embeddings=z, ids=np.char.add(names, data.ids))


def test_judges_that_the_earlier_run_read_are_refused(data, tmp_path):
    """Two splits of one file: judge rows of the second are train rows of the first."""
    config, second = load_config("edit", ["model.start=shift"]), resplit(data, 7)
    first_run = train(data, config, tmp_path / "first")
    cold = train(second, config, tmp_path / "cold")
    warm = train(second, config, tmp_path / "warm", warm_start=first_run)
    assert evaluate(cold, second, projection="pca").metrics  # fine without the earlier run
    with pytest.raises(InputError, match="judge rows were used to train"):
        evaluate(warm, second, projection="pca")
    same = train(data, config, tmp_path / "same", warm_start=first_run)
    assert evaluate(same, data, projection="pca").metrics  # and fine where it split rows as this one does


def test_people_of_either_file_are_refused_and_those_of_equal_numbers_are_not(data, tmp_path):
    """Two files that number different people alike, and a third with other pictures of the first one's people."""
    config = load_config("edit", ["model.start=shift"])
    theirs = planted(900, 12, seed=3)[0]
    theirs = replace(theirs, ids=np.char.add("b-", theirs.ids))
    first_run = train(data, config, tmp_path / "first")
    warm = train(theirs, config, tmp_path / "warm", warm_start=first_run)
    for rows in (data, theirs):  # the numbers of judges in one file are those of train rows in the other
        judges, read = rows.part("judge"), rows.part("train")
        assert warm.shared_rows(judges) == warm.shared_people(judges, rows) == 0
        assert warm.shared_rows(read) == len(read) == warm.shared_people(read, rows)
        others = replace(moved(read.take(np.arange(50)), "x-"), split=np.full(50, "judge"))  # new pictures of them
        assert warm.shared_rows(others) == 0
        assert warm.shared_people(others, rows) == 50
    third = train(data, config, tmp_path / "third", warm_start=warm)  # back to the first file: its numbers are known
    assert len(third.seen_before) == 1
    for rows in (data, theirs):
        assert third.shared_people(rows.part("judge"), rows) == 0
        assert third.shared_people(rows.part("train"), rows) == len(rows.part("train"))
