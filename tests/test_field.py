import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.testing import assert_close

from fclf.field import TargetField


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
