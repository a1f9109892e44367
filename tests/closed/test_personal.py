import numpy as np
import pytest

from fclf.closed.linear import least_squares_effects, project
from fclf.closed.personal import FOLDS, PersonalEffects, _pairs
from fclf.closed.state import from_arrays, to_arrays
from fclf.closed.transport import ConditionalTransport
from fclf.data.planted import planted


def rest_of(z, y):
    intercept, effects = least_squares_effects(z, y)
    return z - intercept - y @ effects


@pytest.fixture(scope="module")
def known():
    """People whose factors bend the effect of the second of three attributes, and nothing else."""
    rng = np.random.default_rng(0)
    person = np.repeat(np.arange(600), 3)
    u = rng.normal(size=(600, 2))[person]
    y = rng.integers(0, 2, (1800, 3)).astype(np.int8)
    bend = rng.normal(size=(2, 8))
    basis = np.eye(8)[:2] * 3
    z = u @ basis + (y[:, [1]] - 0.5) * (u @ bend) + y @ rng.normal(size=(3, 8)) + 0.3 * rng.normal(size=(1800, 8))
    return z, y, person, u @ bend


def test_finds_which_effect_is_bent_and_by_how_much(known):
    z, y, person, bend = known
    rest = rest_of(z, y)
    personal = PersonalEffects.fit(rest, y, person)
    assert personal.gain > 0.02
    sizes = np.linalg.norm(personal.effects, axis=(1, 2))
    assert sizes[1] > 5 * max(sizes[0], sizes[2])
    change = np.zeros((len(y), 3))
    change[:, 1] = 1
    moved = personal.move(rest, change)
    assert np.corrcoef(moved.ravel(), bend.ravel())[0, 1] > 0.95
    assert np.sum(np.square(moved - bend)) < 0.2 * np.sum(np.square(bend))


def test_is_switched_off_by_shuffled_labels_and_by_strangers(known):
    z, y, person, _ = known
    rng = np.random.default_rng(1)
    off = 0
    for _ in range(5):
        shuffled = rng.permutation(y)
        personal = PersonalEffects.fit(rest_of(z, shuffled), shuffled, person)
        off += personal.gain == 0
        assert personal.gain < 0.002
    assert off >= 3
    for identities in (None, np.arange(len(y)), np.minimum(np.arange(len(y)), len(y) - FOLDS)):
        personal = PersonalEffects.fit(rest_of(z, y), y, identities)
        assert personal.gain == 0
        assert not personal.move(rest_of(z, y), np.ones(y.shape)).any()


def test_no_change_moves_nothing_and_back_undoes_there(known):
    z, y, person, _ = known
    rest = rest_of(z, y)
    personal = PersonalEffects.fit(rest, y, person)
    assert not personal.move(rest, np.zeros(y.shape)).any()
    change = np.ones(y.shape)
    np.testing.assert_allclose(personal.move(rest, change), -personal.move(rest, -change))


def test_brings_planted_edits_nearer_to_the_truth_of_new_people():
    data, truth = planted(6000, 64)
    train, test = (np.asarray(data.split) == part for part in ("train", "test"))
    z, y = data.embeddings.astype(np.float64), np.asarray(data.attributes)
    intercept, effects = least_squares_effects(z[train], y[train])
    rest = z - intercept - y @ effects
    personal = PersonalEffects.fit(rest[train], y[train], data.identities[train])
    angles = []
    for bent in (0.0, 1.0):
        cosines = []
        for k in range(y.shape[1]):
            change = np.zeros(y.shape)
            change[:, k] = 1 - 2 * y[:, k]
            end = project(z + change @ effects + bent * personal.move(rest, change))
            goal = truth.embed((y + change).astype(np.int8))
            cosines.append((end * goal).sum(axis=1)[test])
        angles.append(np.degrees(np.arccos(np.clip(cosines, -1, 1))).mean())
    assert angles[1] < angles[0] - 1  # of 12 degrees


def test_pairs_are_ordered_pairs_of_one_person_and_every_row_weighs_the_same():
    identities = np.array([7, 3, 7, 9, 3, 7, 1, 1, 1, 1, 1, 1, 1])
    i, j, person, weight = _pairs(identities, 0)
    assert (identities[i] == identities[j]).all()
    assert (i != j).all()
    assert len(set(zip(i.tolist(), j.tolist(), strict=True))) == len(i)
    sums = np.bincount(i, weight, len(identities))
    np.testing.assert_allclose(sums, [1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1])
    assert (person[identities[i] == 9].size, len(np.unique(person))) == (0, 3)


def test_same_seed_same_bits(known):
    z, y, person, _ = known
    first, second = (PersonalEffects.fit(rest_of(z, y), y, person, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.effects, second.effects)


def test_conditional_transport_with_personal_effects_is_arrays_too():
    data = planted(3000, 16, seed=1)[0]
    rows = data.part("train")
    z, y = rows.embeddings.astype(np.float64), rows.attributes
    plain = ConditionalTransport.fit(z, y, rows.identities)
    personal = plain.with_personal_effects(z, y, rows.identities)
    assert personal.personal.gain > 0
    assert plain.with_personal_effects(z, y, None) is plain  # nobody to learn it from
    target = y.copy()
    target[:, 1] = 1 - target[:, 1]
    ends = personal(z, y, target)
    assert np.abs(ends - plain(z, y, target)).max() > 1e-3
    for form in (plain, personal):
        again = from_arrays(to_arrays(form))
        assert (again(z, y, target) == form(z, y, target)).all()
    assert (personal(z, y, y) == z).all()
