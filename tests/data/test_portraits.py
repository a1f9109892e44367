import numpy as np
import pytest

from fclf.data.frequencies import ATTRIBUTES, draw_attributes, frequencies
from fclf.data.portraits import CIRCUMSTANCES, FACTORS, draw, sitters
from fclf.errors import InputError


def test_the_same_seed_gives_the_same_bytes_and_another_one_others():
    one, two, other = (draw(sitters(12, seed=seed)) for seed in (3, 3, 4))
    assert one.tobytes() == two.tobytes()
    assert (one != other).any(axis=(1, 2, 3)).all()


def test_a_picture_does_not_depend_on_the_others_drawn_beside_it():
    people = sitters(40, seed=1)
    rows = np.array([37, 2, 19])
    alone = draw(people.take(rows)).astype(int)
    np.testing.assert_allclose(draw(people)[rows].astype(int), alone, atol=1)  # one level, by the length of vectors


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_every_attribute_shows_and_only_where_it_should(attribute):
    people = sitters(60, seed=5)
    k = ATTRIBUTES.index(attribute)
    flipped = people.attributes.copy()
    flipped[:, k] = 1 - flipped[:, k]
    before, after = draw(people).astype(int), draw(people.showing(flipped)).astype(int)
    changed = np.abs(before - after).max(axis=3) > 16
    assert changed.any(axis=(1, 2)).all(), "an attribute that nobody could see"
    corners = np.concatenate([changed[:, :6, :6], changed[:, :6, -6:]], axis=2)
    assert not corners.any(), "the ground of a counterfactual is the same"
    if attribute not in ("Young", "Male"):  # glasses, a mouth and a mustache are small
        assert changed.mean(axis=(1, 2)).max() < 0.25


def test_an_untouched_counterfactual_is_the_same_picture():
    people = sitters(8, seed=2)
    np.testing.assert_array_equal(draw(people), draw(people.showing(people.attributes.copy())))


def test_attributes_are_as_frequent_as_in_celeba_and_go_together_as_there():
    y = sitters(40_000, per_person=1, seed=0).attributes
    np.testing.assert_allclose(y.mean(axis=0), frequencies(), atol=0.01)
    names = dict(zip(ATTRIBUTES, y.T, strict=True))
    assert names["Mustache"][names["Male"] == 0].mean() < 0.001 < names["Mustache"][names["Male"] == 1].mean()
    assert names["Eyeglasses"][names["Young"] == 0].mean() > 2 * names["Eyeglasses"][names["Young"] == 1].mean()


def test_people_keep_their_face_and_change_their_circumstances():
    people = sitters(20, per_person=4, seed=0)
    for person in range(5):
        mine = people.identities == person
        assert mine.sum() == 4
        assert len(np.unique(people.factors[mine], axis=0)) == 1
        assert len(np.unique(people.circumstances[mine], axis=0)) == 4
        assert len(np.unique(people.attributes[mine][:, [1, 2]], axis=0)) == 1
    assert people.factors.shape == (20, len(FACTORS))
    assert people.circumstances.shape == (20, len(CIRCUMSTANCES))


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(InputError, match="16 to 512"):
        draw(sitters(2), size=8)
    with pytest.raises(InputError, match="n >= 1"):
        sitters(0)
    with pytest.raises(InputError, match=r"\(2, 5\)"):
        sitters(2).showing(np.zeros((2, 4), dtype=np.int8))


def test_own_attributes_belong_to_a_person():
    person = np.arange(3000) // 3
    y = draw_attributes(person, np.random.default_rng(0)).reshape(1000, 3, 5)
    assert (y[:, :1, [1, 2]] == y[:, :, [1, 2]]).all()
    assert (y[:, :1, 0] != y[:, :, 0]).any()
