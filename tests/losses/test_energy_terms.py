from math import exp, sqrt

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck
from torch.testing import assert_close

from fclf.losses.transport import attribute_weights, held_logits, weighted_energy


def draw(seed, *shape):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def bits(seed, *shape):
    return (draw(seed, *shape) > 0).double()


def between(x, y):
    return sqrt(sum((p - q) ** 2 for p, q in zip(x.tolist(), y.tolist(), strict=True)))


def energy_by_loops(x, y, a, b):
    a, b = [v / sum(a) for v in a], [v / sum(b) for v in b]
    cross = sum(p * q * between(u, v) for p, u in zip(a, x, strict=True) for q, v in zip(b, y, strict=True))

    def within(z, w):
        pairs = [(i, j) for i in range(len(w)) for j in range(len(w)) if i != j]
        return sum(w[i] * w[j] * between(z[i], z[j]) for i, j in pairs) / (1 - sum(v * v for v in w))

    return 2 * cross - within(x, a) - within(y, b)


@given(m=st.integers(2, 7), n=st.integers(2, 7), d=st.integers(1, 5), seed=st.integers(0, 2**31))
def test_energy_is_its_loop_in_every_group(m, n, d, seed):
    x, y = draw(seed, m, d), draw(seed + 1, n, d)
    a, b = draw(seed + 2, 3, m).abs() + 0.01, draw(seed + 3, 3, n).abs() + 0.01
    expected = [energy_by_loops(x, y, p.tolist(), q.tolist()) for p, q in zip(a, b, strict=True)]
    assert_close(weighted_energy(x, y, a, b), torch.tensor(expected).double(), atol=1e-7, rtol=1e-7)


def test_a_row_without_weight_is_as_good_as_absent():
    x, y, a, b = draw(0, 6, 3), draw(1, 5, 3), torch.ones(1, 6).double(), torch.ones(1, 5).double()
    a[:, 4:] = b[:, 3:] = 0
    alone = weighted_energy(x[:4], y[:3], a[:, :4], b[:, :3])
    assert_close(weighted_energy(x, y, a, b), alone)


def test_energy_is_unbiased_and_sees_a_lost_spread_with_the_mean_in_place():
    def mean(scale):
        values = [weighted_energy(draw(s, 8, 4), scale * draw(s + 5000, 12, 4), *ones) for s in range(1000)]
        return torch.cat(values)

    ones = (torch.ones(1, 8).double(), torch.ones(1, 12).double())
    same, narrow = mean(1.0), mean(0.5)
    error = same.std() / sqrt(len(same))
    assert abs(same.mean()) < 4 * error
    assert narrow.mean() > 20 * error


def test_energy_has_right_gradients_also_where_rows_coincide():
    x, y = draw(0, 4, 3), draw(1, 5, 3)
    a, b = torch.ones(2, 4).double(), draw(2, 2, 5).abs()
    assert gradcheck(lambda v: weighted_energy(v, y, a, b), x.clone().requires_grad_())
    x = x.clone()
    x[1], x[2] = x[0], y[0]
    (gradient,) = torch.autograd.grad(weighted_energy(x.requires_grad_(), y, a, b).sum(), x)
    assert gradient.isfinite().all()


def test_a_group_too_small_to_have_a_spread_is_zero_with_a_zero_gradient():
    x, y = draw(0, 4, 3).requires_grad_(), draw(1, 5, 3)
    a, b = torch.ones(3, 4).double(), torch.ones(3, 5).double()
    a[0, 1:] = 0  # one edit
    b[1] = 0  # no real row
    values = weighted_energy(x, y, a, b)
    assert values[:2].tolist() == [0, 0]
    assert values[2] != 0
    (gradient,) = torch.autograd.grad(values[:2].sum(), x)
    assert torch.equal(gradient, torch.zeros_like(gradient))


def weights_by_loops(target, change, labels, temperature):
    groups = []
    for value in (0, 1):
        for k in range(target.shape[1]):
            edits = [float(c[k] == 2 * value - 1) for c in change]
            edits = [e / max(sum(edits), 1) for e in edits]
            real = [0.0] * len(labels)
            for i, t in enumerate(target):
                near = [exp(-float((t - y).abs().sum()) / temperature) * float(y[k] == value) for y in labels]
                for j, kernel in enumerate(near):
                    real[j] += edits[i] * kernel / sum(near) if sum(near) else 0.0
            groups.append((edits, real))
    return [torch.tensor([g[side] for g in groups]).double() for side in (0, 1)]


@given(m=st.integers(1, 6), n=st.integers(1, 6), k=st.integers(1, 4), seed=st.integers(0, 2**31))
def test_weights_are_their_loops(m, n, k, seed):
    source, target, labels = bits(seed, m, k), bits(seed + 1, m, k), bits(seed + 2, n, k)
    found = attribute_weights(target, target - source, labels, 0.7)
    for weight, expected in zip(found, weights_by_loops(target, target - source, labels, 0.7), strict=True):
        assert_close(weight, expected)


def test_cold_weights_give_real_rows_the_combinations_of_the_edits_and_fall_back_on_the_nearest():
    labels = torch.tensor([[1, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]).double()
    target = torch.tensor([[1, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1]]).double()
    change = torch.tensor([[1, 0, 0]] * 4).double()
    a, b = attribute_weights(target, change, labels, 0.01)
    to_one = 3  # (attribute 0, to 1) follows the three groups to 0
    assert a[to_one].tolist() == [0.25] * 4
    assert_close(b[to_one], torch.tensor([0.25, 0.25, 0.5, 0]).double())  # nobody is (1, 1, 1): (1, 1, 0) is next
    assert not a[[0, 1, 2, 4, 5]].any()


def test_other_attributes_do_not_pass_for_a_distance():
    """Edits that are right, of rows that differ from the real ones in another attribute: no distance is left."""
    labels = bits(0, 400, 2)
    source = torch.stack([torch.zeros(400), (draw(1, 400) > 1.0)], dim=1).double()  # few have the second attribute
    target = source.clone()
    target[:, 0] = 1
    place = torch.tensor([[2.0, 0], [0, 5]]).double()
    x, y = target @ place + 0.1 * draw(2, 400, 2), labels @ place + 0.1 * draw(3, 400, 2)
    a, b = attribute_weights(target, target - source, labels, 0.05)
    matched = weighted_energy(x, y, a, b)[2]
    pooled = weighted_energy(x, y, a, labels.T.repeat(2, 1))[2]
    assert pooled > 0.5
    assert abs(matched) < 0.02


def test_a_temperature_that_underflows_every_kernel_still_finds_the_nearest():
    labels, target = torch.zeros(2, 40), torch.ones(3, 40)
    labels[:, 0] = 1
    _, b = attribute_weights(target, target, labels, 1e-3)
    assert_close(b[40], torch.full((2,), 0.5))


@given(n=st.integers(1, 5), p=st.integers(1, 4), seed=st.integers(0, 2**31))
def test_held_logits_are_their_loop(n, p, seed):
    after, before, margin, held = draw(seed, n, p), draw(seed + 1, n, p), draw(seed + 2, p).abs(), bits(seed + 3, n, p)
    total = 0.0
    for i in range(n):
        for j in range(p):
            side = -1 if before[i, j] < 0 else 1
            short = min(side * before[i, j].item(), margin[j].item()) - side * after[i, j].item()
            total += held[i, j].item() * max(short, 0) ** 2
    assert held_logits(after, before, margin, held).item() == pytest.approx(total / n)


def test_a_surer_prediction_costs_nothing_and_a_turned_one_does():
    before, margin, held = torch.tensor([[1.0, -1.0]]), torch.tensor([0.5, 0.5]), torch.ones(1, 2)
    assert held_logits(torch.tensor([[0.5, -3.0]]), before, margin, held) == 0
    assert held_logits(torch.tensor([[-0.5, -3.0]]), before, margin, held) == 1
