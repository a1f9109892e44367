"""Files of an output folder are whole or absent, wherever it is."""

import hashlib
from typing import ClassVar

import fsspec
import numpy as np
import pyarrow as pa
import pytest
from fsspec.implementations.memory import MemoryFile, MemoryFileSystem
from pyarrow import parquet

from fclf.data.formats.parquet import fixed_size_list
from fclf.data.shards.folder import Shard
from fclf.data.shards.output import OutputError, OutputFolder, write_shard
from fclf.errors import InputError


class Bucket(MemoryFileSystem):
    """A store whose uploads are committed, as those of object stores are."""

    protocol = "gs"
    store: ClassVar[dict] = {}
    pseudo_dirs: ClassVar[list] = [""]
    asked: ClassVar[list] = []

    @classmethod
    def _strip_protocol(cls, path):
        return MemoryFileSystem._strip_protocol(path.removeprefix("gs://"))

    def unstrip_protocol(self, name):
        return f"gs://{name.lstrip('/')}"

    def _open(self, path, mode="rb", autocommit=True, **more):
        self.asked.append((mode, autocommit))
        return MemoryFile(self, path) if mode == "wb" and not autocommit else super()._open(path, mode, **more)

    def mv(self, *args, **more):
        raise AssertionError("an object store copies to move")


class Flat(MemoryFileSystem):
    """A file system that does not move onto what is there."""

    protocol = "flat"
    store: ClassVar[dict] = {}
    pseudo_dirs: ClassVar[list] = [""]

    @classmethod
    def _strip_protocol(cls, path):
        return MemoryFileSystem._strip_protocol(path.removeprefix("flat://"))

    def mv(self, path1, path2, **more):
        if self.exists(path2):
            raise FileExistsError(path2)
        super().mv(path1, path2, **more)


@pytest.fixture(params=["local", "memory", "gs", "flat"])
def folder(request, tmp_path):
    for kind in (Bucket, Flat):
        fsspec.register_implementation(kind.protocol, kind, clobber=True)
        kind.store.clear()
    addresses = {"local": str(tmp_path / "out"), "memory": f"memory://{tmp_path.name}"}
    return OutputFolder(addresses.get(request.param, f"{request.param}://bucket/out"))


def test_what_is_written_is_read_counted_and_removed(folder):
    for content in (b"first", b"second and longer"):
        with folder.open("a/b.bin") as file:
            file.write(content[:3])
            file.write(memoryview(content)[3:])
            assert folder.read("a/b.bin") in (None, b"first")  # the new one is not there yet
        assert file.written == (written := file.written)
        assert (written.place, written.size) == ("a/b.bin", len(content))
        assert written.sha256 == hashlib.sha256(content).hexdigest() == folder.sha256("a/b.bin")
        assert (folder.read("a/b.bin"), folder.size("a/b.bin")) == (content, len(content))
    folder.write_json("c.json", {"a": [1, None]})
    assert folder.files() == ["a/b.bin", "c.json"]
    assert folder.files("a") == ["a/b.bin"]
    for _ in range(2):
        folder.remove("a/b.bin")
    assert (folder.read("a/b.bin"), folder.size("a/b.bin"), folder.size("no/where")) == (None, None, None)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_what_fails_half_way_leaves_what_was_there(folder, error):
    folder.write_json("kept.json", 1)

    def fail(place):
        with folder.open(place) as file:
            file.write(b"half")
            raise error("in the middle")

    for place in ("new.bin", "kept.json"):
        with pytest.raises(error):
            fail(place)
    assert folder.files() == ["kept.json"]
    assert folder.read("kept.json") == b"1\n"


def test_object_stores_commit_and_copy_nothing(folder):
    Bucket.asked.clear()
    folder.write_json("a.json", 1)
    deferred = folder.address.startswith("gs://")
    assert (("wb", False) in Bucket.asked) == deferred


def test_leftovers_are_removed_and_nothing_else(folder):
    for place in ("x/.a.npy.123.part", ".b.part", "x/c.part", "x/.hidden", "d.npy"):
        path = folder.at(place)
        folder.fs.makedirs(path.rpartition("/")[0], exist_ok=True)
        folder.fs.pipe_file(path, b"half")
    folder.clean()
    assert folder.files() == ["d.npy", "x/.hidden", "x/c.part"]


def test_a_folder_that_cannot_be_written_is_an_error_of_the_output(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"), OutputFolder(str(tmp_path / "file")).open("a"):
        pass
    with pytest.raises(InputError, match="--output nonsense://a: Protocol not known"):
        OutputFolder("nonsense://a")


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_an_array_is_what_numpy_would_have_saved(folder, tmp_path, dtype):
    rows = np.random.default_rng(0).standard_normal((7, 3)).astype(dtype)
    shard = Shard("a_0", "npy", "a_0.npy", "m_0.parquet", ("arrays/a_0.npy", "m_0.parquet"))
    table = pa.table({"id": list("abcdefg"), "embedding": fixed_size_list(rows)})
    with write_shard(folder, shard, 7) as writer:
        for part in (table.slice(0, 4), table.slice(4)):
            writer.write(part)
    np.save(tmp_path / "whole.npy", rows)
    assert folder.read("arrays/a_0.npy") == (tmp_path / "whole.npy").read_bytes()
    assert parquet.read_table(pa.BufferReader(folder.read("m_0.parquet"))).equals(table.drop_columns(["embedding"]))
    assert [one.size for one in writer.written] == [folder.size(place) for place in shard.places]


def test_other_rows_than_promised_are_not_kept(folder):
    table = pa.table({"embedding": fixed_size_list(np.ones((4, 2), np.float32))})
    shard = Shard("a", "npy", "a.npy", None, ("a.npy",))
    with pytest.raises(ValueError, match="5 rows were promised, but 4"), write_shard(folder, shard, 5) as writer:
        writer.write(table)
    assert folder.files() == []
