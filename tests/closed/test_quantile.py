from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fclf.closed.linear import least_squares_effects
from fclf.closed.quantile import QuantileShift, transport
from fclf.data.planted import planted
from fclf.errors import InputError

FLOATS = st.floats(-50, 50)


@pytest.fixture(scope="module")
def data():
    return planted(3000, 16)[0].part("train")


@pytest.fixture(scope="module")
def fitted(data):
    return QuantileShift.fit(data.embeddings.astype(np.float64), data.attributes, data.identities)


def flipped(data, k):
    target = data.attributes.copy()
    target[:, k] = 1 - target[:, k]
    return target


@given(
    values=st.lists(FLOATS, min_size=1, max_size=8),
    source=st.lists(FLOATS, min_size=1, max_size=8),
    target=st.lists(FLOATS, min_size=1, max_size=8),
)
def test_transport_is_its_definition_value_by_value(values, source, target):
    found = transport(np.array(values), np.sort(source), np.sort(target))
    for value, carried in zip(values, found, strict=True):
        rank = (sum(s < value for s in source) + sum(s <= value for s in source)) / 2 / len(source)
        place = rank * (len(target) - 1)
        low = sorted(target)[int(place)]
        high = sorted(target)[min(int(place) + 1, len(target) - 1)]
        assert carried == pytest.approx(low + (place - int(place)) * (high - low), abs=1e-9)


@given(source=st.lists(FLOATS, min_size=2, max_size=9), target=st.lists(FLOATS, min_size=2, max_size=9))
def test_transport_is_monotone_and_stays_within_the_target(source, target):
    grid = np.linspace(-60, 60, 50)
    carried = transport(grid, np.sort(source), np.sort(target))
    assert (np.diff(carried) >= -1e-9).all()
    assert min(target) - 1e-9 <= carried.min()
    assert carried.max() <= max(target) + 1e-9


def test_logits_of_edited_rows_follow_those_of_rows_with_the_target_value(data, fitted):
    z, y = data.embeddings.astype(np.float64), data.attributes
    rows = y[:, 0] == 0
    target = flipped(data, 0)
    logits = z @ fitted.weights.T + fitted.offsets
    after = (fitted(z, y, target) @ fitted.weights.T + fitted.offsets)[rows, 0]
    with_it, without = fitted.samples[0][1], fitted.samples[0][0]
    gap = np.median(with_it) - np.median(without)
    assert gap > 0
    for q in (0.25, 0.5, 0.75):  # the effect existed before, and is closed
        assert abs(np.quantile(logits[rows, 0], q) - np.quantile(with_it, q)) > 0.6 * gap
        assert abs(np.quantile(after, q) - np.quantile(with_it, q)) < 0.2 * gap


def test_the_amount_is_the_same_for_all_where_the_distributions_have_one_shape_and_not_elsewhere(data, fitted):
    z, y = data.embeddings.astype(np.float64), data.attributes
    target, rows = flipped(data, 0), y[:, 0] == 1
    logits = (z @ fitted.weights.T + fitted.offsets)[rows, 0]
    with_it = np.sort(logits)

    def amounts(without):
        """a of every row whose edit is z + a b, projected."""
        edited = replace(fitted, samples=((without, with_it), *fitted.samples[1:]))(z, y, target)[rows]
        found = []
        for x, end in zip(z[rows], edited, strict=True):
            length, a = np.linalg.lstsq(np.stack([x, fitted.effects[0]], axis=1), end, rcond=None)[0]
            found.append(-a / length)
        return np.array(found)

    shifted, narrow = amounts(with_it - 2), amounts(0.2 * (with_it - with_it.mean()) - 2)
    assert np.corrcoef(logits, narrow)[0, 1] > 0.8  # who shows it clearly has farther to go
    assert shifted.std() < 0.02 * shifted.mean()
    assert narrow.std() > 0.05 * narrow.mean()


def test_full_control_holds_the_other_logits_and_none_does_not(data, fitted):
    z, y = data.embeddings.astype(np.float64), data.attributes
    target = flipped(data, 2)  # Male, which goes with the others
    others = [0, 1, 3, 4]

    def drift(form):
        moved = form(z, y, target)
        change = (moved - z) @ form.weights.T
        return np.abs(change[:, others]).mean() / np.abs(change[:, 2]).mean()

    assert drift(fitted) > 2 * drift(replace(fitted, control=1.0))


@pytest.mark.parametrize("control", [0.0, 0.5, 1.0])
def test_nothing_asked_nothing_moved(data, fitted, control):
    z = data.embeddings.astype(np.float64)
    still = replace(fitted, control=control)(z, data.attributes, data.attributes)
    np.testing.assert_allclose(still, z, atol=1e-7)


def test_strength_zero_is_the_identity_and_more_moves_more(data, fitted):
    z, target = data.embeddings.astype(np.float64), flipped(data, 0)
    distances = [
        np.linalg.norm(replace(fitted, strength=s)(z, data.attributes, target) - z, axis=1).mean() for s in (0, 0.5, 1)
    ]
    assert distances[0] < 1e-6
    assert distances[0] < distances[1] < distances[2]


def test_edits_are_unit_vectors_and_keep_the_spread(data, fitted):
    z, target = data.embeddings.astype(np.float64), flipped(data, 0)
    edited = fitted(z, data.attributes, target)
    np.testing.assert_allclose(np.linalg.norm(edited, axis=1), 1)
    for value in (0, 1):
        rows = data.attributes[:, 0] == value
        assert edited[rows].var(axis=0).sum() == pytest.approx(z[rows].var(axis=0).sum(), rel=0.15)


def test_it_is_fitted_by_least_squares_and_the_same_seed(data, fitted):
    z = data.embeddings.astype(np.float64)
    again = QuantileShift.fit(z, data.attributes, data.identities)
    np.testing.assert_array_equal(again.samples[3][1], fitted.samples[3][1])
    np.testing.assert_array_equal(fitted.effects, least_squares_effects(z, data.attributes)[1])


def test_an_attribute_without_both_values_is_refused():
    z = np.eye(6)
    with pytest.raises(InputError, match="attribute 1"):
        QuantileShift.fit(z, np.array([[0, 1], [1, 1], [0, 1], [1, 1], [0, 1], [1, 1]]))
