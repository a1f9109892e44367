"""Small files that would fill the memory are refused before they are unpacked; rows that are alike are not."""

import io
import zipfile

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet

from fclf.data.embeddings import EmbeddingSet
from fclf.data.table import LabelTable
from fclf.errors import InputError

ALWAYS = 1 << 20
"""Bytes that any file may take here, so that bombs are small."""
FULL = "as files do that are made to fill it"


@pytest.fixture(autouse=True)
def smaller(monkeypatch):
    monkeypatch.setattr("fclf.files.ALWAYS", ALWAYS)


def zeros(size, member="embeddings.npy"):
    """An archive of a thousandth of what it holds."""
    buffer = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": (size // 32, 8)}
    with (
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open(member, "w", force_zip64=True) as file,
    ):
        np.lib.format.write_array_header_1_0(file, header)
        for _ in range(size >> 20):
            file.write(bytes(1 << 20))
    return buffer.getvalue()


@pytest.mark.parametrize("suffix", [".npz", ".pt"])
def test_a_zip_bomb_is_refused(suffix, tmp_path):
    path = tmp_path / f"bomb{suffix}"
    path.write_bytes(zeros(ALWAYS * 4))
    assert path.stat().st_size < ALWAYS / 100
    with pytest.raises(InputError, match=FULL):
        EmbeddingSet.load(path)


def test_a_run_of_one_value_in_a_parquet_file_is_refused(tmp_path):
    rows = ALWAYS // 4
    ones = pa.array(np.full(4 * rows, 0.5, np.float32))
    path = tmp_path / "bomb.parquet"
    parquet.write_table(pa.table({"embedding": pa.FixedSizeListArray.from_arrays(ones, 4)}), path, compression="zstd")
    assert path.stat().st_size < ALWAYS / 100
    for read in (EmbeddingSet.load, LabelTable.read):
        with pytest.raises(InputError, match=FULL):
            read(path)


def test_a_tensor_of_one_row_many_times_is_refused(tmp_path):
    path = tmp_path / "bomb.pt"
    row = torch.eye(1, 8)
    torch.save(row.expand(10**9, 8), path)
    with pytest.raises(InputError, match=FULL):
        EmbeddingSet.load(path)
    torch.save(row.expand(1000, 8), path)
    assert len(EmbeddingSet.load(path)) == 1000


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_a_flow_that_sends_everybody_to_one_point_can_be_read(suffix, tmp_path):
    path = tmp_path / f"collapsed{suffix}"
    z = np.tile(np.eye(1, 64, dtype=np.float32), (1_000, 1))
    EmbeddingSet.from_arrays({"embeddings": z}).save(path)
    assert len(EmbeddingSet.load(path)) == len(z)
