import hashlib
import json
import os
import stat
from pathlib import Path

import pytest

from fclf.errors import InputError
from fclf.files import atomic_write, digest, existing_file, write_json


def content_of(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("old", [{}, {"a.txt": "old"}], ids=["absent", "present"])
def test_an_error_leaves_the_folder_as_it_was(tmp_path, error, old):
    for name, text in old.items():
        (tmp_path / name).write_text(text)

    def fail():
        with atomic_write(tmp_path / "a.txt", "w") as file:
            file.write("half of the new")
            file.flush()
            raise error

    with pytest.raises(error):
        fail()
    assert content_of(tmp_path) == old


def test_a_move_that_fails_leaves_the_folder_as_it_was(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("old")

    def refuse(source, target):
        assert Path(source).read_text() == "new"  # all of it was there by then
        raise OSError("no")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="no"), atomic_write(tmp_path / "a.txt", "w") as file:
        file.write("new")
    assert content_of(tmp_path) == {"a.txt": "old"}


def test_readers_see_the_old_content_until_the_block_ends(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with atomic_write(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_the_content_is_on_the_disk_before_the_move(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (calls.append("fsync"), fsync(handle)))
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append("replace"), replace(a, b)))
    with atomic_write(tmp_path / "a") as file:
        file.write(b"new")
    assert calls[:2] == ["fsync", "replace"]


def test_missing_folders_are_made(tmp_path):
    with atomic_write(tmp_path / "x" / "y" / "a", "w") as file:
        file.write("é")
    assert (tmp_path / "x" / "y" / "a").read_text(encoding="utf-8") == "é"


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_permissions_follow_the_umask(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        write_json(tmp_path / "a.json", 1)
        assert os.umask(umask) == umask  # reading it did not change it
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.json").stat().st_mode) == mode


def test_json_round_trip(tmp_path):
    content = {"b": [1, 2.5, None, True], "a": {"é": "\n"}}
    write_json(tmp_path / "a.json", content)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == content
    assert text.endswith("}\n")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), object()])
def test_json_refuses_what_json_has_not_and_keeps_the_old_file(tmp_path, value):
    write_json(tmp_path / "a.json", {"x": 1})
    before = content_of(tmp_path)
    with pytest.raises((ValueError, TypeError)):
        write_json(tmp_path / "a.json", {"x": 2, "deep": [{"y": value}]})
    assert content_of(tmp_path) == before


def test_digest_is_sha256_of_the_parts_in_order():
    assert digest(b"ab", memoryview(b"c")) == hashlib.sha256(b"abc").hexdigest()
    assert digest(b"c", b"ab") != digest(b"ab", b"c")


def test_an_existing_file_is_returned(tmp_path):
    (tmp_path / "a.npz").touch()
    assert existing_file(tmp_path / "a.npz", "--embeddings") == tmp_path / "a.npz"


def test_a_missing_file_is_named_with_its_neighbours_of_the_same_kind(tmp_path):
    (tmp_path / "other.npz").touch()
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match=r"--embeddings: there is no file .*a\.npz\. In that folder: other\.npz\.$"):
        existing_file(tmp_path / "a.npz", "--embeddings")
    with pytest.raises(InputError, match=r"there is no file .*a\.npz\.$"):
        existing_file(tmp_path / "none" / "a.npz", "--embeddings")


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        existing_file(tmp_path, "--embeddings")
