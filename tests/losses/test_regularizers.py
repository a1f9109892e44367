import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck

from fclf.losses.regularizers import squared_movement


@given(n=st.integers(1, 6), d=st.integers(2, 8), seed=st.integers(0, 2**32 - 1))
def test_squared_movement_is_its_loop_and_the_references_mean_is_a_dth_of_it(random_unit, n, d, seed):
    start, end = random_unit(n, d, seed), random_unit(n, d, seed + 1)
    total = sum((end[i, j].item() - start[i, j].item()) ** 2 for i in range(n) for j in range(d))
    assert squared_movement(start, end).item() == pytest.approx(total / n)
    assert squared_movement(start, end, "sum").item() == pytest.approx(total / n)
    assert squared_movement(start, end, "mean").item() == pytest.approx(total / (n * d))


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_gradients_agree_with_finite_differences(random_unit, reduction):
    start, end = random_unit(3, 4, 0), random_unit(3, 4, 1)
    assert gradcheck(lambda s, e: squared_movement(s, e, reduction), (start.requires_grad_(), end.requires_grad_()))


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_staying_costs_nothing(random_unit, reduction):
    z = random_unit(3, 4, 0).requires_grad_()
    loss = squared_movement(z.detach(), z, reduction)
    assert loss.item() == 0
    assert torch.equal(torch.autograd.grad(loss, z)[0], torch.zeros_like(z))
