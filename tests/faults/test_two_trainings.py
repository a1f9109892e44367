"""One folder, several processes: one trains, and no lock outlives who holds it."""

import json
import os
import signal
import subprocess
import sys

import pytest

from fclf.cli import main
from fclf.data.planted import planted
from fclf.errors import InputError
from fclf.files import atomic_write, remove_leftovers
from fclf.locks import exclusive

HOLD = """
import sys, time
from pathlib import Path
from fclf.locks import exclusive
with exclusive(Path(sys.argv[1]), "--output-dir"):
    print("held", flush=True)
    time.sleep(600)
"""
WRITE = """
import sys, time
from pathlib import Path
from fclf.files import atomic_write
with atomic_write(Path(sys.argv[1]) / "a.txt", "w") as file:
    file.write("half")
    file.flush()
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def process():
    """Starts a process that does something with a folder, and waits until it has."""
    started = []

    def start(code, folder):
        started.append(subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True))
        assert started[-1].stdout.readline() == "held\n"
        return started[-1]

    yield start
    for one in started:
        one.kill()
        one.wait()
        one.stdout.close()


def train(tmp_path, *options):
    if not (tmp_path / "rows.npz").exists():
        planted(120, 6)[0].save(tmp_path / "rows.npz")
    typed = ["train", "--config", "fclf_config", "--embeddings", str(tmp_path / "rows.npz"), "--attributes", "Smiling"]
    typed += ["--set", "training.num_epochs=1", "--set", "model.hidden_dim=8", "--set", "training.evaluate_every=0"]
    return main([*typed, "--output-dir", str(tmp_path / "run"), *options])


@pytest.mark.parametrize("option", [[], ["--overwrite"], ["--resume"]])
def test_a_second_training_into_a_folder_is_refused_and_changes_nothing(tmp_path, process, capsys, option):
    assert train(tmp_path) == 0
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    other = process(HOLD, tmp_path / "run")
    capsys.readouterr()
    assert train(tmp_path, *option) == 2
    said = capsys.readouterr().err
    assert f"process {other.pid} on " in said
    assert "is writing to it. Wait until it has ended, or name another folder." in said
    assert {path: path.read_bytes() for path in before} == before


def test_the_lock_dies_with_its_process(tmp_path, process):
    other = process(HOLD, tmp_path / "run")
    os.kill(other.pid, signal.SIGKILL)
    other.wait()
    assert (tmp_path / "run" / ".lock").is_file()  # and nobody minds
    assert train(tmp_path) == 0
    assert not (tmp_path / "run" / ".lock").exists()


def test_a_folder_is_held_by_one_at_a_time_in_one_process_too(tmp_path):
    with exclusive(tmp_path / "a" / "b", "--x"):
        assert (tmp_path / "a" / "b").is_dir()
        with (
            pytest.raises(InputError, match=f"process {os.getpid()} on .* is writing"),
            exclusive(tmp_path / "a/b", "--x"),
        ):
            pass
        assert (tmp_path / "a" / "b" / ".lock").is_file()
    assert list(tmp_path.iterdir()) == []  # what was made and stayed empty is gone
    with exclusive(tmp_path / "a", "--x"):
        (tmp_path / "a" / "file").touch()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["file"]


def test_where_nothing_can_be_locked_training_is_not_refused(tmp_path, monkeypatch):
    def no(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", no)
    assert train(tmp_path) == 0
    (tmp_path / ".a.txt.abcdefgh.part").touch()
    remove_leftovers(tmp_path, "a.txt")  # who knows whether it is written just now
    assert (tmp_path / ".a.txt.abcdefgh.part").exists()


def test_what_is_being_written_is_no_leftover_and_what_was_is_one(tmp_path, process):
    other = process(WRITE, tmp_path)
    (left,) = tmp_path.iterdir()
    (tmp_path / ".b.txt.abcdefgh.part").touch()  # of another file
    for alive in (True, False):
        if not alive:
            os.kill(other.pid, signal.SIGKILL)
            other.wait()
        with atomic_write(tmp_path / "a.txt", "w") as file:
            file.write("whole")
        assert left.exists() == alive
    assert sorted(path.name for path in tmp_path.iterdir()) == [".b.txt.abcdefgh.part", "a.txt"]


def test_an_overwriting_run_cleans_what_a_killed_one_had_begun(tmp_path):
    assert train(tmp_path) == 0
    left = [
        tmp_path / "run" / "checkpoints" / ".fclf_epoch_7.pt.abcdefgh.part",
        tmp_path / "run" / ".run.json.abcdefgh.part",
    ]
    mine = tmp_path / "run" / ".mine.abcdefgh.part"
    for path in (*left, mine):
        path.touch()
    assert train(tmp_path, "--overwrite") == 0
    assert not any(path.exists() for path in left)
    assert mine.exists()
    assert json.loads((tmp_path / "run" / "run.json").read_text())["state"] == "finished"
