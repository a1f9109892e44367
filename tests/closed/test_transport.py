from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fclf.closed.linear import Shift, least_squares_effects
from fclf.closed.quantile import transport
from fclf.closed.state import from_arrays, to_arrays
from fclf.closed.transport import MARGIN, ConditionalTransport
from fclf.data.planted import planted
from fclf.errors import InputError
from fclf.evaluation.spread import energy_distance, total_variance


@pytest.fixture(scope="module", params=["centred", "cone"])
def data(request):
    return planted(4000, 64, geometry=request.param)[0]


@pytest.fixture(scope="module")
def fitted(data):
    train = data.part("train")
    return ConditionalTransport.fit(train.embeddings.astype(np.float64), train.attributes, train.identities)


@pytest.fixture(scope="module")
def test_rows(data):
    rows = data.part("test")
    return rows.embeddings.astype(np.float64), np.asarray(rows.attributes)


def flipped(y, *attributes):
    target = y.copy()
    target[:, attributes] = 1 - target[:, attributes]
    return target


def logits(fitted, z):
    return z @ fitted.weights.T + fitted.offsets


def test_edits_are_unit_vectors_and_rows_that_have_the_target_stay_bit_for_bit(fitted, test_rows):
    z, y = test_rows
    target = y.copy()
    target[:, 0] = 1
    edited = fitted(z, y, target)
    np.testing.assert_allclose(np.linalg.norm(edited, axis=1), 1, atol=1e-12)
    still = y[:, 0] == 1
    assert (edited[still] == z[still]).all()
    assert (np.linalg.norm(edited[~still] - z[~still], axis=1) > 0.01).all()


def test_every_row_goes_its_own_way_whoever_is_beside_it(fitted, test_rows):
    z, y = test_rows
    target = flipped(y, 0)
    target[::2] = flipped(y, 1, 3)[::2]
    together = fitted(z, y, target)
    for row in range(0, 40):
        alone = fitted(z[row : row + 1], y[row : row + 1], target[row : row + 1])
        np.testing.assert_allclose(alone[0], together[row], atol=1e-12)


def test_own_logits_reach_their_quantile_and_at_least_the_floor(fitted, test_rows):
    z, y = test_rows
    for k in range(y.shape[1]):
        before, after = (logits(fitted, x)[:, k] for x in (z, fitted(z, y, flipped(y, k))))
        for value in (0, 1):
            rows = y[:, k] == 1 - value
            goal = transport(before[rows], fitted.quantiles[k, 1 - value], fitted.quantiles[k, value])
            floor = np.quantile(fitted.quantiles[k, value], fitted.floor if value else 1 - fitted.floor)
            goal = np.maximum(goal, floor) if value else np.minimum(goal, floor)
            gap = np.abs(before[rows] - goal).mean()
            assert np.abs(after[rows] - goal).mean() < 0.1 * gap


def test_other_logits_stay_on_their_side_the_more_the_larger_keep(fitted, test_rows):
    z, y = test_rows
    before = logits(fitted, z) > 0

    def crossed(form):
        shares = []
        for k in range(y.shape[1]):
            after = logits(fitted, form(z, y, flipped(y, k))) > 0
            shares.append((after != before)[:, np.tile(np.arange(y.shape[1]) != k, 2)].mean())
        return np.mean(shares)

    free = crossed(replace(fitted, deviations=FREE * fitted.deviations))
    held = [crossed(replace(fitted, keep=keep)) for keep in (0.0, 0.5, 1.0)]
    assert free > 0.03  # there is something to hold
    assert held[0] < 0.8 * free
    assert held[2] < held[1] < held[0]
    assert held[2] < 0.4 * free


def test_what_an_unreliable_probe_reads_is_pushed_further(fitted, test_rows):
    z, y = test_rows
    sure, unsure = (replace(fitted, reliability=np.full(y.shape[1], value)) for value in (1.0, 0.7))
    lengths = [np.linalg.norm(form(z, y, flipped(y, 0)) - z, axis=1).mean() for form in (sure, unsure)]
    assert lengths[1] > lengths[0] + 0.01
    assert (fitted.reliability > 0.7).all()
    assert (fitted.reliability < 1).all()


FREE = -1e6
"""A margin so far on the other side that no logit is held."""


def test_a_hold_of_the_others_is_one_sided(fitted, test_rows):
    """A logit that moves further from 0, or stays beyond the margin, is no business of the correction."""
    z, y = test_rows
    target = flipped(y, 2)
    read = logits(fitted, z)
    goals = fitted._goals(z, read + 5 * np.sign(read), y, target)  # everything moved away from 0
    others = np.tile(np.arange(y.shape[1]) != 2, 2)
    np.testing.assert_allclose(goals[:, others], (read + 5 * np.sign(read))[:, others])
    goals = fitted._goals(z, -read, y, target)  # everything went across
    assert (np.sign(goals[:, others]) == np.where(read[:, others] < 0, -1, 1)).all()
    margin = fitted._at(MARGIN) * fitted.deviations
    expected = np.minimum(np.abs(read), margin)
    np.testing.assert_allclose(np.abs(goals)[:, others], expected[:, others])


def test_it_goes_to_where_real_rows_live_and_farther_than_the_shift_does(data, fitted, test_rows):
    z, y = test_rows
    train = data.part("train")
    shift = Shift(least_squares_effects(train.embeddings.astype(np.float64), train.attributes)[1])
    closed = {}
    for name, form in {"shift": shift, "ours": replace(fitted, keep=0.0)}.items():
        total = [0.0, 0.0]
        for k in range(3):
            edited = form(z, y, flipped(y, k))
            for value in (0, 1):
                rows, real = y[:, k] == 1 - value, y[:, k] == value
                total[0] += energy_distance(edited[rows], z[real])
                total[1] += energy_distance(z[rows], z[real])
        closed[name] = 1 - total[0] / total[1]
    assert closed["ours"] > 0.7
    assert closed["ours"] > closed["shift"] - 0.05


def test_it_does_not_collapse(fitted, test_rows):
    z, y = test_rows
    compared = 0
    for k in range(y.shape[1]):
        target = flipped(y, k)
        edited = fitted(z, y, target)
        for combination in np.unique(target, axis=0):
            rows, real = (target == combination).all(axis=1), (y == combination).all(axis=1)
            if min(rows.sum(), real.sum()) >= 60:
                compared += 1
                assert 0.8 < total_variance(edited[rows]) / total_variance(z[real]) < 1.25
    assert compared >= 6


@given(rows=st.integers(0, 3), seed=st.integers(0, 50))
def test_any_change_of_few_rows_is_finite(fitted, test_rows, rows, seed):
    z, y = test_rows
    target = np.random.default_rng(seed).integers(0, 2, y.shape).astype(np.int8)
    edited = fitted(z[:rows], y[:rows], target[:rows])
    assert edited.shape == (rows, z.shape[1])
    assert np.isfinite(edited).all()


def test_the_same_seed_gives_the_same_bits_and_arrays_bring_it_back(data, fitted, test_rows):
    train = data.part("train")
    again = ConditionalTransport.fit(train.embeddings.astype(np.float64), train.attributes, train.identities)
    z, y = test_rows
    expected = fitted(z, y, flipped(y, 0))
    assert (again(z, y, flipped(y, 0)) == expected).all()
    back = from_arrays(to_arrays(fitted))
    assert (back(z, y, flipped(y, 0)) == expected).all()
    assert back.keep == fitted.keep


def test_an_attribute_that_never_varies_is_refused(data):
    labels = np.asarray(data.attributes).copy()
    labels[:, 1] = 0
    with pytest.raises(InputError, match="attribute 1"):
        ConditionalTransport.fit(data.embeddings.astype(np.float64), labels)


def test_an_attribute_that_can_hardly_be_told_from_another_is_not_torn_from_it(data, monkeypatch):
    train, rows = data.part("train"), data.part("test")

    def doubled(part):
        """The same labels, and one more that is nearly the first."""
        rng = np.random.default_rng(len(part))
        twin = np.where(rng.random(len(part)) < 0.04, 1 - part.attributes[:, 0], part.attributes[:, 0])
        return np.column_stack([part.attributes, twin]).astype(np.int8)

    y = doubled(rows)
    z, target = rows.embeddings.astype(np.float64), flipped(y, 0)
    form = ConditionalTransport.fit(train.embeddings.astype(np.float64), doubled(train), train.identities, keep=1.0)
    free = replace(form, deviations=FREE * form.deviations)
    moved = {"held": form(z, y, target), "free": free(z, y, target)}
    monkeypatch.setattr("fclf.closed.transport.DETOUR", np.inf)
    moved["torn"] = form(z, y, target)
    lengths = {name: np.linalg.norm(edited - z, axis=1).mean() for name, edited in moved.items()}
    assert lengths["torn"] > 1.6 * lengths["free"]  # without the limit, holding the twin takes a long way round
    assert lengths["held"] < 1.3 * lengths["free"]


def entangled(dims, attributes, n=1200, width=16):
    """Rows of known effects in a subspace, whose attributes are more than its dimensions where it is small."""
    rng = np.random.default_rng(3)
    effects = rng.normal(size=(attributes, dims)) * 1.2 / np.sqrt(dims)
    y = (rng.random((n, attributes)) < 0.4).astype(np.int8)
    raw = rng.normal(size=(n, dims)) * 1.1 / np.sqrt(dims) + y @ effects
    axes = np.linalg.qr(rng.normal(size=(width, dims)))[0]
    target = 1 - y
    true = raw + (target - y.astype(float)) @ effects
    unit = [x @ axes.T / np.linalg.norm(x, axis=1, keepdims=True) for x in (raw, true)]
    return unit[0], y, target, unit[1], axes


@pytest.mark.parametrize("dims", [5, 8])
def test_edits_of_more_attributes_than_dimensions_stay_where_rows_are(dims):
    """Their probes depend on each other: asked for exactly, the logits of such an edit would be had at any length."""
    z, y, target, truth, axes = entangled(dims, dims + 2)
    edited = ConditionalTransport.fit(z[:800], y[:800])(z[800:], y[800:], target[800:])
    inside = np.linalg.norm(edited @ axes, axis=1) ** 2
    assert inside.min() > 0.95
    nearer = (edited * truth[800:]).sum(axis=1) - (z[800:] * truth[800:]).sum(axis=1)
    assert nearer.mean() > 0.4


@pytest.mark.parametrize("negated", [False, True])
def test_two_attributes_that_are_one_can_be_edited(negated):
    z, y, *_ = entangled(8, 3)
    y = np.column_stack([y, 1 - y[:, 2] if negated else y[:, 2]])
    form = ConditionalTransport.fit(z[:800], y[:800])
    both, one = (form(z[800:], y[800:], flipped(y[800:], *which)) for which in ((2, 3), (2,)))
    own = np.where(y[800:, 2] == 1, -1, 1)
    for edited in (both, one):
        np.testing.assert_allclose(np.linalg.norm(edited, axis=1), 1, atol=1e-9)
        assert ((logits(form, edited) - logits(form, z[800:]))[:, 2] * own > 0).mean() > 0.99


def test_attributes_that_can_be_told_apart_are_met_exactly_together(fitted):
    for flips in (np.array(bits, dtype=bool) for bits in ((1, 0, 0, 0, 0), (1, 1, 0, 0, 0), (1, 0, 1, 1, 0))):
        active = fitted._active(flips)
        own = np.concatenate([flips, flips])[active]
        ridge, _ = fitted._inverse(fitted.weights[active] @ fitted.weights[active].T, ~own)
        assert (ridge[own] == 0).all()
        assert (ridge[~own] > 0).all()
