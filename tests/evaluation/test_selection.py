from dataclasses import dataclass

import numpy as np
import pytest

from fclf.closed import candidates
from fclf.closed.linear import Shift, TargetMean, least_squares_effects
from fclf.data.planted import planted
from fclf.evaluation import selection
from fclf.evaluation.selection import choose


@pytest.fixture(scope="module")
def data():
    return planted(4000, 32)[0]


@pytest.fixture(scope="module")
def choice(data):
    return choose(data.part("train"), data.part("val"), keep=0.5)


def among(monkeypatch, **forms):
    """Let these be the candidates; each is given (z, y)."""
    monkeypatch.setattr(
        selection,
        "closed_forms",
        lambda z, y, identities, **options: {name: fit(z, y) for name, fit in forms.items()},
    )


def effects(z, y):
    return least_squares_effects(z, y)[1]


def test_it_says_what_it_chose_against_what_and_why(choice):
    best = max(choice.trials, key=lambda trial: trial.score)
    assert choice.chosen == best.name
    assert set(candidates.STARTS.values()) <= {trial.name for trial in choice.trials}
    second = sorted(choice.trials, key=lambda trial: -trial.score)[1]
    assert best.name in choice.reason
    assert second.name in choice.reason
    assert f"{best.gap_closed:.3f}" in choice.reason


def test_the_chosen_one_is_worse_than_none_by_the_measure_that_it_names(choice):
    best = next(trial for trial in choice.trials if trial.name == choice.chosen)
    assert all(best.score >= trial.score for trial in choice.trials)
    dominated = [
        trial.name
        for trial in choice.trials
        if min(trial.success, choice.real_success) > best.success
        and trial.kept > best.kept
        and trial.gap_closed > best.gap_closed
    ]
    assert not dominated


def test_a_collapse_an_overshoot_and_a_stand_still_are_not_chosen(data, monkeypatch):
    among(
        monkeypatch,
        nothing=lambda z, y: Shift(effects(z, y), 0.0),
        collapse=TargetMean.fit,
        good=lambda z, y: Shift(effects(z, y)),
        overshoot=lambda z, y: Shift(effects(z, y), 3.0),
    )
    found = choose(data.part("train"), data.part("val"), keep=0.5)
    scores = {trial.name: trial.score for trial in found.trials}
    assert found.chosen == "good"
    assert scores["good"] > max(score for name, score in scores.items() if name != "good") + 0.05


def test_the_price_of_a_kept_prediction_grows_with_keep(data, monkeypatch):
    """Of a careful and a faithful candidate the one that keep asks for."""

    @dataclass(frozen=True)
    class Careful:
        form: Shift
        held: np.ndarray

        def __call__(self, z, y, target):
            moved = self.form(z, y, target)
            return moved - (moved - z) @ self.held.T @ self.held

    def careful(z, y):
        centred = effects(z, y)
        return Careful(Shift(centred), np.linalg.qr(centred[1:].T)[0].T)

    among(monkeypatch, faithful=lambda z, y: Shift(effects(z, y)), careful=careful)
    kept = {}
    for keep in (0.0, 1.0):
        found = choose(data.part("train"), data.part("val"), keep=keep)
        kept[keep] = next(trial.kept for trial in found.trials if trial.name == found.chosen)
        assert found.keep == keep
    assert kept[1.0] >= kept[0.0]


def test_referees_never_see_what_a_candidate_was_fitted_on(data, monkeypatch):
    seen, fitted = [], []
    prepare = selection._Bout.prepare.__func__

    def spy(cls, referees, val):
        seen.append(set(referees.identities.tolist()))
        return prepare(cls, referees, val)

    def record(z, y, identities, **_):
        fitted.append(set(identities.tolist()))
        return {"shift x1": Shift(effects(z, y))}

    monkeypatch.setattr(selection._Bout, "prepare", classmethod(spy))
    monkeypatch.setattr(selection, "closed_forms", record)
    choose(data.part("train"), data.part("val"), keep=0.5)
    assert len(seen) == len(fitted) == 2
    for referees, people in zip(seen, fitted, strict=True):
        assert referees
        assert people
        assert not referees & people
        assert not people & set(data.part("val").identities.tolist())


def test_too_few_people_to_judge_leave_the_simplest(data):
    train = data.part("train")
    few = np.flatnonzero(train.attributes[:, 4] == 1)[:2]
    rest = np.flatnonzero(train.attributes[:, 4] == 0)[:200]
    found = choose(train.take(np.concatenate([few, rest])), data.part("val"), keep=0.5)
    assert (found.chosen, found.trials) == ("shift x1", ())
    assert "too few people" in found.reason


def test_the_same_seed_gives_the_same_choice(data, choice):
    assert choose(data.part("train"), data.part("val"), keep=0.5) == choice
