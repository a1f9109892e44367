"""Each measure against naive loops, and what each sees and must not see."""

import math

import numpy as np
import pytest

from fclf.evaluation.spread import (
    distances,
    distinct_points,
    energy_distance,
    linked,
    rank_one,
    recall,
    rms_spread,
    total_variance,
)


def normal(n, d, seed):
    return np.random.default_rng(seed).normal(size=(n, d))


def sphere(n, d, seed):
    x = normal(n, d, seed)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def naive_energy(x, y):
    def mean(pairs):
        values = [math.dist(a, b) for a, b in pairs]
        return sum(values) / len(values)

    def within(x):
        return mean([(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j])

    return 2 * mean([(a, b) for a in x for b in y]) - within(x) - within(y)


def naive_clusters(x, tolerance):
    parent = list(range(len(x)))

    def root(i):
        while parent[i] != i:
            i = parent[i]
        return i

    for i in range(len(x)):
        for j in range(i):
            if math.dist(x[i], x[j]) <= tolerance:
                parent[root(i)] = root(j)
    return len({root(i) for i in range(len(x))})


def naive_recall(edited, real, k):
    radius = [sorted(math.dist(a, b) for j, b in enumerate(edited) if j != i)[k - 1] for i, a in enumerate(edited)]
    inside = [any(math.dist(r, e) <= radius[i] for i, e in enumerate(edited)) for r in real]
    return sum(inside) / len(real)


def naive_rank_one(edited, rows, source):
    total = 0.0
    for e, own in zip(edited, source, strict=True):
        similarity = [sum(a * b for a, b in zip(e, row, strict=True)) for row in rows]
        nearest = [i for i, s in enumerate(similarity) if s >= max(similarity) - 1e-12]
        total += (own in nearest) / len(nearest)
    return total / len(edited)


def test_distances_are_those_of_a_loop():
    x, y = normal(7, 3, 0), normal(5, 3, 1)
    np.testing.assert_allclose(distances(x, y), [[math.dist(a, b) for b in y] for a in x], rtol=1e-10)


def test_equal_unit_vectors_are_no_further_apart_than_rounding():
    x = sphere(200, 64, 0)
    assert np.diag(distances(x, x)).max() < 1e-7


@pytest.mark.parametrize(("n", "m"), [(2, 2), (6, 9), (12, 4)])
def test_energy_distance_is_that_of_a_loop_without_diagonals(n, m):
    x, y = normal(n, 4, n), normal(m, 4, m) + 0.3
    assert energy_distance(x, y) == pytest.approx(naive_energy(x, y), abs=1e-10)


def draws_of_energy(scale, shift=0.0):
    rng = np.random.default_rng(0)
    values = [energy_distance(rng.normal(size=(12, 5)), shift + scale * rng.normal(size=(9, 5))) for _ in range(400)]
    return np.mean(values), np.std(values) / math.sqrt(len(values))


def test_energy_distance_of_equal_distributions_is_zero_on_average():
    mean, error = draws_of_energy(1.0)
    assert abs(mean) < 4 * error
    assert error < 0.02


def test_energy_distance_sees_a_lost_spread_and_a_shift():
    for mean, error in (draws_of_energy(0.4), draws_of_energy(1.0, shift=0.5)):
        assert mean > 10 * error


def test_energy_distance_to_one_point_is_large():
    x = normal(50, 5, 0)
    assert energy_distance(np.repeat(x.mean(axis=0, keepdims=True), 50, axis=0), x) > 0.5


def test_total_variance_is_the_unbiased_one_summed():
    x = normal(11, 3, 0) * [1, 2, 3]
    naive = sum(sum((v - sum(column) / 11) ** 2 for v in column) / 10 for column in x.T)
    assert total_variance(x) == pytest.approx(naive)


def test_rms_spread_is_the_root_of_the_mean_squared_distance_to_the_mean():
    x = normal(11, 3, 0) + 5
    naive = math.sqrt(sum(math.dist(row, x.mean(axis=0)) ** 2 for row in x) / 11)
    assert rms_spread(x) == pytest.approx(naive)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_variance_ratio_reads_the_share_of_spread_left(share):
    real, edited = normal(4000, 6, 0), normal(4000, 6, 1) * share
    assert total_variance(edited) / total_variance(real) == pytest.approx(share**2, abs=0.03)


@pytest.mark.parametrize(("n", "k"), [(20, 5), (20, 1), (8, 3)])
def test_recall_at_equal_numbers_is_that_of_a_loop(n, k):
    edited, real = normal(n, 3, 1), normal(n, 3, 2) * 1.3
    expected = naive_recall(edited, real, k)
    assert recall(edited, real, np.random.default_rng(0), k) == pytest.approx(expected)
    assert 0 < expected < 1


def test_recall_with_few_rows_takes_the_radius_of_the_farthest():
    edited, real = normal(4, 2, 5), normal(4, 2, 6) * 2
    assert recall(edited, real, np.random.default_rng(0), 5) == pytest.approx(naive_recall(edited, real, 3))


@pytest.mark.parametrize(("n", "m"), [(7, 50), (50, 7)])
def test_recall_thins_the_larger_sample(n, m):
    edited, real = normal(n, 3, 0), normal(m, 3, 1)
    value = recall(edited, real, np.random.default_rng(3))
    rng = np.random.default_rng(3)
    edited, real = edited[rng.permutation(n)[:7]], real[rng.permutation(m)[:7]]
    assert value == pytest.approx(naive_recall(edited, real, 5))


def test_recall_thins_at_random_and_not_from_the_top():
    real = normal(60, 3, 0)
    edited = np.concatenate([np.full((60, 3), 100.0) + 0.01 * normal(60, 3, 1), normal(60, 3, 2)])
    assert recall(edited, real, np.random.default_rng(0)) > 0.4


def test_recall_is_high_for_equal_samples_and_zero_for_a_collapsed_one():
    real = sphere(300, 16, 0)
    centre = real.mean(axis=0) / np.linalg.norm(real.mean(axis=0))
    rng = np.random.default_rng(0)
    assert recall(sphere(300, 16, 1), real, rng) > 0.85
    assert recall(np.repeat(centre[None], 300, axis=0), real, rng) == 0
    assert recall(0.1 * sphere(300, 16, 1) + 0.9 * centre, real, rng) == 0


@pytest.mark.parametrize("tolerance", [0.05, 0.2, 0.4, 1.0])
def test_distinct_points_are_the_components_of_a_union_find(tolerance):
    x = np.random.default_rng(0).uniform(size=(60, 2)) * 3
    assert distinct_points(x, tolerance) == naive_clusters(x, tolerance)


def test_distinct_points_are_one_on_a_collapse_and_all_on_spread_points():
    x = sphere(80, 16, 0)
    assert distinct_points(np.repeat(x[:1], 80, axis=0), 1e-6) == 1
    assert distinct_points(x[:1] + 1e-9 * x, 1e-6) == 1
    assert distinct_points(x, 1e-3) == 80
    assert distinct_points(x[np.arange(80) % 3], 1e-3) == 3


def test_linked_points_have_one_number_and_others_have_not():
    x = np.array([[0.0], [5.0], [0.9], [1.8], [5.5]])
    numbers = linked(x, 1.0)
    assert numbers[0] == numbers[2] == numbers[3] != numbers[1] == numbers[4]
    assert sorted(set(numbers.tolist())) == [0, 1]
    assert len(set(linked(x, 0.4).tolist())) == 5


def test_distinct_points_link_along_a_chain():
    chain = np.column_stack([np.arange(10) * 0.9, np.zeros(10)])
    assert distinct_points(chain, 1.0) == 1
    assert distinct_points(chain, 0.8) == 10


@pytest.mark.parametrize("chunk", [1, 7, 4096])
def test_rank_one_is_that_of_a_loop_whatever_the_chunk(chunk):
    rows, source = sphere(30, 5, 0), np.random.default_rng(1).integers(0, 30, 50)
    edited = rows[source] + 0.4 * normal(50, 5, 2)
    edited /= np.linalg.norm(edited, axis=1, keepdims=True)
    expected = naive_rank_one(edited, rows, source)
    assert rank_one(edited, rows, source, chunk) == pytest.approx(expected)
    assert 0.2 < expected < 0.95


def test_rank_one_is_shared_where_rows_are_equal():
    rows = sphere(6, 4, 0)[[0, 0, 0, 1, 2, 3]]
    source = np.array([0, 1, 3, 4])
    edited = rows[source]
    expected = (1 / 3 + 1 / 3 + 1 + 1) / 4
    assert rank_one(edited, rows, source) == pytest.approx(expected)
    assert naive_rank_one(edited, rows, source) == pytest.approx(expected)


def test_rank_one_is_whole_for_rows_that_stay_and_chance_for_rows_that_fall_together():
    rows, source = sphere(40, 8, 0), np.arange(40)
    assert rank_one(rows, rows, source) == 1
    assert rank_one(np.repeat(rows[:1], 40, axis=0), rows, source) == pytest.approx(1 / 40)
