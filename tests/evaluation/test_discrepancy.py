"""Energy distance and MMD from sums over pairs: against loops with every block left out, and what they see."""

import math

import numpy as np
import pytest

from fclf.evaluation.discrepancy import between, energy, median_distance, mmd, rbf, weighted_within, within
from fclf.evaluation.jackknife import Blocks
from fclf.evaluation.spread import distances, energy_distance


def normal(n, d, seed):
    return np.random.default_rng(seed).normal(size=(n, d))


def kernel(a, b, bandwidth):
    r = math.dist(a, b)
    return sum(math.exp(-(r**2) / (2 * (scale * bandwidth) ** 2)) for scale in (0.5, 1, 2)) / 3


def naive_mmd(x, y, bandwidth):
    def within(x):
        n = len(x)
        return sum(kernel(x[i], x[j], bandwidth) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))

    across = sum(kernel(a, b, bandwidth) for a in x for b in y) / (len(x) * len(y))
    return within(x) + within(y) - 2 * across


def statistics(x, y, blocks=None, a=None, b=None, bandwidth=None):
    blocks = Blocks.draw(len(x) + len(y), None, 0) if blocks is None else blocks
    a = blocks.number[: len(x)] if a is None else a
    b = blocks.number[len(x) :] if b is None else b
    bandwidth = median_distance(distances(y, y)) if bandwidth is None else bandwidth
    means = (
        between(distances(x, y), bandwidth, blocks, a, b),
        within(distances(x, x), bandwidth, blocks, a),
        within(distances(y, y), bandwidth, blocks, b),
    )
    return energy(*means), mmd(*means)


def test_both_are_those_of_loops_without_every_block():
    x, y = normal(14, 3, 0), normal(11, 3, 1) + 0.4
    blocks = Blocks.draw(5, None, 0)
    a, b = np.arange(14) % 5, np.arange(11) % 5
    bandwidth = median_distance(distances(y, y))
    found_energy, found_mmd = statistics(x, y, blocks, a, b)
    for position, out in enumerate((None, *range(5))):
        left, right = x[a != out], y[b != out]
        assert found_energy[position] == pytest.approx(energy_distance(left, right), abs=1e-7)
        assert found_mmd[position] == pytest.approx(naive_mmd(left, right, bandwidth), abs=1e-7)


def test_the_kernel_and_its_bandwidth_are_those_of_a_loop():
    x = normal(9, 4, 0)
    pairs = sorted(math.dist(x[i], x[j]) for i in range(9) for j in range(i))
    assert median_distance(distances(x, x)) == pytest.approx((pairs[17] + pairs[18]) / 2)
    np.testing.assert_allclose(rbf(distances(x, x), 1.7), [[kernel(a, b, 1.7) for b in x] for a in x], atol=1e-7)


def test_mmd_is_zero_on_average_for_equal_distributions_and_not_for_a_lost_spread_with_the_same_mean():
    equal, narrow = [], []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        x, y = rng.normal(size=(30, 6)), rng.normal(size=(40, 6))
        equal.append(statistics(x, y)[1][0])
        narrow.append(statistics(0.5 * x, y)[1][0])
    error = np.std(equal) / math.sqrt(200)
    assert abs(np.mean(equal)) < 4 * error
    assert min(narrow) > 0
    assert np.mean(narrow) > 10 * error


def test_a_weighted_mean_over_pairs_is_that_of_a_loop():
    x = normal(8, 3, 0)
    w = np.random.default_rng(1).random(8)
    w /= w.sum()
    pairs = [(i, j) for i in range(8) for j in range(8) if i != j]
    expected = sum(w[i] * w[j] * math.dist(x[i], x[j]) for i, j in pairs) / sum(w[i] * w[j] for i, j in pairs)
    assert weighted_within(distances(x, x), w) == pytest.approx(expected, abs=1e-7)
