"""Folders of shards: which files belong together, and any run of rows of one."""

import fsspec
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from fclf.data.shards.folder import find_shards, is_sharded
from fclf.data.shards.reading import open_shard
from fclf.errors import InputError


def _rows(n, d=8, seed=0, dtype=np.float32):
    z = np.random.default_rng(seed).standard_normal((n, d))
    return (z / np.linalg.norm(z, axis=1, keepdims=True)).astype(dtype)


def _parquet(path, z, row_group_size=7, **columns):
    lists = pa.FixedSizeListArray.from_arrays(pa.array(z.ravel()), z.shape[1])
    parquet.write_table(pa.table({"embedding": lists, **columns}), path, row_group_size=row_group_size)


def _npy(folder, number, z, **columns):
    np.save(folder / f"img_emb_{number}.npy", z)
    parquet.write_table(pa.table({"Smiling": np.arange(len(z)) % 2, **columns}), folder / f"metadata_{number}.parquet")


def test_shards_of_both_layouts_are_found_in_the_order_of_their_numbers(tmp_path):
    for number in (0, 2, 10):
        _npy(tmp_path, number, _rows(5))
    assert [shard.name for shard in find_shards(str(tmp_path))] == ["img_emb_0", "img_emb_2", "img_emb_10"]
    assert all(shard.metadata.endswith(f"metadata_{shard.name[8:]}.parquet") for shard in find_shards(str(tmp_path)))
    tables = tmp_path / "tables"
    tables.mkdir()
    for name in ("part-9", "part-10", "part-1"):
        _parquet(tables / f"{name}.parquet", _rows(3))
    assert [shard.name for shard in find_shards(str(tables))] == ["part-1", "part-9", "part-10"]
    assert find_shards(f"file://{tables}")[0].address == find_shards(str(tables))[0].address


def test_arrays_and_metadata_may_lie_in_folders_beside_each_other(tmp_path):
    (tmp_path / "img_emb").mkdir()
    (tmp_path / "metadata").mkdir()
    np.save(tmp_path / "img_emb" / "img_emb_3.npy", _rows(4))
    parquet.write_table(pa.table({"id": list("abcd")}), tmp_path / "metadata" / "metadata_3.parquet")
    for address in (tmp_path, tmp_path / "img_emb", f"{tmp_path}/img_emb/*.npy"):
        (shard,) = find_shards(str(address))
        with open_shard(shard) as reader:
            assert (reader.rows, reader.dim, reader.table().column_names) == (4, 8, ["id"])


@pytest.mark.parametrize("kind", ["npy", "parquet"])
@pytest.mark.parametrize("address", ["{}", "file://{}", "{}/**/*.{}"])
def test_shards_are_read_at_any_depth_and_what_is_hidden_is_not(tmp_path, kind, address):
    """A folder is hidden as a file is, by a name with a dot or an underscore, but not by where it lies itself."""
    folder = tmp_path / "_scratch" / ".mine"
    seen = ["0", "a/1", "a/b/c/2", "x_y/3", "x.y/4"]
    hid = [".ipynb_checkpoints/5", "_temporary/6", "a/_temporary/0/7", "a/.b/c/8", "_9", "a/.10", "_manifest/shards/11"]
    for place in (*seen, *hid):
        below = folder / place
        below.parent.mkdir(parents=True, exist_ok=True)
        _parquet(f"{below}.parquet", _rows(3))
        if kind == "npy":
            parquet.write_table(pa.table({"id": list("abc")}), f"{below}.parquet")
            np.save(f"{below}.npy", _rows(3))
    found = find_shards(address.format(folder, kind))
    assert [shard.places[0] for shard in found] == [f"{place}.{kind}" for place in seen]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("kind", ["npy", "parquet"])
def test_any_run_of_rows_is_read_as_it_is_stored(tmp_path, kind, dtype):
    z = _rows(40, dtype=dtype)
    _npy(tmp_path, 0, z) if kind == "npy" else _parquet(tmp_path / "a.parquet", z)
    (shard,) = find_shards(str(tmp_path))
    with open_shard(shard) as reader:
        assert (reader.rows, reader.dim) == z.shape
        for start, stop, size in ((0, 40, 40), (0, 40, 9), (13, 14, 5), (6, 29, 4), (39, 40, 1), (5, 5, 3)):
            blocks = list(reader.embeddings(start, stop, size))
            assert all(len(block) == size for block in blocks[:-1])
            found = np.concatenate(blocks) if blocks else z[:0]
            assert found.dtype == dtype
            np.testing.assert_array_equal(found, z[start:stop])


def test_shards_are_read_at_any_address_of_fsspec():
    fs = fsspec.filesystem("memory")
    z = _rows(11)
    with fs.open("/shards/img_emb_0.npy", "wb") as file:
        np.save(file, z)
    with fs.open("/shards/metadata_0.parquet", "wb") as file:
        parquet.write_table(pa.table({"Smiling": [1] * 11}), file)
    (shard,) = find_shards("memory://shards")
    with open_shard(shard) as reader:
        np.testing.assert_array_equal(np.concatenate(list(reader.embeddings(2, 9, 3))), z[2:9])
        assert reader.table(["Smiling"])["Smiling"].to_pylist() == [1] * 11
    assert is_sharded("memory://shards")


def _truncate(path, share):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def test_what_is_wrong_with_a_folder_is_said(tmp_path):
    with pytest.raises(InputError, match="no file or folder"):
        find_shards(str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="holds no shards"):
        find_shards(str(tmp_path))
    with pytest.raises(InputError, match="Protocol not known"):
        find_shards("nonsense://a/b")
    np.save(tmp_path / "img_emb_0.npy", _rows(3))
    np.save(tmp_path / "text_emb_0.npy", _rows(3))
    with pytest.raises(InputError, match=r"img_emb_, text_emb_.*img_emb_\*\.npy"):
        find_shards(str(tmp_path))
    (tmp_path / "text_emb_0.npy").unlink()
    parquet.write_table(pa.table({"id": ["a"]}), tmp_path / "metadata_1.parquet")
    with pytest.raises(InputError, match=r"img_emb_0\.npy has no metadata"):
        find_shards(str(tmp_path))
    for folder in ("a", "b"):
        (tmp_path / "two" / folder).mkdir(parents=True)
        _parquet(tmp_path / "two" / folder / "0.parquet", _rows(2))
    with pytest.raises(InputError, match="names twice"):
        find_shards(str(tmp_path / "two"))


@pytest.mark.parametrize("arrays", ["{}_emb", "embeddings/{}_emb", ".", "{}_emb/*"])
def test_of_several_kinds_the_pattern_that_is_named_finds_one(tmp_path, arrays):
    """All of what clip-retrieval writes, whole or in part, is pictures, texts and metadata."""
    for number in range(4):
        for name in ("img", "text"):
            folder = tmp_path / arrays.format(name).replace("*", f"part{number}")
            folder.mkdir(parents=True, exist_ok=True)
            np.save(folder / f"{name}_emb_{number}.npy", _rows(3))
        (tmp_path / "metadata").mkdir(exist_ok=True)
        parquet.write_table(pa.table({"id": list("abc")}), tmp_path / "metadata" / f"metadata_{number}.parquet")
    for address in (str(tmp_path), f"{tmp_path}/", f"file://{tmp_path}", f"{tmp_path}/**/*.npy"):
        with pytest.raises(InputError, match=r"2 kinds of \.npy files") as refused:
            find_shards(address)
        found = find_shards(str(refused.value).rpartition("pattern: ")[2])
        assert [shard.name for shard in found] == [f"img_emb_{number}" for number in range(4)]
        assert all(shard.metadata.endswith(f"metadata_{k}.parquet") for k, shard in enumerate(found))


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.99])
def test_a_truncated_shard_is_refused_when_it_is_opened(tmp_path, share):
    _npy(tmp_path, 0, _rows(50))
    (shard,) = find_shards(str(tmp_path))
    _truncate(tmp_path / "img_emb_0.npy", share)
    with pytest.raises(InputError, match=r"img_emb_0\.npy"), open_shard(shard):
        pass
    _parquet(tmp_path / "p.parquet", _rows(50))
    (shard,) = find_shards(f"{tmp_path}/p*.parquet")
    _truncate(tmp_path / "p.parquet", share)
    with pytest.raises(InputError, match=r"p\.parquet"), open_shard(shard):
        pass


def test_arrays_of_other_types_shapes_and_lengths_are_refused(tmp_path):
    def refused(array, message):
        _npy(tmp_path, 0, _rows(4))
        np.save(tmp_path / "img_emb_0.npy", array)
        (shard,) = find_shards(str(tmp_path))
        with pytest.raises(InputError, match=message), open_shard(shard):
            pass

    refused(np.zeros((4, 8), int), "int64 of shape")
    refused(np.zeros(4), r"shape \(4,\)")
    refused(np.asfortranarray(_rows(4)), "column by column")
    refused(_rows(5), r"has 5 rows, but .*metadata_0.parquet has 4")
    refused(np.array([[{"pickled": 1}]], dtype=object), "object")
