"""Shards that are read from and written to other places than this machine's folders."""

import json
from typing import ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFile, MemoryFileSystem
from sharding import edit, npy_folder, outputs, parquet_folder, record

from fclf.data.shards.folder import find_shards
from fclf.scale.manifest import fingerprint

pytestmark = pytest.mark.usefixtures("inline")
SMILE = ("--set", "Smiling=1", "--flip", "Male")


@pytest.fixture
def memory():
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]
    yield fs
    fs.store.clear()


def below(fs, folder):
    """Every file of a folder that readers see."""
    found = {path.removeprefix(f"/{folder}/"): fs.cat_file(path) for path in sorted(fs.find(f"/{folder}"))}
    return {place: content for place, content in found.items() if not place.startswith("_manifest")}


@pytest.mark.parametrize("make", [npy_folder, parquet_folder])
def test_addresses_give_the_bytes_of_folders(run, few, tmp_path, memory, make, capsys):
    source, local = make(tmp_path / "in", few), tmp_path / "out"
    assert edit(run, source, local, *SMILE) == 0
    memory.put(str(source), "/in", recursive=True)
    assert edit(run, "memory://in", "memory://out/deep", *SMILE) == 0
    assert below(memory, "out/deep") == outputs(local)
    assert edit(run, source, "memory://up", *SMILE) == 0
    assert below(memory, "up") == outputs(local)
    assert edit(run, "memory://in", tmp_path / "down", *SMILE) == 0
    assert outputs(tmp_path / "down") == outputs(local)
    capsys.readouterr()
    assert edit(run, "memory://in", "memory://out/deep", *SMILE, "--verify") == 0
    assert "4 of them by an earlier run" in capsys.readouterr().out


def test_resumption_and_quarantine_at_an_address(run, few, tmp_path, memory, capsys):
    npy_folder(tmp_path / "in", few)
    memory.put(str(tmp_path / "in"), "/in", recursive=True)
    assert edit(run, "memory://in", "memory://out", *SMILE) == 0
    whole = below(memory, "out")
    kept = memory.cat_file("/in/img_emb/img_emb_2.npy")
    memory.pipe_file("/in/img_emb/img_emb_2.npy", kept[:-3])
    memory.rm_file("/out/img_emb/img_emb_0.npy")
    memory.pipe_file("/out/img_emb/.img_emb_1.npy.part", b"of a killed run")
    assert edit(run, "memory://in", "memory://out", *SMILE, "--json") == 1
    (bad,) = json.loads(capsys.readouterr().out.splitlines()[-1])["quarantined"]
    assert bad["shard"] == "memory:///in/img_emb/img_emb_2.npy"
    assert below(memory, "out") == {place: content for place, content in whole.items() if "_2." not in place}
    memory.pipe_file("/in/img_emb/img_emb_2.npy", kept)
    assert edit(run, "memory://in", "memory://out", *SMILE) == 0
    assert below(memory, "out") == whole
    assert edit(run, "memory://in", "memory://in/edited", *SMILE) == 2
    assert "lie in each other" in capsys.readouterr().err


def test_fingerprints_tell_contents_times_and_ends_apart(tmp_path, few):
    (one,) = [shard for shard in find_shards(str(parquet_folder(tmp_path / "in", few))) if shard.name == "part-1"]
    path = tmp_path / "in" / "part-1.parquet"
    size, first = fingerprint(one.files)
    assert size == path.stat().st_size
    assert fingerprint(one.files) == (size, first)
    content = path.read_bytes()
    seen = {first}
    for spoiled in (content[:-1], content + b"x", b"x" + content[1:], content[:-1] + b"x"):
        path.write_bytes(spoiled)
        seen.add(fingerprint(one.files)[1])
    assert len(seen) == 5


class Store(MemoryFileSystem):
    """With the arguments, and one of the errors, of object stores."""

    protocol = "s3"
    store: ClassVar[dict] = {}
    pseudo_dirs: ClassVar[list] = [""]
    broken: ClassVar[set] = set()

    @classmethod
    def _strip_protocol(cls, path):
        return MemoryFileSystem._strip_protocol(path.removeprefix("s3://"))

    def unstrip_protocol(self, name):
        return f"s3://{name.lstrip('/')}"

    def cat_file(self, path, version_id=None, start=None, end=None, **more):
        self.check("read")
        assert version_id is None
        return super().cat_file(path, start, end, **more)

    def find(self, *args, **more):
        self.check("list")
        return super().find(*args, **more)

    def _open(self, path, mode="rb", autocommit=True, **more):
        self.check(mode)
        return MemoryFile(self, path) if mode == "wb" and not autocommit else super()._open(path, mode, **more)

    def check(self, what):
        if what in self.broken:
            raise LookupError("no credentials")  # botocore's own errors are no OSError


def test_errors_of_object_stores_are_said_and_not_traced(run, few, tmp_path, capsys, monkeypatch):
    fsspec.register_implementation("s3", Store, clobber=True)
    Store.store.clear()
    source = parquet_folder(tmp_path / "in", few)
    fsspec.filesystem("s3").put(str(source), "/bucket/in", recursive=True)
    assert edit(run, "s3://bucket/in", "s3://bucket/out", *SMILE) == 0
    assert edit(run, source, tmp_path / "out", *SMILE) == 0
    assert below(fsspec.filesystem("s3"), "bucket/out") == outputs(tmp_path / "out")
    for broken, says in (
        ("list", "--embeddings s3://bucket/in cannot be listed (LookupError: no credentials)"),
        ("rb", "(LookupError: no credentials)"),
        ("read", "cannot be read: LookupError: no credentials"),
        ("wb", "cannot be written: LookupError: no credentials"),
    ):
        with monkeypatch.context() as now:
            now.setattr(Store, "broken", {broken})
            capsys.readouterr()
            assert edit(run, "s3://bucket/in", f"s3://bucket/out_{broken}", *SMILE) == 2
            assert says in capsys.readouterr().err
    assert not [path for path in Store.store if "out_" in path]


def test_a_single_remote_file_is_a_shard(run, few, tmp_path, memory):
    few.save(tmp_path / "one.parquet")
    memory.put_file(str(tmp_path / "one.parquet"), "/one.parquet")
    assert edit(run, "memory://one.parquet", tmp_path / "out", *SMILE) == 0
    assert list(outputs(tmp_path / "out")) == ["one.parquet"]
    assert record(tmp_path / "out", "one")["rows"] == len(few)
