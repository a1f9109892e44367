"""Cells pooled over combinations: weights that balance, variances without bias, a collapse with many attributes."""

import numpy as np
import pytest

from fclf.evaluation.cells import balancing, cell_benches, residual_variance
from fclf.evaluation.edits import plan_edits


def planted(n=1500, k=3, d=24, seed=0):
    """Attribute 1 follows attribute 0; every attribute is a shift of its own, the rest is noise."""
    rng = np.random.default_rng(seed)
    y = (rng.random((n, k)) < 0.4).astype(np.int8)
    if k > 1:
        y[:, 1] = np.where(rng.random(n) < 0.6, y[:, 0], y[:, 1])
    effects = rng.normal(size=(k, d)) / np.sqrt(d)
    return rng.normal(size=(n, d)) / np.sqrt(d) + y @ effects, y, effects


def benches(z, y, mode="each"):
    names = tuple(f"a{k}" for k in range(y.shape[1]))
    plan = plan_edits(y, names, mode)
    return plan, cell_benches(z, y, names, plan, np.random.default_rng(0))


def measured(z, y, edit, mode="each"):
    plan, cells = benches(z, y, mode)
    return [cell.measure(edit(z[plan.source], plan)) for cell in cells]


def test_weights_give_real_rows_the_mix_of_the_edits():
    rng = np.random.default_rng(0)
    edits = (rng.random((4000, 3)) < (0.7, 0.2, 0.5)).astype(np.int8)
    real = (rng.random((3000, 3)) < (0.3, 0.4, 0.5)).astype(np.int8)
    alike, weights = balancing(edits, real)
    assert alike.all()
    assert abs(real.mean(axis=0) - edits.mean(axis=0)).max() > 0.3
    np.testing.assert_allclose(weights @ real / weights.sum(), edits.mean(axis=0), atol=0.02)


def test_edits_without_their_like_are_left_out_on_both_sides():
    rng = np.random.default_rng(0)
    edits = (rng.random((1000, 1)) < 0.5).astype(np.int8)
    real = (rng.random((1000, 1)) < 0.01).astype(np.int8)
    alike, weights = balancing(edits, real)
    np.testing.assert_array_equal(alike, edits[:, 0] == 0)
    np.testing.assert_array_equal(weights > 0, real[:, 0] == 0)


def test_one_attribute_needs_no_weights_and_no_real_rows_no_edits():
    alike, weights = balancing(np.zeros((5, 0), np.int8), np.zeros((4, 0), np.int8))
    assert alike.all()
    assert weights.tolist() == [1, 1, 1, 1]
    assert not balancing(np.zeros((5, 2), np.int8), np.zeros((0, 2), np.int8))[0].any()


def test_residual_variance_without_labels_is_the_unbiased_variance():
    x = np.random.default_rng(0).normal(size=(9, 3))
    found = residual_variance(x, np.zeros((9, 0), np.int8), np.full(9, 1 / 9))
    assert found == pytest.approx(x.var(axis=0, ddof=1).sum())


def test_residual_variance_has_no_bias_whatever_the_labels_and_weights():
    values = []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        labels = (rng.random((40, 5)) < 0.5).astype(np.int8)
        labels[:, 4] = labels[:, 3]  # one that says nothing new
        weights = rng.random(40) ** 2
        x = 3 * rng.normal(size=(40, 2)) + labels @ rng.normal(size=(5, 2)) * 10
        values.append(residual_variance(x, labels, weights / weights.sum()))
    assert np.mean(values) == pytest.approx(2 * 9, abs=4 * np.std(values) / 20)


@pytest.mark.parametrize("mode", ["each", "multi"])
def test_a_perfect_edit_reads_as_real_rows_and_standing_still_does_not(mode):
    z, y, effects = planted()
    perfect = measured(z, y, lambda s, plan: s + (plan.target - plan.original) @ effects, mode)
    still = measured(z, y, lambda s, plan: s, mode)
    assert [(c.attribute, c.to) for c in perfect] == [(f"a{k}", to) for k in range(3) for to in (1, 0)]
    for moved, stayed in zip(perfect, still, strict=True):
        assert moved.energy_source == stayed.energy_edited > 0.15
        assert abs(moved.energy_edited) < 0.02
        assert moved.variance_ratio == pytest.approx(1, abs=0.1)
        assert moved.spread_kept == pytest.approx(1, abs=0.1 if mode == "multi" else 1e-9)


def test_without_weights_a_perfect_edit_would_not_read_as_real_rows():
    z, y, effects = planted(4000)
    plan, cells = benches(z, y)
    edited = z[plan.source] + (plan.target - plan.original) @ effects
    cell = cells[0]
    fair = cell.measure(edited).energy_edited
    equal = type(cell)(**(vars(cell) | {"weights": np.full(len(cell.real), 1 / len(cell.real))}))
    assert equal.measure(edited).energy_edited > fair + 0.02


def test_real_rows_in_the_place_of_edits_are_the_ceiling():
    z, y, _ = planted()
    for cell in benches(z, y)[1]:
        scores = cell.measure_real(np.random.default_rng(0))
        assert abs(scores.energy_edited) < 0.05
        assert scores.variance_ratio == pytest.approx(1, abs=0.15)
        assert scores.spread_kept is None


def to_means(effects):
    """Everyone to the one point that the labels of the target predict: a collapse of every combination."""
    return lambda s, plan: plan.target @ effects


@pytest.mark.parametrize("k", [1, 3, 24])
def test_a_collapse_to_one_point_a_combination_is_seen_with_any_number_of_attributes(k):
    z, y, effects = planted(600, k, seed=k)
    if k == 24:
        assert len(np.unique(y, axis=0)) == 600
    collapsed = measured(z, y, to_means(effects))
    healthy = measured(z, y, lambda s, plan: s + (plan.target - plan.original) @ effects)
    assert len(collapsed) == 2 * k
    assert max(c.spread_kept for c in collapsed) < 1e-6
    assert max(c.variance_ratio for c in collapsed) < 1e-6
    assert min(c.spread_kept for c in healthy) > 0.99
    assert min(c.variance_ratio for c in healthy) > 0.7


def test_one_collapsed_cell_is_told_from_the_healthy_ones():
    z, y, effects = planted()

    def edit(s, plan):
        out = s + (plan.target - plan.original) @ effects
        rows = plan.flips[:, 2] & (plan.target[:, 2] == 1)
        out[rows] = plan.target[rows] @ effects
        return out

    kept = {(c.attribute, c.to): c.spread_kept for c in measured(z, y, edit)}
    assert kept.pop(("a2", 1)) < 1e-6
    assert min(kept.values()) > 0.99


def test_a_cell_without_real_rows_still_says_what_spread_is_kept():
    z, y, _ = planted()
    y[:, 2] = 0
    cells = {(c.attribute, c.to): c for c in measured(z, y, lambda s, plan: 0.5 * s)}
    empty = cells["a2", 1]
    assert (empty.compared, empty.effective_real, empty.energy_edited, empty.variance_ratio) == (0, 0, None, None)
    assert empty.spread_kept == pytest.approx(0.25)
    assert ("a2", 0) not in cells
