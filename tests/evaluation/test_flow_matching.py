"""Flow matching: pairs of least cost, planted effects learned without a collapse, and the same bits each time."""

from itertools import permutations

import numpy as np
import pytest
import torch

from fclf.evaluation.flow_matching import FlowMatching, pair
from fclf.evaluation.spread import squares_within

STEPS = 300


def planted(n=1200, d=12, seed=0):
    rng = np.random.default_rng(seed)
    y = (rng.random((n, 2)) < 0.5).astype(np.int8)
    z = 0.3 * rng.normal(size=(n, d)) + 0.8 * (y - 0.5) @ np.eye(2, d) + np.eye(d)[5]
    return z / np.linalg.norm(z, axis=1, keepdims=True), y


@pytest.fixture(scope="module")
def fitted():
    return FlowMatching.fit(*planted(), steps=STEPS)


def test_pairs_are_the_cheapest_of_all_assignments():
    rng = np.random.default_rng(0)
    x, e = rng.normal(size=(5, 3)), rng.normal(size=(5, 3))
    y, f = (rng.integers(0, 2, (5, 4)).astype(np.int8) for _ in range(2))
    squared = [[float(((a - b) ** 2).sum()) for b in e] for a in x]
    mean = np.mean(squared)
    costs = {
        p: sum(squared[i][j] + 2 * mean * int((y[i] != f[j]).sum()) for i, j in enumerate(p))
        for p in permutations(range(5))
    }
    assert tuple(pair(x, e, y, f)) == min(costs, key=costs.get)


def test_pairs_keep_the_other_attributes():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 4)), rng.integers(0, 2, (60, 1)).astype(np.int8)
    end = np.roll(y, 7, axis=0)
    partner = pair(x, rng.normal(size=(60, 4)), y, end)
    assert (end[partner] == y).all()


def test_a_planted_change_is_learned_and_nothing_collapses(fitted):
    z, y = planted(seed=1)
    for k in range(2):
        target = y.copy()
        target[:, k] = 1 - y[:, k]
        ends = fitted(z, y, target)
        sign = np.where(target[:, k] == 1, 1, -1)
        assert np.mean(sign * z[:, k] > 0) < 0.2
        assert np.mean(sign * ends[:, k] > 0) > 0.75
        assert np.corrcoef(z[:, 1 - k], ends[:, 1 - k])[0, 1] > 0.8
        member = target @ [1, 2]
        assert squares_within(ends, member) / squares_within(z, y @ [1, 2]) > 0.6
        np.testing.assert_allclose(np.linalg.norm(ends, axis=1), 1, atol=1e-6)


def test_rows_without_a_change_stay(fitted):
    z, y = planted(50)
    np.testing.assert_allclose(fitted(z, y, y), z, atol=1e-15)


def test_a_seed_gives_the_same_bits_and_leaves_the_global_generator_alone():
    z, y = planted(200)
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    one, two, other = (FlowMatching.fit(z, y, seed=seed, steps=5)(z, y, 1 - y) for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    np.testing.assert_array_equal(one, two)
    assert (one != other).any()
