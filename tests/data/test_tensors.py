"""The reference's bare tensors, and what only looks like one."""

import pickle

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from fclf.data import formats
from fclf.data.embeddings import EmbeddingSet
from fclf.errors import InputError
from tests.faults.inputs.contract import Plant


def unit(n=8, d=6, dtype=torch.float32):
    return normalize(torch.randn(n, d, generator=torch.Generator().manual_seed(0), dtype=torch.float64)).to(dtype)


def saved(content, folder, **options):
    path = folder / "train_embeddings.pt"
    torch.save(content, path, **options)
    return path


def refusal(path):
    with pytest.raises(InputError) as caught:
        EmbeddingSet.load(path)
    return str(caught.value)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_a_bare_tensor_is_read_without_ids(dtype, tmp_path):
    z = unit(dtype=dtype)
    path = saved(z, tmp_path)
    assert formats.read(path, "Embeddings")["embeddings"].dtype == z.numpy().dtype
    got = EmbeddingSet.load(path)
    assert got.embeddings.dtype == np.float32
    np.testing.assert_allclose(got.embeddings, z.double(), atol=2e-3 if dtype is torch.float16 else 1e-6)
    assert not got.has_ids
    assert got.attributes is None


@pytest.mark.parametrize(
    "content", [unit().requires_grad_(), torch.nn.Parameter(unit()), unit(6, 8).T, unit(16)[::2]], ids=str
)
def test_parameters_and_views_are_tensors_too(content, tmp_path):
    got = EmbeddingSet.load(saved(content, tmp_path), normalize=True)
    expected = normalize(content.detach())
    np.testing.assert_allclose(got.embeddings, expected, atol=1e-6)


def test_the_format_before_torch_1_6_is_read(tmp_path):
    path = saved(unit(), tmp_path, _use_new_zipfile_serialization=False)
    np.testing.assert_allclose(EmbeddingSet.load(path).embeddings, unit(), atol=1e-6)


def test_embeddings_alone_are_written_and_read_back_bit_for_bit(tmp_path):
    data = EmbeddingSet.from_arrays({"embeddings": unit().numpy()})
    data.save(tmp_path / "x.pt")
    assert torch.equal(torch.load(tmp_path / "x.pt", weights_only=True), torch.from_numpy(data.embeddings))
    assert EmbeddingSet.load(tmp_path / "x.pt").fingerprint() == data.fingerprint()


@pytest.mark.parametrize("more", [{"ids": np.array(list("abcdefgh"))}, {"note": np.array("x")}])
def test_what_a_tensor_cannot_hold_is_not_dropped(more, tmp_path):
    data = EmbeddingSet.from_arrays({"embeddings": unit().numpy(), **more})
    with pytest.raises(InputError, match=r"cannot hold ids.*\.npz or \.parquet"):
        data.save(tmp_path / "x.pt")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ({"embeddings": unit()}, ["a dictionary ('embeddings')", "torch.save(content['embeddings'], path)"]),
        ([unit()], ["holds a list"]),
        (3.0, ["holds a float"]),
        (torch.ones(4, 3, dtype=torch.int64), ["torch.int64", "float16, 32 or 64"]),
        (unit().bfloat16(), ["torch.bfloat16", ".float()"]),
        (unit().to_sparse(), ["layout torch.sparse_coo"]),
        (unit()[0], ["shape (6,)"]),
        (unit()[None], ["shape (1, 8, 6)"]),
        (2 * unit(), ["8 of 8 rows", "--normalize"]),
        (unit() * float("nan"), ["norm nan", "8 of them are zero or hold NaN or infinity"]),
    ],
)
def test_anything_but_a_dense_float_matrix_of_unit_rows_is_refused(content, parts, tmp_path):
    message = refusal(saved(content, tmp_path))
    assert all(part in message for part in ["train_embeddings.pt", *parts]), message


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: {"embeddings": unit(), "note": x}])
@pytest.mark.parametrize("zipped", [True, False])
def test_pickled_objects_are_refused_and_never_executed(wrap, zipped, tmp_path):
    sign = tmp_path / "executed"
    path = saved(wrap(Plant(sign)), tmp_path, _use_new_zipfile_serialization=zipped)
    assert "pickled objects" in refusal(path)
    assert not sign.exists()
    torch.load(path, weights_only=False)
    assert sign.exists()  # the plant works


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not a tensor", pickle.dumps([1.0, 2.0])])
def test_files_that_are_no_tensor_are_refused(content, tmp_path):
    path = tmp_path / "x.pt"
    path.write_bytes(content)
    message = refusal(path)
    assert "cannot be read as a tensor" in message or "holds a list" in message


@pytest.mark.parametrize("share", [0.05, 0.5, 0.99])
def test_a_truncated_file_is_refused(share, tmp_path):
    path = saved(unit(100), tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert "cannot be read as a tensor" in refusal(path)


def test_a_flipped_bit_is_noticed_by_the_checksum(tmp_path):
    path = saved(unit(100), tmp_path)
    damaged = bytearray(path.read_bytes())
    damaged[damaged.find(unit(100).numpy().tobytes()[:16]) + 5] ^= 1
    path.write_bytes(damaged)
    assert "is damaged: the checksum" in refusal(path)
