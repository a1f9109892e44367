"""Blocks, leave-one-out sums and intervals: against loops, and against what they are meant to cover."""

import math

import numpy as np
import pytest

from fclf.evaluation.jackknife import Blocks, divide, interval, leave_out, leave_out_pairs


def test_people_are_never_parted_and_blocks_are_even():
    who = np.random.default_rng(0).integers(0, 500, 2000) * 11
    blocks = Blocks.draw(2000, who, 0)
    assert blocks.count == 20
    assert all(len(set(blocks.number[who == person])) == 1 for person in np.unique(who))
    people = [len(np.unique(who[blocks.number == b])) for b in range(20)]
    assert max(people) - min(people) <= 1


def test_rows_without_identities_are_dealt_out_and_seeded():
    blocks = Blocks.draw(100, None, 1)
    assert np.bincount(blocks.number).tolist() == [5] * 20
    assert (Blocks.draw(100, None, 1).number == blocks.number).all()
    assert (Blocks.draw(100, None, 2).number != blocks.number).any()


def test_few_people_are_as_many_blocks():
    assert Blocks.draw(6, np.array([4, 4, 9, 9, 9, 1]), 0).count == 3


def test_sums_without_a_block_are_those_of_a_loop():
    rng = np.random.default_rng(0)
    blocks = Blocks.draw(50, None, 0)
    number, values = blocks.number[rng.integers(0, 50, 80)], rng.normal(size=(80, 3))
    found = leave_out(blocks.sums(values, number))
    expected = [values.sum(axis=0), *(values[number != b].sum(axis=0) for b in range(20))]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_allclose(
        blocks.mean(values[:, 0], number)[1:], [values[number != b, 0].mean() for b in range(20)]
    )


def test_pair_sums_without_a_block_are_those_of_a_loop():
    rng = np.random.default_rng(1)
    blocks = Blocks.draw(9, None, 0)
    x, a, b = rng.normal(size=(30, 25)), rng.integers(0, 9, 30), rng.integers(0, 9, 25)
    found = leave_out_pairs(blocks.members(a).T @ x @ blocks.members(b))
    expected = [
        sum(x[i, j] for i in range(30) for j in range(25) if out not in (a[i], b[j])) for out in (None, *range(9))
    ]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_nothing_is_divided_by_nothing():
    assert np.isnan(divide(np.array([1.0, 2.0]), np.array([0.0, 4.0]))[0])
    assert divide(np.array([1.0, 2.0]), np.array([0.0, 4.0]))[1] == 0.5


def test_the_interval_of_a_mean_of_equal_blocks_is_the_one_of_the_textbook():
    means = np.random.default_rng(0).normal(size=20)
    left = (means.sum() - means) / 19
    low, high = interval(means.mean(), left)
    half = 2.093024054408263 * means.std(ddof=1) / math.sqrt(20)
    assert (low, high) == pytest.approx((means.mean() - half, means.mean() + half))


@pytest.mark.parametrize("replicates", [[], [0.3], [0.2, float("nan")]])
def test_there_is_no_interval_of_one_block_or_of_what_is_not_defined(replicates):
    assert interval(0.3, replicates) is None


def covered(by_person, trials=300):
    """Share of trials whose interval of the mean, over the root mean square, holds the truth; people differ."""
    hits = 0
    for trial in range(trials):
        rng = np.random.default_rng(trial)
        who = np.repeat(np.arange(120), 5)
        x = 2 + rng.normal(size=120)[who] + 0.3 * rng.normal(size=600)
        blocks = Blocks.draw(600, who if by_person else None, trial)
        ratio = blocks.mean(x, blocks.number) / np.sqrt(blocks.mean(x**2, blocks.number))
        low, high = interval(ratio[0], ratio[1:])
        hits += low <= 2 / math.sqrt(4 + 1 + 0.09) <= high
    return hits / trials


def test_intervals_by_person_cover_the_truth_and_intervals_by_row_do_not():
    assert 0.91 <= covered(by_person=True) <= 0.98
    assert covered(by_person=False) < 0.75
