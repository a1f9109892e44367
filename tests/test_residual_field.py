import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional
from torch.testing import assert_close

from fclf.field import ChangeResidual


def learned(d=6, k=3, seed=0, **sizes):
    """A residual with every weight moved, as training leaves it."""
    generator = torch.Generator().manual_seed(seed + 1)
    residual = ChangeResidual(torch.randn(d, generator=generator).double(), 0.3, k, seed=seed, **sizes)
    with torch.no_grad():
        for weight in residual.parameters():
            weight += torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
    return residual


def test_starts_at_zero_with_a_gradient_that_flows(random_unit):
    residual = ChangeResidual(torch.zeros(6).double(), 0.3, 3)
    z, change = random_unit(4, 6, 0), torch.tensor([[1, 0, 0], [0, -1, 0], [1, -1, 1], [0, 0, 1]]).double()
    velocity = residual(z, change)
    assert not velocity.any()
    velocity.sum().backward()
    assert residual.outward.grad.abs().min() > 0  # the others follow as soon as `outward` has moved
    learned_one = learned()
    learned_one(z, change).square().sum().backward()
    assert all(weight.grad.abs().sum() > 0 for weight in learned_one.parameters())


@given(d=st.integers(2, 9), k=st.integers(1, 5), seed=st.integers(0, 2**31))
def test_no_change_is_no_velocity_bit_for_bit(random_unit, d, k, seed):
    z = random_unit(5, d, seed)
    assert not learned(d, k, seed)(z, torch.zeros(5, k).double()).any()


def test_forward_recomputed_by_hand(random_unit):
    residual = learned(hidden=5, rank=2)
    z, change = random_unit(3, 6, 0), torch.tensor([[1, 0, 0], [0, -1, 1], [-1, 0, 0]]).double()
    rows = []
    for i in range(3):
        x = (z[i] - residual.mean) / 0.3
        h = functional.silu(residual.inward.T @ x + residual.bias)
        gate = residual.turning.T @ change[i] + residual.lasting.T @ change[i].abs()
        rows.append(0.3 * residual.outward.T @ ((residual.mix.T @ h) * gate))
    assert_close(residual(z, change), torch.stack(rows))


def test_does_not_depend_on_where_the_data_lie_and_how_far_they_spread(random_unit):
    here, there = learned(), learned()
    z, change = random_unit(4, 6, 0), torch.ones(4, 3).double()
    with torch.no_grad():
        there.mean.copy_(10 + 7 * here.mean)
        there.spread.mul_(7)
    assert_close(there(10 + 7 * z, change), 7 * here(z, change))


def test_same_seed_same_bits_whatever_the_global_state():
    first = ChangeResidual(torch.zeros(6), 0.3, 3, seed=5)
    torch.manual_seed(99)
    state = torch.get_rng_state()
    second = ChangeResidual(torch.zeros(6), 0.3, 3, seed=5)
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(p, q) for p, q in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(first.inward, ChangeResidual(torch.zeros(6), 0.3, 3, seed=6).inward)


@pytest.mark.parametrize("k", [5, 40])
def test_size_is_linear_in_the_attributes(k):
    sizes = [sum(p.numel() for p in ChangeResidual(torch.zeros(64), 1.0, n).parameters()) for n in (k, k + 1)]
    assert sizes[1] - sizes[0] == 2 * 16
