import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fclf.closed.linear import least_squares_effects
from fclf.closed.missing import completed
from fclf.closed.probe import LinearClassifier, cross_fitted_logits
from fclf.closed.transport import ConditionalTransport
from fclf.data.planted import planted

SHARE = 0.4


@pytest.fixture(scope="module")
def rows():
    data, _ = planted(3000, 24, seed=0)
    return data.embeddings.astype(np.float64), np.asarray(data.attributes)


def hidden(y, share=SHARE, seed=0):
    out = y.copy()
    out[np.random.default_rng(seed).random(y.shape) < share] = -1
    return out


def test_known_labels_stay_and_no_label_is_unknown_afterwards(rows):
    z, y = rows
    some = hidden(y)
    full = completed(z, some)
    assert set(np.unique(full)) == {0, 1}
    assert np.array_equal(full[some >= 0], y[some >= 0])
    assert completed(z, y) is y


@given(seed=st.integers(0, 50))
def test_the_same_seed_draws_the_same(seed):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(60, 4))
    y = hidden((z[:, :2] + rng.normal(size=(60, 2)) > 0).astype(np.int8), 0.3, seed)
    assert np.array_equal(completed(z, y, seed), completed(z, y, seed))


def test_drawn_labels_leave_frequencies_and_effects_where_they_are_and_a_no_for_the_unknown_does_not(rows):
    z, y = rows
    some = hidden(y)
    truth = least_squares_effects(z, y)[1]

    def off(labels):
        effects = least_squares_effects(z, labels)[1]
        return np.abs(np.einsum("kd,kd->k", effects, truth) / np.einsum("kd,kd->k", truth, truth) - 1).max()

    drawn = [completed(z, some, seed) for seed in range(5)]
    assert np.mean([off(labels) for labels in drawn]) < 0.2
    assert off(np.maximum(some, 0)) > 0.4
    rates = np.mean([labels.mean(axis=0) for labels in drawn], axis=0)
    np.testing.assert_allclose(rates, y.mean(axis=0), atol=0.02)


def test_probes_do_not_read_what_is_unknown(rows):
    z, y = rows
    some = hidden(y)
    k = some[:, 0] >= 0
    alone = LinearClassifier.fit(z[k], y[k][:, :1], 0.003)
    whole = LinearClassifier.fit(z, some, 0.003)
    cosine = float(alone.weights[0] @ whole.weights[0])
    cosine /= float(np.linalg.norm(alone.weights[0]) * np.linalg.norm(whole.weights[0]))
    assert cosine > 0.999  # standardised by all rows instead of those with a label
    logits = cross_fitted_logits(z, some, 0.003)
    assert np.isfinite(logits).all()
    agree = (logits > 0) == y
    assert agree[some < 0].mean() > 0.7


def test_an_edit_of_partly_labelled_rows_is_better_than_one_of_the_rows_without_any_unknown_label(rows):
    """The destinations of an edit that knows every label are the measure."""
    z, y = rows
    some = hidden(y)
    complete = (some >= 0).all(axis=1)
    assert 20 < complete.sum() < 0.2 * len(y)
    target = 1 - y[:500]
    goal = ConditionalTransport.fit(z, y)(z[:500], y[:500], target)

    def error(form):
        return np.linalg.norm(form(z[:500], y[:500], target) - goal, axis=1).mean()

    partly, few = ConditionalTransport.fit(z, some), ConditionalTransport.fit(z[complete], some[complete])
    assert error(partly) < 0.6 * error(few)
