import json
import math
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from tensorboard.backend.event_processing import event_accumulator

import fclf.train
import fclf.training_run
from fclf.checkpoint import Checkpoint
from fclf.config import load_config, parse_config
from fclf.data.embeddings import EmbeddingSet
from fclf.errors import InputError, NonFiniteLossError, VerdictError

D, NAMES = 8, ("Smiling", "Young")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@cache
def data(n=300, seed=0):
    """Unit vectors whose first two coordinates carry the two attributes."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, (n, 2))
    x = rng.normal(size=(n, D))
    x[:, :2] += 2 * (2 * y - 1)
    return EmbeddingSet.from_arrays(
        {
            "embeddings": x / np.linalg.norm(x, axis=1, keepdims=True),
            "attributes": y,
            "attribute_names": np.array(NAMES),
            "ids": np.array([f"img{i}" for i in range(n)]),
            "split": np.array(["train"] * 6 + ["val"] * 2 + ["judge", "test"])[np.arange(n) % 10],
        }
    )


def config(loss=None, **training):
    settings = {"num_epochs": 4, "batch_size": 32, "learning_rate": 0.01, "checkpoint_every": 2}
    return parse_config({"model": {"hidden_dim": 16}, "loss": loss or {}, "training": settings | training}, "test")


def train(output_dir, rows=None, settings=None, **options):
    options = {"device": "cpu"} | options
    return fclf.train.train(rows or data(), settings or config(), output_dir, **options)


def assert_same_bits(a, b):
    assert a.weights.keys() == b.weights.keys()
    for name, value in a.weights.items():
        assert torch.equal(value, b.weights[name]), name


def differ(a, b):
    return any(not torch.equal(value, b.weights[name]) for name, value in a.weights.items())


class Stopped(Exception):
    """What interrupts a run in these tests."""


def stop_after(epoch):
    def callback(record):
        if record["epoch"] == epoch:
            raise Stopped

    return callback


def interrupted(output_dir, epoch=2, **options):
    with pytest.raises(Stopped):
        train(output_dir, on_epoch=stop_after(epoch), **options)


def files(folder):
    """Every file of a run but TensorBoard's, which are named by time."""
    found = (str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file())
    return sorted(name for name in found if "tfevents" not in name)


def contents(folder):
    return {name: (Path(folder) / name).read_bytes() for name in files(folder)}


# The same run again.


def test_same_seed_gives_the_same_bits_whatever_the_global_random_state(tmp_path):
    torch.manual_seed(1)
    first = train(tmp_path / "a")
    torch.manual_seed(2)
    state = torch.get_rng_state()
    second = train(tmp_path / "b")
    assert_same_bits(first, second)
    assert first.history == second.history
    assert torch.equal(torch.get_rng_state(), state)


def test_another_seed_gives_other_weights(tmp_path):
    assert differ(train(tmp_path / "a"), train(tmp_path / "b", settings=config(seed=1)))


def test_the_seed_decides_the_order_and_not_only_the_first_weights(tmp_path, monkeypatch):
    """From the same initial weights, another seed still takes another path."""
    field = fclf.training_run.TargetField
    monkeypatch.setattr(fclf.training_run, "TargetField", lambda *a, seed, **k: field(*a, seed=0, **k))
    assert differ(train(tmp_path / "a"), train(tmp_path / "b", settings=config(seed=1)))


# Which rows are read.


def poisoned(*splits):
    """The same data with other unit vectors and flipped labels in the rows of these splits."""
    x, y = data().embeddings.copy(), data().attributes.copy()
    rows = np.isin(data().split, splits)
    x[rows] = np.roll(-x[rows], 1, axis=1)
    y[rows] = 1 - y[rows]
    return replace(data(), embeddings=x, attributes=y)


def test_judge_and_test_rows_are_never_read(tmp_path):
    other = poisoned("judge", "test")
    first, second = train(tmp_path / "a"), train(tmp_path / "b", other)
    assert first.data_fingerprint != second.data_fingerprint  # the poison was there
    assert_same_bits(first, second)
    assert first.history == second.history
    assert (first.seen_ids, first.seen_digests) == (second.seen_ids, second.seen_digests)
    best = Checkpoint.load(tmp_path / "a").epoch, Checkpoint.load(tmp_path / "b").epoch
    assert best[0] == best[1]


def test_val_rows_are_chosen_on_and_not_trained_on(tmp_path):
    first, second = train(tmp_path / "a"), train(tmp_path / "b", poisoned("val"))
    assert_same_bits(first, second)
    assert first.history[0]["loss"] == second.history[0]["loss"]
    assert first.history[0]["val_loss"] != second.history[0]["val_loss"]


def test_train_rows_are_trained_on(tmp_path):
    assert differ(train(tmp_path / "a"), train(tmp_path / "b", poisoned("train")))


def test_the_field_is_asked_for_flipped_targets(tmp_path, monkeypatch):
    """Where all attributes are flipped, rows train as rows of the opposite labels do where none is; not as their own.

    The field, the losses and the prototypes see targets alone.
    """
    opposite = replace(data(), attributes=1 - data().attributes)
    own = train(tmp_path / "own", settings=config(flip_probability=0.0))
    other = train(tmp_path / "other", opposite, settings=config(flip_probability=0.0))
    every = {"flip_probability": 1.0, "min_flips": 2, "max_flips": 2}
    flipped = train(tmp_path / "flipped", settings=config(**every))
    assert differ(own, other)
    assert_same_bits(flipped, other)


def test_checkpoint_names_exactly_the_rows_that_were_read(tmp_path):
    made = train(tmp_path / "run", settings=config(num_epochs=1))
    read = data().take(np.isin(data().split, ["train", "val"]))
    assert sorted(made.seen_ids) == sorted(read.ids.tolist())
    assert sorted(made.seen_digests) == sorted(read.row_digests())
    assert made.shared_rows(data().part("test")) == made.shared_rows(data().part("judge")) == 0
    assert made.shared_rows(data().part("val")) == len(data().part("val"))


def test_rows_without_any_label_are_left_out(tmp_path):
    labels = data().attributes.copy()
    labels[:40] = -1
    known = (labels != -1).all(axis=1)
    settings = config(num_epochs=1)
    some = train(tmp_path / "a", replace(data(), attributes=labels), settings)
    fewer = train(tmp_path / "b", data().take(known), settings)
    assert_same_bits(some, fewer)
    assert some.seen_ids == fewer.seen_ids


@pytest.mark.parametrize("recipe", ["fclf_config", "soft_positives", "before"])
def test_rows_with_an_unknown_label_train_and_what_is_unknown_does_not(tmp_path, recipe):
    """Whatever stands in the place of an unknown label, it is not read: not even by the classifier."""
    labels = data().attributes.copy()
    rows = np.flatnonzero(np.isin(data().split, ("train", "val")))[::3]
    labels[rows, 0] = -1
    settings = load_config(recipe, ["training.num_epochs=1", "model.hidden_dim=16", "training.batch_size=16"])
    settings = settings.model_copy(update={"data": settings.data.model_copy(update={"attributes": None})})
    some = train(tmp_path / "a", replace(data(), attributes=labels), settings)
    full = train(tmp_path / "b", data(), settings)
    assert set(data().ids[rows].tolist()) <= set(some.seen_ids)
    assert any(not torch.equal(some.weights[name], full.weights[name]) for name in full.weights)
    assert all(np.isfinite(value) for record in some.history for value in record.values())


def test_attributes_are_chosen_by_name(tmp_path):
    settings = parse_config(
        {"data": {"attributes": ["Young"]}, "model": {"hidden_dim": 16}, "training": {"num_epochs": 1}}, "test"
    )
    made = train(tmp_path / "a", settings=settings)
    assert made.attribute_names == ("Young",)
    assert_same_bits(made, train(tmp_path / "b", data().select(["Young"]), settings))


# Stopping and continuing.


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_resumed_run_ends_with_the_bits_of_an_uninterrupted_one(epoch, tmp_path):
    whole = train(tmp_path / "whole")
    interrupted(tmp_path / "run", epoch)
    assert Checkpoint.load(tmp_path / "run/checkpoints/fclf_latest.pt").epoch == epoch
    resumed = train(tmp_path / "run", resume=True)
    assert_same_bits(resumed, whole)
    assert resumed.history == whole.history
    assert files(tmp_path / "run") == files(tmp_path / "whole")
    for name in files(tmp_path / "whole/checkpoints"):
        assert_same_bits(*(Checkpoint.load(tmp_path / run / "checkpoints" / name) for run in ("run", "whole")))
    logs = [(tmp_path / run / "logs/metrics.jsonl").read_text() for run in ("run", "whole")]
    assert logs[0] == logs[1]


def test_interrupted_twice_is_as_good_as_once(tmp_path):
    whole = train(tmp_path / "whole")
    interrupted(tmp_path / "run", 1)
    interrupted(tmp_path / "run", 3, resume=True)
    assert_same_bits(train(tmp_path / "run", resume=True), whole)


def test_stop_within_an_epoch_repeats_that_epoch(tmp_path, monkeypatch):
    whole = train(tmp_path / "whole")
    validate = fclf.training_run.TrainingRun._validate

    def stop(self):
        if len(self.history) == 2:
            raise Stopped
        return validate(self)

    with monkeypatch.context() as patch:
        patch.setattr(fclf.training_run.TrainingRun, "_validate", stop)
        with pytest.raises(Stopped):
            train(tmp_path / "run")
    assert_same_bits(train(tmp_path / "run", resume=True), whole)


def test_resume_of_a_finished_run_changes_no_weight(tmp_path):
    first = train(tmp_path / "run")
    before = {name: c for name, c in contents(tmp_path / "run").items() if name != "run.json"}
    assert_same_bits(train(tmp_path / "run", resume=True), first)
    assert {name: c for name, c in contents(tmp_path / "run").items() if name != "run.json"} == before


def test_resume_without_a_run_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(InputError, match=r"there is no run in .* Leave out --resume"):
        train(tmp_path / "run", resume=True)
    assert not (tmp_path / "run").exists()


def test_resume_with_another_configuration_is_refused_and_names_the_setting(tmp_path):
    interrupted(tmp_path / "run")
    before = contents(tmp_path / "run")
    with pytest.raises(InputError, match=r"another configuration \(training.learning_rate 0.01 -> 0.02\)"):
        train(tmp_path / "run", settings=config(learning_rate=0.02), resume=True)
    assert contents(tmp_path / "run") == before


def other_split():
    return replace(data(), split=np.roll(data().split, 5))


@pytest.mark.parametrize("rows", [data(seed=1), poisoned("train"), poisoned("test"), other_split()])
def test_resume_with_other_data_is_refused(rows, tmp_path):
    interrupted(tmp_path / "run")
    before = contents(tmp_path / "run")
    with pytest.raises(InputError, match="trained on other data"):
        train(tmp_path / "run", rows, resume=True)
    assert contents(tmp_path / "run") == before


@pytest.mark.parametrize("left", ["checkpoints/fclf_epoch_5.pt", "logs/metrics.jsonl", "config.yaml"])
def test_folder_with_any_part_of_a_run_is_refused_untouched(left, tmp_path):
    path = tmp_path / "run" / left
    path.parent.mkdir(parents=True)
    path.write_text("old")
    with pytest.raises(InputError, match=r"holds a run already.*--resume.*--overwrite"):
        train(tmp_path / "run")
    assert contents(tmp_path / "run") == {left: b"old"}


def test_a_run_whose_checkpoints_were_deleted_can_be_trained_again(tmp_path):
    first = train(tmp_path)
    for path in (tmp_path / "checkpoints").iterdir():  # the specification: rm -rf results/fclf_training/checkpoints/*
        path.unlink()
    assert_same_bits(train(tmp_path), first)


def test_overwrite_removes_the_old_run_and_nothing_else(tmp_path):
    train(tmp_path / "run", settings=config(num_epochs=6))
    (tmp_path / "run" / "notes.txt").write_text("mine")
    made = train(tmp_path / "run", settings=config(num_epochs=2), overwrite=True)
    assert made.epoch == 2
    assert not (tmp_path / "run/checkpoints/fclf_epoch_6.pt").exists()
    assert (tmp_path / "run/notes.txt").read_text() == "mine"
    assert_same_bits(made, train(tmp_path / "new", settings=config(num_epochs=2)))


def test_unusable_data_does_not_cost_the_old_run(tmp_path):
    train(tmp_path / "run", settings=config(num_epochs=1))
    before = contents(tmp_path / "run")
    with pytest.raises(InputError):
        train(tmp_path / "run", replace(data(), attributes=None, attribute_names=()), overwrite=True)
    assert contents(tmp_path / "run") == before


def test_output_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "run").write_text("mine")
    with pytest.raises(InputError, match="is a file; name a folder"):
        train(tmp_path / "run")
    assert (tmp_path / "run").read_text() == "mine"


# What a run leaves.


def test_finished_run_holds_exactly_its_files(tmp_path):
    seen = []
    made = train(tmp_path / "run", settings=config(num_epochs=5), on_epoch=seen.append)
    assert files(tmp_path / "run") == [
        "checkpoints/fclf_best.pt",
        "checkpoints/fclf_epoch_2.pt",
        "checkpoints/fclf_epoch_4.pt",
        "checkpoints/fclf_latest.pt",
        "config.yaml",
        "logs/metrics.jsonl",
        "run.json",
    ]
    lines = [json.loads(line) for line in (tmp_path / "run/logs/metrics.jsonl").read_text().splitlines()]
    assert lines == made.history == seen
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4, 5]
    assert load_config(tmp_path / "run/config.yaml") == made.config
    assert yaml.safe_load((tmp_path / "run/config.yaml").read_text())["data"]["attributes"] == list(NAMES)
    run = json.loads((tmp_path / "run/run.json").read_text())
    assert run["state"] == "finished"
    assert run["epochs"] == 5
    assert run["rows"] == {"train": 180, "val": 60}
    assert run["data_fingerprint"] == made.data_fingerprint == data().fingerprint()
    for number in (2, 4):
        assert Checkpoint.load(tmp_path / f"run/checkpoints/fclf_epoch_{number}.pt").epoch == number


def test_interrupted_run_says_that_it_is_not_finished_and_leaves_no_part_files(tmp_path):
    interrupted(tmp_path / "run")
    assert json.loads((tmp_path / "run/run.json").read_text())["state"] != "finished"
    assert not [name for name in files(tmp_path / "run") if name.endswith(".part")]


def test_best_checkpoint_has_the_lowest_validation_loss(tmp_path, monkeypatch):
    values = iter([3.0, 1.0, 2.0, 1.0])
    monkeypatch.setattr(fclf.training_run.TrainingRun, "_validate", lambda self: {"val_loss": next(values)})
    made = train(tmp_path / "run")
    best = Checkpoint.load(tmp_path / "run")
    assert best.epoch == 2  # the first of equals
    assert len(best.history) == 2
    assert made.epoch == 4
    assert differ(best, made)


def test_best_is_remembered_across_a_resume(tmp_path, monkeypatch):
    values = iter([3.0, 1.0, 2.0, 1.5])
    monkeypatch.setattr(fclf.training_run.TrainingRun, "_validate", lambda self: {"val_loss": next(values)})
    interrupted(tmp_path / "run", 2)
    train(tmp_path / "run", resume=True)
    assert Checkpoint.load(tmp_path / "run").epoch == 2


# Learning.


def test_loss_goes_down(tmp_path):
    history = train(tmp_path / "run", settings=config(num_epochs=15)).history
    assert history[-1]["loss"] < 0.8 * history[0]["loss"]
    assert history[-1]["val_loss"] < 0.8 * history[0]["val_loss"]


REGULARISED = {"lambda_curl": 0.05, "lambda_div": 0.05}


@pytest.mark.parametrize("loss", [REGULARISED, REGULARISED | {"jacobian_share": 0.25}])
def test_lower_precision_of_the_products_gives_nearly_the_same_losses_and_its_own_bits_again(tmp_path, loss):
    exact = train(tmp_path / "exact", settings=config(loss=loss))
    lower, again = (
        train(tmp_path / name, settings=config(loss=loss, precision="bfloat16")) for name in ("lower", "again")
    )
    assert_same_bits(lower, again)
    assert differ(exact, lower)
    assert {weight.dtype for weight in lower.weights.values()} == {torch.float32}
    for a, b in zip(exact.history, lower.history, strict=True):
        assert b["loss"] == pytest.approx(a["loss"], rel=0.02)
        assert b["val_loss"] == pytest.approx(a["val_loss"], rel=0.02)


def test_resume_is_exact_with_a_share_of_the_regularisers_in_lower_precision(tmp_path):
    settings = config(loss=REGULARISED | {"jacobian_share": 0.25}, precision="bfloat16")
    whole = train(tmp_path / "whole", settings=settings)
    interrupted(tmp_path / "run", settings=settings)
    assert_same_bits(train(tmp_path / "run", settings=settings, resume=True), whole)


def test_reported_losses_are_means_over_the_batches_of_an_epoch(tmp_path, monkeypatch):
    """180 rows in batches of 32 are 5 batches; the loss is their mean and the terms add up to it."""
    sums, objective = [], fclf.training_run.Objective

    class Recorded(objective):
        def __call__(self, rollout):
            losses = super().__call__(rollout)
            sums.append((len(rollout.start), float(losses.total.detach())))
            return losses

    monkeypatch.setattr(fclf.training_run, "Objective", Recorded)
    record = train(tmp_path / "run", settings=config(num_epochs=1)).history[0]
    assert [size for size, _ in sums] == [32] * 6  # 5 of train and 1 of the 60 val rows
    assert record["loss"] == pytest.approx(np.mean([value for _, value in sums[:5]]), rel=1e-6)
    assert record["val_loss"] == pytest.approx(sums[5][1], rel=1e-6)
    weights = load_config(tmp_path / "run/config.yaml").loss
    total = weights.lambda_contrastive * record["contrastive"] + weights.lambda_identity * record["identity"]
    assert record["loss"] == pytest.approx(total, rel=1e-5)


def test_fewer_rows_than_a_batch_are_one_batch(tmp_path):
    """180 train and 60 val rows: any batch at least as large as both is the same run."""
    first = train(tmp_path / "a", settings=config(batch_size=180))
    second = train(tmp_path / "b", settings=config(batch_size=1000))
    assert_same_bits(first, second)
    untrained = fclf.training_run.TargetField(D, 2, hidden_dim=16, seed=0).state_dict()
    assert any(not torch.equal(first.weights[name], value) for name, value in untrained.items())


@pytest.mark.parametrize("epochs", [1, 2, 7])
def test_learning_rate_is_torchs_cosine_schedule(epochs, tmp_path):
    settings = config(num_epochs=epochs, min_learning_rate=1e-3)
    got = [record["learning_rate"] for record in train(tmp_path / "run", settings=settings).history]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs, eta_min=1e-3)
    expected = []
    for _ in range(epochs):
        expected += schedule.get_last_lr()
        optimizer.step()
        schedule.step()
    assert got[0] == pytest.approx(0.01, rel=1e-9)
    assert got == pytest.approx(expected, rel=1e-9)
    after = fclf.training_run._cosine(settings.training, epochs + 1)
    assert after == pytest.approx(1e-3)


def test_learning_rate_is_used(tmp_path):
    still = train(tmp_path / "run", settings=config(learning_rate=1e-30, min_learning_rate=0))
    untrained = fclf.training_run.TargetField(D, 2, hidden_dim=16, seed=0).state_dict()
    torch.testing.assert_close(still.weights, dict(untrained), rtol=0, atol=1e-20)


# What cannot be trained.


@pytest.mark.parametrize("value", [0, 1])
def test_attribute_that_is_constant_in_the_train_rows_is_refused(value, tmp_path):
    labels = data().attributes.copy()
    labels[data().split == "train", 1] = value
    with pytest.raises(InputError, match=rf"cannot be learned: 'Young' is {value} in all 180\. .*--attributes"):
        train(tmp_path / "run", replace(data(), attributes=labels))
    assert not (tmp_path / "run").exists()


def test_attribute_that_is_constant_elsewhere_only_is_trained(tmp_path):
    labels = data().attributes.copy()
    labels[data().split != "train", 1] = 1
    assert train(tmp_path / "run", replace(data(), attributes=labels), config(num_epochs=1)).epoch == 1


@pytest.mark.parametrize("split", ["train", "val"])
def test_empty_split_is_refused(split, tmp_path):
    with pytest.raises(InputError, match=f"'{split}' is empty"):
        train(tmp_path / "run", data().take(data().split != split))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("names", "message"), [(["Smilling"], "did you mean 'Smiling'"), (["Young", "Young"], "twice"), ([], "attribute")]
)
def test_unusable_choice_of_attributes_is_refused(names, message, tmp_path):
    with pytest.raises(InputError, match=message):
        train(tmp_path / "run", settings=parse_config({"data": {"attributes": names}}, "test"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("device", ["cuda:99", "tpu", "nonsense"])
def test_unusable_device_is_refused(device, tmp_path):
    with pytest.raises(InputError, match=f"--device {device} cannot be used here.*--device cpu"):
        train(tmp_path / "run", device=device)
    assert not (tmp_path / "run").exists()


def poison_loss(monkeypatch, value, after):
    """Make the objective return `value` from its call number `after` on; 5 train and 1 val batch an epoch."""
    call, count = fclf.training_run.Objective.__call__, iter(range(10**6))

    def poisoned_call(self, rollout):
        losses = call(self, rollout)
        return replace(losses, total=losses.total * value) if next(count) >= after else losses

    monkeypatch.setattr(fclf.training_run.Objective, "__call__", poisoned_call)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("batch", [12, 15])
def test_loss_that_is_not_finite_stops_and_keeps_earlier_epochs(value, batch, tmp_path, monkeypatch):
    whole = train(tmp_path / "whole")
    with monkeypatch.context() as patch:
        poison_loss(patch, value, after=batch)
        with pytest.raises(
            NonFiniteLossError, match=r"epoch 3 .*contrastive .*--set training\.learning_rate="
        ) as caught:
            train(tmp_path / "run")
    assert not isinstance(caught.value, InputError)
    for name in ("latest", "epoch_2", "best"):
        kept = Checkpoint.load(tmp_path / f"run/checkpoints/fclf_{name}.pt")
        assert kept.epoch <= 2
        assert all(torch.isfinite(weight).all() for weight in kept.weights.values())
    assert json.loads((tmp_path / "run/run.json").read_text())["state"] != "finished"
    assert_same_bits(train(tmp_path / "run", resume=True), whole)


@pytest.mark.parametrize("epochs", [1, 3])
def test_validation_loss_that_is_not_finite_stops_too(epochs, tmp_path):
    """One step of a huge rate breaks the weights after the last finite training loss of the epoch."""
    with pytest.raises(NonFiniteLossError, match="epoch 1"):
        train(tmp_path / "run", settings=config(num_epochs=epochs, batch_size=1000, learning_rate=1e30))
    assert not list((tmp_path / "run").rglob("*.pt"))
    assert json.loads((tmp_path / "run/run.json").read_text())["state"] != "finished"


def test_huge_learning_rate_is_reported_as_such(tmp_path):
    with pytest.raises(NonFiniteLossError, match="Lower the learning rate"):
        train(tmp_path / "run", settings=config(learning_rate=1e30))


def test_a_run_stopped_before_its_first_checkpoint_resumes_from_nothing(tmp_path):
    with pytest.raises(RuntimeError, match="stopped"):
        train(tmp_path / "run", on_epoch=_stop)
    for path in (tmp_path / "run" / "checkpoints").iterdir():
        path.unlink()
    resumed = train(tmp_path / "run", resume=True)
    fresh = train(tmp_path / "fresh")
    assert all(torch.equal(resumed.weights[name], fresh.weights[name]) for name in fresh.weights)


def _stop(_record):
    raise RuntimeError("stopped")


def tensorboard(folder):
    """Scalars of a run by tag, as TensorBoard shows them."""
    accumulator = event_accumulator.EventAccumulator(str(folder / "logs"))
    accumulator.Reload()
    return {tag: {e.step: e.value for e in accumulator.Scalars(tag)} for tag in accumulator.Tags()["scalars"]}


def test_tensorboard_has_the_references_tags_and_the_historys_values(tmp_path):
    made = train(tmp_path, settings=config(num_epochs=2, loss={"lambda_curl": 0.1, "lambda_div": 0.1}))
    shown = tensorboard(tmp_path)
    reference = {"Train/Loss", "Train/Contrastive", "Train/Curl", "Train/Div", "Train/Identity", "Val/Loss"}
    assert reference | {"Train/NumPrototypes", "Train/Movement"} <= set(shown)
    assert shown["Train/Div"] == pytest.approx({int(r["epoch"]): r["div"] for r in made.history})
    assert shown["Val/Loss"] == pytest.approx({int(r["epoch"]): r["val_loss"] for r in made.history})


def test_a_resumed_run_shows_each_epoch_once(tmp_path):
    with pytest.raises(RuntimeError, match="stopped"):
        train(tmp_path, on_epoch=_stop)
    made = train(tmp_path, resume=True)
    assert tensorboard(tmp_path)["Train/Loss"] == pytest.approx({int(r["epoch"]): r["loss"] for r in made.history})


def test_training_goes_on_without_tensorboard(tmp_path, monkeypatch):
    monkeypatch.setattr("fclf.run_folder.find_spec", lambda _: None)
    train(tmp_path)
    assert not list(tmp_path.rglob("*tfevents*"))
    assert (tmp_path / "logs/metrics.jsonl").is_file()


def test_the_monitor_is_asked_when_it_is_due_and_heard(tmp_path):
    asked = []

    def monitor(edit):
        z = torch.eye(data().dim)[:2]
        ends = edit(z, torch.zeros(2, len(NAMES)), torch.ones(2, len(NAMES)))
        asked.append(ends.shape == z.shape)
        return {"variance_ratio": 0.5 / len(asked)}

    made = train(tmp_path, settings=config(num_epochs=5, evaluate_every=2), monitor=lambda *_: monitor)
    found = {int(r["epoch"]): r["val_variance_ratio"] for r in made.history if "val_variance_ratio" in r}
    assert found == {2: 0.5, 4: 0.25, 5: pytest.approx(0.5 / 3)}
    assert tensorboard(tmp_path)["Val/VarianceRatio"] == pytest.approx(found)
    asked.clear()
    train(tmp_path, settings=config(evaluate_every=0), monitor=lambda *_: monitor, overwrite=True)
    assert asked == []


def readings(*found):
    """A monitor that reads these verdicts and scores, one after the other."""
    left = iter(found)
    names = ("collapsed", "healthy", "score")
    return lambda *_: lambda _edit: dict(zip(names, next(left), strict=True))


def best(folder):
    return Checkpoint.load(folder / "checkpoints/fclf_best.pt").epoch


@pytest.mark.parametrize(
    ("found", "epoch"),
    [
        (((1, 0, 0.9), (0, 0, 0.3), (0, 1, 0.2), (0, 1, 0.1)), 3),  # no collapse, then healthy, then the score
        (((0, 1, 0.5), (0, 1, 0.7), (1, 0, 0.9), (1, 0, 0.9)), 2),
        (((1, 0, 0.1), (1, 0, 0.2), (1, 0, 0.4), (1, 0, 0.3)), 3),
    ],
)
def test_the_best_epoch_is_chosen_by_verdict_and_score_and_not_by_loss(tmp_path, found, epoch):
    train(tmp_path, settings=config(evaluate_every=1), monitor=readings(*found))
    assert best(tmp_path) == epoch


def test_the_best_epoch_is_chosen_by_loss_where_nothing_is_read(tmp_path):
    made = train(tmp_path, settings=config(evaluate_every=0), monitor=readings())
    losses = [record["val_loss"] for record in made.history]
    assert best(tmp_path) == 1 + losses.index(min(losses))


def test_a_resumed_run_remembers_the_best_verdict(tmp_path):
    found = ((0, 1, 0.9), (0, 1, 0.1), (0, 1, 0.1), (0, 1, 0.1))
    settings = config(evaluate_every=1)
    with pytest.raises(RuntimeError, match="stopped"):
        train(tmp_path, settings=settings, on_epoch=_stop, monitor=readings(*found))
    done = Checkpoint.load(tmp_path / "checkpoints/fclf_latest.pt").epoch
    train(tmp_path, settings=settings, resume=True, monitor=readings(*found[done:]))
    assert best(tmp_path) == 1


def test_a_collapse_stops_training_where_asked_and_keeps_the_checkpoints(tmp_path):
    found = ((0, 1, 0.5), (1, 0, 0.5), (1, 0, 0.5), (1, 0, 0.5))
    settings = config(evaluate_every=1)
    with pytest.raises(VerdictError, match=r"after epoch 2: .*collapsed.*--resume"):
        train(tmp_path, settings=settings, monitor=readings(*found), stop_on=("collapse",))
    assert json.loads((tmp_path / "run.json").read_text())["state"] == "stopped"
    assert Checkpoint.load(tmp_path / "checkpoints/fclf_latest.pt").epoch == 2
    assert best(tmp_path) == 1
    assert tensorboard(tmp_path)["Verdict/Collapsed"] == {1: 0, 2: 1}
    train(tmp_path, settings=settings, monitor=readings(*found), overwrite=True)  # nobody asked


def test_stopping_needs_evaluations(tmp_path):
    with pytest.raises(InputError, match="evaluate_every=1"):
        train(tmp_path, settings=config(evaluate_every=0), monitor=readings(), stop_on=("collapse",))
    assert not any(tmp_path.iterdir())


def test_an_exploding_loss_stops_and_names_the_term(tmp_path):
    settings = config(num_epochs=3, explosion_factor=1.5, loss={"lambda_identity": 1e6})
    with pytest.raises(NonFiniteLossError, match=r"exploded to .* mostly by identity"):
        train(tmp_path, settings=settings)
    assert json.loads((tmp_path / "run.json").read_text())["state"] == "failed"


@pytest.mark.parametrize("prototypes", ["batch", "stop_gradient", "moving_average", "real"])
def test_every_kind_of_prototype_resumes_to_the_same_bits(tmp_path, prototypes):
    settings = config(loss={"contrastive": {"kind": "prototype_infonce", "prototypes": prototypes}, "lambda_curl": 0.1})
    whole = train(tmp_path / "whole", settings=settings)
    with pytest.raises(RuntimeError, match="stopped"):
        train(tmp_path / "run", settings=settings, on_epoch=_stop)
    assert_same_bits(train(tmp_path / "run", settings=settings, resume=True), whole)


def test_a_rollout_of_more_steps_moves_as_far_as_inference_does(tmp_path):
    one, ten = (
        train(tmp_path / str(steps), settings=config(num_epochs=1, rollout_steps=steps, learning_rate=1e-9))
        for steps in (1, 10)
    )
    ratio = ten.history[0]["movement"] / one.history[0]["movement"]
    assert 5 < ratio < 10.5  # ten steps go nearly ten times as far as one: what the reference did not train for


def test_embeddings_that_are_all_the_same_are_refused(tmp_path):
    same = replace(data(), embeddings=np.repeat(data().embeddings[:1], len(data()), axis=0))
    with pytest.raises(InputError, match="the same embedding"):
        train(tmp_path / "run", rows=same)
    assert not (tmp_path / "run").exists()
