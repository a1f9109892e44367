from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fclf.applications.audit import NOTHING, audit, random_moves
from fclf.applications.scorers import Scorer
from fclf.data.planted import planted
from fclf.errors import InputError


@pytest.fixture(scope="module")
def effects():
    """What each attribute does to everybody, and to some people more."""
    truth = planted(3000, 32, per_person=3, seed=3)[1]
    return truth.effects, truth.personal


def linear(weights: np.ndarray, bias: float = 0.0) -> Scorer:
    return Scorer(lambda z: z @ weights + bias, 0.0, "linear")


def middle(weights: np.ndarray, faces) -> Scorer:
    return linear(weights, -float(np.median(faces.embeddings @ weights)))


@pytest.mark.parametrize("attribute", ["Smiling", "Male"])
def test_a_scorer_that_reads_the_attribute_is_flagged_both_ways(model, faces, effects, attribute):
    k = faces.attribute_names.index(attribute)
    found = audit(model, faces, middle(effects[0][k], faces), attribute)
    assert [direction.to for direction in found.directions] == [1, 0]
    assert all(direction.flagged for direction in found.directions)
    up, down = (direction.moves[-1].signed for direction in found.directions)
    assert up > 0 > down


@pytest.mark.parametrize("seed", range(6))
def test_a_scorer_that_is_blind_to_the_attribute_is_not(model, faces, effects, seed):
    every = effects[0]
    weights = np.random.default_rng(seed + 100).normal(size=faces.dim)
    basis = np.linalg.qr(every.T)[0]
    weights -= basis @ (basis.T @ weights)
    found = audit(model, faces, middle(weights, faces), "Smiling")
    assert not found.flagged, [direction.reasons for direction in found.directions]


def test_doing_nothing_moves_nothing_and_controls_move_the_same_rows(model, faces, effects):
    found = audit(model, faces, middle(effects[0][0], faces), "Smiling")
    for direction in found.directions:
        nothing, shift, quantile, flow = direction.moves
        assert nothing.name == NOTHING
        assert (nothing.changed, nothing.signed, nothing.absolute) == (0.0, 0.0, 0.0)
        assert {shift.name, quantile.name, flow.name} == {"shift x1", "quantile shift", "flow"}
        assert min(shift.absolute, quantile.absolute, flow.absolute) > 0.1


class Stub:
    """Accepts the rows whose first number is positive."""

    def score(self, z, y):
        return np.where(z[:, 0] > 0, 0.5, 0.001)


def test_edits_that_are_not_accepted_do_not_count(model, faces, effects):
    holding = replace(model, support=Stub())
    scorer = middle(effects[0][0], faces)
    every, some = (
        audit(replace(model, support=None), faces, scorer, "Smiling"),
        audit(holding, faces, scorer, "Smiling"),
    )
    for direction in some.directions:
        assert direction.accepted is not None
        assert 0 < direction.accepted < direction.edits
    assert {d.to: d.edits for d in every.directions} == {d.to: d.edits for d in some.directions}


def test_a_placebo_is_as_long_as_the_edit_unit_and_unread_by_probes():
    rng = np.random.default_rng(0)
    probes = np.linalg.qr(rng.normal(size=(8, 2)))[0]
    z, edited = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in rng.normal(size=(2, 20, 8)))
    moved = random_moves(z, edited, probes, rng)
    np.testing.assert_allclose(np.linalg.norm(moved, axis=1), 1)
    np.testing.assert_allclose((moved * z).sum(axis=1), (edited * z).sum(axis=1), atol=1e-12)
    orthogonal = z - (z @ probes) @ probes.T
    orthogonal /= np.linalg.norm(orthogonal, axis=1, keepdims=True)
    np.testing.assert_allclose(random_moves(orthogonal, edited, probes, rng) @ probes, 0, atol=1e-12)


def test_a_direction_without_enough_edits_is_named(model, faces):
    test = np.flatnonzero(faces.split == "test")
    having = np.asarray(faces.attributes)[test, faces.attribute_names.index("Mustache")] == 1
    kept = np.setdiff1d(np.arange(len(faces)), test[having][5:])
    found = audit(model, faces.take(kept), linear(np.ones(faces.dim)), "Mustache")
    assert found.left_out == ["Mustache=0: 5 edits, 20 are needed"]
    with pytest.raises(InputError, match="too few edits"):
        audit(model, faces.take(np.setdiff1d(np.arange(len(faces)), test[15:])), linear(np.ones(faces.dim)), "Male")


def test_an_attribute_that_is_not_there_is_refused(model, faces):
    with pytest.raises(InputError, match="did you mean 'Smiling'"):
        audit(model, faces, linear(np.ones(faces.dim)), "Smilin")
