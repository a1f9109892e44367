"""Copies of an embedding: found whatever they are called, and never parted by a split of ours."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fclf.data.copies import READ_FIRST, copy_numbers, who_or_same
from fclf.data.embeddings import EmbeddingSet
from fclf.data.planted import planted
from fclf.data.splits import assign_splits

WHICH = st.lists(st.integers(0, 12), min_size=1, max_size=40).map(np.array)


def embeddings(which):
    """Rows that are the same where their numbers are; half of them agree in all that is read first."""
    z = np.random.default_rng(0).normal(size=(13, 9)).astype(np.float32)
    z[::2, : READ_FIRST // 4] = z[0, : READ_FIRST // 4]
    return z[which]


def together(which, who):
    """The groups by repeated joining, a pair at a time."""
    group = np.arange(len(which))
    for _ in which:
        for i in range(len(which)):
            for j in range(i):
                if which[i] == which[j] or (who is not None and who[i] == who[j]):
                    group[group == max(group[i], group[j])] = min(group[i], group[j])
    return group


@given(which=WHICH)
def test_rows_have_the_number_of_the_first_that_is_the_same(which):
    assert copy_numbers(embeddings(which)).tolist() == [int(np.flatnonzero(which == one)[0]) for one in which]


def test_rows_that_differ_in_their_last_bit_are_two():
    z = np.repeat(embeddings(np.array([3])), 3, axis=0)
    z[2, -1] = np.nextafter(z[2, -1], np.float32(1))
    assert copy_numbers(z).tolist() == [0, 0, 2]


@pytest.mark.parametrize("n", [0, 1])
def test_hardly_any_rows_are_no_copies(n):
    assert copy_numbers(np.ones((n, 3), np.float32)).tolist() == list(range(n))


@given(which=WHICH, people=st.none() | st.integers(1, 20), seed=st.integers(0, 99))
def test_people_are_one_where_a_chain_of_copies_joins_them(which, people, seed):
    who = None if people is None else np.random.default_rng(seed).integers(-5, people, len(which))
    found = who_or_same(embeddings(which), who)
    expected = together(which, who)
    if found is None:
        found = np.arange(len(which))
    assert [[a == b for a in found] for b in found] == [[a == b for a in expected] for b in expected]


def test_people_without_copies_come_back_as_they_came():
    who = np.array([7, 7, -2])
    assert who_or_same(embeddings(np.arange(3)), who) is who
    assert who_or_same(embeddings(np.arange(3)), None) is None


@given(which=WHICH, named=st.booleans(), seed=st.integers(0, 99))
def test_no_split_of_ours_parts_copies_or_people(which, named, seed):
    who = np.random.default_rng(seed).integers(0, 30, len(which)) if named else None
    found = EmbeddingSet(embeddings(which), identities=who).with_split(seed).split
    for group in np.unique(together(which, who)):
        assert len(set(found[together(which, who) == group])) == 1


@pytest.mark.parametrize("named", [True, False])
def test_a_file_without_copies_is_split_as_ever(named):
    data = planted(300, 8)[0]
    who = data.identities if named else None
    again = EmbeddingSet(data.embeddings, identities=who).with_split(5)
    assert np.array_equal(again.split, assign_splits(300, who, 5))
