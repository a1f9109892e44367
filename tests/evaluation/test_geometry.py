"""Silhouette and purity against loops, and on the degenerate inputs that a collapse makes."""

import math

import numpy as np
import pytest

from fclf.evaluation.geometry import purity, silhouette
from fclf.evaluation.spread import distances


def blobs(centres, n, spread, seed=0):
    """`n` points around each centre in the plane, with the number of the centre."""
    labels = np.repeat(np.arange(len(centres)), n)
    noise = np.random.default_rng(seed).normal(size=(len(labels), 2))
    return np.asarray(centres, dtype=np.float64)[labels] + spread * noise, labels


def naive_silhouette(x, labels):
    total = 0.0
    for i in range(len(x)):
        mean = {}
        for label in set(labels.tolist()):
            others = [math.dist(x[i], x[j]) for j in range(len(x)) if labels[j] == label and j != i]
            mean[label] = sum(others) / len(others) if others else None
        own = mean.pop(int(labels[i]))
        if own is not None:  # a row alone with its label counts as 0
            nearest = min(mean.values())
            total += (nearest - own) / max(nearest, own)
    return total / len(x)


def test_silhouette_is_that_of_a_loop():
    x, labels = blobs([(0, 0), (1, 0), (0, 2)], 7, 0.6)
    labels[0] = 9  # a label with one row
    assert silhouette(x, labels) == pytest.approx(naive_silhouette(x, labels))


def test_silhouette_is_near_one_for_separate_clusters_and_near_zero_for_random_labels():
    x, labels = blobs([(0, 0), (10, 0)], 60, 0.1)
    assert silhouette(x, labels) > 0.95
    mixed, _ = blobs([(0, 0)], 120, 1.0)
    assert abs(silhouette(mixed, labels)) < 0.05


@pytest.mark.parametrize("noise", [0.0, 1e-8])
def test_silhouette_of_one_point_is_zero(noise):
    x = 0.5 + noise * np.random.default_rng(0).normal(size=(20, 3))
    assert silhouette(x, np.arange(20) % 4) == 0.0


def test_silhouette_of_one_point_per_label_is_one():
    x, labels = blobs([(0, 0), (1, 0), (0, 1)], 5, 0.0)
    assert silhouette(x, labels) == pytest.approx(1.0)


@pytest.mark.parametrize("labels", [np.zeros(6, int), np.arange(6)])
def test_silhouette_is_none_where_it_is_not_defined(labels):
    assert silhouette(np.random.default_rng(0).normal(size=(6, 2)), labels) is None


def test_purity_is_the_share_of_rows_in_the_majority_of_their_cluster():
    x, cluster = blobs([(0, 0), (100, 0), (0, 100)], 7, 0.1)
    labels = np.random.default_rng(0).integers(0, 3, len(x)) * 11
    majority = 0
    for c in range(3):
        counts = [sum(1 for i in range(len(x)) if cluster[i] == c and labels[i] == v) for v in (0, 11, 22)]
        majority += max(counts)
    assert purity(x, labels, 3) == pytest.approx(majority / len(x))
    assert purity(x, cluster, 3) == 1.0


def test_purity_with_k_clusters_cannot_pass_the_share_of_the_k_most_frequent_labels():
    x, labels = blobs([(0, 0), (50, 0), (0, 50), (50, 50)], 25, 0.1)
    assert purity(x, labels, 2) == pytest.approx(0.5)
    assert purity(x, labels, 4) == 1.0


def test_purity_of_labels_that_say_nothing_is_near_chance():
    x, _ = blobs([(0, 0)], 600, 1.0)
    labels = np.random.default_rng(1).integers(0, 4, len(x))
    assert 0.25 <= purity(x, labels, 4) < 0.35


@pytest.mark.parametrize("noise", [0.0, 1e-9])
def test_purity_of_one_point_is_the_share_of_the_most_frequent_label(noise):
    x = 0.5 + noise * np.random.default_rng(0).normal(size=(20, 3))
    assert purity(x, np.array([0] * 5 + [1] * 9 + [2] * 6), 10) == pytest.approx(9 / 20)


def test_purity_never_asks_for_more_clusters_than_there_are_points():
    x, labels = blobs([(0, 0), (1, 0)], 8, 0.0)
    labels[0] = 1
    assert purity(x, labels, 10) == pytest.approx(15 / 16)


def test_purity_is_the_same_twice():
    x, labels = blobs([(0, 0), (1, 0), (0, 1)], 40, 0.8)
    assert purity(x, labels, 5, seed=3) == purity(x, labels, 5, seed=3)


def test_known_distances_change_nothing():
    x, labels = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 3
    apart = distances(x, x)
    assert silhouette(x, labels, apart) == pytest.approx(silhouette(x, labels), abs=1e-7)
    assert purity(x, labels, 5, 0, apart) == purity(x, labels, 5)
