"""The leakage matrix recovers planted effects, and sees none where there are none."""

import numpy as np
import pytest

from fclf.evaluation.leakage import leakage

SPREAD = np.array([2.0, 0.5, 4.0])


def changes(count, flips, seed=0):
    """`count` changes of `flips` of three attributes each, in either direction."""
    rng = np.random.default_rng(seed)
    rows = np.zeros((count, 3), dtype=np.int8)
    for row in rows:
        row[rng.permutation(3)[:flips]] = rng.choice([-1, 1], flips)
    return rows


def test_a_shift_along_one_judge_leaks_nowhere_when_judges_are_orthogonal():
    weights = np.diag([3.0, 1.0, 2.0])  # judge k looks at coordinate k
    change = np.eye(3, dtype=np.int8)
    moved = change @ np.eye(3)  # editing k moves coordinate k
    np.testing.assert_allclose(leakage(moved @ weights.T, np.ones(3), change), np.diag([3.0, 1.0, 2.0]), atol=1e-12)


def test_a_shift_leaks_where_judges_share_a_direction():
    weights = np.array([[1.0, 0, 0], [0.6, 0.8, 0], [0, 0, 1.0]])
    change = np.eye(3, dtype=np.int8)
    found = np.array(leakage(change @ weights.T, np.ones(3), change))
    assert found[0, 1] == pytest.approx(0.6)
    assert found[1, 0] == found[0, 2] == found[2, 0] == pytest.approx(0)


@pytest.mark.parametrize("flips", [1, 2, 3])
def test_planted_effects_are_recovered_in_units_of_spread(flips):
    planted = np.random.default_rng(1).normal(size=(3, 3))
    change = changes(60, flips)
    found = leakage((change @ planted) * SPREAD, SPREAD, change)
    np.testing.assert_allclose(found, planted, atol=1e-12)


def test_for_single_flips_a_row_is_the_mean_of_a_loop():
    rng = np.random.default_rng(2)
    change = changes(50, 1)
    shift = rng.normal(size=(50, 3))
    found = leakage(shift, SPREAD, change)
    for edited in range(3):
        for judged in range(3):
            own = [shift[i, judged] * change[i, edited] / SPREAD[judged] for i in range(50) if change[i, edited] != 0]
            assert found[edited][judged] == pytest.approx(sum(own) / len(own))


def test_both_directions_add_up_and_do_not_cancel():
    change = np.array([[1, 0, 0], [-1, 0, 0]], dtype=np.int8)
    assert leakage(np.array([[2.0, 0.5, 0], [-2.0, -0.5, 0]]), SPREAD, change)[0] == pytest.approx([1, 1, 0])
    assert leakage(np.array([[2.0, 0.5, 0], [2.0, 0.5, 0]]), SPREAD, change)[0] == pytest.approx([0, 0, 0])


def test_attributes_that_no_edit_flips_have_no_row():
    change = np.array([[0, 1, 0]] * 4, dtype=np.int8)
    found = leakage(np.ones((4, 3)), SPREAD, change)
    assert found[0] == found[2] == [None] * 3
    assert found[1] == pytest.approx([0.5, 2.0, 0.25])


def test_attributes_that_always_change_together_cannot_be_told_apart():
    change = np.array([[1, 1, 0], [-1, -1, 0], [0, 0, 1]], dtype=np.int8)
    assert leakage(np.ones((3, 3)), SPREAD, change) == [[None] * 3] * 3


def test_a_judge_that_gives_all_rows_one_logit_has_no_column():
    found = leakage(np.ones((3, 3)), np.array([1.0, 0.0, 1.0]), np.eye(3, dtype=np.int8))
    assert [row[1] for row in found] == [None] * 3
    assert found[0][0] == pytest.approx(1)
