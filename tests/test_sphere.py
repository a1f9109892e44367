import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from fclf import sphere

DIMS = st.integers(2, 64)
SEEDS = st.integers(0, 2**32 - 1)


def at_angle(x, w, angle):
    """Point at `angle` from `x` toward `w`, and the tangent vector that leads there."""
    side = w - (x @ w) * x
    side = side / side.norm()
    return math.cos(angle) * x + math.sin(angle) * side, angle * side


@given(dim=DIMS, angle=st.floats(0.0, 3.1), seed=SEEDS)
def test_log_inverts_exp_inside_the_cut_locus(random_unit, dim, angle, seed):
    x, w = random_unit(2, dim, seed)
    y, v = at_angle(x, w, angle)
    assert_close(sphere.exp(x, v), y, atol=1e-12, rtol=0.0)
    assert_close(sphere.log(x, sphere.exp(x, v)), v, atol=1e-11, rtol=0.0)


@given(dim=DIMS, seed=SEEDS)
def test_exp_inverts_log(random_unit, dim, seed):
    x, y = random_unit(2, dim, seed)
    assert_close(sphere.exp(x, sphere.log(x, y)), y, atol=1e-9, rtol=0.0)


def test_log_is_zero_at_the_antipode(random_unit):
    x = random_unit(100, 8, 0)
    assert_close(sphere.log(x, -x), torch.zeros_like(x), atol=1e-6, rtol=0.0)


@given(dim=DIMS, seed=SEEDS)
def test_log_is_tangent_and_as_long_as_the_distance(random_unit, dim, seed):
    x, y = random_unit(2, dim, seed)
    v = sphere.log(x, y)
    assert abs(float(x @ v)) < 1e-9
    assert_close(v.norm(), sphere.distance(x, y))


@given(dim=DIMS, seed=SEEDS, scale=st.floats(1e-6, 1e6))
def test_tangent_is_orthogonal_idempotent_and_keeps_tangent_vectors(random_unit, dim, seed, scale):
    x, v = random_unit(2, dim, seed)
    t = sphere.tangent(x, scale * v)
    assert abs(float(x @ t)) < 1e-14 * scale
    assert_close(sphere.tangent(x, t), t, atol=1e-14 * scale, rtol=0.0)
    assert_close(t + (x @ (scale * v)) * x, scale * v, atol=1e-14 * scale, rtol=0.0)  # only x was removed


@given(dim=DIMS, seed=SEEDS, exponent=st.floats(-300, math.log10(3.0)))
def test_exp_of_a_tiny_tangent_vector_is_finite_and_unit(random_unit, dim, seed, exponent):
    x, w = random_unit(2, dim, seed)
    y = sphere.exp(x, at_angle(x, w, 10**exponent)[1])
    assert_close(y.norm().item(), 1.0, atol=4e-15, rtol=0.0)


@pytest.mark.parametrize("angle", [0.0, 1e-100, 1e-12, 1e-8, 1e-3, 1.0, 3.0])
def test_distance_keeps_all_digits_of_any_angle(angle):
    # along an axis the small coordinate is held exactly, so nothing but `distance` can lose digits
    x = torch.tensor([1.0, 0.0], dtype=torch.float64)
    y = torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)
    assert sphere.distance(x, y).item() == pytest.approx(angle, rel=1e-14, abs=0)


def test_distance_keeps_the_digits_of_nearly_opposite_points():
    x = torch.tensor([1.0, 0.0], dtype=torch.float64)
    y = torch.tensor([-math.cos(1e-9), math.sin(1e-9)], dtype=torch.float64)
    assert math.pi - sphere.distance(x, y).item() == pytest.approx(1e-9, rel=1e-6)


@given(dim=DIMS, seed=SEEDS)
def test_distance_is_a_metric_bounded_by_pi(random_unit, dim, seed):
    x, y, z = random_unit(3, dim, seed)
    assert sphere.distance(x, x) == 0
    assert sphere.distance(x, y) == sphere.distance(y, x)
    assert sphere.distance(x, z) <= sphere.distance(x, y) + sphere.distance(y, z) + 1e-12
    assert sphere.distance(x, -x).item() == pytest.approx(math.pi)
    assert_close(sphere.distance(x, y), torch.arccos(x @ y), atol=1e-7, rtol=0.0)


@given(dim=DIMS, seed=SEEDS, scale=st.floats(1e-100, 1e100))
def test_project_gives_the_unit_vector_of_the_same_direction(random_unit, dim, seed, scale):
    (x,) = random_unit(1, dim, seed)
    assert_close(sphere.project(scale * x), x, atol=1e-14, rtol=0.0)


@pytest.mark.parametrize("scale", [1e-18, 1e-3, 1e18])
def test_project_gives_unit_vectors_at_any_scale_whose_square_is_a_number(scale):
    assert sphere.project(scale * torch.tensor([3.0, 4.0])).norm().item() == pytest.approx(1.0)


def test_project_leaves_zero_at_zero():
    assert torch.equal(sphere.project(torch.zeros(3, 4)), torch.zeros(3, 4))


@pytest.mark.parametrize("function", [sphere.exp, sphere.log, sphere.tangent])
def test_every_function_works_on_the_last_axis(random_unit, function):
    x, w = random_unit(6, 4, 0).reshape(2, 3, 4), random_unit(6, 4, 1).reshape(2, 3, 4)
    w = sphere.tangent(x, w) if function is sphere.exp else w
    alone = torch.stack([torch.stack([function(x[i, j], w[i, j]) for j in range(3)]) for i in range(2)])
    assert_close(function(x, w), alone)
    assert sphere.distance(x, w).shape == (2, 3)


@pytest.mark.parametrize("function", [sphere.exp, sphere.log, sphere.tangent, sphere.distance])
def test_gradients_agree_with_finite_differences(random_unit, function):
    x, w = random_unit(2, 4, 3)
    w = sphere.tangent(x, w) if function is sphere.exp else w
    assert torch.autograd.gradcheck(function, (x.requires_grad_(), w.requires_grad_()))


def test_gradients_of_exp_are_finite_where_nothing_moves(random_unit):
    x = random_unit(2, 5, 0)
    v = torch.zeros_like(x, requires_grad=True)
    (gradient,) = torch.autograd.grad(sphere.exp(x, v)[:, 0].sum(), v)
    axis = torch.zeros_like(x)
    axis[:, 0] = 1
    assert_close(gradient, sphere.tangent(x, axis))
