"""Calibration ends where the silhouette asked for is, and says so where it is out of reach."""

import numpy as np
import pytest
import torch

from fclf.cli import main
from fclf.config import load_config
from fclf.data.embeddings import EmbeddingSet
from fclf.data.planted import planted
from fclf.errors import InputError
from fclf.evaluation.bands import ORGANISED
from fclf.evaluation.calibration import MAX_STRENGTH, SilhouetteCalibration
from fclf.evaluation.edits import plan_edits
from fclf.evaluation.geometry import silhouette
from fclf.evaluation.monitor import SpreadMonitor
from fclf.flow import Flow
from fclf.train import train

LOW, HIGH = ORGANISED


@pytest.fixture(scope="module")
def data():
    return planted(4000, 8)[0]


def calibration(data, target=0.45):
    return SilhouetteCalibration(data.part("val"), target)


def to_point(_z, y):
    """A constant pull of everybody toward one point per target."""
    return 4 * torch.cat([y - 0.5, torch.zeros(len(y), 3)], dim=1)


def measured(flow, rows):
    """Silhouette by target of every row x every attribute, from the plan and scikit-learn alone."""
    plan = plan_edits(np.asarray(rows.attributes), rows.attribute_names, "each")
    ends = flow.edit(torch.from_numpy(rows.embeddings)[plan.source], torch.from_numpy(plan.target).float())
    return silhouette(ends.double().numpy(), np.unique(plan.target, axis=0, return_inverse=True)[1].reshape(-1))


@pytest.mark.parametrize("target", [0.2, 0.45, 0.8])
def test_the_strength_gives_the_silhouette_that_was_asked_for(data, target):
    strength, found = calibration(data, target)(Flow(to_point))
    assert 0 < strength < MAX_STRENGTH
    assert found == pytest.approx(target, abs=0.02)
    assert measured(Flow(to_point, step_size=0.1 * strength), data.part("val")) == pytest.approx(found, abs=1e-6)


def test_a_stronger_field_is_followed_less_far_to_the_same_place(data):
    weak, strong = (calibration(data)(Flow(to_point, step_size=size)) for size in (0.1, 0.2))
    assert strong[0] == pytest.approx(weak[0] / 2, rel=0.02)


def test_edits_that_start_apart_are_followed_to_where_they_are_apart_on_the_other_side():
    """One attribute with two clusters: unedited rows score as high by the flipped label as by their own."""
    rng = np.random.default_rng(0)
    y = np.arange(300) % 2
    z = np.stack([2 * y - 1.0, *(0.5 * rng.normal(size=(2, 300)) + [[1], [0]])], axis=1)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    split = np.array(["train", "val", "val"])[np.arange(300) % 3]
    arrays = {"embeddings": z.astype(np.float32), "attributes": y[:, None].astype(np.int8), "split": split}
    data = EmbeddingSet.from_arrays(arrays | {"attribute_names": np.array(["side"])}, source="two clusters")
    across = Flow(lambda _z, y: 4 * torch.cat([2 * y - 1, torch.zeros(len(y), 2)], dim=1))
    calibrate = calibration(data, 0.3)
    assert calibrate._silhouette(across, 0.0) > 0.3
    strength, found = calibrate(across)
    assert found == pytest.approx(0.3, abs=0.02)
    val = data.part("val")
    targets = 1 - torch.from_numpy(np.asarray(val.attributes)).float()
    ends = across.edit(torch.from_numpy(val.embeddings), targets, strength)
    assert (ends[:, 0] * (2 * targets[:, 0] - 1)).mean() > 0.2


def test_a_flow_that_organises_nothing_is_followed_to_the_limit_and_reported(data):
    strength, found = calibration(data)(Flow(lambda z, _y: torch.zeros_like(z)))
    assert strength == MAX_STRENGTH
    assert found < 0.1


def test_too_few_val_rows_are_refused(data):
    alike = data.part("val").take(np.arange(1))
    with pytest.raises(InputError, match=r"1 rows make 5 edits with 5 target"):
        SilhouetteCalibration(alike, 0.45)


@pytest.mark.parametrize("geometry", ["centred", "cone"])
def test_organise_ends_in_the_band_on_rows_it_never_read_and_beyond_it_without_calibration(tmp_path, geometry):
    data = planted(3000, 32, geometry=geometry)[0]
    settings = ["training.num_epochs=2", "loss.lambda_identity=0.05"]
    checkpoint = train(data, load_config("organise", settings), tmp_path / "with", monitor=SpreadMonitor)
    assert checkpoint.history[-1]["val_silhouette_by_target"] == pytest.approx(0.45, abs=0.01)
    assert checkpoint.strength == checkpoint.history[-1]["strength"] != 1
    assert LOW <= measured(checkpoint.flow(), data.part("test")) <= HIGH
    off = train(data, load_config("organise", [*settings, "inference.silhouette_by_target=null"]), tmp_path / "without")
    assert off.strength == 1
    assert "strength" not in off.history[-1]
    assert all(torch.equal(off.weights[name], value) for name, value in checkpoint.weights.items())
    assert measured(off.flow(), data.part("test")) > HIGH


def test_a_resumed_run_is_calibrated_to_the_same_strengths(tmp_path):
    data, config = planted(900, 8)[0], load_config("organise", ["training.num_epochs=3", "model.hidden_dim=16"])
    whole = train(data, config, tmp_path / "whole")

    def stop(record):
        if record["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(data, config, tmp_path / "run", on_epoch=stop)
    resumed = train(data, config, tmp_path / "run", resume=True)
    assert [r["strength"] for r in resumed.history] == [r["strength"] for r in whole.history]
    assert resumed.strength == whole.history[-1]["strength"]


def test_organise_ends_in_the_band_on_real_rows(shared, tmp_path):
    data = EmbeddingSet.load(shared / "data" / "celeba_cone.npz")
    checkpoint = train(data, load_config("organise", ["training.num_epochs=1"]), tmp_path)
    rows = data.select(checkpoint.attribute_names).part("test")
    assert LOW <= measured(checkpoint.flow(), rows.take(np.arange(0, len(rows), 3))) <= HIGH


@pytest.mark.parametrize(("weight", "reached"), [(0.05, True), (50, False)])
def test_the_command_says_how_far_the_flow_is_followed_and_what_is_out_of_reach(tmp_path, capsys, weight, reached):
    file = tmp_path / "planted.npz"
    planted(1500, 32)[0].save(file)
    command = ["train", "--config", "organise", "--embeddings", str(file), "--output-dir", str(tmp_path / "run")]
    assert main([*command, "--set", "training.batch_size=32", "--set", f"loss.lambda_identity={weight}"]) == 0
    said = capsys.readouterr().out
    assert "of its time: there the silhouette by target of the val rows is" in said
    assert ("out of reach" in said) is not reached
