"""What a report says of attributes that no judge can read, and what it tells to do about an edit of which kind."""

from dataclasses import replace

import numpy as np
import pytest

import fclf
from fclf.data.planted import planted
from fclf.evaluation.protocol import evaluate
from fclf.evaluation.verdict.rules import NEXT_STEPS_FITTED


@pytest.fixture(scope="module")
def data():
    return planted(1200, 8)[0]


def report(data):
    return evaluate(fclf.fit(data, overrides=["model.start=shift"]).checkpoint, data).metrics


def shuffled(data, *columns):
    labels = np.asarray(data.attributes).copy()
    rng = np.random.default_rng(0)
    for column in columns:
        labels[:, column] = rng.permutation(labels[:, column])
    return replace(data, attributes=labels)


def unread(metrics):
    return [note for note in metrics.notes if note.startswith("No judge reads")]


def test_attributes_whose_labels_say_nothing_are_named_and_others_are_not(data):
    assert unread(report(data)) == []
    (note,) = unread(report(shuffled(data, 0)))
    assert data.attribute_names[0] in note
    assert not any(name in note for name in data.attribute_names[1:])


def test_edits_of_a_closed_form_are_told_what_closed_forms_take(data):
    verdict = report(shuffled(data, *range(5))).verdict
    assert verdict.name != "HEALTHY"
    assert verdict.next_steps[: len(NEXT_STEPS_FITTED[verdict.name])] == list(NEXT_STEPS_FITTED[verdict.name])
