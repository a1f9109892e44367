"""The nearest real row: against a loop, on a cone, and where nobody has what is asked for."""

import numpy as np
import pytest

from fclf.closed.linear import least_squares_effects
from fclf.closed.nearest import NearestTarget


def cosine(a, b):
    return float(a @ b) / float(np.sqrt(a @ a) * np.sqrt(b @ b))


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    y = np.array([[0, 0], [0, 1], [1, 0]], np.int8)[rng.integers(0, 3, 120)]  # nobody has both
    z = rng.normal(size=(120, 6)) + y @ rng.normal(size=(2, 6)) + 6  # a cone
    return z / np.linalg.norm(z, axis=1, keepdims=True), y


def test_it_is_the_nearest_of_the_target_combination_after_centring(rows):
    z, y = rows
    target = np.roll(y, 1, axis=0)
    mean = z.mean(axis=0)
    plain = 0
    for i, found in enumerate(NearestTarget.fit(z, y)(z, y, target)):
        having = [r for r in range(len(z)) if (y[r] == target[i]).all()]
        best = max(having, key=lambda r: cosine(z[i] - mean, z[r] - mean))
        np.testing.assert_array_equal(found, z[best])
        plain += best != max(having, key=lambda r: cosine(z[i], z[r]))
    assert plain > 5  # centring matters on a cone


def test_an_unseen_combination_is_the_row_nearest_to_what_the_effects_predict(rows):
    z, y = rows
    both = np.ones((4, 2), np.int8)
    intercept, effects = least_squares_effects(z, y)
    expected = intercept + effects.sum(axis=0) - z.mean(axis=0)
    best = max(range(len(z)), key=lambda r: cosine(z[r] - z.mean(axis=0), expected))
    np.testing.assert_array_equal(NearestTarget.fit(z, y)(z[:4], y[:4], both), z[[best] * 4])
