"""Each part of conditional transport does what it is there for: without it, that and little else is gone."""

import numpy as np
import pytest

from fclf.closed.leave_one_out import leave_one_out
from fclf.closed.transport import ConditionalTransport
from fclf.data.planted import planted


@pytest.fixture(scope="module")
def rows():
    train = planted(1800, 24)[0].part("train")
    return train.embeddings.astype(np.float64), np.asarray(train.attributes), train.identities


@pytest.fixture(scope="module")
def whole(rows):
    return ConditionalTransport.fit(*rows)


@pytest.fixture(scope="module")
def without(rows):
    return leave_one_out(*rows)


def flipped(y, k):
    target = y.copy()
    target[:, k] = 1 - target[:, k]
    return target


def logits(form, z):
    return z @ form.weights.T + form.offsets


def test_every_variant_ends_on_the_sphere_away_from_the_whole(rows, whole, without):
    z, y, _ = rows
    ends = whole(z, y, flipped(y, 0))
    for name, form in without.items():
        other = form(z, y, flipped(y, 0))
        np.testing.assert_allclose(np.linalg.norm(other, axis=1), 1, atol=1e-12)
        assert np.abs(other - ends).max() > 1e-4, name
        np.testing.assert_array_equal(form(z, y, y), z, err_msg=name)


def test_the_same_seed_gives_the_same_bits(rows, without):
    z, y, people = rows
    again = leave_one_out(z, y, people)
    for name, form in without.items():
        np.testing.assert_array_equal(form(z, y, flipped(y, 3)), again[name](z, y, flipped(y, 3)))


def test_without_interactions_an_attribute_moves_all_labels_alike(rows, whole, without):
    _, y, _ = rows

    def moves(form):
        return (form.means.features(flipped(y, 3)) - form.means.features(y)) @ form.means.coefficients

    on = y[:, 3] == 0
    assert np.ptp(moves(whole)[on], axis=0).max() > 1e-3
    assert np.ptp(moves(without["interactions"])[on], axis=0).max() < 1e-12


def test_main_effects_are_those_of_least_squares(rows, without):
    z, y, _ = rows
    means = without["interactions"].means
    design = np.column_stack([np.ones(len(y)), y])
    expected = design @ np.linalg.lstsq(design, z, rcond=None)[0]
    np.testing.assert_allclose(means.features(y) @ means.coefficients, expected, atol=1e-10)


def test_the_floor_lifts_those_that_are_below_it(rows, whole, without):
    z, y, _ = rows
    k, absent = 4, y[:, 4] == 0
    least = np.quantile(whole.quantiles[k, 1], whole.floor)
    slack = 0.3 * whole.deviations[k]  # the correction is linear, the sphere is curved
    below = [
        (logits(whole, form(z, y, flipped(y, k)))[absent, k] < least - slack).mean()
        for form in (whole, without["floor"])
    ]
    assert below[0] < 0.01
    assert below[1] > 0.05


def test_without_its_correction_the_own_logit_falls_short(rows, whole, without):
    z, y, _ = rows
    rows_ = y[:, 0] == 0
    ends = [
        logits(whole, form(z, y, flipped(y, 0)))[rows_, 0].mean() for form in (whole, without["own-logit correction"])
    ]
    assert ends[0] > ends[1] + 0.3 * whole.deviations[0]


def test_without_holding_more_predictions_of_others_turn(rows, whole, without):
    z, y, _ = rows
    others = [1, 2, 3, 4]
    before = logits(whole, z)[:, others] > 0

    def turned(form):
        return ((logits(whole, form(z, y, flipped(y, 0)))[:, others] > 0) != before).mean()

    assert turned(without["holding other logits"]) > turned(whole) + 0.01


def test_without_fine_probes_those_are_not_held(rows, whole, without):
    z, y, _ = rows
    fine = [6, 7, 8, 9]
    before = logits(whole, z)[:, fine] > 0

    def turned(form):
        return ((logits(whole, form(z, y, flipped(y, 0)))[:, fine] > 0) != before).mean()

    assert turned(without["fine probes"]) > turned(whole)


def test_without_the_spread_model_rows_keep_their_distances(rows, without):
    z, y, _ = rows
    form = without["spread model"]
    moved = form.means.move(z, y, flipped(y, 1))
    assert (form.spread == 1).all()
    same_labels = (y == y[0]).all(axis=1)
    assert np.ptp(moved[same_labels], axis=0).max() < 1e-12  # a displacement of its own for each combination only


def test_without_displacement_only_the_span_of_the_probes_is_left(rows, whole, without):
    z, y, _ = rows
    ends = without["displacement"](z, y, flipped(y, 2))
    q = np.linalg.qr(np.column_stack([whole.weights.T, z[0]]))[0]
    rest = ends[0] - q @ (q.T @ ends[0])
    assert np.linalg.norm(rest) < 1e-9
