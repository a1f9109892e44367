import pytest
import torch
from torch.testing import assert_close

from fclf.losses.prototypes import BatchPrototypes, MovingAveragePrototypes, RealPrototypes

Y = torch.tensor([[0, 0], [0, 1], [0, 1], [1, 1]]).float()


def unit(x):
    return x / x.norm(dim=-1, keepdim=True)


def test_batch_prototypes_are_normalised_means_with_or_without_gradient(random_unit):
    z = random_unit(4, 3, 0).requires_grad_()
    for stop_gradient in (False, True):
        centres, own = BatchPrototypes(stop_gradient=stop_gradient)(z, Y, training=True)
        assert_close(centres[own], unit(torch.stack([z[0], z[1] + z[2], z[1] + z[2], z[3]])))
        assert centres.requires_grad is not stop_gradient


def test_moving_averages_move_by_their_momentum_and_only_in_training(random_unit):
    source = MovingAveragePrototypes(momentum=0.75)
    first, second = random_unit(4, 3, 0), random_unit(4, 3, 1)
    source(first, Y, training=True)
    centres, own = source(second, Y, training=True)
    old, new = (unit(torch.stack([z[0], z[1] + z[2], z[1] + z[2], z[3]])) for z in (first, second))
    assert_close(centres[own], unit(0.75 * old + 0.25 * new))
    again, _ = source(first, Y, training=False)
    assert torch.equal(again, centres)


def test_moving_averages_carry_no_gradient_and_meet_new_combinations_later(random_unit):
    source = MovingAveragePrototypes()
    z = random_unit(4, 3, 0).requires_grad_()
    centres, own = source(z[:1], Y[:1], training=True)
    assert not centres.requires_grad
    assert len(centres) == 1
    unseen = source(z, Y, training=False)[1]
    assert unseen.tolist() == [0, -1, -1, -1]
    centres, own = source(z, Y, training=True)
    assert len(centres) == 3
    assert own.min() == 0


def test_moving_averages_continue_from_their_state(random_unit):
    source, copy = MovingAveragePrototypes(0.5), MovingAveragePrototypes(0.5)
    source(random_unit(4, 3, 0), Y.flip(0), training=True)
    copy.restore(source.state())
    for seed in (1, 2):
        one, two = (s(random_unit(4, 3, seed), Y, training=True) for s in (source, copy))
        assert torch.equal(one[0], two[0])
        assert torch.equal(one[1], two[1])
    assert MovingAveragePrototypes().state() == {}


@pytest.mark.parametrize("training", [True, False])
def test_real_prototypes_stay_where_real_rows_are(random_unit, training):
    real = random_unit(4, 3, 0)
    source = RealPrototypes(real, Y)
    flowed = random_unit(2, 3, 9)
    centres, own = source(flowed, torch.tensor([[0.0, 1.0], [1.0, 0.0]]), training=training)
    assert_close(centres[own[0]], unit(real[1] + real[2]))
    assert own[1] == -1  # no real row has this combination
    assert len(centres) == 3
