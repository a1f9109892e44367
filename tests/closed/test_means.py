import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fclf.closed.linear import least_squares_effects
from fclf.closed.means import MODERATORS, LabelMeans


def additive(n=600, k=3, d=8, noise=0.1, seed=0, interaction=0.0):
    """Rows whose mean is additive in the labels, but for one product of labels."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, (n, k)).astype(np.int8)
    effects, product = rng.normal(size=(k, d)), rng.normal(size=d)
    mean = y @ effects + interaction * (y[:, :1] * y[:, 1:2]) * product
    return mean + noise * rng.normal(size=(n, d)), y, effects, product


def test_without_interactions_it_is_the_regression_on_the_labels():
    z, y, _, _ = additive()
    fitted = LabelMeans.fit(z, y)
    everywhere = np.array([[a, b, c] for a in (0, 1) for b in (0, 1) for c in (0, 1)], dtype=np.int8)
    intercept, effects = least_squares_effects(z, y)
    found = fitted.features(everywhere) @ fitted.coefficients
    np.testing.assert_allclose(found, intercept + everywhere @ effects, atol=0.05)


def test_an_interaction_is_found_and_the_additive_model_misses_it():
    z, y, effects, product = additive(interaction=1.0)
    fitted = LabelMeans.fit(z, y)
    before, after = np.array([[0, 1, 0]], dtype=np.int8), np.array([[1, 1, 0]], dtype=np.int8)
    truth = effects[0] + product
    found = fitted.move(z[:1], before, after)[0] - (fitted.move(z[:1], before, before)[0])
    spread = np.exp((fitted.features(after) - fitted.features(before)) @ fitted.log_variance / 2) - 1
    found = found - spread[:, None][0] * (z[0] - (fitted.features(before) @ fitted.coefficients)[0])
    assert np.linalg.norm(least_squares_effects(z, y)[1][0] - truth) > 0.3 * np.linalg.norm(product)
    assert np.linalg.norm(found - truth) < 0.1 * np.linalg.norm(product)


def test_rare_combinations_lean_on_the_others():
    """One row of a combination does not decide where it is."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, (500, 2)).astype(np.int8)
    y = np.concatenate([y[(y != 1).any(axis=1)], [[1, 1]]]).astype(np.int8)
    effects = np.eye(2, 6)
    z = y @ effects + 0.3 * rng.normal(size=(len(y), 6))
    z[-1:] += 3.0  # an outlier is all that the combination has
    fitted = LabelMeans.fit(z, y)
    corner = np.array([[1, 1]], dtype=np.int8)
    assert np.linalg.norm(z[-1:] - corner @ effects) > 6
    pulled = np.linalg.norm(fitted.features(corner) @ fitted.coefficients - corner @ effects)
    assert pulled < np.linalg.norm(z[-1:] - corner @ effects) / 2


def test_moved_rows_have_the_mean_and_the_spread_of_rows_with_the_target():
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, (4000, 2)).astype(np.int8)
    wide = np.where(y[:, :1] == 1, 2.0, 1.0)
    z = y @ np.eye(2, 5) + wide * 0.2 * rng.normal(size=(4000, 5))
    fitted = LabelMeans.fit(z, y)
    rows = y[:, 0] == 0
    target = y[rows].copy()
    target[:, 0] = 1
    moved = z[rows] + fitted.move(z[rows], y[rows], target)
    real = z[y[:, 0] == 1]
    assert z[rows].var() < 0.6 * real.var()
    np.testing.assert_allclose(moved.mean(axis=0), real.mean(axis=0), atol=0.03)
    np.testing.assert_allclose(moved.std(axis=0), real.std(axis=0), rtol=0.1)


@given(seed=st.integers(0, 100))
def test_no_change_is_no_displacement_and_there_and_back_is_none(seed):
    z, y, _, _ = additive(60, 3, 4, seed=seed, interaction=1.0)
    fitted = LabelMeans.fit(z, y)
    assert (fitted.move(z, y, y) == 0).all()
    target = 1 - y
    there = z + fitted.move(z, y, target)
    np.testing.assert_allclose(there + fitted.move(there, target, y), z, atol=1e-9)


@pytest.mark.parametrize("k", [1, 5, 12])
def test_its_size_is_linear_in_the_number_of_attributes(k):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, (300, k)).astype(np.int8)
    fitted = LabelMeans.fit(rng.normal(size=(300, 4)), y)
    assert fitted.coefficients.shape == (1 + k + k * min(k, MODERATORS), 4)
