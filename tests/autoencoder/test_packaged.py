import numpy as np
import pytest

from fclf.autoencoder import WEIGHTS, Autoencoder, load_encoder
from fclf.autoencoder.figures import measure
from fclf.cli.pictures import decoder_of
from fclf.decoder import Decoder


@pytest.fixture(scope="module")
def figures():
    decoder = Decoder.load(WEIGHTS)
    return measure(Autoencoder(load_encoder(), decoder.network), portraits=2000, seed=77), decoder.about


def test_the_packaged_file_is_small_and_knows_how_it_was_trained(figures):
    assert WEIGHTS.stat().st_size < 6_000_000
    about = figures[1]
    assert about["settings"]["seed"] == 7001
    assert about["figures"]["rank1_decoded"] >= 0.9


def test_linear_judges_read_every_attribute_of_people_that_nothing_has_seen(figures):
    assert min(figures[0].judges.values()) >= 0.9
    assert min(figures[0].judges_decoded.values()) >= 0.85


def test_a_decoded_picture_still_shows_the_same_person(figures):
    assert figures[0].rank1 >= 0.95
    assert figures[0].rank1_decoded >= 0.9
    assert figures[0].pixel_error < 0.3 * figures[0].mean_picture_error


def test_commands_know_it_by_name():
    decoded = decoder_of("portraits").decode(np.eye(128, dtype=np.float32)[:2])
    assert decoded.shape == (2, 64, 64, 3)
