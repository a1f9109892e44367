import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import grad, gradcheck
from torch.testing import assert_close

from fclf.losses import contrastive
from fclf.losses.contrastive import agreement, batch_prototypes, pairwise_mse
from fclf.losses.prototypes import BatchPrototypes


def numbered(labels):
    """Codes 0..C-1 without a gap."""
    return torch.tensor([sorted(set(labels)).index(label) for label in labels])


def attributes(codes):
    """Attributes whose combinations are the codes."""
    return torch.stack([(codes >> bit) & 1 for bit in range(4)], dim=1).double()


def prototype_infonce(z, codes, temperature, *, stop_gradient=False):
    centres, own = BatchPrototypes(stop_gradient=stop_gradient)(z, attributes(codes), training=True)
    return contrastive.prototype_infonce(z, centres, own, temperature)


def pairwise_infonce(z, codes, temperature):
    return contrastive.pairwise_infonce(z, agreement(attributes(codes)), temperature)


CODES = st.lists(st.integers(0, 3), min_size=1, max_size=8).map(numbered)
TEMPERATURES = st.floats(0.05, 2.0)
SEEDS = st.integers(0, 2**32 - 1)


def dot(a, b):
    return sum(x * y for x, y in zip(a.tolist(), b.tolist(), strict=True))


def loop_mse(z, y, temperature):
    n, k = y.shape
    total = 0.0
    for i in range(n):
        for j in range(n):
            if i != j:
                total += (1 / (1 + math.exp(-dot(z[i], z[j]) / temperature)) - dot(y[i], y[j]) / k) ** 2
    return total / n**2


def loop_prototypes(z, codes):
    centres = []
    for c in range(max(codes) + 1):
        mean = sum(z[i] for i in range(len(z)) if codes[i] == c) / codes.tolist().count(c)
        centres.append(mean / mean.square().sum().sqrt())
    return centres


def loop_prototype_infonce(z, codes, temperature, centres=None):
    centres = loop_prototypes(z, codes) if centres is None else centres
    losses = []
    for i in range(len(z)):
        scores = [((z[i] * p).sum() / temperature).exp() for p in centres]
        losses.append(-(scores[codes[i]] / sum(scores)).log())
    return sum(losses) / len(losses)


def loop_pairwise_infonce(z, codes, temperature):
    losses = []
    for i in range(len(z)):
        score = {j: math.exp(dot(z[i], z[j]) / temperature) for j in range(len(z)) if j != i}
        near = sum(score[j] for j in score if codes[j] == codes[i])
        if near:
            losses.append(-math.log(near / sum(score.values())))
    return sum(losses) / len(losses) if losses else 0.0


@given(n=st.integers(1, 8), k=st.integers(1, 5), d=st.integers(2, 6), temperature=TEMPERATURES, seed=SEEDS)
def test_pairwise_mse_is_its_double_loop(random_unit, n, k, d, temperature, seed):
    z = random_unit(n, d, seed)
    y = torch.randint(0, 2, (n, k), generator=torch.Generator().manual_seed(seed)).double()
    assert pairwise_mse(z, y, temperature).item() == pytest.approx(loop_mse(z, y, temperature), rel=1e-10)


@given(codes=CODES, d=st.integers(2, 6), temperature=TEMPERATURES, seed=SEEDS)
def test_prototype_infonce_is_its_double_loop(random_unit, codes, d, temperature, seed):
    z = random_unit(len(codes), d, seed)
    assert_close(batch_prototypes(z, codes), torch.stack(loop_prototypes(z, codes)))
    expected = loop_prototype_infonce(z, codes, temperature)
    for stop_gradient in (False, True):  # a gradient's matter, not a value's
        assert_close(prototype_infonce(z, codes, temperature, stop_gradient=stop_gradient), expected)


@given(codes=CODES, d=st.integers(2, 6), temperature=TEMPERATURES, seed=SEEDS)
def test_pairwise_infonce_is_its_double_loop(random_unit, codes, d, temperature, seed):
    z = random_unit(len(codes), d, seed)
    expected = loop_pairwise_infonce(z, codes, temperature)
    assert pairwise_infonce(z, codes, temperature).item() == pytest.approx(expected, rel=1e-10, abs=1e-12)


@given(codes=CODES, seed=SEEDS)
def test_losses_ignore_the_order_of_rows_and_the_numbers_of_combinations(random_unit, codes, seed):
    z, generator = random_unit(len(codes), 4, seed), torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(codes), generator=generator)
    names = torch.randperm(int(codes.max()) + 1, generator=generator)
    for loss in (prototype_infonce, pairwise_infonce):
        assert_close(loss(z[rows], names[codes[rows]], 0.1), loss(z, codes, 0.1))


@pytest.mark.parametrize("labels", [[0, 0, 1, 1, 2, 2], [0, 0, 0, 1, 2, 2], [0, 0, 0, 0], [0, 1, 2]])
def test_gradients_agree_with_finite_differences(random_unit, labels):
    codes = torch.tensor(labels)
    z = random_unit(len(codes), 3, 5).requires_grad_()
    y = torch.stack([codes & 1, codes >> 1], dim=1).double()
    assert gradcheck(lambda z: pairwise_mse(z, y, 0.5), z)
    assert gradcheck(lambda z: prototype_infonce(z, codes, 0.5), z)
    assert gradcheck(lambda z: pairwise_infonce(z, codes, 0.5), z)


def test_stop_gradient_holds_the_prototypes_fixed_and_only_then(random_unit):
    codes = torch.tensor([0, 0, 1, 1, 2])
    z = random_unit(5, 4, 0).requires_grad_()
    fixed = [p.detach() for p in loop_prototypes(z, codes)]
    (held,) = grad(loop_prototype_infonce(z, codes, 0.2, fixed), z)
    (free,) = grad(loop_prototype_infonce(z, codes, 0.2), z)
    assert (held - free).abs().max() > 0.05  # the prototypes do carry a gradient
    assert_close(grad(prototype_infonce(z, codes, 0.2), z)[0], free)
    assert_close(grad(prototype_infonce(z, codes, 0.2, stop_gradient=True), z)[0], held)


def test_a_row_without_positives_repels_but_is_no_anchor(random_unit):
    z = random_unit(3, 4, 0).requires_grad_()
    codes = torch.tensor([0, 0, 1])
    loss = pairwise_infonce(z, codes, 0.5)
    by_hand = [-math.log(1 / (1 + math.exp((dot(z[i], z[2]) - dot(z[0], z[1])) / 0.5))) for i in (0, 1)]
    assert loss.item() == pytest.approx(sum(by_hand) / 2)  # two anchors: dividing by three rows would show
    assert grad(loss, z)[0][2].norm() > 0.1


@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_batch_without_positives_costs_nothing_and_can_be_differentiated(random_unit, n):
    z = random_unit(n, 4, 0).requires_grad_()
    loss = pairwise_infonce(z, torch.arange(n), 0.07)
    assert loss.item() == 0
    assert torch.equal(grad(loss, z)[0], torch.zeros_like(z))


@pytest.mark.parametrize("loss", [prototype_infonce, pairwise_infonce])
def test_losses_and_gradients_stay_finite_at_a_tiny_temperature(random_unit, loss):
    z = random_unit(6, 4, 0).float().requires_grad_()
    value = loss(z, torch.tensor([0, 0, 1, 1, 2, 3]), 1e-4)  # exp(1e4) is far outside float32
    assert torch.isfinite(value)
    assert torch.isfinite(grad(value, z)[0]).all()


@pytest.mark.parametrize("loss", [prototype_infonce, pairwise_infonce])
def test_rows_gathered_by_combination_cost_less(loss):
    codes = torch.tensor([0, 0, 1, 1])
    near, far = torch.eye(2).double()
    gathered, mixed = torch.stack([near, near, far, far]), torch.stack([near, far, far, near])
    assert loss(gathered, codes, 0.07) < 1e-5
    assert loss(mixed, codes, 0.07) > 0.5


@given(n=st.integers(1, 6), k=st.integers(1, 7), share=st.sampled_from([0.5, 0.6, 0.8, 1.0]), seed=SEEDS)
def test_agreement_counts_equal_attributes_zeros_included(n, k, share, seed):
    y = torch.randint(0, 2, (n, k), generator=torch.Generator().manual_seed(seed)).double()
    found = agreement(y, share)
    for i in range(n):
        for j in range(n):
            same = sum(a == b for a, b in zip(y[i].tolist(), y[j].tolist(), strict=True))
            assert found[i, j].item() == (same >= share * k - 1e-9)


def test_all_zero_rows_are_positives_of_each_other():
    assert agreement(torch.zeros(2, 5)).all()  # the reference's y @ y.T == K finds none here


def test_rows_without_a_prototype_are_left_out(random_unit):
    z, centres = random_unit(3, 4, 0).requires_grad_(), random_unit(2, 4, 1)
    some = contrastive.prototype_infonce(z, centres, torch.tensor([0, -1, 1]), 0.5)
    assert_close(some, contrastive.prototype_infonce(z[[0, 2]], centres, torch.tensor([0, 1]), 0.5))
    nothing = contrastive.prototype_infonce(z, centres, torch.tensor([-1, -1, -1]), 0.5)
    assert nothing.item() == 0
    assert torch.equal(grad(nothing, z)[0], torch.zeros_like(z))


@pytest.mark.parametrize("temperature", [0.5, 0.07, 0.005, 1e-3])
def test_positives_beyond_the_digits_beside_a_nearer_row_count_as_they_are(temperature):
    """At a small temperature their weight beside the nearest row's is below what a sum of float32 can hold."""
    angles = torch.tensor([0.0, 0.1, 3.0, 1.5, 2.9], dtype=torch.float64)
    z = torch.stack([angles.cos(), angles.sin()], dim=1).requires_grad_()
    codes = torch.tensor([0, 1, 0, 0, 2])
    logits = (z @ z.T / temperature).masked_fill(torch.eye(5).bool(), -torch.inf)
    near = logits.masked_fill(codes[:, None] != codes, -torch.inf)
    expected = (logits.logsumexp(1) - near.logsumexp(1))[codes == 0].mean()
    (slope,) = grad(expected, z)
    for dtype, digits in ((torch.float64, 1e-9), (torch.float32, 1e-4)):
        rows = z.detach().to(dtype).requires_grad_()
        loss = pairwise_infonce(rows, codes, temperature)
        assert loss.item() == pytest.approx(expected.item(), rel=digits)
        assert (grad(loss, rows)[0] - slope).norm() < 10 * digits * slope.norm()
