import numpy as np
import pytest

from fclf.data.planted import ATTRIBUTES, planted
from fclf.errors import InputError

# Shares in CelebA's list_attr_celeba.txt.
CELEBA = {"Smiling": 0.482, "Young": 0.774, "Male": 0.417, "Eyeglasses": 0.065, "Mustache": 0.042}


@pytest.fixture(scope="module")
def large():
    return planted(30_000, 8, per_person=1)


def test_attributes_are_as_frequent_as_in_celeba(large):
    shares = dict(zip(ATTRIBUTES, large[0].attributes.mean(axis=0), strict=True))
    assert shares == pytest.approx(CELEBA, abs=0.012)  # four standard errors


def test_attributes_go_together_as_in_celeba(large):
    correlation = np.corrcoef(large[0].attributes.T)
    young, male, glasses, mustache = 1, 2, 3, 4
    assert correlation[young, male] == pytest.approx(-0.29, abs=0.05)
    assert correlation[male, mustache] == pytest.approx(0.24, abs=0.05)
    assert correlation[young, glasses] < -0.1
    assert not ((large[0].attributes[:, male] == 0) & (large[0].attributes[:, mustache] == 1)).mean() > 1e-3


def test_the_truth_makes_the_same_embeddings_again():
    data, truth = planted(200, 16, seed=3)
    np.testing.assert_allclose(truth.embed(data.attributes), data.embeddings, atol=1e-6)


def test_a_counterfactual_moves_but_stays_nearer_to_its_source_than_to_strangers():
    data, truth = planted(300, 32)
    other = data.attributes.copy()
    other[:, 0] = 1 - other[:, 0]
    moved = truth.embed(other)
    own = np.linalg.norm(moved - data.embeddings, axis=1)
    assert (own > 0.1).all()
    strangers = np.linalg.norm(moved[:, None] - data.embeddings[None], axis=2).mean(axis=1)
    assert (own < strangers).mean() > 0.99


@pytest.mark.parametrize(
    ("geometry", "low", "high"), [("centred", -0.02, 0.05), ("middle", 0.55, 0.65), ("cone", 0.85, 0.95)]
)
def test_mean_cosine_of_the_geometry(geometry, low, high):
    z = planted(2000, 64, geometry=geometry)[0].embeddings
    assert low < float((z.mean(axis=0) ** 2).sum()) < high


def test_a_person_keeps_male_and_young_and_stays_in_one_split():
    data, _ = planted(900, 8, per_person=3)
    by_person = data.attributes.reshape(300, 3, 5)
    assert (by_person[:, :, [1, 2]] == by_person[:, :1, [1, 2]]).all()
    assert (by_person[:, :, 0] != by_person[:, :1, 0]).any()
    assert all(len(set(split)) == 1 for split in data.split.reshape(300, 3))


def test_the_seed_decides_everything():
    one, two, other = planted(100, 8)[0], planted(100, 8)[0], planted(100, 8, seed=1)[0]
    assert one.fingerprint() == two.fingerprint() != other.fingerprint()


def test_impossible_sizes_are_refused():
    with pytest.raises(InputError, match="dim >= 2"):
        planted(10, 1)
