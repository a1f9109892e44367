from dataclasses import replace

import numpy as np
import pytest
import torch

from fclf.decoder import Decoder
from fclf.decoder.held_out import HeldOut, nearest_rows, sample_sheet
from fclf.decoder.training import Pairs, TrainingSettings, train_decoder
from fclf.errors import InputError, NonFiniteLossError

SETTINGS = TrainingSettings(epochs=8, width=8, batch=8, learning_rate=1e-2, noise=0.05, gradient=1.0)


def discs(n, seed):
    """Pictures of a disc whose place and colour, and that of what is around it, the embedding names."""
    rng = np.random.default_rng(seed)
    factors = rng.uniform(-1, 1, (n, 5))
    factors /= np.linalg.norm(factors, axis=1, keepdims=True)
    y, x = np.mgrid[:64, :64] / 31.5 - 1
    inside = (x - 0.6 * factors[:, :1, None]) ** 2 + (y - 0.6 * factors[:, 1:2, None]) ** 2 < 0.16
    colours = 128 + 120 * factors[:, None, None, 2:]
    return Pairs(factors.astype(np.float32), np.where(inside[..., None], 255 - colours, colours).astype(np.uint8))


def shuffled(pairs, seed):
    return Pairs(pairs.z, pairs.images[np.random.default_rng(seed).permutation(len(pairs))])


@pytest.fixture(scope="module")
def parts():
    return discs(256, 0), discs(64, 1), discs(128, 2)


@pytest.fixture(scope="module")
def trained(parts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("decoder")
    return train_decoder(*parts[:2], SETTINGS, folder, fingerprint="a")[0], folder


def same_weights(a, b):
    return all(torch.equal(x, b.network.state_dict()[name]) for name, x in a.network.state_dict().items())


def test_a_decoder_beats_the_mean_image_where_embeddings_say_what_is_shown(parts, trained):
    held_out = HeldOut.measure(trained[0], parts[0], parts[2])
    assert held_out.beats_mean
    assert held_out.decoded.mae < 0.8 * held_out.mean_image.mae
    assert held_out.decoded.mae < 0.8 * held_out.others.mae


def test_the_report_says_so_where_images_are_those_of_others(parts, tmp_path):
    train, val, test = (shuffled(part, number) for number, part in enumerate(parts))
    decoder, _ = train_decoder(train, val, SETTINGS, tmp_path, fingerprint="a")
    held_out = HeldOut.measure(decoder, train, test)
    assert not held_out.beats_mean
    assert held_out.decoded.mae > 0.95 * held_out.others.mae


def test_what_the_nearest_and_the_mean_image_are_worth(parts, trained):
    train, test = parts[0], parts[2]
    naive = [np.argmax([(z - train.z.mean(0)) @ (t - train.z.mean(0)) / np.linalg.norm(t - train.z.mean(0))
                        for t in train.z]) for z in test.z[:20]]  # fmt: skip
    assert nearest_rows(train, test)[:20].tolist() == naive
    held_out = HeldOut.measure(trained[0], train, test)
    real = test.images / 255.0
    mean = train.images.mean(axis=0).round() / 255
    near = train.images[nearest_rows(train, test)] / 255.0
    assert held_out.mean_image.mae == pytest.approx(np.abs(mean - real).mean(), rel=1e-4)
    assert held_out.mean_image.psnr == pytest.approx(-10 * np.log10(((mean - real) ** 2).mean()), rel=1e-4)
    assert held_out.nearest.mae == pytest.approx(np.abs(near - real).mean(), rel=1e-4)
    energy = [sum((np.diff(x, axis=axis) ** 2).mean() for axis in (1, 2)) for x in (near, real)]
    assert held_out.nearest.sharpness == pytest.approx(energy[0] / energy[1], rel=1e-4)
    assert held_out.mean_image.sharpness < 0.5 < held_out.nearest.sharpness
    itself = HeldOut.measure(trained[0], test, test)
    assert itself.nearest.mae == 0
    assert not itself.beats_nearest


def test_an_interrupted_run_resumes_to_the_same_bits(parts, trained, tmp_path):
    def interrupt(record):
        if record["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_decoder(*parts[:2], SETTINGS, tmp_path, fingerprint="a", on_epoch=interrupt)
    assert not (tmp_path / "decoder.safetensors").exists()
    torch.rand(3)  # global random states do not matter
    epochs = []
    decoder, history = train_decoder(
        *parts[:2], SETTINGS, tmp_path, fingerprint="a", resume=True, on_epoch=lambda r: epochs.append(r["epoch"])
    )
    assert epochs == [3, 4, 5, 6, 7, 8]
    assert len(history) == 8
    assert same_weights(decoder, trained[0])
    whole = (trained[1] / "decoder.safetensors").read_bytes()
    assert (tmp_path / "decoder.safetensors").read_bytes() == whole
    assert same_weights(Decoder.load(tmp_path), decoder)


def test_the_seed_decides_the_decoder(tmp_path):
    short = replace(SETTINGS, epochs=1)
    few = discs(32, 3)
    first, again, other = (
        train_decoder(few, few, replace(short, seed=seed), tmp_path / str(k), fingerprint="a")[0]
        for k, seed in enumerate((0, 0, 1))
    )
    assert same_weights(first, again)
    assert not same_weights(first, other)


def test_folders_that_do_not_fit_are_refused(parts, trained, tmp_path):
    folder = trained[1]
    with pytest.raises(InputError, match=r"holds a run already.*--resume"):
        train_decoder(*parts[:2], SETTINGS, folder, fingerprint="a")
    with pytest.raises(InputError, match="seed 0 -> 3"):
        train_decoder(*parts[:2], replace(SETTINGS, seed=3), folder, fingerprint="a", resume=True)
    with pytest.raises(InputError, match="other embeddings or images"):
        train_decoder(*parts[:2], SETTINGS, folder, fingerprint="b", resume=True)
    with pytest.raises(InputError, match="there is no run"):
        train_decoder(*parts[:2], SETTINGS, tmp_path, fingerprint="a", resume=True)
    (tmp_path / "training_state.pt").write_bytes(b"cut")
    with pytest.raises(InputError, match="damaged"):
        train_decoder(*parts[:2], SETTINGS, tmp_path, fingerprint="a", resume=True)
    (tmp_path / "mine.txt").write_text("kept")
    train_decoder(parts[1], parts[1], replace(SETTINGS, epochs=1), tmp_path, fingerprint="a", overwrite=True)
    assert (tmp_path / "mine.txt").read_text() == "kept"
    with pytest.raises(InputError, match="64 or 128"):
        TrainingSettings(size=65)


def test_a_loss_that_is_no_number_stops_the_run(parts, tmp_path):
    bad = Pairs(parts[0].z.copy(), parts[0].images)
    bad.z[3] = np.nan
    with pytest.raises(NonFiniteLossError, match="epoch 1"):
        train_decoder(bad, parts[1], SETTINGS, tmp_path, fingerprint="a")


def test_the_sheet_shows_real_decoded_and_nearest_rows(parts, trained):
    sheet = np.asarray(sample_sheet(trained[0], parts[0], parts[2], 3))
    assert sheet.shape == (3 * 64, 60 + 3 * 64, 3)
    np.testing.assert_array_equal(sheet[:64, 60:124], parts[2].images[0])
    np.testing.assert_array_equal(sheet[64:128, -64:], trained[0].decode(parts[2].z[-1:])[0])
    assert (sheet[:, :60] < 100).any()  # the rows are labelled
