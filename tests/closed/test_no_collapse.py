"""What docs/theory/cure.md says is proved of conditional transport, on fitted models."""

from dataclasses import replace

import numpy as np
import pytest

from fclf.closed.linear import TargetMean, project
from fclf.closed.transport import SHARE, ConditionalTransport
from fclf.data.planted import planted

KEEP = 0.0


@pytest.fixture(scope="module", params=["centred", "cone"])
def train(request):
    rows = planted(3000, 48, geometry=request.param)[0].part("train")
    return rows.embeddings.astype(np.float64), np.asarray(rows.attributes), rows.identities


@pytest.fixture(scope="module")
def fitted(train):
    return replace(ConditionalTransport.fit(*train), keep=KEEP)


def changes(train, least=8):
    """Rows of the same labels, and those labels with one attribute turned over."""
    z, y, _ = train
    for labels, count in zip(*np.unique(y, axis=0, return_counts=True), strict=True):
        for k in range(y.shape[1]) if count >= least else ():
            target = labels.copy()
            target[k] = 1 - target[k]
            yield z[(y == labels).all(axis=1)][:60], labels[None], target[None], k


def similarity(fitted, y, target, k):
    """The number a and the vector b of z + s delta = a z + b, from the model's parts."""
    before, after = fitted.means.features(y), fitted.means.features(target)
    scale = fitted.spread[k, target[0, k]] * np.exp((after - before) @ fitted.means.log_variance / 2)[0]
    share = SHARE[0]
    return 1 - share + share * scale, share * ((after - scale * before) @ fitted.means.coefficients)[0]


def angles(x):
    rows, others = np.triu_indices(len(x), 1)
    return 2 * np.arcsin(np.clip(np.linalg.norm(x[rows] - x[others], axis=1) / 2, 0, 1))


def blind(fitted, x):
    """What the probes do not see of rows, as directions."""
    basis = np.linalg.qr(fitted.weights.T)[0]
    return project(x - (x @ basis) @ basis.T)


def test_destinations_of_equal_labels_are_as_far_apart_as_is_proved(fitted, train):
    seen = 0
    for z, y, target, k in changes(train):
        a, b = similarity(fitted, y, target, k)
        length = np.linalg.norm(b)
        assert 0 < length < a
        moved = project(a * z + b)
        factor = np.full(len(z), fitted.spread[k, target[0, k]])
        labels, targets = np.repeat(y, len(z), axis=0), np.repeat(target, len(z), axis=0)
        np.testing.assert_allclose(moved, project(z + fitted._displacement(z, labels, targets, factor)), atol=1e-12)
        bound = a * (a - length) / (a + length) ** 2
        assert (angles(moved) >= bound * angles(z) - 1e-12).all()
        seen += 1
    assert seen > 20


def test_corrections_leave_the_direction_of_what_the_probes_are_blind_to(fitted, train):
    for z, y, target, k in changes(train):
        a, b = similarity(fitted, y, target, k)
        labels, targets = np.repeat(y, len(z), axis=0), np.repeat(target, len(z), axis=0)
        ends, before = fitted(z, labels, targets), project(a * z + b)
        assert np.abs(ends - before).max() > 1e-3  # they do correct
        np.testing.assert_allclose(blind(fitted, ends), blind(fitted, before), atol=1e-9)
        assert angles(ends).min() > 1e-4


def test_a_collapse_breaks_both_bounds(fitted, train):
    z, y, _ = train
    collapse = TargetMean.fit(z, y)
    for rows, labels, target, _ in changes(train):
        ends = collapse(rows, np.repeat(labels, len(rows), axis=0), np.repeat(target, len(rows), axis=0))
        assert angles(ends).max() < 1e-6
        assert np.abs(blind(fitted, ends) - blind(fitted, rows)).max() > 1e-3
