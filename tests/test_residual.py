import numpy as np
import pytest
import torch

from fclf import residual as residual_module
from fclf.closed.linear import Shift, least_squares_effects
from fclf.config import ChangeModelConfig, InferenceConfig
from fclf.data.planted import planted
from fclf.errors import NonFiniteLossError
from fclf.evaluation.edits import all_groups, plan_edits
from fclf.evaluation.spread import energy_distance
from fclf.field import ChangeField
from fclf.residual import edits_of, learn_residual

MODEL = ChangeModelConfig(residual_steps=40)
HEUN = InferenceConfig(method="heun")


def arrays(rows):
    return rows.embeddings.astype(np.float64), np.asarray(rows.attributes)


@pytest.fixture(scope="module")
def rows():
    data = planted(3000, 16)[0]
    return arrays(data.part("train")), arrays(data.part("test"))


@pytest.fixture(scope="module")
def start(rows):
    """A closed form that moves rows along other attributes too."""
    effects = least_squares_effects(*rows[0])[1]
    return Shift(effects + 0.5 * np.roll(effects, 1, axis=0))


@pytest.fixture(scope="module")
def learned(rows, start):
    return learn_residual(start, *rows[0], MODEL)


def energy(edit, z, y):
    """Mean energy distance of edits to real rows."""
    plan = plan_edits(y, ("A", "B", "C", "D", "E"))
    ends = edit(z[plan.source], plan.original, plan.target)
    groups = [g for g in all_groups(plan, y) if min(len(g.edits), len(g.real)) > 20]
    assert groups
    return np.average(
        [energy_distance(ends[g.edits], z[g.real]) for g in groups], weights=[len(g.edits) for g in groups]
    )


def test_takes_held_out_edits_nearer_to_real_rows(rows, start, learned):
    found = [energy(edits_of(ChangeField(start, learned, amount), HEUN), *rows[1]) for amount in (0.0, 0.5, 1.0)]
    assert found[1] < 0.97 * found[0]
    assert found[2] < 0.95 * found[0]


def test_shuffled_labels_teach_nothing(rows, start):
    z, y = rows[0]
    wrong = learn_residual(start, z, np.random.default_rng(0).permutation(y), MODEL)
    alone, with_it = (energy(edits_of(ChangeField(start, r), HEUN), *rows[1]) for r in (None, wrong))
    assert with_it > 0.99 * alone


def test_no_change_is_no_velocity_bit_for_bit_after_training(rows, start, learned):
    z = torch.from_numpy(rows[1][0]).float()
    assert learned.outward.any()
    assert not learned(z, torch.zeros(len(z), 5)).any()
    field = ChangeField(start, learned)
    labels = torch.from_numpy(rows[1][1]).float()
    assert not field(z, field.condition(z, labels, labels)).any()


def test_same_seed_same_bits_whatever_the_global_state(rows, start, learned):
    torch.manual_seed(7)
    losses = []
    again = learn_residual(start, *rows[0], MODEL, on_step=losses.append)
    assert len(losses) == MODEL.residual_steps
    assert np.mean(losses[-10:]) < np.mean(losses[:10])
    other = learn_residual(start, *rows[0], MODEL, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), learned.parameters(), strict=True))
    assert not torch.equal(other.outward, learned.outward)
    assert not any(p.requires_grad for p in learned.parameters())


def test_a_loss_that_is_not_a_number_stops_it(rows, start, monkeypatch):
    monkeypatch.setattr(residual_module, "weighted_energy", lambda *_: torch.full((10,), torch.nan))
    with pytest.raises(NonFiniteLossError, match=r"step 1 of 40.*residual_steps=0"):
        learn_residual(start, *rows[0], MODEL)


def test_every_attribute_and_direction_is_edited_as_often(rows):
    y = rows[0][1]
    source, target = residual_module._draw_edits(y, np.random.default_rng(0))
    change = target.astype(int) - y[source]
    assert (np.abs(change).sum(axis=1) == 1).all()
    counts = [(change[:, k] == sign).sum() for k in range(5) for sign in (-1, 1)]
    assert len(set(counts)) == 1


def test_forty_attributes_need_no_other_case():
    z, y = np.random.default_rng(0).normal(size=(300, 8)), np.random.default_rng(1).integers(0, 2, (300, 40))
    z = z / np.linalg.norm(z, axis=1, keepdims=True)
    y = y.astype(np.int8)
    start = Shift(least_squares_effects(z, y)[1])
    found = learn_residual(start, z, y, ChangeModelConfig(residual_steps=2))
    assert found.turning.shape == (40, 16)
    assert all(torch.isfinite(p).all() for p in found.parameters())


def test_the_lead_of_a_source_and_the_spread_of_a_group_recomputed_by_hand(random_unit):
    end, begin, others = random_unit(4, 5, 0), random_unit(4, 5, 1), random_unit(6, 5, 2)
    source, other = np.array([3, 1, 7, 3]), np.array([0, 3, 3, 5, 1, 2])
    found = residual_module._leads(end, begin, others, source, other)
    for i in range(4):
        nearest = max(float(end[i] @ others[j]) for j in range(6) if other[j] != source[i])
        assert float(found[i]) == pytest.approx(float(end[i] @ begin[i]) - nearest)
    variances = residual_module._variance(end, 1)
    for group in (0, 1):
        assert float(variances[group]) == pytest.approx(end[2 * group : 2 * group + 2].numpy().var(0, ddof=1).sum())


def test_the_spread_stays_that_of_the_start(rows, start, learned, monkeypatch):
    z, y = rows[1]
    plan = plan_edits(y, ("A", "B", "C", "D", "E"))

    def off(residual):
        ends = [
            edits_of(ChangeField(start, r), HEUN)(z[plan.source], plan.original, plan.target) for r in (None, residual)
        ]
        groups = [plan.flips[:, k] & (plan.target[:, k] == v) for k in range(5) for v in (0, 1)]
        return np.mean([abs(np.log(ends[1][g].var(axis=0).sum() / ends[0][g].var(axis=0).sum())) for g in groups])

    monkeypatch.setattr(residual_module, "SPREAD_WEIGHT", 0.0)
    free = learn_residual(start, *rows[0], MODEL)
    assert off(learned) < 0.03
    assert off(learned) < off(free)
