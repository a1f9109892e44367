from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.testing import assert_close

from fclf import sphere
from fclf.closed.linear import DoNothing, Shift, TargetMean
from fclf.closed.linear import project as project_rows
from fclf.closed.transport import ConditionalTransport
from fclf.field import ChangeField, TargetField
from fclf.flow import Flow, step


def weights(field):
    return list(field.state_dict().values())


def test_layers_are_the_references():
    field = TargetField(512, 5)
    leaves = [module for module in field.modules() if not list(module.children())]
    assert [type(leaf) for leaf in leaves] == [
        *[nn.Linear, nn.LayerNorm, nn.ReLU],
        *[nn.Linear, nn.LayerNorm, nn.ReLU],
        *[nn.Linear, nn.ReLU],
        nn.Linear,
    ]
    linear = [leaf for leaf in leaves if isinstance(leaf, nn.Linear)]
    assert [linear[0].in_features] + [leaf.out_features for leaf in linear] == [517, 256, 256, 256, 512]
    assert [leaf.in_features for leaf in linear[1:]] == [256, 256, 256]


def test_forward_recomputed_by_hand(random_unit):
    field = TargetField(6, 3, hidden_dim=7, seed=1).double()
    z, y = random_unit(4, 6, 0), torch.tensor([[0, 1, 1], [1, 0, 0], [0, 0, 0], [1, 1, 1]]).double()
    w1, b1, gain1, shift1, w2, b2, gain2, shift2, w3, b3, w4, b4 = field.parameters()

    def normalise(x):  # biased variance, as LayerNorm has it
        return (x - x.mean()) / (x.var(correction=0) + 1e-5).sqrt()

    rows = []
    for i in range(4):
        h = torch.cat([z[i], y[i]])
        h = functional.relu(normalise(w1 @ h + b1) * gain1 + shift1)
        h = functional.relu(normalise(w2 @ h + b2) * gain2 + shift2)
        h = functional.relu(w3 @ h + b3)
        rows.append(w4 @ h + b4)
    assert_close(field(z, y), torch.stack(rows))


def test_last_layer_starts_normal_with_std_a_hundredth_and_no_bias():
    last = TargetField(512, 5).last
    w = last.weight.detach()
    assert not last.bias.any()
    assert w.std().item() == pytest.approx(0.01, rel=0.01)
    assert abs(w.mean().item()) < 2e-4
    assert (w.abs() > 0.02).double().mean().item() == pytest.approx(0.0455, abs=0.004)  # two sigma of a normal


def test_velocity_depends_on_the_targets_and_on_the_embedding(random_unit):
    field = TargetField(8, 2, hidden_dim=16).double()
    z = random_unit(2, 8, 0)
    y = torch.zeros(2, 2).double()
    assert not torch.allclose(field(z, y), field(z, 1 - y))
    assert not torch.allclose(field(z, y)[0], field(z, y)[1])


def test_weights_are_decided_by_the_seed_alone():
    first = weights(TargetField(8, 2, seed=3))
    torch.rand(17)  # the global state has moved on
    again, other = weights(TargetField(8, 2, seed=3)), weights(TargetField(8, 2, seed=4))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])
    assert not torch.equal(first[-2], other[-2])


def test_global_random_state_is_left_as_it_was():
    before = torch.random.get_rng_state()
    TargetField(8, 2, seed=3)
    assert torch.equal(torch.random.get_rng_state(), before)


def labels(n, k, seed):
    return torch.randint(0, 2, (n, k), generator=torch.Generator().manual_seed(seed)).double()


def change_flow(form, steps=10, method="heun"):
    field = ChangeField(form)
    return Flow(field, steps, 1 / steps, method, field.condition)


@pytest.mark.parametrize("size", [0.1, 0.4, 1.0])
def test_a_change_field_carries_every_row_onto_the_closed_forms_destination(random_unit, size):
    z, y, target = random_unit(30, 8, 0), labels(30, 3, 1), labels(30, 3, 2)
    form = Shift(size * random_unit(3, 8, 5).numpy())
    ends = torch.from_numpy(form(z.numpy(), y.numpy().astype(np.int8), target.numpy().astype(np.int8)))
    flow = change_flow(form, 50, "rk4")
    near = sphere.distance(z, ends) < 1.2
    assert near.sum() > 10
    found = flow.edit(z, flow.condition(z, y, target))
    assert_close(found[near], ends[near], atol=1e-6, rtol=0.0)


def test_nothing_changes_where_nothing_is_to_change(random_unit):
    z, y = random_unit(20, 8, 0), labels(20, 3, 1)
    target = y.clone()
    target[::2, 0] = 1 - target[::2, 0]
    flow = change_flow(TargetMean.fit(z.numpy(), y.numpy().astype(np.int8)))
    condition = flow.condition(z, y, target)
    assert (flow.field(z, condition)[1::2] == 0).all()  # a closed form that moves everybody is asked about nobody
    assert (flow.field(z, condition)[::2].norm(dim=1) > 0.01).all()


def test_the_velocity_is_tangent_and_stays_on_the_great_circle(random_unit):
    z, y, target = random_unit(10, 6, 0), labels(10, 2, 1), labels(10, 2, 2)
    flow = change_flow(Shift(random_unit(2, 6, 3).numpy() / 2), 20, "rk4")
    condition = flow.condition(z, y, target)
    path = flow.trajectory(z, condition, strength=1.7).points
    plane = torch.stack([z, condition[:, :6]], dim=1)  # the circle lies in the span of source and heading
    basis = torch.linalg.qr(plane.mT)[0]
    moving = condition[:, :6].norm(dim=1) > 0
    outside = path[:, moving] - torch.einsum("ndk,nek,tne->tnd", basis[moving], basis[moving], path[:, moving])
    assert outside.abs().max() < 1e-9
    for point in path:  # the heading itself is tangent at the source only
        assert (point * flow.field(point, condition)).sum(-1).abs().max() < 1e-12


def test_strength_moves_farther_the_larger_it_is_and_zero_is_the_identity(random_unit):
    z, y, target = random_unit(20, 6, 0), torch.zeros(20, 2).double(), torch.ones(20, 2).double()
    flow = change_flow(Shift(random_unit(2, 6, 3).numpy() / 3))
    condition = flow.condition(z, y, target)
    assert torch.equal(flow.edit(z, condition, 0.0), z)
    moved = [sphere.distance(z, flow.edit(z, condition, s)).mean() for s in (0.25, 0.5, 1.0, 1.5, 2.0)]
    assert all(b > a + 0.01 for a, b in pairwise(moved))


def test_a_residual_is_used_as_far_as_its_amount_says(random_unit):
    class Constant(nn.Module):
        def forward(self, z, change):
            return change.abs().sum(-1, keepdim=True) * torch.ones_like(z)

    z, y, target = random_unit(5, 6, 0), torch.zeros(5, 2).double(), torch.ones(5, 2).double()
    start, half, whole = (ChangeField(DoNothing(), Constant(), amount) for amount in (0.0, 0.5, 1.0))
    condition = start.condition(z, y, target)
    assert (start(z, condition) == 0).all()
    assert_close(2 * half(z, condition), whole(z, condition))
    assert_close(whole(z, condition), sphere.tangent(z, 2 * torch.ones_like(z)))
    assert_close(torch.from_numpy(project_rows(z.numpy())), z)


@pytest.mark.parametrize("strength", [0.5, 1.0, 1.7])
def test_the_flow_without_a_residual_is_what_its_field_integrates_to(strength):
    generator = torch.Generator().manual_seed(0)
    z, ends = (sphere.project(torch.randn(20, 6, generator=generator, dtype=torch.float64)) for _ in range(2))
    ends = sphere.project(z + 0.4 * ends)
    field = ChangeField(lambda z, y, target: ends.numpy())
    source, target = torch.zeros(20, 1, dtype=torch.float64), torch.ones(20, 1, dtype=torch.float64)
    flow = Flow(field, 10, 0.1, "heun", field.condition)
    c = flow.condition(z, source, target)
    integrated, size = [z], strength / 400
    for _ in range(400):
        integrated.append(step(field, integrated[-1], c, size, "rk4"))
    path = list(flow.path(z, c, strength))
    for number in range(11):
        assert_close(path[number], integrated[40 * number], atol=1e-9, rtol=0)
    assert_close(flow.edit(z, c, strength, batch_size=7), path[-1])


@pytest.mark.parametrize("learned", [False, True])
def test_a_start_of_ours_is_asked_in_the_precision_of_the_rows(learned):
    rng = np.random.default_rng(0)
    z = rng.normal(size=(900, 12))
    y = rng.integers(0, 2, (900, 2)).astype(np.int8)
    z[:, 0] += y[:, 0]
    z = project_rows(z + 1)
    form = ConditionalTransport.fit(z, y)
    form = form.with_learned_effects(z, y, steps=20) if learned else form
    field = ChangeField(form)
    target = 1 - y
    exact = form(z, y, target)
    ends = {}
    for dtype in (torch.float32, torch.float64):
        rows, own, wanted = (torch.from_numpy(x).to(dtype) for x in (z, y, target))
        flow = Flow(field, 10, 0.1, "heun", field.condition)
        ends[dtype] = flow.edit(rows, flow.condition(rows, own, wanted))
        assert ends[dtype].dtype == dtype
    np.testing.assert_allclose(ends[torch.float64].numpy(), exact, atol=1e-12)
    np.testing.assert_allclose(ends[torch.float32].numpy(), exact, atol=2e-5)
