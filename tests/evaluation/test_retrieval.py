"""Retrieval against loops: the source among all rows, and other pictures of the person with the target value."""

import numpy as np
import pytest

from fclf.evaluation.edits import plan_edits
from fclf.evaluation.retrieval import Relevant, average_precision, rank_one, relevant_rows


def normal(n, d, seed):
    return np.random.default_rng(seed).normal(size=(n, d))


def sphere(n, d, seed):
    x = normal(n, d, seed)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def naive_rank_one(edited, rows, source):
    total = 0.0
    for e, own in zip(edited, source, strict=True):
        similarity = [sum(a * b for a, b in zip(e, row, strict=True)) for row in rows]
        nearest = [i for i, s in enumerate(similarity) if s >= max(similarity) - 1e-12]
        total += (own in nearest) / len(nearest)
    return total / len(edited)


@pytest.mark.parametrize("chunk", [1, 7, 4096])
def test_rank_one_is_that_of_a_loop_whatever_the_chunk(chunk):
    rows, source = sphere(30, 5, 0), np.random.default_rng(1).integers(0, 30, 50)
    edited = rows[source] + 0.4 * normal(50, 5, 2)
    edited /= np.linalg.norm(edited, axis=1, keepdims=True)
    expected = naive_rank_one(edited, rows, source)
    assert rank_one(edited, rows, source, chunk).mean() == pytest.approx(expected)
    assert 0.2 < expected < 0.95


def test_rank_one_is_shared_where_rows_are_equal():
    rows = sphere(6, 4, 0)[[0, 0, 0, 1, 2, 3]]
    source = np.array([0, 1, 3, 4])
    edited = rows[source]
    expected = (1 / 3 + 1 / 3 + 1 + 1) / 4
    assert rank_one(edited, rows, source).mean() == pytest.approx(expected)
    assert naive_rank_one(edited, rows, source) == pytest.approx(expected)


def test_rank_one_is_whole_for_rows_that_stay_and_chance_for_rows_that_fall_together():
    rows, source = sphere(40, 8, 0), np.arange(40)
    assert rank_one(rows, rows, source).mean() == 1
    assert rank_one(np.repeat(rows[:1], 40, axis=0), rows, source).mean() == pytest.approx(1 / 40)


def people(n=60, d=8, seed=0, noise=0.5):
    """Rows of 20 people with two attributes, near a centre of their own."""
    rng = np.random.default_rng(seed)
    who = rng.integers(0, 20, n)
    z = rng.normal(size=(20, d))[who] + noise * rng.normal(size=(n, d))
    return z / np.linalg.norm(z, axis=1, keepdims=True), rng.integers(0, 2, (n, 2)).astype(np.int8), 7 * who - 3


def naive_relevant(plan, y, who):
    return [
        (q, r)
        for q in range(len(plan))
        for r in range(len(y))
        if r != plan.source[q]
        and who[r] == who[plan.source[q]]
        and all(y[r, k] == plan.target[q, k] for k in range(y.shape[1]) if plan.original[q, k] != plan.target[q, k])
    ]


def naive_precision(query, rows, own, wanted):
    order = sorted((r for r in range(len(rows)) if r != own), key=lambda r: -float(query @ rows[r]))
    hits, precisions = 0, []
    for rank, r in enumerate(order, 1):
        if r in wanted:
            hits += 1
            precisions.append(hits / rank)
    return sum(precisions) / len(precisions)


@pytest.mark.parametrize("mode", ["each", "single", "multi"])
def test_relevant_rows_are_those_of_a_loop(mode):
    _, y, who = people()
    plan = plan_edits(y, ("a", "b"), mode)
    found = relevant_rows(plan.source, plan.flips, plan.target, y, who)
    expected = naive_relevant(plan, y, who)
    assert sorted(zip(found.query.tolist(), found.row.tolist(), strict=True)) == expected
    assert (np.diff(found.query) >= 0).all()
    assert len(expected) > 20


@pytest.mark.parametrize("chunk", [1, 7, 1024])
def test_average_precision_is_that_of_a_loop_whatever_the_chunk(chunk):
    z, y, who = people()
    plan = plan_edits(y, ("a", "b"), "each")
    relevant = relevant_rows(plan.source, plan.flips, plan.target, y, who)
    edited = z[plan.source] + 0.3 * normal(len(plan), 8, 1)
    found = average_precision(edited, z, plan.source, relevant, chunk)
    pairs = naive_relevant(plan, y, who)
    expected = [
        naive_precision(edited[q], z, plan.source[q], {r for p, r in pairs if p == q}) for q in relevant.queries
    ]
    np.testing.assert_allclose(found, expected)
    assert 0.05 < found.mean() < 0.95


def test_average_precision_by_hand():
    rows = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0], [-1.0, 0.0]])
    relevant = Relevant(np.array([0, 0]), np.array([1, 3]))  # ranks 1 and 3 when row 0 itself is left out
    assert average_precision(rows[:1], rows, np.array([0]), relevant) == pytest.approx((1 / 1 + 2 / 3) / 2)


def test_rows_that_are_equally_near_come_together():
    rows = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    relevant = Relevant(np.array([0]), np.array([2]))
    assert average_precision(rows[1:2], rows, np.array([0]), relevant) == pytest.approx(1 / 3)


def test_precision_is_whole_for_the_person_and_chance_for_a_collapse():
    z, y, who = people(400, 32, noise=0.3)
    plan = plan_edits(y, ("a", "b"), "each")
    relevant = relevant_rows(plan.source, plan.flips, plan.target, y, who)
    stays = average_precision(z[plan.source], z, plan.source, relevant).mean()
    collapsed = average_precision(np.repeat(z[:1], len(plan), axis=0), z, plan.source, relevant).mean()
    assert stays > 0.4  # the same person's pictures without the value come in between
    assert collapsed < 0.15


def test_an_edit_that_gets_the_value_is_better_than_none():
    z, y, who = people(400, 32, noise=0.3)
    z = z + 0.6 * (y @ np.eye(2, 32) - 0.3)
    z = z / np.linalg.norm(z, axis=1, keepdims=True)
    plan = plan_edits(y, ("a", "b"), "each")
    relevant = relevant_rows(plan.source, plan.flips, plan.target, y, who)
    moved = z[plan.source] + 0.6 * (plan.target - plan.original) @ np.eye(2, 32)
    before, after = (average_precision(x, z, plan.source, relevant).mean() for x in (z[plan.source], moved))
    assert after > before + 0.1


def test_pictures_that_should_be_found_search_for_one_another():
    relevant = Relevant(np.array([3, 3, 3, 5, 8, 8]), np.array([10, 11, 12, 10, 20, 21]))
    picture, held = relevant.held_out()
    assert picture.tolist() == [10, 11, 12, 10, 20, 21]
    pairs = {(int(q), int(r)) for q, r in zip(held.query, held.row, strict=True)}
    assert pairs == {(0, 11), (0, 12), (1, 10), (1, 12), (2, 10), (2, 11), (4, 21), (5, 20)}
    assert held.queries.tolist() == [0, 1, 2, 4, 5]  # the fourth has nothing else to find
