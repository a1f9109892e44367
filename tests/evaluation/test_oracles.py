"""Measures against independent implementations of scipy and scikit-learn that the library does not use for them.

Loops are the other oracle, beside each measure. Optimal transport beyond one dimension and Gaussians has no oracle
here: the library solves none.
"""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.integrate import solve_ivp
from scipy.linalg import sqrtm
from scipy.spatial.distance import cdist, pdist
from scipy.stats import energy_distance, entropy, sem, wasserstein_distance
from sklearn.cluster import KMeans
from sklearn.metrics import average_precision_score
from sklearn.metrics.cluster import contingency_matrix
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.neighbors import NearestNeighbors

from fclf.closed.affine import gaussian_map
from fclf.closed.quantile import transport
from fclf.evaluation import spread
from fclf.evaluation.discrepancy import between, mmd, within
from fclf.evaluation.geometry import angles, purity
from fclf.evaluation.jackknife import Blocks, standard_error
from fclf.evaluation.retrieval import Relevant, average_precision
from fclf.flow import Flow
from fclf.losses.transport import weighted_energy

SIZES = st.integers(6, 40)
SEEDS = st.integers(0, 2**32 - 1)


def unit(n, d, rng):
    x = rng.normal(size=(n, d))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@given(n=SIZES, m=SIZES, seed=SEEDS)
def test_energy_distance_is_scipys_but_for_the_diagonals(n, m, seed):
    """scipy gives the root of the biased one, in one dimension."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=n), rng.normal(0.5, 2.0, size=m)
    inside = [np.abs(v[:, None] - v).mean() for v in (x, y)]
    expected = energy_distance(x, y) ** 2 - inside[0] / (n - 1) - inside[1] / (m - 1)
    assert spread.energy_distance(x[:, None], y[:, None]) == pytest.approx(expected, abs=1e-6)


@given(n=SIZES, m=SIZES, seed=SEEDS)
def test_weighted_energy_is_scipys_but_for_the_diagonals(n, m, seed):
    rng = np.random.default_rng(seed)
    x, y, a, b = rng.normal(size=n), rng.normal(0.5, 2.0, size=m), rng.random(n) + 0.1, rng.random(m) + 0.1
    p, q = a / a.sum(), b / b.sum()
    expected = energy_distance(x, y, a, b) ** 2
    for v, w in ((x, p), (y, q)):
        inside = w @ np.abs(v[:, None] - v) @ w
        expected += inside - inside / (1 - (w**2).sum())
    tensors = (torch.from_numpy(v) for v in (x[:, None], y[:, None], a[None], b[None]))
    assert float(weighted_energy(*tensors)) == pytest.approx(expected, abs=1e-6)


@given(n=st.integers(20, 60), seed=SEEDS)
def test_the_quantile_map_costs_what_scipys_wasserstein_distance_is(n, seed):
    rng = np.random.default_rng(seed)
    source, target = np.sort(rng.normal(size=n)), np.sort(rng.gamma(2.0, size=n))
    carried = transport(source, source, target)
    widest = np.diff(target).max()  # ranks lie between two target values, so the map is off by less than one of them
    assert abs(np.abs(carried - source).mean() - wasserstein_distance(source, target)) < widest
    assert wasserstein_distance(carried, target) < widest < 50 * wasserstein_distance(source, target)


@given(d=st.integers(2, 6), seed=SEEDS)
def test_the_affine_map_is_the_gaussian_gaussian_map_of_matrix_roots(d, seed):
    rng = np.random.default_rng(seed)
    one, other = ((lambda a: a @ a.T + 0.1 * np.eye(d))(rng.normal(size=(d, d))) for _ in range(2))
    root = sqrtm(one).real
    inverse = np.linalg.inv(root)
    expected = inverse @ sqrtm(root @ other @ root).real @ inverse
    np.testing.assert_allclose(gaussian_map(one, other), expected, atol=1e-6)


@given(n=SIZES, seed=SEEDS)
def test_mmd_is_that_of_scikit_learns_kernels(n, seed):
    rng = np.random.default_rng(seed)
    x, y, width = unit(n, 5, rng), unit(n + 3, 5, rng), 0.7
    blocks = Blocks.draw(n + 3, None, 0)
    numbers = blocks.number[:n], blocks.number

    def kernel(a, b):
        return np.mean([rbf_kernel(a, b, gamma=1 / (2 * (s * width) ** 2)) for s in (0.5, 1, 2)], axis=0)

    def off(k):
        return (k.sum() - np.trace(k)) / (len(k) * (len(k) - 1))

    found = mmd(
        between(spread.distances(x, y), width, blocks, *numbers),
        within(spread.distances(x, x), width, blocks, numbers[0]),
        within(spread.distances(y, y), width, blocks, numbers[1]),
    )[0]
    expected = off(kernel(x, x)) + off(kernel(y, y)) - 2 * kernel(x, y).mean()
    assert found == pytest.approx(expected, abs=1e-6)


@given(n=st.integers(8, 60), d=st.integers(2, 8), seed=SEEDS)
def test_average_precision_is_scikit_learns(n, d, seed):
    """Without ties: scikit-learn's is of one ranking, and the query is no part of it."""
    rng = np.random.default_rng(seed)
    rows, edited = unit(n, d, rng), unit(3, d, rng)
    source = rng.integers(0, n, 3)
    wanted = [np.setdiff1d(rng.permutation(n)[:5], [own]) for own in source]
    relevant = Relevant(np.repeat(np.arange(3), [len(w) for w in wanted]), np.concatenate(wanted))
    found = average_precision(edited, rows, source, relevant)
    for place, own in enumerate(source):
        others = np.delete(np.arange(n), own)
        truth = np.isin(others, wanted[place])
        assert found[place] == pytest.approx(average_precision_score(truth, rows[others] @ edited[place]))


@given(n=SIZES, m=SIZES, d=st.integers(2, 8), seed=SEEDS)
def test_distances_recall_and_density_are_those_of_nearest_neighbours(n, m, d, seed):
    rng = np.random.default_rng(seed)
    x, y, k = rng.normal(size=(n, d)), 0.8 * rng.normal(size=(m, d)), spread.NEIGHBOURS
    np.testing.assert_allclose(spread.distances(x, y), cdist(x, y), atol=1e-6)
    reach = NearestNeighbors(n_neighbors=k).fit(x).kneighbors()[0][:, -1]  # of rows other than itself
    covered = [any(np.linalg.norm(x[i] - row) <= reach[i] for i in range(n)) for row in y]
    assert spread.recall(spread.distances(x, y), spread.distances(x, x)) == pytest.approx(np.mean(covered))
    theirs = NearestNeighbors(n_neighbors=k).fit(y).kneighbors()[0][:, -1]
    balls = sum(np.linalg.norm(a - b) <= r for a in x for b, r in zip(y, theirs, strict=True))
    radii = spread.radii(spread.distances(y, y))
    assert spread.density(spread.distances(x, y), radii) == pytest.approx(balls / (k * n))


@given(n=SIZES, seed=SEEDS, tolerance=st.floats(0.05, 1.5))
def test_distinct_points_are_scipys_single_linkage(n, seed, tolerance):
    x = np.random.default_rng(seed).normal(size=(n, 3))
    clusters = fcluster(linkage(pdist(x), "single"), tolerance, "distance")
    assert spread.distinct_points(spread.distances(x, x), tolerance) == len(np.unique(clusters))


@given(n=SIZES, d=st.integers(2, 8), seed=SEEDS)
def test_vendi_is_the_entropy_of_the_spectrum(n, d, seed):
    x = unit(n, d, np.random.default_rng(seed))
    values = np.linalg.svd(x, compute_uv=False) ** 2
    assert spread.vendi(x) == pytest.approx(np.exp(entropy(values)), rel=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_purity_is_that_of_scikit_learns_contingency_table(seed):
    rng = np.random.default_rng(seed)
    x, labels = unit(80, 4, rng), rng.integers(0, 5, 80)
    clusters = KMeans(6, n_init=4, random_state=0).fit_predict(x.astype(np.float32))
    expected = contingency_matrix(labels, clusters).max(axis=0).sum() / len(x)
    assert purity(x, labels, 6) == pytest.approx(expected)


@given(blocks=st.integers(2, 20), size=st.integers(1, 9), seed=SEEDS)
def test_the_jackknife_of_a_mean_of_equal_blocks_is_scipys_standard_error(blocks, size, seed):
    values = np.random.default_rng(seed).normal(size=(blocks, size))
    left = [np.delete(values, b, axis=0).mean() for b in range(blocks)]
    assert standard_error(left) == pytest.approx(sem(values.mean(axis=1)))


@given(n=SIZES, d=st.integers(2, 8), seed=SEEDS)
def test_angles_are_the_arc_cosines_of_scipys_cosine_distance(n, d, seed):
    rng = np.random.default_rng(seed)
    x, y = unit(n, d, rng), unit(n, d, rng)
    expected = np.degrees(np.arccos(np.clip(1 - np.diag(cdist(x, y, "cosine")), -1, 1)))
    np.testing.assert_allclose(angles(x, y), expected, atol=1e-4)


@pytest.mark.parametrize("method", ["heun", "rk4"])
def test_a_flow_ends_where_scipys_integrator_does(method):
    """Of the tangent part of a field, by an adaptive Runge-Kutta method of order 8 in space, not on the sphere."""
    rng = np.random.default_rng(0)
    turn, z = rng.normal(size=(5, 5)), unit(4, 5, rng)
    target = torch.zeros(4, 1, dtype=torch.float64)
    weights = torch.from_numpy(turn)
    flow = Flow(lambda x, _y: torch.tanh(x @ weights.T), steps=200, step_size=0.005, method=method)
    found = flow.edit(torch.from_numpy(z), target).numpy()

    def slope(_t, x):
        v = np.tanh(turn @ x)
        return v - (x @ v) * x

    for row, end in zip(z, found, strict=True):
        expected = solve_ivp(slope, (0, 1), row, method="DOP853", rtol=1e-10, atol=1e-12).y[:, -1]
        assert np.linalg.norm(expected - row) > 0.1
        np.testing.assert_allclose(end, expected, atol=1e-4 if method == "heun" else 1e-8)
