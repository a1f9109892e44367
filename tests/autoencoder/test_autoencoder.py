import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from fclf.autoencoder import AutoencoderSettings, embed, load_encoder, portrait_set, save, train_autoencoder
from fclf.data.portraits import draw, sitters
from fclf.decoder import Decoder
from fclf.errors import InputError

TINY = AutoencoderSettings(portraits=64, encoder_steps=12, encoder_people=8, decoder_steps=12, decoder_batch=16, seed=5)


@pytest.fixture(scope="module")
def trained():
    told = []
    return train_autoencoder(TINY, lambda stage, step, losses: told.append((stage, step, losses))), told


def test_losses_fall_in_both_stages(trained):
    for stage, term in (("encoder", "identity"), ("decoder", "pixels")):
        values = [losses[term] for name, _, losses in trained[1] if name == stage]
        assert len(values) == 12
        assert np.mean(values[-3:]) < 0.9 * np.mean(values[:3])


def test_the_same_seed_trains_the_same_weights_and_leaves_the_callers_random_state(trained):
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    again = train_autoencoder(TINY)
    assert torch.equal(before, torch.random.get_rng_state())
    for network in ("encoder", "decoder"):
        mine, theirs = getattr(trained[0], network).state_dict(), getattr(again, network).state_dict()
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_the_file_holds_both_parts_within_the_size_of_the_package(trained, tmp_path):
    path = tmp_path / "portraits.safetensors"
    save(trained[0], path, {"seed": 5})
    assert path.stat().st_size < 6_000_000
    people = sitters(6, seed=9)
    data = portrait_set(people, load_encoder(path))
    np.testing.assert_allclose(np.linalg.norm(data.embeddings, axis=1), 1, atol=1e-5)
    exact = embed(draw(people), trained[0].encoder)
    assert (exact * data.embeddings).sum(axis=1).min() > 0.9999, "float16 weights change little"
    decoder = Decoder.load(path)
    assert decoder.about == {"seed": 5}
    assert decoder.decode(data.embeddings).shape == (6, 64, 64, 3)


def test_a_file_without_an_encoder_is_refused(tmp_path):
    with pytest.raises(InputError, match="Portrait encoder"):
        load_encoder(tmp_path / "absent.safetensors")
    save_file({"decoder.x": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="fclf portraits train"):
        load_encoder(tmp_path / "other.safetensors")
