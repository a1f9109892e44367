"""Every mode asks for the edits it names, and groups are those of a loop."""

import numpy as np
import pytest

from fclf.errors import InputError
from fclf.evaluation.edits import MIN_EDITED, MIN_REAL, EditPlan, comparable_groups, plan_edits

NAMES = ("Young", "Smiling", "Male", "Eyeglasses")


def labels(n, k=4, seed=0):
    return np.random.default_rng(seed).integers(0, 2, (n, k)).astype(np.int8)


def plan_of(original, target):
    original, target = (np.array(rows, dtype=np.int8) for rows in (original, target))
    return EditPlan(np.arange(len(original)), original, target)


@pytest.mark.parametrize("mode", ["each", "single", "multi", "smiling"])
def test_originals_are_the_sources_labels_and_targets_flip_them(mode):
    y = labels(50)
    plan = plan_edits(y, NAMES, mode)
    assert len(plan) == len(plan.source) == len(plan.original) == len(plan.target)
    assert plan.target.dtype == np.int8
    for source, original, target, flips in zip(plan.source, plan.original, plan.target, plan.flips, strict=True):
        assert original.tolist() == y[source].tolist()
        assert target.tolist() == [1 - v if f else v for v, f in zip(original, flips, strict=True)]


def test_each_edits_every_row_once_per_attribute():
    plan = plan_edits(labels(13), NAMES, "each")
    assert (plan.flips.sum(axis=1) == 1).all()
    asked = sorted(zip(plan.source.tolist(), plan.flips.argmax(axis=1).tolist(), strict=True))
    assert asked == [(row, k) for row in range(13) for k in range(4)]


def test_each_is_the_mode_that_decides():
    y = labels(9)
    np.testing.assert_array_equal(plan_edits(y, NAMES).target, plan_edits(y, NAMES, "each").target)


@pytest.mark.parametrize(("mode", "counts"), [("single", {1}), ("multi", {2, 3})])
def test_random_modes_edit_every_row_once_with_as_many_flips_as_they_say(mode, counts):
    plan = plan_edits(labels(400), NAMES, mode)
    assert plan.source.tolist() == list(range(400))
    assert set(plan.flips.sum(axis=1).tolist()) == counts
    share = plan.flips.mean(axis=0)
    assert share.max() - share.min() < 0.15  # no attribute is preferred


@pytest.mark.parametrize(("k", "flips"), [(1, 1), (2, 2)])
def test_multi_flips_no_more_attributes_than_there_are(k, flips):
    plan = plan_edits(labels(30, k), NAMES[:k], "multi")
    assert (plan.flips.sum(axis=1) == flips).all()


def test_random_modes_follow_their_seed():
    y = labels(100)
    first, same, other = (plan_edits(y, NAMES, "single", seed).target for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()


def test_smiling_flips_smiling_alone_wherever_it_stands():
    plan = plan_edits(labels(20), NAMES, "smiling")
    np.testing.assert_array_equal(plan.flips, np.tile([False, True, False, False], (20, 1)))


def test_smiling_without_such_an_attribute_is_refused():
    with pytest.raises(InputError, match="Smiling; there are Young, Male"):
        plan_edits(labels(5, 2), ("Young", "Male"), "smiling")


def test_groups_are_those_of_a_loop():
    rng = np.random.default_rng(0)
    y = (rng.random((700, 3)) < (0.5, 0.4, 0.3)).astype(np.int8)
    plan = plan_edits(y, NAMES[:3], "each")
    cells = {}
    for number, (original, target) in enumerate(zip(plan.original.tolist(), plan.target.tolist(), strict=True)):
        change = tuple(k for k in range(3) if original[k] != target[k])
        cells.setdefault((change, tuple(target)), []).append(number)
    real = {key: [i for i, row in enumerate(y.tolist()) if tuple(row) == key[1]] for key in cells}
    expected = {key: (cells[key], real[key]) for key in cells if len(cells[key]) >= 40 and len(real[key]) >= 60}
    found = {(g.change, g.target): (g.edits.tolist(), g.real.tolist()) for g in comparable_groups(plan, y)}
    assert found == expected
    assert 0 < len(expected) < len(cells)


@pytest.mark.parametrize(
    ("edited", "real", "groups"),
    [(MIN_EDITED, MIN_REAL, 1), (MIN_EDITED - 1, MIN_REAL, 0), (MIN_EDITED, MIN_REAL - 1, 0)],
)
def test_groups_need_forty_edits_and_sixty_real_rows(edited, real, groups):
    assert (MIN_EDITED, MIN_REAL) == (40, 60)
    y = np.array([[0, 0]] * edited + [[1, 0]] * real, dtype=np.int8)
    plan = plan_of([[0, 0]] * edited, [[1, 0]] * edited)
    found = comparable_groups(plan, y)
    assert len(found) == groups
    if found:
        assert (found[0].change, found[0].target) == ((0,), (1, 0))
        assert (len(found[0].edits), len(found[0].real)) == (edited, real)


def test_different_changes_to_one_combination_are_different_groups():
    originals = [[0, 1]] * 40 + [[1, 0]] * 40 + [[0, 0]] * 40
    y = np.array(originals + [[1, 1]] * 60, dtype=np.int8)
    groups = comparable_groups(plan_of(originals, [[1, 1]] * 120), y)
    assert sorted((g.change, g.target, g.edits[0], len(g.edits)) for g in groups) == [
        ((0,), (1, 1), 0, 40),
        ((0, 1), (1, 1), 80, 40),
        ((1,), (1, 1), 40, 40),
    ]


def test_taken_edits_keep_their_source_and_labels():
    plan = plan_edits(labels(20), NAMES, "multi")
    taken = plan.take(np.array([7, 3, 3]))
    for position, number in enumerate((7, 3, 3)):
        assert taken.source[position] == plan.source[number]
        assert taken.original[position].tolist() == plan.original[number].tolist()
        assert taken.flips[position].tolist() == plan.flips[number].tolist()
