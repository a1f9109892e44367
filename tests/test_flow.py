import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from fclf.field import TargetField
from fclf.flow import Flow, step

METHODS = ("euler", "heun", "rk4")


def matrix(kind, d=5, seed=0):
    a = torch.randn(d, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return {"rotation": a - a.T, "rotation and radial": a - a.T + 2 * torch.eye(d).double(), "general": a}[kind]


def linear(a):
    return lambda z, y: z @ a.T


def network(d=6, k=2):
    field = TargetField(d, k, hidden_dim=8, seed=1).double()
    with torch.no_grad():
        field.last.weight.mul_(100)  # far enough from the identity for a fault to show
    return field


def targets(n, k=2, seed=0):
    return torch.randint(0, 2, (n, k), generator=torch.Generator().manual_seed(seed)).double()


@pytest.mark.parametrize("kind", ["rotation", "rotation and radial", "general"])
@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("heun", 2), ("rk4", 4)])
def test_order_of_convergence_is_the_log_log_slope(random_unit, kind, method, order):
    # z' = T_z A z is solved by exp(tA) z / |exp(tA) z|; skew A is a rotation, A + cI the same one
    a, z = matrix(kind), random_unit(8, 5, 1)
    exact = z @ torch.linalg.matrix_exp(a).T
    exact = exact / exact.norm(dim=1, keepdim=True)
    counts = np.array([64, 128, 256, 512])
    errors = [
        float((Flow(linear(a), int(n), 1 / n, method).edit(z, targets(8)) - exact).norm(dim=1).max()) for n in counts
    ]
    slope = -np.polyfit(np.log(counts), np.log(errors), 1)[0]
    assert slope == pytest.approx(order, abs=0.15)
    assert errors[-1] < {1: 0.05, 2: 1e-4, 4: 1e-7}[order]


@given(seed=st.integers(0, 999), size=st.floats(-2.0, 2.0))
def test_euler_step_is_the_references(random_unit, seed, size):
    z, y, field = random_unit(3, 6, seed), targets(3, seed=seed), network()
    with torch.no_grad():
        expected = z + size * field(z, y)
        for row in expected:
            row /= sum(float(x) ** 2 for x in row) ** 0.5
        assert_close(step(field, z, y, size), expected)


@pytest.mark.parametrize("method", METHODS)
def test_strength_zero_is_the_identity_bit_for_bit(random_unit, method):
    flow = Flow(network().float(), method=method)
    z, y = random_unit(50, 6, 0).float(), targets(50).float()
    assert not torch.allclose(flow.edit(z, y), z, atol=0.01)  # otherwise there would be nothing to switch off
    assert torch.equal(flow.edit(z, y, strength=0.0), z)
    assert torch.equal(flow.trajectory(z, y, strength=0.0).points, z.expand(11, -1, -1))


@pytest.mark.parametrize("method", METHODS)
@given(n=st.integers(0, 7), batch_size=st.integers(1, 9), seed=st.integers(0, 99), strength=st.floats(-2.0, 2.0))
def test_edit_is_the_end_of_the_trajectory_in_any_batch_size(random_unit, method, n, batch_size, seed, strength):
    flow = Flow(network(), steps=3, step_size=0.3, method=method)
    z, y = random_unit(n, 6, seed), targets(n, seed=seed)
    end = flow.trajectory(z, y, strength).end.detach()
    assert_close(flow.edit(z, y, strength, batch_size), end, atol=1e-12, rtol=0.0)


def test_edit_leaves_its_input_alone_and_records_no_gradient(random_unit):
    z, y = random_unit(4, 6, 0), targets(4)
    before = z.clone()
    assert not Flow(network()).edit(z, y).requires_grad
    assert torch.equal(z, before)


def test_a_trajectory_can_be_differentiated(random_unit):
    field = network()
    Flow(field, steps=2).trajectory(random_unit(3, 6, 0), targets(3)).end[:, 0].sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in field.parameters())


@pytest.mark.parametrize("method", METHODS)
@given(steps=st.integers(1, 6), size=st.floats(0.01, 1.0), strength=st.floats(-2.0, 2.0))
def test_a_trajectory_holds_every_unit_point_and_its_time(random_unit, method, steps, size, strength):
    z, y, field = random_unit(3, 6, 0), targets(3), network()
    path = Flow(field, steps, size, method).trajectory(z, y, strength)
    assert path.points.shape == (steps + 1, 3, 6)
    assert torch.equal(path.start, z)
    assert_close(path.points.norm(dim=-1), torch.ones(steps + 1, 3).double())
    assert_close(path.times, torch.tensor([i * size * strength for i in range(steps + 1)]).double())
    for i in range(steps):
        assert_close(path.points[i + 1], step(field, path.points[i], y, size * strength, method))
    assert torch.equal(path.end, path.points[steps])


@pytest.mark.parametrize("method", METHODS)
def test_the_field_is_only_asked_about_unit_vectors(random_unit, method):
    seen = []

    def field(z, y):
        seen.append(z.norm(dim=1))
        return 5 * z.flip(1)

    Flow(field, 2, 0.5, method).edit(random_unit(3, 5, 0), targets(3))
    assert_close(torch.cat(seen), torch.ones(3 * len(seen)).double())


@pytest.mark.parametrize("method", METHODS)
def test_strength_scales_the_flow_time(random_unit, method):
    z, y, field = random_unit(3, 6, 0), targets(3), network()
    scaled = Flow(field, 4, 0.1, method).edit(z, y, strength=0.5)
    assert_close(scaled, Flow(field, 4, 0.05, method).edit(z, y))
    assert not torch.allclose(scaled, Flow(field, 4, 0.1, method).edit(z, y), atol=1e-3)


def test_negative_strength_goes_back(random_unit):
    z, flow = random_unit(3, 5, 0), Flow(linear(matrix("general")), 100, 0.01, "rk4")
    there = flow.edit(z, targets(3))
    assert (there - z).norm(dim=1).min() > 0.1
    assert_close(flow.edit(there, targets(3), strength=-1.0), z, atol=1e-6, rtol=0.0)


@pytest.mark.parametrize("method", METHODS)
def test_gradients_of_a_step_agree_with_finite_differences(random_unit, method):
    a, z = matrix("general", 3), random_unit(2, 3, 0).requires_grad_()
    assert torch.autograd.gradcheck(lambda z, a: step(linear(a), z, targets(2), 0.3, method), (z, a.requires_grad_()))


def test_defaults_are_the_references():
    flow = Flow(network())
    assert (flow.steps, flow.step_size, flow.method) == (10, 0.1, "euler")


def test_inputs_are_the_rows_and_their_condition_in_float32():
    z = np.random.default_rng(0).normal(size=(5, 3))[::-1]
    source, target = np.eye(5, 2, dtype=np.int8)[::-1], np.ones((5, 2), dtype=np.int8)
    plain = Flow(lambda z, y: z)
    differing = Flow(lambda z, y: z, condition_of=lambda z, source, target: target - source)
    for flow, expected in ((plain, target), (differing, target - source)):
        rows, condition = flow.inputs(z, source, target)
        assert rows.dtype == condition.dtype == torch.float32
        np.testing.assert_array_equal(rows.numpy(), z.astype(np.float32))
        np.testing.assert_array_equal(condition.numpy(), expected)
