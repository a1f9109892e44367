"""Each measure against naive loops, and what each sees and must not see."""

import math

import numpy as np
import pytest

from fclf.evaluation.spread import (
    density,
    distances,
    distinct_points,
    energy_distance,
    linked,
    radii,
    recall,
    rms_spread,
    squares_within,
    thin,
    total_variance,
    unique_nearest,
    vendi,
)


def normal(n, d, seed):
    return np.random.default_rng(seed).normal(size=(n, d))


def sphere(n, d, seed):
    x = normal(n, d, seed)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def apart(x):
    return distances(x, x)


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


def test_squares_within_groups_are_those_of_a_loop():
    x, member = normal(12, 3, 0) + 4, np.array([2, 0, 1, 1, 2, 2, 0, 1, 3, 2, 0, 1])
    naive = sum(math.dist(row, x[member == m].mean(axis=0)) ** 2 for row, m in zip(x, member, strict=True))
    assert squares_within(x, member) == pytest.approx(naive)
    assert squares_within(x, np.zeros(12, int)) == pytest.approx(12 * x.var(axis=0).sum())


def test_rms_spread_is_the_root_of_the_mean_squared_distance_to_the_mean():
    x = normal(11, 3, 0) + 5
    naive = math.sqrt(sum(math.dist(row, x.mean(axis=0)) ** 2 for row in x) / 11)
    assert rms_spread(x) == pytest.approx(naive)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_variance_ratio_reads_the_share_of_spread_left(share):
    real, edited = normal(4000, 6, 0), normal(4000, 6, 1) * share
    assert total_variance(edited) / total_variance(real) == pytest.approx(share**2, abs=0.03)


def recall_of(edited, real, k=5):
    return recall(distances(edited, real), distances(edited, edited), k)


@pytest.mark.parametrize(("n", "m", "k"), [(20, 20, 5), (20, 13, 1), (8, 8, 3)])
def test_recall_is_that_of_a_loop(n, m, k):
    edited, real = normal(n, 3, 1), normal(m, 3, 2) * 1.3
    expected = naive_recall(edited, real, k)
    assert recall_of(edited, real, k) == pytest.approx(expected)
    assert 0 < expected < 1


def test_recall_with_few_rows_takes_the_radius_of_the_farthest():
    edited, real = normal(4, 2, 5), normal(4, 2, 6) * 2
    assert recall_of(edited, real, 5) == pytest.approx(naive_recall(edited, real, 3))


@pytest.mark.parametrize(("n", "m"), [(7, 50), (50, 7)])
def test_thinning_takes_as_many_of_both_and_at_random(n, m):
    one, two = thin(n, m, np.random.default_rng(3))
    assert len(set(one.tolist())) == len(set(two.tolist())) == 7
    assert max(one) < n
    assert max(two) < m
    assert sorted(one if n > m else two) != list(range(7))  # not from the top


def test_recall_is_high_for_equal_samples_and_zero_for_a_collapsed_one():
    real = sphere(300, 16, 0)
    centre = real.mean(axis=0) / np.linalg.norm(real.mean(axis=0))
    assert recall_of(sphere(300, 16, 1), real) > 0.85
    assert recall_of(np.repeat(centre[None], 300, axis=0), real) == 0
    assert recall_of(0.1 * sphere(300, 16, 1) + 0.9 * centre, real) == 0


@pytest.mark.parametrize(("n", "m", "k"), [(12, 15, 3), (9, 7, 1)])
def test_density_is_that_of_a_loop(n, m, k):
    edited, real = normal(n, 3, 0), normal(m, 3, 1)
    inside = 0
    for j, r in enumerate(real):
        radius = sorted(math.dist(r, other) for i, other in enumerate(real) if i != j)[k - 1]
        inside += sum(math.dist(e, r) <= radius for e in edited)
    found = density(distances(edited, real), radii(distances(real, real), k), k)
    assert found == pytest.approx(inside / (k * n))
    assert found > 0


def test_density_is_one_for_real_rows_and_none_far_away_and_blind_to_a_collapse():
    real, other = sphere(400, 16, 0), sphere(400, 16, 1)
    around = radii(distances(real, real))
    centre = np.repeat(real.mean(axis=0, keepdims=True), 400, axis=0)
    assert density(distances(other, real), around) == pytest.approx(1, abs=0.15)
    assert density(distances(other + 10, real), around) == 0
    assert density(distances(centre, real), around) > 2


def test_unique_neighbours_are_counted_as_in_a_loop():
    edited, real = normal(30, 3, 0), normal(25, 3, 1)
    nearest = {min(range(25), key=lambda j: math.dist(e, real[j])) for e in edited}
    assert unique_nearest(distances(edited, real)) == len(nearest) / 30


def test_unique_neighbours_fall_with_a_collapse_and_not_for_real_rows():
    real, other, gallery = sphere(300, 16, 0), sphere(300, 16, 1), sphere(300, 16, 2)
    ceiling = unique_nearest(distances(real, gallery))
    assert unique_nearest(distances(other, gallery)) / ceiling == pytest.approx(1, abs=0.15)
    centre = other.mean(axis=0)
    assert unique_nearest(distances(centre + 0.02 * (other - centre), gallery)) / ceiling < 0.4
    assert unique_nearest(distances(np.repeat(other[:1], 300, axis=0), gallery)) == 1 / 300


def naive_vendi(x):
    n = len(x)
    gram = [[sum(a * b for a, b in zip(x[i], x[j], strict=True)) / n for j in range(n)] for i in range(n)]
    return math.exp(-sum(v * math.log(v) for v in np.linalg.eigvals(np.array(gram)).real if v > 1e-12))


@pytest.mark.parametrize(("n", "d"), [(6, 20), (30, 4)])
def test_vendi_is_that_of_the_gram_matrix_on_either_side(n, d):
    assert vendi(sphere(n, d, 0)) == pytest.approx(naive_vendi(sphere(n, d, 0)))


def test_vendi_counts_different_rows():
    assert vendi(np.eye(7)) == pytest.approx(7)
    assert vendi(np.eye(7)[np.arange(28) % 7]) == pytest.approx(7)
    assert vendi(np.repeat(sphere(1, 5, 0), 9, axis=0)) == pytest.approx(1)


def test_vendi_falls_with_a_collapse_and_not_for_real_rows():
    real, other = sphere(300, 32, 0), sphere(300, 32, 1)
    narrow = real[:1] + 0.1 * other
    assert vendi(other) / vendi(real) == pytest.approx(1, abs=0.05)
    assert vendi(narrow / np.linalg.norm(narrow, axis=1, keepdims=True)) / vendi(real) < 0.2


@pytest.mark.parametrize("tolerance", [0.05, 0.2, 0.4, 1.0])
def test_distinct_points_are_the_components_of_a_union_find(tolerance):
    x = np.random.default_rng(0).uniform(size=(60, 2)) * 3
    assert distinct_points(apart(x), tolerance) == naive_clusters(x, tolerance)


def test_distinct_points_are_one_on_a_collapse_and_all_on_spread_points():
    x = sphere(80, 16, 0)
    assert distinct_points(apart(np.repeat(x[:1], 80, axis=0)), 1e-6) == 1
    assert distinct_points(apart(x[:1] + 1e-9 * x), 1e-6) == 1
    assert distinct_points(apart(x), 1e-3) == 80
    assert distinct_points(apart(x[np.arange(80) % 3]), 1e-3) == 3


def test_linked_points_have_one_number_and_others_have_not():
    x = np.array([[0.0], [5.0], [0.9], [1.8], [5.5]])
    numbers = linked(apart(x), 1.0)
    assert numbers[0] == numbers[2] == numbers[3] != numbers[1] == numbers[4]
    assert sorted(set(numbers.tolist())) == [0, 1]
    assert len(set(linked(apart(x), 0.4).tolist())) == 5


def test_distinct_points_link_along_a_chain():
    chain = np.column_stack([np.arange(10) * 0.9, np.zeros(10)])
    assert distinct_points(apart(chain), 1.0) == 1
    assert distinct_points(apart(chain), 0.8) == 10
