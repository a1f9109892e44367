"""Path measures on paths made by hand: geodesics, detours, falls and late arrivals."""

import numpy as np
import pytest

from fclf.closed.probe import Standardiser
from fclf.evaluation.edits import EditPlan
from fclf.evaluation.judges import LinearJudge
from fclf.evaluation.paths import FALL_TOLERANCE, measure_paths

NAMES = ("a", "b")


def judge(dim=3):
    """Logits are the first two coordinates."""
    return LinearJudge(Standardiser(np.zeros(dim), 1.0), np.eye(2, dim), np.zeros(2))


def plan_of(original, target):
    original, target = (np.array(rows, dtype=np.int8) for rows in (original, target))
    return EditPlan(np.arange(len(original)), original, target)


def circle(angles):
    """Points at these angles between the second and the first axis: a path of one edit, (t, 1, 3)."""
    angles = np.asarray(angles, dtype=np.float64)
    return np.stack([np.sin(angles), np.cos(angles), 0 * angles], axis=1)[:, None]


def measure(path, plan, spread=(1.0, 1.0)):
    return measure_paths(iter(path), plan, NAMES, judge(path.shape[2]), np.array(spread))


GAIN_A = plan_of([[0, 1]], [[1, 1]])
LOSE_A = plan_of([[1, 1]], [[0, 1]])


@pytest.mark.parametrize("angles", [[0.1, 0.5, 0.9], [0.1, 0.2, 1.2], [-0.5, -0.1, 0.0, 1.0]])
def test_a_path_on_one_great_circle_has_efficiency_one(angles):
    assert measure(circle(angles), GAIN_A).efficiency == pytest.approx(1, abs=1e-12)


def test_a_path_there_and_back_has_efficiency_zero():
    assert measure(circle([0.2, 0.9, 0.2]), GAIN_A).efficiency == pytest.approx(0, abs=1e-12)
    assert measure(circle([0.2, 0.9, 0.21]), GAIN_A).efficiency == pytest.approx(0.01 / 1.39)


def test_efficiency_is_the_distance_over_the_length_of_a_right_angled_detour():
    corner = np.eye(3)[[0, 1, 2]][:, None]  # two quarter circles, to a point one quarter circle away
    assert measure(corner, GAIN_A).efficiency == pytest.approx(0.5)


def test_an_edit_that_does_not_move_takes_no_detour_whatever_its_rounding():
    still = np.repeat(circle([0.3]), 11, axis=0)
    assert measure(still, GAIN_A).efficiency == 1
    noise = 1e-8 * np.random.default_rng(0).normal(size=still.shape)
    assert measure(still + noise, GAIN_A).efficiency == 1
    assert measure(circle([0.3, 0.3001, 0.3]), GAIN_A).efficiency < 1e-6  # while a small step back and forth is one


def test_efficiency_is_the_mean_over_edits():
    both = np.concatenate([circle([0.2, 0.5, 0.9]), circle([0.2, 0.9, 0.2])], axis=1)
    assert measure(both, plan_of([[0, 1]] * 2, [[1, 1]] * 2)).efficiency == pytest.approx(0.5)


def test_the_area_is_that_of_the_trapezoids():
    arrives = circle([-0.5, -0.2, 0.4, 0.8])  # not, not, is, is: 0 + 1/2 + 1 thirds
    scores = measure(arrives, GAIN_A)
    assert scores.target_share == [0, 0, 1, 1]
    assert scores.times == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert scores.auc == pytest.approx(0.5)
    assert scores.auc_by_attribute == {"a": pytest.approx(0.5)}


@pytest.mark.parametrize(
    ("angles", "auc"),
    [
        ([0.1, 0.2, 0.3], 1.0),  # there from the start
        ([-0.3, -0.2, -0.1], 0.0),  # never
        ([-0.1, 0.1, 0.2], 0.75),  # early
        ([-0.2, -0.1, 0.1], 0.25),  # late
        ([-0.1, 0.1, -0.1], 0.5),  # there and gone
    ],
)
def test_who_arrives_earlier_has_the_larger_area(angles, auc):
    assert measure(circle(angles), GAIN_A).auc == pytest.approx(auc)


def test_the_target_may_be_zero():
    falling = circle([0.8, 0.4, -0.3])
    assert measure(falling, LOSE_A).target_share == [0, 0, 1]
    assert measure(falling, LOSE_A).monotone == 1
    assert measure(falling, GAIN_A).target_share == [1, 1, 0]
    assert measure(falling, GAIN_A).monotone == 0


def test_the_share_weighs_directions_alike_as_success_does():
    up, down = circle([-0.5, 0.5]), circle([0.5, 0.4])
    path = np.concatenate([up, up, up, down], axis=1)
    plan = plan_of([[0, 1]] * 3 + [[1, 1]], [[1, 1]] * 3 + [[0, 1]])
    assert measure(path, plan).target_share == [0, 0.5]  # three of four edits, one of two directions


def test_only_flipped_attributes_count():
    scores = measure(circle([-0.5, 0.5]), GAIN_A)
    assert set(scores.auc_by_attribute) == {"a"}
    assert scores.monotone == 1
    turned = np.stack([[[0.1, 0.9, 0.0]], [[0.2, -0.9, 0.0]]])  # b falls, and nobody asked about it
    assert measure(turned, GAIN_A).monotone == 1
    assert measure(turned, plan_of([[0, 0]], [[1, 1]])).monotone == 0


@pytest.mark.parametrize(("fall", "monotone"), [(0.9, 1), (1.1, 0)])
@pytest.mark.parametrize("spread", [1.0, 4.0])
def test_a_fall_within_the_tolerance_is_none(fall, monotone, spread):
    depth = fall * FALL_TOLERANCE * spread
    path = np.array([[[0.1, 1, 0]], [[0.5, 1, 0]], [[0.5 - depth, 1, 0]], [[0.9, 1, 0]]])
    assert measure(path, GAIN_A, (spread, 1.0)).monotone == monotone


def test_monotone_is_a_share_of_edits_and_every_step_counts():
    path = np.concatenate([circle([0, 0.3, 0.2, 0.9]), circle([0, 0.2, 0.3, 0.9]), circle([0.3, 0, 0.5, 0.9])], axis=1)
    assert measure(path, plan_of([[0, 1]] * 3, [[1, 1]] * 3)).monotone == pytest.approx(1 / 3)


def test_a_path_without_steps_is_refused():
    with pytest.raises(ValueError, match="a path of 1 points"):
        measure(circle([0.3]), GAIN_A)
