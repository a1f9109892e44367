"""Judges know no row that was trained on or is judged: copies are left out, and what is no accident is refused."""

from dataclasses import replace

import numpy as np
import pytest

import fclf
from fclf.data.planted import planted
from fclf.errors import InputError
from fclf.evaluation.apart import MOST_COPIES, judges_apart, without_copies
from fclf.evaluation.protocol import evaluate


@pytest.fixture(scope="module")
def data():
    """As of a file of pictures that names nobody."""
    return replace(planted(1200, 8)[0], identities=None, has_ids=False)


@pytest.fixture(scope="module")
def checkpoint(data):
    return fclf.fit(data, overrides=["model.start=shift"]).checkpoint


def copied(data, count, source, into="judge"):
    """Some rows of one split stand in another once more."""
    z = data.embeddings.copy()
    z[np.flatnonzero(data.split == into)[:count]] = z[np.flatnonzero(data.split == source)[:count]]
    return replace(data, embeddings=z)


def test_judges_of_a_file_without_copies_keep_their_rows(checkpoint, data):
    judge, left_out = judges_apart(checkpoint, data, "test")
    assert left_out == 0
    assert np.array_equal(judge.embeddings, data.part("judge").embeddings)


@pytest.mark.parametrize("source", ["train", "val", "test"])
def test_a_few_copies_are_left_out_and_said(checkpoint, data, source):
    judge, left_out = judges_apart(checkpoint, copied(data, 5, source), "test")
    assert left_out == 5
    assert np.array_equal(judge.embeddings, data.part("judge").embeddings[5:])


def test_copies_within_the_judge_rows_are_nobodys_business(checkpoint, data):
    assert judges_apart(checkpoint, copied(data, 5, "judge", "judge"), "test")[1] == 0


def test_copies_of_rows_that_are_not_evaluated_may_be_known(checkpoint, data):
    """Of a checkpoint that trained on half of the rows: val rows of this file are neither read nor judged."""
    stranger = replace(checkpoint, seen_digests=())
    assert judges_apart(stranger, copied(data, 5, "val"), "test")[1] == 0
    assert judges_apart(stranger, copied(data, 5, "val"), "val")[1] == 5


@pytest.mark.parametrize(("source", "says"), [("train", "were used to train"), ("test", "trained on or evaluated")])
def test_many_copies_are_refused(checkpoint, data, source, says):
    judges = len(data.part("judge"))
    most = int(MOST_COPIES * judges)
    assert judges_apart(checkpoint, copied(data, most, source), "test")[1] == most
    with pytest.raises(InputError, match=rf"{most + 1} of {judges} judge rows .*{says}"):
        judges_apart(checkpoint, copied(data, most + 1, source), "test")


def test_one_row_that_is_known_by_its_name_is_refused(checkpoint, data):
    named = replace(data, has_ids=True)
    known = replace(checkpoint, seen_ids=(str(data.part("judge").ids[0]),))
    with pytest.raises(InputError, match=r"1 of .* judge rows were used to train"):
        judges_apart(known, named, "test")


def test_one_person_who_was_trained_on_is_refused(data):
    people = replace(data, identities=np.arange(len(data)))
    seen = fclf.fit(people, overrides=["model.start=shift"]).checkpoint
    assert judges_apart(seen, people, "test")[1] == 0
    who = people.identities.copy()
    who[np.flatnonzero(people.split == "judge")[0]] = who[np.flatnonzero(people.split == "train")[0]]
    with pytest.raises(InputError, match=r"1 of .* judge rows show people"):
        judges_apart(seen, replace(people, identities=who), "test")


def test_a_report_says_what_its_judges_did_not_see(checkpoint, data):
    notes = evaluate(checkpoint, copied(data, 5, "train")).metrics.notes
    assert any(note.startswith("5 judge rows are copies of rows that training read") for note in notes)
    assert not any("copies" in note for note in evaluate(checkpoint, data).metrics.notes)


def test_copies_are_known_by_their_content_alone(data):
    judge = data.part("judge")
    left, count = without_copies(judge, judge.row_digests()[3:6])
    assert count == 3
    assert left.ids.tolist() == [*judge.ids[:3], *judge.ids[6:]]
