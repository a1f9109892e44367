"""Controls against loops and numbers worked by hand."""

import numpy as np
import pytest

from fclf.closed.linear import DoNothing, Shift, least_squares_effects
from fclf.data.embeddings import EmbeddingSet
from fclf.evaluation.controls import controls
from fclf.evaluation.spread import distances, distinct_points

COMBINATIONS = np.array([[0, 0], [0, 1], [1, 0]], dtype=np.int8)  # nobody has both
BOTH = np.array([[1, 1]], dtype=np.int8)

NAMES = [
    "do nothing",
    "target mean",
    "nearest real target row",
    "shift x1",
    "shift x1.5",
    "affine",
    "quantile shift",
    "quantile shift x1.15",
    "quantile shift, half controlled",
]


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


@pytest.fixture
def train():
    rng = np.random.default_rng(0)
    y = COMBINATIONS[rng.integers(0, 3, 300)]
    z = unit(rng.normal(size=(300, 6)) + y @ rng.normal(size=(2, 6)) + 1)
    return EmbeddingSet(z.astype(np.float32), y, ("a", "b"))


def as_double(data):
    return data.embeddings.astype(np.float64), data.attributes


def test_the_controls_and_their_order(train):
    assert list(controls(train)) == NAMES


def test_least_squares_recovers_planted_effects_exactly_without_noise():
    rng = np.random.default_rng(1)
    y, intercept, effects = rng.integers(0, 2, (50, 3)), rng.normal(size=4), rng.normal(size=(3, 4))
    found = least_squares_effects(intercept + y @ effects, y.astype(np.int8))
    np.testing.assert_allclose(found[0], intercept, atol=1e-12)
    np.testing.assert_allclose(found[1], effects, atol=1e-12)


def test_least_squares_leaves_residuals_that_no_attribute_explains(train):
    z, y = as_double(train)
    intercept, effects = least_squares_effects(z, y)
    residuals = [z[i] - intercept - sum(y[i, k] * effects[k] for k in range(2)) for i in range(len(y))]
    for column in (np.ones(len(y)), y[:, 0], y[:, 1]):
        np.testing.assert_allclose(sum(column[i] * residuals[i] for i in range(len(y))), 0, atol=1e-9)


def test_do_nothing_does_nothing(train):
    z, y = as_double(train)
    np.testing.assert_array_equal(DoNothing()(z, y, 1 - y), z)
    np.testing.assert_array_equal(controls(train)["do nothing"](z, y, 1 - y), z)


def test_shift_by_hand():
    z = np.array([[0.6, 0.8, 0.0], [1.0, 0.0, 0.0]])
    y, target = np.array([[0, 1], [1, 0]], np.int8), np.array([[1, 1], [0, 1]], np.int8)
    effects = np.array([[0.0, 0.0, 1.0], [0.0, 2.0, 0.0]])
    # row 0 gains attribute 0: (.6, .8, 1) of length sqrt 2; row 1 loses it and gains 1: (1, 2, -1) of length sqrt 6
    expected = [np.array([0.6, 0.8, 1.0]) / np.sqrt(2), np.array([1.0, 2.0, -1.0]) / np.sqrt(6)]
    np.testing.assert_allclose(Shift(effects)(z, y, target), expected, atol=1e-15)
    doubled = [np.array([0.6, 0.8, 2.0]) / np.sqrt(5), np.array([1.0, 4.0, -2.0]) / np.sqrt(21)]
    np.testing.assert_allclose(Shift(effects, 2.0)(z, y, target), doubled, atol=1e-15)


@pytest.mark.parametrize(("name", "strength"), [("shift x1", 1.0), ("shift x1.5", 1.5)])
def test_fitted_shifts_add_the_effects_of_what_changes(train, name, strength):
    z, y = as_double(train)
    _, effects = least_squares_effects(z, y)
    target = np.roll(y, 1, axis=0)
    expected = [
        unit(z[i] + strength * sum((int(target[i, k]) - int(y[i, k])) * effects[k] for k in range(2)))
        for i in range(len(y))
    ]
    np.testing.assert_allclose(controls(train)[name](z, y, target), expected, atol=1e-12)


def test_shift_leaves_rows_whose_attributes_stay(train):
    z, y = as_double(train)
    np.testing.assert_allclose(controls(train)["shift x1.5"](z, y, y), unit(z), atol=1e-12)


def test_target_mean_is_the_mean_of_the_train_rows_of_each_combination(train):
    z, y = as_double(train)
    edited = controls(train)["target mean"](z, y, np.roll(y, 1, axis=0))
    for to, found in zip(np.roll(y, 1, axis=0), edited, strict=True):
        rows = [row for row, labels in zip(z, y, strict=True) if labels.tolist() == to.tolist()]
        np.testing.assert_allclose(found, unit(sum(rows) / len(rows)), atol=1e-12)


def test_target_mean_is_a_collapse(train):
    z, y = as_double(train)
    edited = controls(train)["target mean"](z, y, np.roll(y, 1, axis=0))
    assert distinct_points(distances(edited, edited), 1e-6) == 3
    assert distinct_points(distances(z, z), 1e-6) == 300


def test_target_mean_of_an_unseen_combination_is_what_the_effects_predict(train):
    z, y = as_double(train)
    intercept, effects = least_squares_effects(z, y)
    found = controls(train)["target mean"](z[:1], y[:1], BOTH)
    np.testing.assert_allclose(found[0], unit(intercept + effects[0] + effects[1]), atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_controls_return_unit_vectors_and_leave_their_input_alone(train, name):
    z, y = as_double(train)
    before = z.copy()
    edited = controls(train)[name](z, y, 1 - y)
    np.testing.assert_allclose(np.linalg.norm(edited, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(z, before)
