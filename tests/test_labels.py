import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fclf.data.embeddings import EmbeddingSet
from fclf.data.targets import edit_targets, flip_attributes
from fclf.errors import InputError
from fclf.evaluation.edits import plan_edits
from fclf.labels import ExclusiveGroup, settled

NAMES = ("black", "male", "blond", "brown")
HAIR = (0, 2, 3)
SEEDS = st.integers(0, 2**32 - 1)


def labels(n, *, always, seed=0):
    """Rows with one colour of hair, or in one of four with none."""
    rng = np.random.default_rng(seed)
    y = np.zeros((n, 4), np.int8)
    y[:, 1] = rng.integers(0, 2, n)
    colour = rng.integers(0, 3 if always else 4, n)
    has = colour < 3
    y[has, np.array([*HAIR, 0])[colour[has]]] = 1
    return y


def naive(before, after, always):
    """One row."""
    out = after.copy()
    gained = [k for k in HAIR if after[k] == 1 and before[k] != 1]
    if gained:
        for k in HAIR:
            out[k] = int(k == gained[0])
    elif always and not any(after[k] == 1 for k in HAIR):
        for k in HAIR:
            out[k] = before[k]
    return out


@given(always=st.booleans(), seed=SEEDS)
def test_a_group_is_settled_as_row_by_row(always, seed):
    before = labels(20, always=always, seed=seed % 1000)
    after = np.where(np.random.default_rng(seed).random(before.shape) < 0.4, 1 - before, before).astype(np.int8)
    kept = after.copy()
    found = settled(before, after, [ExclusiveGroup(HAIR, always)])
    assert np.array_equal(after, kept)
    assert np.array_equal(found, [naive(b, a, always) for b, a in zip(before, after, strict=True)])
    count = found[:, HAIR].sum(axis=1)
    assert count.max() <= 1
    assert not always or count.min() == 1
    assert np.array_equal(found[:, 1], after[:, 1])


@given(always=st.booleans(), seed=SEEDS)
def test_random_flips_make_one_choice(always, seed):
    y = torch.from_numpy(labels(30, always=always, seed=seed % 1000)).float()
    group = [ExclusiveGroup(HAIR, always)]
    found = flip_attributes(y, torch.Generator().manual_seed(seed), exclusive=group)
    assert found.dtype == y.dtype
    assert found[:, HAIR].sum(1).max() <= 1
    assert not always or found[:, HAIR].sum(1).min() == 1
    plain = flip_attributes(y, torch.Generator().manual_seed(seed))
    assert torch.equal(found[:, 1], plain[:, 1])
    assert (plain[:, HAIR].sum(1) > 1).any() or len(y) < 30  # without the group they would not


@pytest.mark.parametrize("always", [True, False])
def test_every_change_that_leaves_one_choice_is_planned(always):
    y = labels(40, always=always)
    plan = plan_edits(y, NAMES, exclusive=[ExclusiveGroup(HAIR, always)])
    found = {(int(s), *t) for s, t in zip(plan.source, plan.target.tolist(), strict=True)}
    expected = set()
    for row, own in enumerate(y.tolist()):
        for k in range(4):
            changed = own.copy()
            changed[k] = 1 - own[k]
            changed = naive(np.array(own), np.array(changed), always).tolist()
            if changed != own:
                expected.add((row, *changed))
    assert found == expected
    assert len(plan) == len(found)
    hair = plan.flips[:, HAIR].sum(axis=1)
    assert (hair == 2).any()
    assert (hair == 1).any() != always


def test_who_gains_a_colour_loses_the_other():
    y = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [-1, 0, 0, 0]], np.int8)
    group = [ExclusiveGroup(HAIR)]
    found = edit_targets(y, NAMES, {"blond": 1}, [], group)
    assert found.tolist() == [[0, 0, 1, 0], [0, 1, 1, 0], [0, 0, 1, 0]]
    assert edit_targets(y[:2], NAMES, {}, ["blond"], group).tolist() == found[:2].tolist()
    assert edit_targets(y[:2], NAMES, {"black": 0}, [], group).tolist() == [[0, 0, 0, 0], [0, 1, 0, 0]]


def test_two_of_a_choice_are_refused_and_so_is_none_where_there_always_is_one():
    y = labels(40, always=True)
    with pytest.raises(InputError, match=r"black and blond exclude|blond and black exclude"):
        edit_targets(y, NAMES, {"blond": 1, "black": 1}, [], [ExclusiveGroup(HAIR)])
    with pytest.raises(
        InputError, match="Every row has one of black, blond, brown, so black cannot just be taken away"
    ):
        edit_targets(y, NAMES, {"black": 0}, [], [ExclusiveGroup(HAIR, always=True)])
    without = y[y[:, 0] == 0]
    assert np.array_equal(edit_targets(without, NAMES, {"black": 0}, [], [ExclusiveGroup(HAIR, always=True)]), without)


def some(y):
    z = np.random.default_rng(0).normal(size=(len(y), 4))
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    return EmbeddingSet.from_arrays({"embeddings": z, "attributes": y, "attribute_names": np.array(NAMES)})


@pytest.mark.parametrize("always", [True, False])
def test_whether_a_row_always_has_one_is_seen_in_the_labels(always):
    data = some(labels(40, always=always)).with_exclusive([(("black", "blond", "brown"), None)])
    assert data.exclusive == (ExclusiveGroup(HAIR, always),)
    fewer = data.select(["brown", "male", "black"])
    assert fewer.exclusive == (ExclusiveGroup((0, 2), False),)
    assert data.select(["brown", "male"]).exclusive == ()
    turned = data.select(["brown", "blond", "male", "black"])
    assert turned.exclusive == (ExclusiveGroup((0, 1, 3), always),)


def test_rows_that_have_two_or_none_are_named():
    y = labels(10, always=False)
    with pytest.raises(InputError, match=r"always has one of black, blond, brown, but \d+ of 10 rows have none"):
        some(y).with_exclusive([(("black", "blond", "brown"), True)])
    y[3] = [1, 0, 1, 0]
    with pytest.raises(InputError, match=r"1 of 10 rows have more than one \(first: 3, black and blond\)"):
        some(y).with_exclusive([(("black", "blond", "brown"), None)])
    with pytest.raises(InputError, match="did you mean 'blond'"):
        some(y).with_exclusive([(("black", "blonde"), None)])
