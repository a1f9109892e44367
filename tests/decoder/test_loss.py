import numpy as np
import pytest
import torch

from fclf.decoder.loss import DecoderLoss, gradient_energy, gradient_error


def images(seed, n=2, size=16):
    return torch.rand(n, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def halved(image):
    """Means of 2 x 2 pixels, of one channel, by loops."""
    h, w = (side // 2 for side in image.shape)
    return np.array([[image[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean() for j in range(w)] for i in range(h)])


def channels(x):
    return [channel.numpy() for image in x for channel in image]


def naive_gradient_error(x, y):
    levels = []
    pairs = list(zip(channels(x), channels(y), strict=True))
    for _ in range(4):
        axes = []
        for down in (True, False):
            errors = []
            for a, b in pairs:
                for i in range(a.shape[0] - down):
                    for j in range(a.shape[1] - (not down)):
                        k, m = (i + 1, j) if down else (i, j + 1)
                        errors.append(abs((a[k, m] - a[i, j]) - (b[k, m] - b[i, j])))
            axes.append(np.mean(errors))
        levels.append(np.mean(axes))
        pairs = [(halved(a), halved(b)) for a, b in pairs]
    return np.mean(levels)


def test_the_gradient_term_is_that_of_naive_loops():
    x, y = images(0), images(1)
    assert float(gradient_error(x, y)) == pytest.approx(naive_gradient_error(x, y), rel=1e-12)
    assert float(gradient_error(x, x)) == 0


def test_the_loss_is_the_sum_of_its_terms():
    x, y = images(2), images(3)
    colours = float((x - y).abs().mean())
    assert float(DecoderLoss(2)(x, y)) == pytest.approx(colours + 2 * naive_gradient_error(x, y), rel=1e-12)
    assert float(DecoderLoss(0)(x, y)) == pytest.approx(colours, rel=1e-12)


def test_a_shift_of_all_colours_has_no_gradient_error_and_fog_no_energy():
    x = images(4) / 2
    assert float(gradient_error(x, x + 0.3)) == pytest.approx(0, abs=1e-12)
    fog = x.mean(dim=(2, 3), keepdim=True).expand_as(x)
    assert float(gradient_error(fog, x)) > 0.01
    assert gradient_energy(fog) == pytest.approx(0, abs=1e-20)
    assert gradient_energy(x) > 0.01
