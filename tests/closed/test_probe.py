import numpy as np
import pytest

from fclf.closed.probe import Standardiser, cross_fitted_logits, logistic_weights, some_people


def separation(logits, labels):
    """Probability that a row with the label has a larger logit than one without."""
    return (logits[labels == 1][:, None] > logits[labels == 0][None, :]).mean()


@pytest.fixture(scope="module")
def noise():
    rng = np.random.default_rng(0)
    return rng.normal(size=(200, 100)), rng.integers(0, 2, (200, 1))


def test_cross_fitted_logits_do_not_know_the_labels_of_their_rows_and_in_sample_logits_do(noise):
    x, y = noise  # nothing to learn
    weights, biases = logistic_weights(x, y, 1.0)
    assert separation((x @ weights.T + biases)[:, 0], y[:, 0]) > 0.95
    assert separation(cross_fitted_logits(x, y, 1.0)[:, 0], y[:, 0]) < 0.6


def test_people_are_held_out_whole():
    rng = np.random.default_rng(1)
    people = np.repeat(np.arange(100), 4)
    y = rng.integers(0, 2, 100)[people][:, None]  # a person's label; a face, not the label, is what can be learned
    x = rng.normal(size=(100, 60))[people] + 0.1 * rng.normal(size=(400, 60))
    by_row = separation(cross_fitted_logits(x, y, 1.0)[:, 0], y[:, 0])
    by_person = separation(cross_fitted_logits(x, y, 1.0, people)[:, 0], y[:, 0])
    assert by_row > 0.85
    assert by_person < 0.65


def test_a_real_difference_survives_cross_fitting(noise):
    x, y = noise
    found = cross_fitted_logits(x + 4 * y * np.eye(100)[0], y, 1.0)
    assert separation(found[:, 0], y[:, 0]) > 0.8


@pytest.mark.parametrize("ones", [1, 2, 4])
def test_rare_labels_are_fitted_all_the_same(noise, ones):
    x = noise[0]
    y = (np.arange(200) < ones).astype(np.int8)[:, None]
    assert np.isfinite(cross_fitted_logits(x, y, 1.0)).all()


def test_one_scale_for_all_dimensions():
    x = np.random.default_rng(0).normal(size=(500, 2)) * [1, 3] + 5
    inputs = Standardiser.fit(x)
    assert inputs.spread == pytest.approx(2, rel=0.1)
    np.testing.assert_allclose(inputs(x).mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(inputs(x).std(axis=0)[1] / inputs(x).std(axis=0)[0], 3, rtol=0.15)


def test_some_people_are_whole_and_no_more_than_asked():
    people = np.random.default_rng(0).integers(0, 40, 300)
    rows = some_people(300, people, 120, 0)
    assert 60 < len(rows) <= 120
    assert (np.diff(rows) > 0).all()
    assert not set(people[rows]) & set(np.delete(people, rows))
    np.testing.assert_array_equal(rows, some_people(300, people, 120, 0))
    assert set(rows) != set(some_people(300, people, 120, 1))
    np.testing.assert_array_equal(some_people(300, people, 300, 0), np.arange(300))
    assert len(some_people(300, None, 120, 0)) == 120
