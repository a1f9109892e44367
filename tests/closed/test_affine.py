"""Gaussian transport: the map carries covariances, and planted spreads are found."""

import numpy as np
import pytest

from fclf.closed.affine import Affine, gaussian_map
from fclf.closed.linear import Shift, least_squares_effects

D = 8


def covariance(seed, d=D):
    root = np.random.default_rng(seed).normal(size=(d, d))
    return root @ root.T + 0.1 * np.eye(d)


def planted(n=6000, widths=(1.0, 2.0), seed=0):
    """Two attributes that shift; the first also widens the second half of the dimensions."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, (n, 2)).astype(np.int8)
    noise = rng.normal(size=(n, D))
    noise[:, D // 2 :] *= np.where(y[:, :1] == 1, widths[1], widths[0])
    return 0.02 * noise + y @ (0.1 * np.eye(2, D)) + np.eye(D)[0], y


def test_the_map_carries_one_covariance_to_the_other_and_is_symmetric():
    source, target = covariance(0), covariance(1)
    found = gaussian_map(source, target)
    np.testing.assert_allclose(found @ source @ found, target, atol=1e-9)
    np.testing.assert_allclose(found, found.T)
    assert np.linalg.eigvalsh(found).min() > 0  # the gradient of a convex function: the optimal one


def test_the_map_costs_less_than_another_that_carries_the_covariance():
    source, target = covariance(0), covariance(1)
    other = np.linalg.cholesky(target) @ np.linalg.inv(np.linalg.cholesky(source))
    np.testing.assert_allclose(other @ source @ other.T, target, atol=1e-9)

    def cost(a):
        return np.trace((a - np.eye(D)) @ source @ (a - np.eye(D)).T)

    assert cost(gaussian_map(source, target)) < cost(other) - 0.1


def test_equal_covariances_leave_the_residual_alone():
    np.testing.assert_allclose(gaussian_map(covariance(2), covariance(2)), np.eye(D), atol=1e-8)


def test_a_planted_spread_is_carried_where_a_shift_leaves_it():
    z, y = planted()
    affine = Affine.fit(z, y)
    target = y.copy()
    target[:, 0] = 1
    gain = y[:, 0] == 0
    before, after = z[gain], affine(z, y, target)[gain]
    shifted = Shift(least_squares_effects(z, y)[1])(z, y, target)[gain]
    real = z[y[:, 0] == 1] / np.linalg.norm(z[y[:, 0] == 1], axis=1, keepdims=True)
    for k in range(D // 2, D):
        assert shifted[:, k].std() / real[:, k].std() == pytest.approx(0.5, abs=0.05)
        assert after[:, k].std() / real[:, k].std() == pytest.approx(1, abs=0.05)
    assert before[:, 2].std() == pytest.approx(after[:, 2].std() * real[:, 0].mean(), rel=0.3)


def test_taking_away_undoes_adding_but_for_the_projection():
    z, y = planted(500)
    affine = Affine.fit(z, y)
    residuals = np.random.default_rng(0).normal(size=(3, D))
    there = residuals @ affine.maps[0]
    np.testing.assert_allclose(np.linalg.solve(affine.maps[0], there.T).T, residuals, atol=1e-9)
    none, one = np.zeros((3, 2), np.int8), np.array([[1, 0]] * 3, np.int8)
    x = affine.intercept + residuals * 0.01
    forth = affine.intercept + affine.effects[0] + residuals * 0.01 @ affine.maps[0]
    np.testing.assert_allclose(affine(x, none, one), forth / np.linalg.norm(forth, axis=1, keepdims=True), atol=1e-9)
    np.testing.assert_allclose(affine(forth, one, none), x / np.linalg.norm(x, axis=1, keepdims=True), atol=1e-9)


def test_flips_compose_and_no_flip_is_the_identity():
    z, y = planted(400)
    affine = Affine.fit(z, y)
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    np.testing.assert_allclose(affine(unit, y, y), unit, atol=1e-12)
    residuals = unit - affine.intercept - y @ affine.effects
    both = 1 - y
    for i in (0, 1, 2, 3):
        r = residuals[i]
        for k in range(2):
            r = r @ (affine.maps[k] if both[i, k] else np.linalg.inv(affine.maps[k]))
        expected = affine.intercept + both[i] @ affine.effects + r
        np.testing.assert_allclose(affine(unit, y, both)[i], expected / np.linalg.norm(expected), atol=1e-8)


def test_few_rows_of_an_attribute_do_not_blow_up_what_real_rows_hardly_use():
    rng = np.random.default_rng(0)
    scale = np.geomspace(1, 1e-2, 40)
    y = (np.arange(1500) < 30).astype(np.int8)[:, None]
    z = rng.normal(size=(1500, 40)) * scale + 0.1 * y + 5 * np.eye(40)[0]
    affine = Affine.fit(z, y)
    carried = (rng.normal(size=(4000, 40)) * scale) @ affine.maps[0]
    np.testing.assert_allclose(carried.std(axis=0) / scale, 1, atol=0.35)
