from itertools import permutations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck

from fclf.field import TargetField
from fclf.losses.regularizers import (
    JacobianProbe,
    _random_signs,
    curl,
    divergence,
    probe_jacobian,
    smoothness,
    squared_distance,
)


@given(n=st.integers(1, 6), d=st.integers(2, 8), seed=st.integers(0, 2**32 - 1))
def test_squared_distance_is_its_loop_and_the_references_mean_is_a_dth_of_it(random_unit, n, d, seed):
    start, end = random_unit(n, d, seed), random_unit(n, d, seed + 1)
    total = sum((end[i, j].item() - start[i, j].item()) ** 2 for i in range(n) for j in range(d))
    assert squared_distance(start, end).item() == pytest.approx(total / n)
    assert squared_distance(start, end, "sum").item() == pytest.approx(total / n)
    assert squared_distance(start, end, "mean").item() == pytest.approx(total / (n * d))


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_gradients_agree_with_finite_differences(random_unit, reduction):
    start, end = random_unit(3, 4, 0), random_unit(3, 4, 1)
    assert gradcheck(lambda s, e: squared_distance(s, e, reduction), (start.requires_grad_(), end.requires_grad_()))


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_staying_costs_nothing(random_unit, reduction):
    z = random_unit(3, 4, 0).requires_grad_()
    loss = squared_distance(z.detach(), z, reduction)
    assert loss.item() == 0
    assert torch.equal(torch.autograd.grad(loss, z)[0], torch.zeros_like(z))


@pytest.fixture(scope="module")
def field():
    model = TargetField(6, 2, hidden_dim=16, seed=0).double()
    with torch.no_grad():
        model.last.weight.mul_(100)  # a field that does something
    return model


def jacobians(field, z, y):
    rows = zip(z, y, strict=True)
    return torch.stack([torch.autograd.functional.jacobian(lambda x, t=t: field(x, t), x) for x, t in rows])


def many(field, z, y, times, seed=0):
    """Probes of the same rows over and over, so that estimates can be averaged."""
    return probe_jacobian(field, z.repeat(times, 1), y.repeat(times, 1), torch.Generator().manual_seed(seed))


def one_at_a_time(estimate, probe, *arguments):
    """The estimate of each row by itself."""
    rows = zip(probe.u, probe.w, probe.ju, probe.jw, strict=True)
    return torch.stack([estimate(JacobianProbe(*(v[None] for v in row)), *arguments) for row in rows])


def test_products_are_those_of_the_exact_jacobian(field, random_unit):
    z, y = random_unit(5, 6, 0), torch.tensor([[0, 1], [1, 1], [0, 0], [1, 0], [1, 1]]).double()
    probe = many(field, z, y, 1)
    exact = jacobians(field, z, y)
    torch.testing.assert_close(probe.ju, (exact @ probe.u[:, :, None])[:, :, 0])
    torch.testing.assert_close(probe.jw, (exact @ probe.w[:, :, None])[:, :, 0])


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_estimates_are_unbiased(field, random_unit, reduction):
    z, y = random_unit(3, 6, 1), torch.tensor([[0, 1], [1, 1], [0, 0]]).double()
    exact = jacobians(field, z, y)
    traces = exact.diagonal(dim1=1, dim2=2).sum(1)
    skew = exact - exact.mT
    expected = {
        divergence: (traces**2).mean() / (36 if reduction == "mean" else 1),
        curl: (skew**2).sum((1, 2)).mean() / 2 / (15 if reduction == "mean" else 1),
        smoothness: (exact**2).sum((1, 2)).mean() / (36 if reduction == "mean" else 1),
    }
    probe = many(field, z, y, 4000)
    for estimate, value in expected.items():
        each = one_at_a_time(estimate, probe, reduction)
        error = each.std() / len(each) ** 0.5
        assert abs(each.mean() - value) < 4 * error, estimate.__name__
        assert error < 0.2 * value  # the check can tell the value from nothing
        assert estimate(probe, reduction).item() == pytest.approx(each.mean().item())


def test_the_square_of_one_estimate_would_be_biased(field, random_unit):
    z, y = random_unit(3, 6, 1), torch.ones(3, 2).double()
    probe = many(field, z, y, 4000)
    same = JacobianProbe(probe.u, probe.u, probe.ju, probe.ju)
    exact = (jacobians(field, z, y).diagonal(dim1=1, dim2=2).sum(1) ** 2).mean()
    assert divergence(same) > 1.5 * exact
    assert abs(divergence(probe) - exact) < 0.25 * exact


def linear(matrix):
    return lambda z, _y: z @ matrix.T


@pytest.mark.parametrize(
    ("matrix", "name"), [(torch.tensor([[0.0, 2.0], [-2.0, 0.0]]), "rotation"), (torch.eye(2), "expansion")]
)
def test_a_rotation_only_curls_and_an_expansion_only_diverges(matrix, name):
    matrix = matrix.double()
    probe = probe_jacobian(linear(matrix), torch.zeros(20_000, 2).double(), torch.zeros(20_000, 1), torch.Generator())
    curls, diverges = curl(probe).item(), divergence(probe).item()
    if name == "rotation":
        assert curls == pytest.approx(16, rel=0.05)  # (2 - -2)^2
        assert diverges == pytest.approx(0, abs=0.2)
    else:
        assert curls == 0
        assert diverges == pytest.approx(4, rel=0.05)  # (1 + 1)^2


def test_estimates_have_gradients_for_every_parameter_of_a_field_without_a_forward_mode(random_unit):
    """Those below a LayerNorm too, where torch 2.13's gradient of its own forward mode is wrong by half."""
    field = TargetField(4, 1, hidden_dim=8, seed=0).double()
    with torch.no_grad():
        field.last.weight.mul_(100)
    z, y = random_unit(3, 4, 0), torch.ones(3, 1).double()
    names, values = zip(*field.named_parameters(), strict=True)

    def value(*parameters):
        named = dict(zip(names, parameters, strict=True))
        call = lambda x, t: torch.func.functional_call(field, named, (x, t))  # noqa: E731
        probe = probe_jacobian(call, z, y, torch.Generator().manual_seed(0))
        return curl(probe) + divergence(probe) + smoothness(probe)

    assert gradcheck(value, tuple(v.detach().clone().requires_grad_() for v in values), fast_mode=True)


def test_the_two_ways_to_a_product_agree(field, random_unit):
    z, y = random_unit(5, 6, 0), torch.ones(5, 2).double()
    ours = probe_jacobian(field, z, y, torch.Generator().manual_seed(0), share=0.6)
    theirs = probe_jacobian(lambda x, t: field(x, t), z, y, torch.Generator().manual_seed(0), share=0.6)
    for name in ("u", "w", "ju", "jw"):
        torch.testing.assert_close(getattr(ours, name), getattr(theirs, name))
    assert theirs.ju.norm() > 0.1


def test_probing_takes_two_forward_mode_products_whatever_the_width():
    calls = []

    def counted(z, _y):
        calls.append(z.shape)
        return z**2

    for d in (2, 512):
        calls.clear()
        probe_jacobian(counted, torch.ones(4, d), torch.ones(4, 1), torch.Generator())
        assert calls == [(4, d), (4, d)]


def scaled(z, y):
    """A field whose squared divergence in a row is (d y)^2 and whose estimate with signs is exact."""
    return y * z


@pytest.mark.parametrize("share", [0.2, 0.4, 1.0])
def test_a_share_of_rows_in_random_order_is_unbiased(random_unit, share):
    z, y = random_unit(5, 4, 0), torch.tensor([[1.0], [2.0], [3.0], [5.0], [8.0]]).double()
    whole = divergence(probe_jacobian(scaled, z, y, torch.Generator())).item()
    assert whole == pytest.approx((16 * y.square()).mean().item())
    found = []
    for order in permutations(range(5)):
        rows = list(order)
        probe = probe_jacobian(scaled, z[rows], y[rows], torch.Generator(), share)
        assert len(probe.u) == round(5 * share)
        found.append(divergence(probe).item())
    assert sum(found) / len(found) == pytest.approx(whole)
    assert (max(found) > min(found) + 1) == (share < 1)


def test_signs_are_even_independent_and_decided_by_the_generator():
    x = _random_signs((2, 999, 130), torch.Generator().manual_seed(0))
    assert x.unique().tolist() == [-1, 1]
    assert torch.equal(x, _random_signs((2, 999, 130), torch.Generator().manual_seed(0)))
    assert not torch.equal(x, _random_signs((2, 999, 130), torch.Generator().manual_seed(1)))
    assert x.mean().abs() < 4 / x.numel() ** 0.5
    between = (x[0].T @ x[0] / 999).fill_diagonal_(0)  # of each two places
    assert between.abs().max() < 6 / 999**0.5
    assert (x[0] * x[1]).mean().abs() < 4 / x[0].numel() ** 0.5
