import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fclf.data.splits import SHARES, SPLITS, assign_splits

SEEDS = st.integers(0, 2**32 - 1)


def boundaries(split):
    """Rows in the first split, in the first two, in the first three."""
    return np.cumsum([(split == name).sum() for name in SPLITS])[:-1]


def test_shares_are_the_documented_ones():
    assert dict(zip(SPLITS, SHARES, strict=True)) == {"train": 0.56, "val": 0.08, "judge": 0.16, "test": 0.20}


@given(n=st.integers(0, 400), seed=SEEDS)
def test_rows_are_shared_out_to_the_nearest_row(n, seed):
    split = assign_splits(n, seed=seed)
    assert len(split) == n
    assert set(split) <= set(SPLITS)
    assert np.all(np.abs(boundaries(split) - np.cumsum(SHARES)[:-1] * n) <= 0.5 + 1e-9)


@given(identities=st.lists(st.integers(-5, 40), min_size=1, max_size=300).map(np.array), seed=SEEDS)
def test_people_are_never_split_and_shares_hold_within_half_a_person(identities, seed):
    split = assign_splits(len(identities), identities, seed)
    for person in np.unique(identities):
        assert len(set(split[identities == person])) == 1
    largest = np.unique(identities, return_counts=True)[1].max()
    assert np.all(np.abs(boundaries(split) - np.cumsum(SHARES)[:-1] * len(identities)) <= largest / 2 + 1e-9)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_nobodys_rows_swallow_a_split(share, seed):
    """As of a placeholder that stands in for a third of the pictures."""
    identities = np.where(np.arange(500) < share * 500, 0, np.arange(500))
    split = assign_splits(500, identities, seed)
    for name, expected in zip(SPLITS, SHARES, strict=True):
        assert (split == name).mean() == pytest.approx(expected, abs=0.01)


def test_shares_hold_in_rows_where_people_differ_in_size():
    identities = np.repeat(np.arange(300), np.random.default_rng(0).geometric(0.1, 300))
    split = assign_splits(len(identities), identities)
    for name, share in zip(SPLITS, SHARES, strict=True):
        assert (split == name).mean() == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize("identities", [None, np.arange(1000) // 4], ids=["rows", "people"])
def test_a_split_is_decided_by_its_seed(identities):
    first = assign_splits(1000, identities, seed=1)
    assert np.array_equal(assign_splits(1000, identities, seed=1), first)
    assert (assign_splits(1000, identities, seed=2) != first).mean() > 0.4


@pytest.mark.parametrize("identities", [None, np.arange(1000) // 4], ids=["rows", "people"])
def test_a_split_does_not_follow_the_order_of_the_file(identities):
    split = assign_splits(1000, identities)
    for half in (split[:500], split[500:]):
        assert (half == "train").mean() == pytest.approx(0.56, abs=0.1)
        assert (half == "test").mean() == pytest.approx(0.20, abs=0.1)


def test_people_keep_their_split_when_their_rows_are_shuffled():
    identities = np.repeat(np.arange(100), 3)
    order = np.random.default_rng(0).permutation(300)
    assert np.array_equal(assign_splits(300, identities[order]), assign_splits(300, identities)[order])
