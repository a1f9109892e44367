"""Flipbooks against loops, and what they show of flows that stay, travel and collapse."""

import math

import numpy as np
import pytest

from fclf.evaluation.flipbook import BOOKS, flipbook


def sphere(n, d, seed):
    x = np.random.default_rng(seed).normal(size=(n, d))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


Z = sphere(40, 5, 0)


def test_pages_are_those_of_a_loop():
    source = np.random.default_rng(1).integers(0, 40, 30)
    paths = np.stack([sphere(30, 5, seed) for seed in (1, 2, 3)])
    book = flipbook(paths, source, Z)
    seen, edits = set(), []
    for number, row in enumerate(source.tolist()):
        if row not in seen and len(edits) < BOOKS:
            seen.add(row)
            edits.append(number)
    assert book.edits.tolist() == edits
    assert book.source.tolist() == [source[i] for i in edits]
    for t in range(3):
        nearest = []
        for b, edit in enumerate(edits):
            cosines = [sum(p * q for p, q in zip(paths[t, edit], row, strict=True)) for row in Z]
            nearest.append(int(np.argmax(cosines)))
            assert book.rows[t, b] == nearest[-1]
            assert book.distances[t, b] == pytest.approx(1 - max(cosines))
        assert book.unique[t] == len(set(nearest)) / len(edits)


def test_a_flow_that_stays_shows_its_source_on_every_page():
    source = np.arange(12)
    book = flipbook(np.repeat(Z[None, source], 4, axis=0), source, Z)
    np.testing.assert_array_equal(book.rows, np.tile(np.arange(BOOKS), (4, 1)))
    np.testing.assert_allclose(book.distances, 0, atol=1e-12)
    assert (book.distances >= 0).all()
    assert book.unique.tolist() == [1] * 4


def test_a_flow_to_one_point_ends_on_one_page():
    source = np.arange(12)
    ends = np.repeat(Z[39:], 12, axis=0)
    book = flipbook(np.stack([Z[source], ends]), source, Z)
    assert book.rows[1].tolist() == [39] * BOOKS
    assert book.unique.tolist() == [1, 1 / BOOKS]


def test_a_flow_to_other_rows_shows_them_all():
    source = np.arange(12)
    book = flipbook(np.stack([Z[source], Z[source + 20]]), source, Z)
    np.testing.assert_array_equal(book.rows[1], book.source + 20)
    assert book.unique.tolist() == [1, 1]


def test_distances_are_one_minus_the_cosine():
    angle = 0.3
    z = np.array([[1.0, 0], [-1.0, 0]])
    book = flipbook(np.array([[[math.cos(angle), math.sin(angle)]]]), np.array([1]), z)
    assert book.rows.tolist() == [[0]]
    assert book.distances[0, 0] == pytest.approx(1 - math.cos(angle))


def test_there_are_no_more_books_than_sources():
    source = np.array([3, 3, 5, 3])
    book = flipbook(Z[None, source], source, Z)
    assert book.edits.tolist() == [0, 2]
    assert book.unique.tolist() == [1]
