from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fclf.data.embeddings import EmbeddingSet
from fclf.data.targets import combination_codes, edit_targets, flip_attributes, own_labels, row_targets
from fclf.errors import InputError

SEEDS = st.integers(0, 2**32 - 1)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def attributes(n, k, seed=0):
    return torch.randint(0, 2, (n, k), generator=seeded(seed)).float()


@given(n=st.integers(1, 40), k=st.integers(1, 8), seed=SEEDS)
def test_every_row_gets_one_or_two_distinct_flips(n, k, seed):
    y = attributes(n, k, seed)
    before = y.clone()
    flipped = flip_attributes(y, seeded(seed))
    assert torch.equal(y, before)
    assert set(flipped.flatten().tolist()) <= {0.0, 1.0}
    assert set((flipped != y).sum(1).tolist()) <= {1, min(2, k)}


@given(n=st.integers(1, 40), k=st.integers(1, 8), low=st.integers(1, 10), more=st.integers(0, 5), seed=SEEDS)
def test_the_number_of_flips_stays_in_its_range_and_at_most_k(n, k, low, more, seed):
    y = attributes(n, k, seed)
    counts = (flip_attributes(y, seeded(seed), min_flips=low, max_flips=low + more) != y).sum(1)
    assert counts.min() >= min(low, k)
    assert counts.max() <= min(low + more, k)


def share(mask):
    return mask.double().mean().item()


def test_counts_attributes_and_pairs_are_uniform():
    n = 40_000
    y = attributes(n, 5)
    flips = flip_attributes(y, seeded()) != y
    sigma = 0.5 / n**0.5
    two = flips.sum(1) == 2
    assert share(two) == pytest.approx(0.5, abs=4 * sigma)
    for a in range(5):
        assert share(flips[~two, a]) == pytest.approx(1 / 5, abs=6 * sigma)
        assert share(flips[y[:, a] == 1, a]) == pytest.approx(3 / 10, abs=6 * sigma)  # whatever the value was
        assert share(flips[y[:, a] == 0, a]) == pytest.approx(3 / 10, abs=6 * sigma)
    for a, b in combinations(range(5), 2):
        assert share(flips[two, a] & flips[two, b]) == pytest.approx(1 / 10, abs=6 * sigma)


def test_every_count_of_a_wider_range_is_as_likely():
    y = attributes(40_000, 6)
    counts = (flip_attributes(y, seeded(1), min_flips=2, max_flips=5) != y).sum(1)
    assert sorted(set(counts.tolist())) == [2, 3, 4, 5]
    for count in (2, 3, 4, 5):
        assert share(counts == count) == pytest.approx(1 / 4, abs=0.01)


def test_rows_are_flipped_independently():
    y = torch.zeros(20_000, 5)
    same = (flip_attributes(y, seeded())[::2] == flip_attributes(y, seeded())[1::2]).all(1)
    assert share(same) == pytest.approx(0.25 / 5 + 0.25 / 10, abs=0.01)  # same count and then the same choice


def test_probability_is_of_the_whole_batch():
    y = attributes(16, 5)
    changed = []
    for seed in range(600):
        rows = (flip_attributes(y, seeded(seed), probability=0.5) != y).any(1)
        assert rows.all() or not rows.any()
        changed.append(bool(rows.any()))
    assert sum(changed) / 600 == pytest.approx(0.5, abs=0.08)


@given(seed=SEEDS)
def test_probability_zero_and_one_are_certain(seed):
    y = attributes(6, 5, seed)
    assert torch.equal(flip_attributes(y, seeded(seed), probability=0.0), y)
    assert (flip_attributes(y, seeded(seed), probability=1.0) != y).any(1).all()


@given(n=st.integers(1, 30), k=st.integers(1, 6), seed=SEEDS)
def test_as_many_random_values_are_drawn_whatever_happens(n, k, seed):
    states = []
    for probability in (0.0, 0.5, 1.0):
        for y in (torch.zeros(n, k), attributes(n, k, seed)):
            generator = seeded(seed)
            flip_attributes(y, generator, probability=probability)
            states.append(generator.get_state())
    assert not torch.equal(states[0], seeded(seed).get_state())
    assert all(torch.equal(state, states[0]) for state in states)


@given(n=st.integers(1, 20), seed=SEEDS)
def test_a_single_attribute_is_always_flipped(n, seed):
    y = attributes(n, 1, seed)
    assert torch.equal(flip_attributes(y, seeded(seed)), 1 - y)


def test_flips_are_decided_by_the_generator_alone():
    y = attributes(50, 5)
    before = torch.random.get_rng_state()
    first = flip_attributes(y, seeded(3))
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(5)
    assert torch.equal(flip_attributes(y, seeded(3)), first)
    assert not torch.equal(flip_attributes(y, seeded(4)), first)


@given(n=st.integers(1, 30), k=st.one_of(st.integers(1, 4), st.just(80)), seed=SEEDS)
def test_codes_number_the_combinations_in_sorted_order_without_a_gap(n, k, seed):
    y = attributes(n, k, seed)
    y = y[torch.randint(0, n, (n,), generator=seeded(seed))]  # so that wide rows repeat as well
    rows = [tuple(row) for row in y.tolist()]
    names = sorted(set(rows))
    assert combination_codes(y).tolist() == [names.index(row) for row in rows]


NAMES = ("Smiling", "Young", "Male")


def labelled(attributes, names=NAMES):
    return EmbeddingSet(np.eye(len(attributes), 4, dtype=np.float32), np.array(attributes, dtype=np.int8), names)


@given(rows=st.lists(st.lists(st.integers(0, 1), min_size=3, max_size=3), min_size=1, max_size=4), data=st.data())
def test_an_edit_sets_and_flips_what_was_named_and_keeps_the_rest(rows, data):
    actions = data.draw(st.lists(st.sampled_from(["keep", "flip", 0, 1]), min_size=3, max_size=3))
    assign = {name: action for name, action in zip(NAMES, actions, strict=True) if action in (0, 1)}
    flip = [name for name, action in zip(NAMES, actions, strict=True) if action == "flip"]
    if not assign and not flip:
        with pytest.raises(InputError, match="Nothing to edit"):
            edit_targets(own_labels(labelled(rows), NAMES), NAMES, assign, flip)
        return
    expected = [
        [{"keep": old, "flip": 1 - old}.get(action, action) for old, action in zip(row, actions, strict=True)]
        for row in rows
    ]
    assert edit_targets(own_labels(labelled(rows), NAMES), NAMES, assign, flip).tolist() == expected
    assert rows == labelled(rows).attributes.tolist()


def test_an_edit_takes_labels_by_name_and_needs_only_those_that_it_does_not_set():
    rows = labelled([[0, 1], [1, -1]], ("Male", "Smiling"))  # another order, Young absent, one label unknown
    with pytest.raises(InputError, match="2 of 2 rows have no label for Smiling, Young"):
        edit_targets(own_labels(rows, NAMES), NAMES, {}, ["Male"])
    assert edit_targets(own_labels(rows, NAMES), NAMES, {"Smiling": 0, "Young": 1}, ["Male"]).tolist() == [
        [0, 1, 1],
        [0, 1, 0],
    ]
    with pytest.raises(InputError, match="1 of 2 rows have no label for Smiling"):
        edit_targets(own_labels(rows, NAMES), NAMES, {"Young": 1}, ["Smiling"])
    bare = EmbeddingSet(rows.embeddings)
    assert edit_targets(own_labels(bare, NAMES), NAMES, dict.fromkeys(NAMES, 1), []).tolist() == [[1, 1, 1], [1, 1, 1]]


@pytest.mark.parametrize(
    ("assign", "flip", "part"),
    [
        ({"Smilng": 1}, [], "did you mean 'Smiling'"),
        ({"Male": 2}, [], "--set Male=2"),
        ({"Male": 1}, ["Male"], "Male cannot be both set and flipped"),
        ({}, ["Male", "Male"], "named twice: Male"),
    ],
)
def test_an_edit_that_makes_no_sense_is_refused_with_its_reason(assign, flip, part):
    with pytest.raises(InputError, match=part):
        edit_targets(own_labels(labelled([[0, 0, 0]]), NAMES), NAMES, assign, flip)


@given(n=st.integers(1, 40), k=st.integers(1, 8), seed=SEEDS)
def test_unknown_labels_are_never_flipped_and_known_ones_are_as_often_as_they_can_be(n, k, seed):
    y = attributes(n, k, seed)
    unknown = torch.rand(n, k, generator=seeded(seed)) < 0.4
    y[unknown] = -1
    flipped = flip_attributes(y, seeded(seed), min_flips=2, max_flips=2)
    assert torch.equal(flipped[unknown], y[unknown])
    assert (flipped[~unknown] >= 0).all()
    assert torch.equal((flipped != y).sum(1), (~unknown).sum(1).clamp_max(2))


VALUES = (0, 1, -1, float("nan"))


@given(st.lists(st.sampled_from(VALUES), min_size=1, max_size=30), st.integers(0, 2**16))
def test_a_value_a_row_is_that_rows_target_and_unknown_leaves_it(values, seed):
    own = np.random.default_rng(seed).integers(0, 2, (len(values), len(NAMES)), dtype=np.int8)
    found = edit_targets(own, NAMES, {NAMES[1]: np.array(values)}, [])
    for row, value in enumerate(values):  # the naive loop
        expected = own[row].copy()
        if value in (0, 1):
            expected[1] = value
        assert found[row].tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([0, 1, 2], "row 12 is 2"),
        ([0, 0.5, 1], "row 11 is 0.5"),
        ([0, 1], r"shape \(2,\) came for 3 rows"),
        ([[0], [1], [1]], r"shape \(3, 1\) came for 3 rows"),
        (["0", "1", "1"], "has type <U1"),
    ],
)
def test_what_is_no_target_is_refused_with_its_row(values, says):
    with pytest.raises(InputError, match=says):
        row_targets(np.array(values), 3, "The target", first_row=10)


@pytest.mark.parametrize("kind", [np.bool_, np.int64, np.uint8, np.float32])
def test_any_type_of_number_will_do(kind):
    assert row_targets(np.array([0, 1, 1], dtype=kind), 3, "The target").tolist() == [0, 1, 1]
