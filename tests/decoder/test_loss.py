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


def naive_strength(x):
    out = []
    for a in channels(x):
        s = len(a)
        energy = np.zeros((s, s))
        for i in range(s):
            for j in range(s):
                energy[i, j] = (a[i + 1, j] - a[i, j]) ** 2 if i + 1 < s else 0
                energy[i, j] += (a[i, j + 1] - a[i, j]) ** 2 if j + 1 < s else 0
        starts = range(0, s - 7, 4)
        out.append([[np.sqrt(energy[i : i + 8, j : j + 8].mean() + 1e-4) for j in starts] for i in starts])
    return np.array(out)


def test_the_gradient_term_is_that_of_naive_loops():
    x, y = images(0), images(1)
    assert float(gradient_error(x, y)) == pytest.approx(naive_gradient_error(x, y), rel=1e-12)
    assert float(gradient_error(x, x)) == 0


def test_the_loss_is_the_sum_of_its_terms_by_naive_loops():
    x, y = images(2), images(3)
    strength = np.abs(naive_strength(x) - naive_strength(y)).mean()
    expected = float((x - y).abs().mean()) + 2 * naive_gradient_error(x, y) + 3 * strength
    assert float(DecoderLoss(2, 3)(x, y)) == pytest.approx(expected, rel=1e-12)
    assert float(DecoderLoss(0, 0)(x, y)) == pytest.approx(float((x - y).abs().mean()), rel=1e-12)


def test_a_shift_of_all_colours_has_no_gradient_and_fog_has_no_strength():
    x = images(4) / 2
    assert float(gradient_error(x, x + 0.3)) == pytest.approx(0, abs=1e-12)
    fog = x.mean(dim=(2, 3), keepdim=True).expand_as(x)
    moved = x.roll(1, dims=3)  # as sharp as the real one, each edge a pixel away
    strength = DecoderLoss(0, 1)
    colours = DecoderLoss(0, 0)
    assert strength(fog, x) - colours(fog, x) > 5 * (strength(moved, x) - colours(moved, x))
    assert colours(fog, x) < colours(moved, x)  # which is why colours alone make fog
    assert gradient_energy(fog) == pytest.approx(0, abs=1e-20)


def test_the_loss_has_finite_slopes_everywhere():
    x = torch.full((1, 3, 16, 16), 0.5, dtype=torch.float64, requires_grad=True)
    DecoderLoss(1, 1)(x, images(5, 1)).backward()
    assert torch.isfinite(x.grad).all()
    assert x.grad.abs().sum() > 0
