import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from fclf.decoder import Decoder, ImageDecoder
from fclf.errors import InputError


@pytest.fixture
def decoder():
    torch.manual_seed(1)
    return Decoder(ImageDecoder(6, 64, 8), {"data_fingerprint": "abc"})


@pytest.fixture
def z():
    return np.random.default_rng(0).normal(size=(70, 6)).astype(np.float32)


def test_a_file_gives_back_the_same_images_and_bytes(decoder, z, tmp_path):
    path = tmp_path / "decoder.safetensors"
    decoder.save(path)
    again = Decoder.load(path)
    images = decoder.decode(z)
    assert images.shape == (70, 64, 64, 3)
    assert images.dtype == np.uint8
    assert images.std() > 1
    np.testing.assert_array_equal(again.decode(z), images)
    assert (again.dim, again.size, again.network.width, again.about) == (6, 64, 8, {"data_fingerprint": "abc"})
    again.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()
    np.testing.assert_array_equal(Decoder.load(tmp_path).decode(z), images)  # of the folder


def test_half_precision_is_half_as_large_and_nearly_the_same(decoder, z, tmp_path):
    decoder.save(tmp_path / "full")
    decoder.save(tmp_path / "half", half=True)
    assert (tmp_path / "half").stat().st_size < 0.55 * (tmp_path / "full").stat().st_size
    again = Decoder.load(tmp_path / "half")
    assert {p.dtype for p in again.network.parameters()} == {torch.float32}
    assert np.abs(again.decode(z).astype(int) - decoder.decode(z)).max() <= 1


def test_other_tensors_of_the_file_are_left_alone(decoder, z, tmp_path):
    path = tmp_path / "autoencoder"
    decoder.save(path, half=True, others={"encoder.weight": torch.ones(3)})
    np.testing.assert_array_equal(load_file(path)["encoder.weight"].numpy(), 1)
    assert Decoder.load(path).decode(z).shape == (70, 64, 64, 3)
    with pytest.raises(ValueError, match=r"decoder\.spread"):
        decoder.save(path, others={"decoder.spread": torch.ones(3)})


def test_embeddings_that_do_not_fit_are_refused(decoder, z):
    with pytest.raises(InputError, match=r"width 6, but these have width 5.*decoder train"):
        decoder.decode(z[:, :5])
    z[3, 1] = np.nan
    with pytest.raises(InputError, match="Row 3"):
        decoder.decode(z)


def rewritten(path, change, header=None):
    """The file with other tensors or another header."""
    tensors = load_file(path)
    change(tensors)
    sizes = {"decoder": {"dim": 6, "size": 64, "width": 8}} if header is None else header
    save_file(tensors, path, {"fclf": json.dumps(sizes)})


def nothing(tensors):
    pass


def without_mean(tensors):
    del tensors["decoder.mean"]


def one_more(tensors):
    tensors["decoder.bonus"] = torch.ones(1)


def not_a_number(tensors):
    tensors["decoder.scale"] = torch.tensor(float("nan"))


def integers(tensors):
    tensors["decoder.scale"] = torch.tensor(1)


@pytest.mark.parametrize(
    ("change", "header", "said"),
    [
        (without_mean, None, "mean is missing"),
        (one_more, None, "bonus is unknown"),
        (not_a_number, None, "scale holds values that are not finite"),
        (integers, None, "scale is torch.int64"),
        (nothing, {"decoder": {"dim": 7, "size": 64, "width": 8}}, r"shape \(6,\) instead of \(7,\)"),
        (nothing, {"decoder": {"dim": 6, "size": 65, "width": 8}}, "64 or 128"),
        (nothing, {"decoder": {"dim": 10**9, "size": 64, "width": 80000}}, "instead of"),
        (nothing, {"decoder": {"dim": 10**30, "size": 64, "width": 8}}, "sizes that no decoder has"),
        (nothing, {"decoder": {"dim": -6, "size": 64, "width": 8}}, "no positive integers: dim -6"),
        (nothing, {"decoder": {"dim": 6, "size": 64}}, "does not name a decoder"),
        (nothing, [1], "does not name a decoder"),
    ],
)
def test_a_file_that_is_not_what_it_says_is_refused(decoder, tmp_path, change, header, said):
    path = tmp_path / "decoder.safetensors"
    decoder.save(path)
    rewritten(path, nothing)
    Decoder.load(path)  # so that it is the change that is refused
    rewritten(path, change, header)
    with pytest.raises(InputError, match=said):
        Decoder.load(path)


def test_a_cut_or_absent_file_is_refused(decoder, tmp_path):
    path = tmp_path / "decoder.safetensors"
    with pytest.raises(InputError, match="there is no file"):
        Decoder.load(path)
    decoder.save(path)
    whole = path.read_bytes()
    for content in (b"", whole[:100], whole[: len(whole) // 2], b"no decoder at all"):
        path.write_bytes(content)
        with pytest.raises(InputError, match="cannot be read as safetensors"):
            Decoder.load(path)
    save_file({"a": torch.ones(1)}, path)
    with pytest.raises(InputError, match="does not name a decoder"):
        Decoder.load(path)
