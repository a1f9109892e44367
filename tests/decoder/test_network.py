import pytest
import torch

from fclf.decoder import ImageDecoder


def embeddings(n, d, seed=0):
    return torch.nn.functional.normalize(torch.randn(n, d, generator=torch.Generator().manual_seed(seed)), dim=1)


@pytest.mark.parametrize("size", [64, 128])
def test_images_have_the_size_and_lie_between_black_and_white(size):
    images = ImageDecoder(12, size, 8)(embeddings(3, 12))
    assert images.shape == (3, 3, size, size)
    assert images.min() >= 0
    assert images.max() <= 1


def test_another_size_is_refused():
    with pytest.raises(ValueError, match="64 or 128"):
        ImageDecoder(12, 100)


def test_a_shift_and_a_scale_of_all_embeddings_make_no_difference():
    z = embeddings(50, 6)
    cone = 3 + 0.05 * z
    plain, moved = ImageDecoder(6, 64, 8), ImageDecoder(6, 64, 8)
    moved.load_state_dict(plain.state_dict())
    plain.standardise(z)
    moved.standardise(cone)
    torch.testing.assert_close(plain(z), moved(cone), atol=1e-4, rtol=0)
    assert (plain(z) - moved(z)).abs().max() > 1e-2  # so that the statistics matter


def test_the_small_network_stays_within_its_means():
    network = ImageDecoder(128, 64, 32)
    assert sum(p.numel() for p in network.parameters()) < 1_500_000  # with an encoder of 0.7 million, 4.3 MB as float16
    products = 0

    def count(module, _, out):
        nonlocal products
        products += out.shape[-1] * out.shape[-2] * module.weight.numel()

    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(count)
    network(embeddings(1, 128))
    assert products + network.spread.weight.numel() < 40e6
