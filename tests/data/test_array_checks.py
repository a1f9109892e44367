"""Projection on request, and the splits of fewer names; the other checks are tested with `EmbeddingSet`."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fclf.data import formats
from fclf.data.checks import row_norms, unit_rows
from fclf.data.embeddings import EmbeddingSet
from fclf.data.splits import SHARES, SPLITS, assign_splits
from fclf.errors import InputError


@given(
    n=st.integers(1, 20),
    d=st.integers(2, 12),
    scale=st.sampled_from([1e-300, 1e-170, 1e-3, 1.0, 7.0, 1e160, 1e300]),
    seed=st.integers(0, 99),
)
def test_normalizing_keeps_the_direction_of_rows_of_any_length(n, d, scale, seed):
    x = np.random.default_rng(seed).normal(size=(n, d))
    direction = x / np.linalg.norm(x, axis=1, keepdims=True)
    np.testing.assert_allclose(unit_rows(x * scale, "x", normalize=True), direction, atol=1e-6)
    np.testing.assert_allclose(row_norms(x * scale), np.linalg.norm(x, axis=1) * scale, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_normalizing_leaves_unit_rows_as_they_are(dtype):
    x = np.random.default_rng(0).normal(size=(50, 32))
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(dtype)
    np.testing.assert_array_equal(unit_rows(x, "x", normalize=True), unit_rows(x, "x"))


def test_rows_without_a_direction_are_refused_all_the_same_and_counted():
    x = np.ones((9, 4), np.float32)
    x[2], x[5, 1], x[7, 3] = 0, np.nan, np.inf
    with pytest.raises(InputError, match=r"f\.npz: 3 of 9 rows .*first: row 2, norm 0.*zero or hold NaN or infinity"):
        EmbeddingSet.from_arrays({"embeddings": x}, normalize=True, source="f.npz")
    with pytest.raises(InputError, match=r"9 of 9 rows.* 3 of them are zero .*--normalize"):
        EmbeddingSet.from_arrays({"embeddings": x})


def test_rows_off_the_sphere_are_told_about_the_flag_and_nothing_about_zeros():
    with pytest.raises(InputError) as caught:
        EmbeddingSet.from_arrays({"embeddings": np.ones((3, 4), np.float32)})
    assert "--normalize" in str(caught.value)
    assert "zero" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".npz", ".parquet", ".pt"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_every_format_is_normalized_on_loading(suffix, dtype, tmp_path):
    x = np.random.default_rng(0).normal(size=(30, 16)).astype(dtype)
    formats.write(tmp_path / f"x{suffix}", {"embeddings": x})
    with pytest.raises(InputError, match="30 of 30 rows"):
        EmbeddingSet.load(tmp_path / f"x{suffix}")
    got = EmbeddingSet.load(tmp_path / f"x{suffix}", normalize=True)
    expected = x / np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True)
    np.testing.assert_allclose(got.embeddings, expected, atol=1e-6)


@given(names=st.lists(st.sampled_from(SPLITS), min_size=1, unique=True), seed=st.integers(0, 9))
def test_fewer_splits_keep_their_proportion(names, seed):
    split = assign_splits(2000, None, seed, names)
    shares = np.array([SHARES[SPLITS.index(name)] for name in names])
    for name, share in zip(names, shares / shares.sum(), strict=True):
        assert (split == name).mean() == pytest.approx(share, abs=0.001)
