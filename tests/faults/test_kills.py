"""Runs that are killed at random moments; `make kills` kills more of them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from fclf.cli import main
from fclf.config import load_config
from fclf.data.planted import planted
from fclf.encoders.folder import remove_work
from fclf.train import train

HERE = Path(__file__).parent


def killed(*arguments, first=""):
    command = [
        sys.executable,
        "-c",
        f"import sys; sys.path.insert(0, {str(HERE)!r})\n{first}\nimport kills; kills.run()",
    ]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)


def test_a_killed_run_goes_on_to_the_bits_of_one_that_was_not():
    done = killed("--times", "8", "--seed", "3")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["kills"] == 8
    assert found["where"]["inside a writing"] >= 2
    assert found["leftovers"] >= 1  # there was something to clean
    assert found["files read after kills"] >= 8


IN_PLACE = """
import os
from fclf import files
class InPlace:
    def mkstemp(self, prefix, suffix, dir):
        path = os.path.join(dir, prefix[1:-1])
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC), path
files.tempfile = InPlace()
"""


def test_files_that_are_written_in_place_are_found_out():
    done = killed("--times", "30", "--seed", "3", first=IN_PLACE)
    assert done.returncode == 1
    assert any(name in done.stderr for name in ("InputError", "JSONDecodeError", "AssertionError"))


def test_a_difference_of_one_bit_is_found_out():
    import kills  # noqa: PLC0415  (it imports much)
    import torch  # noqa: PLC0415

    one = {"weights": {"a": torch.tensor([1.0, 2.0])}, "history": [{"loss": 0.5, "seconds": 1}]}
    for other in (
        {"weights": {"a": torch.tensor([1.0, 2.0000002])}, "history": [{"loss": 0.5, "seconds": 1}]},
        {"weights": {"a": torch.tensor([1.0, 2.0])}, "history": [{"loss": 0.50000001, "seconds": 1}]},
        {"weights": {"a": torch.tensor([1.0, 2.0])}, "history": []},
        {"weights": {"a": torch.tensor([1.0, 2.0]).double()}, "history": [{"loss": 0.5}]},
    ):
        assert not kills.same(one, other)
    assert kills.same(one, {"weights": {"a": torch.tensor([1.0, 2.0])}, "history": [{"loss": 0.5, "seconds": 9}]})


@pytest.mark.parametrize("content", [b"PK\x03\x04 half", b""])
def test_an_unreadable_checkpoint_is_found_out(tmp_path, content):
    import kills  # noqa: PLC0415

    (tmp_path / "fclf_latest.pt").write_bytes(content)
    with pytest.raises(ValueError, match="fclf_latest"):
        kills.check_readable(tmp_path)


@pytest.mark.parametrize(("kind", "seed"), [("edit", "0"), ("embed", "2")])
def test_edits_and_embeddings_go_on_too(kind, seed):
    done = killed("--times", "4", "--seed", seed, "--kind", kind)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["kills"] == 4


def test_an_edit_that_was_killed_when_it_was_about_to_say_that_it_is_finished_says_so_when_it_is_resumed(tmp_path):
    data, config, run = planted(300, 8)[0], load_config("edit", ["model.start=shift"]), tmp_path / "run"
    train(data, config, run)
    said = {**json.loads((run / "run.json").read_text()), "warm_start": {"run": "earlier"}, "seconds": 12.5}
    (run / "run.json").write_text(json.dumps({**said, "state": "running"}))
    (run / ".run.json.abcd1234.part").write_text("{")
    train(data, config, run, resume=True)
    assert json.loads((run / "run.json").read_text()) == {**said, "state": "finished"}
    assert list(run.glob(".*")) == []


def embed(tmp_path, *more):
    folder = tmp_path / "pictures"
    folder.mkdir(exist_ok=True)
    Image.new("RGB", (64, 64), "red").save(folder / "a.png")
    where = ["--images", str(folder), "--encoder", "portraits", "--output", str(tmp_path / "out.npz")]
    return main(["embed", *where, *more])


def test_an_embedding_that_was_killed_before_its_parts_were_removed_is_finished_by_resume(tmp_path, monkeypatch):
    parts = tmp_path / "out.npz.parts"
    embed_and_be_killed(tmp_path, monkeypatch)
    before = (tmp_path / "out.npz").read_bytes()
    assert parts.is_dir()
    assert embed(tmp_path) == 2  # without --resume it is somebody's file
    assert embed(tmp_path, "--resume") == 0
    assert not parts.exists()
    assert (tmp_path / "out.npz").read_bytes() == before
    assert embed(tmp_path, "--resume") == 2  # nothing is left to resume


def embed_and_be_killed(tmp_path, monkeypatch):
    def killed(_):
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr("fclf.encoders.folder.remove_work", killed)
        with pytest.raises(RuntimeError, match="killed"):
            embed(tmp_path)


def test_parts_of_which_some_are_removed_are_still_known_as_ours(tmp_path, monkeypatch):
    parts = tmp_path / "out.npz.parts"
    embed_and_be_killed(tmp_path, monkeypatch)
    removed = []
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda path, **_: removed.append(path.name))
        patch.setattr(Path, "rmdir", lambda path: None)
        remove_work(parts)
    assert len(removed) >= 2
    assert removed[-1] == "manifest.json"
    (parts / removed[0]).unlink()
    assert embed(tmp_path, "--resume") == 0
