"""One map for everything that is plotted, principal axes or UMAP, without warnings."""

import importlib.util

import numpy as np
import pytest

from fclf.errors import InputError
from fclf.evaluation import projection
from fclf.evaluation.projection import project, resolve

needs_umap = pytest.mark.skipif(importlib.util.find_spec("umap") is None, reason="umap-learn is not installed")
KINDS = ["pca", pytest.param("umap", marks=needs_umap)]


def sphere(n, d, seed):
    x = np.random.default_rng(seed).normal(size=(n, d)) * np.linspace(2, 1, d)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


Z = sphere(60, 6, 0)
TOLERANCE = 1e-3
SOURCE = np.random.default_rng(1).integers(0, 60, 40)


def paths_to(ends, count=5, times=4):
    """Straight lines from the first sources to the first ends, on the sphere."""
    weights = np.linspace(0, 1, times)[:, None, None]
    lines = (1 - weights) * Z[SOURCE[:count]] + weights * ends[:count]
    lines = lines / np.linalg.norm(lines, axis=2, keepdims=True)
    lines[-1] = ends[:count]
    return lines


def hide_umap(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(projection, "find_spec", lambda name: None if name == "umap" else find(name))


@needs_umap
def test_auto_is_umap_where_it_is_installed():
    assert (resolve("auto"), resolve("umap"), resolve("pca")) == ("umap", "umap", "pca")


def test_auto_is_principal_axes_where_it_is_not(monkeypatch):
    hide_umap(monkeypatch)
    assert (resolve("auto"), resolve("pca")) == ("pca", "pca")
    with pytest.raises(InputError, match=r"pip install 'fclf\[viz\]'"):
        resolve("umap")


@pytest.mark.parametrize("kind", KINDS)
def test_originals_destinations_and_paths_share_their_points(kind):
    ends = sphere(40, 6, 2)
    found = project(kind, Z, SOURCE, ends, paths_to(ends), TOLERANCE)
    assert found.original.shape == found.flowed.shape == (40, 2)
    assert found.paths.shape == (4, 5, 2)
    np.testing.assert_array_equal(found.paths[0], found.original[:5])
    np.testing.assert_array_equal(found.paths[-1], found.flowed[:5])
    same = np.flatnonzero(SOURCE[0] == SOURCE)
    np.testing.assert_array_equal(found.original[same], np.repeat(found.original[:1], len(same), axis=0))
    assert np.isfinite(found.paths).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_flow_to_one_point_is_drawn_as_one_point_and_another_is_not(kind):
    noise = 0.2 * TOLERANCE / np.sqrt(6) * np.random.default_rng(0).normal(size=(40, 6))
    ends = np.repeat(sphere(1, 6, 3), 40, axis=0) + noise
    collapsed = project(kind, Z, SOURCE, ends, paths_to(ends), TOLERANCE).flowed
    assert np.ptp(collapsed, axis=0).max() < (2 * TOLERANCE if kind == "pca" else 1e-9)
    spread = project(kind, Z, SOURCE, sphere(40, 6, 4), paths_to(ends), TOLERANCE).flowed
    assert np.ptp(spread, axis=0).min() > 0.3


@pytest.mark.parametrize("kind", KINDS)
def test_rows_that_stay_are_drawn_where_they_were(kind):
    found = project(kind, Z, SOURCE, Z[SOURCE], paths_to(Z[SOURCE]), TOLERANCE)
    np.testing.assert_allclose(found.flowed, found.original, atol=1e-9)


def test_principal_axes_are_those_of_the_rows_and_say_what_they_explain():
    ends = sphere(40, 6, 2)
    found = project("pca", Z, SOURCE, ends, paths_to(ends), TOLERANCE)
    centred = Z - Z.mean(axis=0)
    _, singular, axes = np.linalg.svd(centred)
    np.testing.assert_allclose(np.abs(found.original), np.abs(centred[SOURCE] @ axes[:2].T), atol=1e-9)
    np.testing.assert_allclose(np.abs(found.flowed), np.abs((ends - Z.mean(axis=0)) @ axes[:2].T), atol=1e-9)
    np.testing.assert_allclose(found.explained, (singular**2 / (singular**2).sum())[:2])


@needs_umap
def test_umap_follows_its_seed_and_explains_no_variance():
    ends = sphere(40, 6, 2)
    first, same, other = (project("umap", Z, SOURCE, ends, paths_to(ends), TOLERANCE, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.paths, same.paths)
    assert (first.original != other.original).any()
    assert first.explained.shape == (0,)


@needs_umap
def test_umap_takes_as_few_rows_as_an_evaluation_may_have():
    ends = sphere(40, 6, 2)
    few = project("umap", Z[:10], SOURCE % 10, ends, paths_to(ends), TOLERANCE)
    assert np.isfinite(few.flowed).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_path_that_has_arrived_is_drawn_at_its_end(kind):
    ends = sphere(40, 6, 3)
    paths = paths_to(ends, count=5, times=4)
    nearly = ends[:5] + 0.3 * TOLERANCE * np.eye(6)[0]
    paths = np.concatenate([paths[:-1], nearly[None], paths[-1:]])
    found = project(kind, Z, SOURCE, ends, paths, TOLERANCE).paths
    np.testing.assert_allclose(found[-2], found[-1], atol=0 if kind == "umap" else 2 * TOLERANCE)
    assert np.linalg.norm(found[-3] - found[-1], axis=1).min() > 10 * TOLERANCE  # on the way it is drawn on the way
