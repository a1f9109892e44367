"""Edits to show: different people, every attribute, both directions, and a collapse that cannot hide."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fclf.errors import InputError
from fclf.evaluation.choice import choose, choose_named
from fclf.evaluation.edits import EditPlan, plan_edits

NAMES = ("Smiling", "Young", "Male", "Eyeglasses", "Mustache")
OFTEN = (0.5, 0.77, 0.42, 0.07, 0.04)


def labels(n=2000, seed=0):
    return (np.random.default_rng(seed).random((n, 5)) < OFTEN).astype(np.int8)


def shown(y, people=None, books=8, seed=0, mode="each"):
    plan = plan_edits(y, NAMES[: y.shape[1]], mode)
    return plan.take(choose(plan, people, books, seed))


@pytest.mark.parametrize("seed", range(5))
def test_eight_books_show_every_attribute_and_both_directions_of_most(seed):
    plan = shown(labels(seed=seed), seed=seed)
    cells = {(int(k), int(t[k])) for f, t in zip(plan.flips, plan.target, strict=True) for k in np.flatnonzero(f)}
    assert len(plan) == 8
    assert {k for k, _ in cells} == set(range(5))
    assert len(cells) == 8
    assert {direction for _, direction in cells} == {0, 1}


@pytest.mark.parametrize("seed", range(5))
def test_half_of_the_books_end_at_one_combination_and_half_at_another(seed):
    targets = shown(labels(seed=seed), seed=seed).target.tolist()
    assert targets[:4] == [targets[0]] * 4
    assert targets[4:] == [targets[4]] * 4
    assert targets[0] != targets[4]


def test_one_attribute_is_shown_in_both_directions():
    y = labels()[:, :1]
    plan = shown(y)
    assert sorted(plan.target[:, 0].tolist()) == [0] * 4 + [1] * 4


def test_people_are_shown_once():
    people = np.arange(2000) // 100
    plan = shown(labels(), people)
    assert len(set(people[plan.source].tolist())) == 8
    assert len(shown(labels(), people, books=50)) == 20  # that is everybody
    assert len(set(shown(labels(), None, books=50).source.tolist())) == 50


def test_the_same_seed_chooses_the_same_and_another_one_others():
    one, two, other = (shown(labels(), seed=seed).source.tolist() for seed in (0, 0, 1))
    assert one == two
    assert one != other


def test_edits_that_change_nothing_are_not_shown():
    y = labels(50)
    target = y.copy()
    target[:, 0] = 1
    plan = EditPlan(np.arange(50), y, target)
    chosen = choose(plan, None, 50)
    assert sorted(chosen.tolist()) == np.flatnonzero(y[:, 0] == 0).tolist()
    assert len(choose(EditPlan(np.arange(50), y, y), None)) == 0


def test_many_attributes_and_few_people_still_fill_the_books():
    y = np.random.default_rng(0).integers(0, 2, (30, 40)).astype(np.int8)  # no two edits end at one combination
    plan = plan_edits(y, tuple(f"a{k}" for k in range(40)))
    chosen = plan.take(choose(plan, None))
    assert len(set(chosen.source.tolist())) == 8
    assert chosen.flips.any(axis=0).sum() == 8  # eight different attributes
    assert (chosen.target & chosen.flips).sum() == 4  # in both directions


@given(
    n=st.integers(1, 60),
    k=st.integers(1, 5),
    books=st.integers(1, 12),
    mode=st.sampled_from(["each", "multi", "single"]),
)
def test_as_many_are_chosen_as_there_are_people_and_no_more(n, k, books, mode):
    people = np.random.default_rng(n).integers(0, 9, n)
    y = labels(n, seed=n)[:, :k]
    plan = plan_edits(y, NAMES[:k], mode)
    chosen = choose(plan, people, books)
    assert len(chosen) == min(books, len(np.unique(people)))
    assert len(np.unique(people[plan.source[chosen]])) == len(chosen)


def test_several_changes_at_once_count_for_all_their_attributes():
    plan = shown(labels(), books=4, mode="multi")
    assert plan.flips.any(axis=0).all(), "five attributes are shown by four edits of two or three"


IDS = np.array([f"{i:03d}.jpg" for i in range(20)] + ["a/twice.jpg", "b/twice.jpg"])


def test_named_rows_are_shown_once_in_their_order_with_attributes_in_turn():
    plan = plan_edits(labels(len(IDS)), NAMES)
    chosen = plan.take(choose_named(plan, IDS, ["007.jpg", "003", "img/012.png", "b/twice.jpg", "001.jpg", "000"]))
    assert chosen.source.tolist() == [7, 3, 12, 21, 1, 0]
    assert [int(np.flatnonzero(row)[0]) for row in chosen.flips] == [0, 1, 2, 3, 4, 0]


def test_named_rows_have_the_one_edit_that_was_asked_for():
    y = labels(len(IDS))
    target = y.copy()
    target[:, 3] = 1
    plan = EditPlan(np.arange(len(IDS)), y, target)
    without, having = (np.flatnonzero(y[:, 3] == value) for value in (0, 1))
    assert choose_named(plan, IDS, IDS[without[[4, 2]]].tolist()).tolist() == without[[4, 2]].tolist()
    with pytest.raises(InputError, match=f"--rows {IDS[having[0]]}: nothing would change"):
        choose_named(plan, IDS, [str(IDS[without[0]]), str(IDS[having[0]])])


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (["003", "nobody", "999.jpg"], "--rows nobody, 999.jpg: not the name of one row. There are 22 rows here"),
        (["twice"], "--rows twice: not the name of one row"),
        (["003", "003.jpg"], "a row is named twice"),
        (["003", "003"], "a row is named twice"),
    ],
)
def test_names_that_are_not_of_one_row_are_refused(wanted, said):
    with pytest.raises(InputError, match=said.replace(".", r"\.")):
        choose_named(plan_edits(labels(len(IDS)), NAMES), IDS, wanted)
