import numpy as np
import pytest
import torch

from fclf.closed.candidates import LEARNED, closed_forms
from fclf.closed.conditional_vae import UNTRAINED, ConditionalVAE, Perceptron
from fclf.closed.linear import project
from fclf.closed.state import from_arrays, to_arrays

STEPS = 400


@pytest.fixture(scope="module")
def bent():
    """An attribute whose effect turns around with the sign of what else a row is, and one that does nothing."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, (6000, 2)).astype(np.int8)
    u = rng.uniform(-1, 1, (6000, 1))
    base = np.concatenate([2 * u, np.zeros((6000, 9))], axis=1) + 0.05 * rng.normal(size=(6000, 10))

    def embed(labels):
        out = base.copy()
        out[:, 1] += labels[:, 0] * np.sign(u[:, 0])
        out[:, 2] += labels[:, 0]
        out[:, 9] += 3
        return project(out)

    return embed(y), y, embed


@pytest.fixture(scope="module")
def learned(bent):
    losses = []
    return ConditionalVAE.fit(bent[0], bent[1], steps=STEPS, on_step=losses.append), losses


def test_finds_an_effect_that_no_mean_can_show(bent, learned):
    z, y, embed = bent
    target = y.copy()
    target[:, 0] = 1 - target[:, 0]
    truth = embed(target)
    ends = project(z + learned[0].move(z, y, target))
    shift = closed_forms(z, y, names={"shift x1"})["shift x1"](z, y, target)
    error, plain = (np.linalg.norm(x - truth, axis=1).mean() for x in (ends, shift))
    assert error < 0.6 * plain
    assert learned[1][-1] < 0.5 * learned[1][0]


def test_moves_nothing_for_no_change_and_little_for_an_attribute_that_does_nothing(bent, learned):
    z, y, _ = bent
    assert not learned[0].move(z, y, y).any()
    idle, real = y.copy(), y.copy()
    idle[:, 1] = 1 - idle[:, 1]
    real[:, 0] = 1 - real[:, 0]
    moved, much = (np.linalg.norm(learned[0].move(z, y, t), axis=1).mean() for t in (idle, real))
    assert moved < 0.15 * much


def test_shuffled_labels_teach_it_next_to_nothing(bent, learned):
    z, y, _ = bent
    wrong = np.random.default_rng(1).permutation(y)
    target = y.copy()
    target[:, 0] = 1 - target[:, 0]
    model = ConditionalVAE.fit(z, wrong, steps=STEPS)
    moved, much = (np.linalg.norm(m.move(z, y, target), axis=1).mean() for m in (model, learned[0]))
    assert moved < 0.2 * much


def test_the_same_seed_gives_the_same_bits_and_leaves_the_callers_random_state(bent):
    z, y, _ = bent
    before = torch.random.get_rng_state()
    one, other, another = (ConditionalVAE.fit(z, y, steps=3, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(before, torch.random.get_rng_state())
    mine, same, different = (model.encoder.weights[0] for model in (one, other, another))
    np.testing.assert_array_equal(mine, same)
    assert np.abs(mine - different).max() > 1e-3


def test_the_network_is_the_formula():
    rng = np.random.default_rng(0)
    shapes = ((3, 4), (4, 4), (4, 2))
    weights, biases = tuple(rng.normal(size=s) for s in shapes), tuple(rng.normal(size=s[1]) for s in shapes)
    x = rng.normal(size=(5, 3))

    def silu(v):
        return v / (1 + np.exp(-v))

    h = silu(x @ weights[0] + biases[0])
    h = h + silu(h @ weights[1] + biases[1])
    np.testing.assert_allclose(Perceptron(weights, biases)(x), h @ weights[2] + biases[2], atol=1e-5)


def test_a_transport_with_learned_effects_survives_a_checkpoint_and_one_without_says_so(bent):
    z, y, _ = bent
    form = closed_forms(z[:1500], y[:1500], learn_steps=5, names={LEARNED})[LEARNED]
    again = from_arrays(to_arrays(form))
    target = 1 - y[:50]
    np.testing.assert_array_equal(form(z[:50], y[:50], target), again(z[:50], y[:50], target))
    assert form.learned.trained
    assert not UNTRAINED.trained
    assert LEARNED not in closed_forms(z[:200], y[:200], names={LEARNED, "shift x1"})
