"""Judges recover what is there, nothing that is not, and `remainder` is blind to their span."""

import numpy as np
import pytest

from fclf.closed.probe import Standardiser
from fclf.data.embeddings import EmbeddingSet
from fclf.errors import InputError
from fclf.evaluation.judges import Judges, LinearJudge, MLPJudge

DIM, NAMES = 16, ("Smiling", "Young", "Rare")


def planted(n, seed, shares=(0.5, 0.7, 0.12)):
    """Unit rows in which attribute k moves dimension k, around a mean as long as on a cone."""
    rng = np.random.default_rng(seed)
    y = (rng.random((n, 3)) < shares).astype(np.int8)
    z = 0.3 * rng.normal(size=(n, DIM))
    z[:, :3] += y
    z[:, -1] += 2
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    return EmbeddingSet(z.astype(np.float32), y, NAMES)


def shuffled(data, seed=0):
    order = np.random.default_rng(seed).permutation(len(data))
    return EmbeddingSet(data.embeddings, data.attributes[order], data.attribute_names)


def balanced_accuracy(predicted, y):
    """Mean over both values of the share that is right, a number per attribute."""
    right = predicted == y
    return np.array([np.mean([right[y[:, k] == v, k].mean() for v in (0, 1)]) for k in range(y.shape[1])])


@pytest.fixture(scope="module")
def train():
    return planted(900, 0)


@pytest.fixture(scope="module")
def judges(train):
    return Judges.fit(train)


@pytest.fixture(scope="module")
def held_out():
    return planted(900, 1)


@pytest.fixture(params=["linear", "mlp"])
def kind(request):
    return request.param


def test_planted_attributes_are_recovered_on_held_out_rows(judges, held_out, kind):
    predicted = getattr(judges, kind).predict(held_out.embeddings.astype(np.float64))
    assert predicted.dtype == np.int8
    assert set(np.unique(predicted)) == {0, 1}
    assert (balanced_accuracy(predicted, held_out.attributes) > 0.85).all()


def test_a_rare_value_is_found_as_often_as_a_frequent_one(judges, held_out, kind):
    rare = held_out.attributes[:, 2] == 1
    predicted = getattr(judges, kind).predict(held_out.embeddings.astype(np.float64))[:, 2] == 1
    assert predicted[rare].mean() > 0.85
    assert (~predicted[~rare]).mean() > 0.85


def test_shuffled_labels_leave_judges_at_chance(train, held_out, kind):
    fitted = [Judges.fit(shuffled(train, seed)) for seed in range(8)]
    predicted = [getattr(judges, kind).predict(held_out.embeddings.astype(np.float64)) for judges in fitted]
    accuracy = np.array([balanced_accuracy(p, held_out.attributes) for p in predicted])
    assert abs(accuracy.mean() - 0.5) < 0.1  # each alone varies: a random direction can lie near a planted one


def test_the_linear_judge_is_the_balanced_penalised_optimum(train, judges):
    z, y = train.embeddings.astype(np.float64), train.attributes
    x = (z - z.mean(axis=0)) / np.mean([z[:, j].std() for j in range(DIM)])
    for k in range(3):
        w, b = judges.linear.weights[k], judges.linear.biases[k]
        gradient, slope = w.copy(), 0.0
        for row, label in zip(x, y[:, k], strict=True):
            weight = len(y) / (2 * (y[:, k] == label).sum())
            error = 0.003 * weight * (1 / (1 + np.exp(-(row @ w + b))) - label)
            gradient += error * row
            slope += error
        assert np.abs(w).max() > 0.1
        assert np.abs(gradient).max() < 1e-3
        assert abs(slope) < 1e-3


def test_logits_are_those_of_a_loop_and_decide_the_prediction(judges, held_out):
    z = held_out.embeddings[:20].astype(np.float64)
    linear = judges.linear
    mean, spread = linear.inputs.mean, linear.inputs.spread
    expected = [
        [
            sum((row[j] - mean[j]) / spread * linear.weights[k, j] for j in range(DIM)) + linear.biases[k]
            for k in range(3)
        ]
        for row in z
    ]
    np.testing.assert_allclose(linear.logits(z), expected, atol=1e-9)
    np.testing.assert_array_equal(linear.predict(z), np.array(expected) > 0)


def test_predictions_do_not_depend_on_the_place_and_scale_of_the_embeddings(train, kind):
    z, y = train.embeddings.astype(np.float64), train.attributes
    moved = 0.01 * z + 7
    judge = {"linear": LinearJudge, "mlp": MLPJudge}[kind]
    here = judge.fit(Standardiser.fit(z), z, y).predict(z)
    there = judge.fit(Standardiser.fit(moved), moved, y).predict(moved)
    assert (here == there).mean() > 0.999


def test_judges_are_the_same_twice(train, judges, held_out, kind):
    z = held_out.embeddings.astype(np.float64)
    np.testing.assert_array_equal(getattr(Judges.fit(train), kind).predict(z), getattr(judges, kind).predict(z))


@pytest.mark.parametrize("value", [0, 1])
def test_a_constant_attribute_is_refused_by_name(train, value):
    y = train.attributes.copy()
    y[:, 1] = value
    with pytest.raises(InputError, match=f"'Young': {900 * value} of 900"):
        Judges.fit(EmbeddingSet(train.embeddings, y, NAMES))


def test_the_remainder_is_of_unit_length_and_orthogonal_to_the_judges(judges, held_out):
    rest = judges.linear.remainder(held_out.embeddings.astype(np.float64))
    np.testing.assert_allclose(np.linalg.norm(rest, axis=1), 1)
    np.testing.assert_allclose(rest @ judges.linear.weights.T, 0, atol=1e-10)


def test_the_remainder_ignores_moves_in_the_span_of_the_judges_and_no_others(judges, held_out):
    z = held_out.embeddings[:50].astype(np.float64)
    rng = np.random.default_rng(0)
    within = rng.normal(size=(50, 3)) @ judges.linear.weights
    np.testing.assert_allclose(judges.linear.remainder(z + within), judges.linear.remainder(z), atol=1e-9)
    outside = judges.linear.remainder(z + 0.3 * rng.normal(size=z.shape))
    assert np.linalg.norm(outside - judges.linear.remainder(z), axis=1).min() > 0.05


def test_the_remainder_is_taken_from_the_mean_of_the_judge_rows(judges, train):
    z = train.embeddings.astype(np.float64)
    rest = judges.linear.remainder(z)
    assert np.linalg.norm(rest.mean(axis=0)) < 0.1  # a cone's common direction is gone
