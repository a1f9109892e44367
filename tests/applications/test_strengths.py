from __future__ import annotations

import json

import numpy as np
import pytest

from fclf.applications.edits import edits_at
from fclf.applications.strengths import GRID, Queries, Strengths, calibrate, with_strengths
from fclf.closed.linear import project
from fclf.data.embeddings import EmbeddingSet
from fclf.errors import InputError
from fclf.evaluation.retrieval import average_precision, relevant_rows

NAMES = ("A", "B")


def two_attributes(seed: int = 0, people: int = 60) -> EmbeddingSet:
    """A moves everybody by the same; B is drawn anew and moves nobody, so a query should not be moved for it."""
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(people), 4)
    y = np.tile(np.array([[0, 0], [1, 0], [0, 1], [1, 1]], dtype=np.int8), (people, 1))
    x = rng.normal(size=(people, 12))[who] + 0.4 * rng.normal(size=(len(who), 12))
    x[:, 0] += 4 * y[:, 0]
    return EmbeddingSet(project(x).astype(np.float32), y, NAMES, ids=np.arange(len(who)).astype(str), identities=who)


def move(strength: float):
    """Both attributes along their own axis; of B that is only noise."""

    def edit(z, y, target):
        return project(z + strength * (target - y) @ np.eye(2, 12) * 0.6)

    return edit


def test_queries_are_those_of_the_evaluation():
    rows = two_attributes(people=6)
    queries = Queries.of(rows)
    z, y = rows.embeddings.astype(np.float64), np.asarray(rows.attributes)
    found = []
    for row in range(len(z)):
        for k in range(2):
            target = y[row].copy()
            target[k] = 1 - target[k]
            flips = (target != y[row])[None]
            relevant = relevant_rows(np.array([row]), flips, target[None], y, rows.identities)
            if len(relevant.query):
                found.append(average_precision(z[[row]], z, np.array([row]), relevant)[0])
    assert sorted(queries.precision(None)) == pytest.approx(sorted(found))


def test_a_query_goes_far_where_that_finds_people_and_nowhere_where_it_does_not():
    rows = two_attributes()
    strengths = calibrate(Queries.of(rows), move, NAMES)
    assert strengths.values[0].min() >= 0.5
    assert strengths.values[1].max() <= 0.25
    other = Queries.of(two_attributes(seed=1))
    calibrated = other.precision(with_strengths(move, strengths)).mean()
    assert calibrated > max(other.precision(None if s == 0 else move(s)).mean() for s in GRID) + 0.01


def test_a_row_takes_the_mean_strength_of_what_changes_and_stays_where_nothing_does():
    strengths = Strengths(NAMES, np.array([[0.5, 1.0], [0.0, 2.0]]), np.full((2, 2), 99))
    y = np.array([[0, 0], [1, 0], [0, 1], [0, 0]], dtype=np.int8)
    target = np.array([[1, 1], [0, 0], [0, 0], [0, 0]], dtype=np.int8)
    np.testing.assert_allclose(strengths.of(y, target), [1.5, 0.5, 0.0, 0.0])
    z = project(np.random.default_rng(0).normal(size=(4, 12)))
    edited = with_strengths(move, strengths)(z, y, target)
    np.testing.assert_allclose(edited[0], move(1.5)(z[:1], y[:1], target[:1])[0])
    np.testing.assert_array_equal(edited[2:], z[2:])


def test_strengths_are_read_back_for_their_own_checkpoint_only(tmp_path):
    strengths = Strengths(NAMES, np.array([[0.5, 1.0], [0.0, 2.0]]), np.full((2, 2), 99))
    path = tmp_path / "search.json"
    strengths.save(path, "abc")
    found = Strengths.load(path, NAMES, "abc")
    np.testing.assert_array_equal(found.values, strengths.values)
    np.testing.assert_array_equal(found.queries, strengths.queries)
    with pytest.raises(InputError, match="another checkpoint"):
        Strengths.load(path, NAMES, "def")
    with pytest.raises(InputError, match="does not hold strengths of A, C"):
        Strengths.load(path, ("A", "C"), "abc")
    content = json.loads(path.read_text())
    content["strengths"]["A=0"]["strength"] = -1
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="0 or more"):
        Strengths.load(path, NAMES, "abc")


def test_without_identities_or_pairs_the_reason_is_said():
    rows = two_attributes(people=2)
    with pytest.raises(InputError, match="no identities"):
        Queries.of(EmbeddingSet(rows.embeddings, rows.attributes, NAMES, ids=rows.ids))
    with pytest.raises(InputError, match="nothing that a query could find"):
        Queries.of(rows.take(np.array([0, 4])))


def test_edits_of_a_checkpoint_are_those_of_its_own_method(model, faces):
    rows = model.matching(faces).take(np.arange(20))
    y = np.asarray(rows.attributes)
    target = y.copy()
    target[:, 0] = 1
    expected = model.edit(rows, {model.attribute_names[0]: 1}, strength=1.5).embeddings
    found = edits_at(model, 1.5)(rows.embeddings.astype(np.float64), y, target)
    np.testing.assert_array_equal(found.astype(np.float32), expected)
