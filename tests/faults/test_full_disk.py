"""Disks that are full or cannot be written to, and files that vanish."""

import importlib
import os
import resource
import signal
import subprocess
from contextlib import contextmanager, suppress

import pytest
import torch

import fclf.data.embeddings
import fclf.files
from fclf.checkpoint import Checkpoint
from fclf.cli import main
from fclf.data.planted import planted
from fclf.errors import InputError
from fclf.run_folder import RunFolder

app = importlib.import_module("fclf.cli.app")  # the package has an `app` of its own


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / "rows.npz"
    planted(120, 6)[0].save(path)
    return path


def train(rows, folder, *options):
    typed = [
        "train",
        "--config",
        "fclf_config",
        "--embeddings",
        str(rows),
        "--attributes",
        "Smiling",
        "--device",
        "cpu",
    ]
    typed += ["--set", "training.num_epochs=4", "--set", "model.hidden_dim=64", "--set", "training.evaluate_every=0"]
    return main([*typed, "--output-dir", str(folder), *options])


@pytest.fixture
def small(tmp_path):
    """A disk of 2 MiB, and what makes it read-only."""
    place = tmp_path / "small"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)], capture_output=True).returncode:
        pytest.skip("this user may not mount a tmpfs")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(place, free):
    """Leave so many bytes."""
    with (place / "filler").open("wb") as file:
        file.write(bytes(os.statvfs(place).f_bavail * os.statvfs(place).f_frsize - free))


def readable(folder):
    return [Checkpoint.load(path).epoch for path in sorted(folder.rglob("*.pt"))]


@pytest.mark.parametrize("free", [0, 4 * 4096, 150_000, 250_000])
def test_a_full_disk_is_an_error_and_the_run_goes_on_once_there_is_room(rows, small, tmp_path, capsys, free):
    """Full before anything, while the first checkpoint is written, and later ones."""
    fill(small, free)
    assert train(rows, small / "run") == 2
    said = capsys.readouterr().err
    assert "No space left on device" in said
    assert "Traceback" not in said
    assert not [path for path in small.rglob("*.part")]
    readable(small)
    (small / "filler").unlink()
    begun = (small / "run" / "run.json").exists()
    if free:
        assert f"--output-dir {small / 'run'} --resume" in said
    assert train(rows, small / "run", *(["--resume"] if begun else [])) == 0
    assert train(rows, tmp_path / "whole") == 0
    for name in ("latest", "best"):
        one, other = (
            Checkpoint.load(f / "checkpoints" / f"fclf_{name}.pt") for f in (small / "run", tmp_path / "whole")
        )
        assert {key: value.tolist() for key, value in one.weights.items()} == {
            key: value.tolist() for key, value in other.weights.items()
        }


@pytest.mark.parametrize("pages", range(6))
def test_a_disk_that_fills_up_while_tensorboard_writes_is_said_and_nothing_hangs(small, monkeypatch, pages):
    monkeypatch.setattr("threading.excepthook", app._thread_error)
    fill(small, pages * 4096)
    folder, record = RunFolder(small / "run"), {"epoch": 1.0, "loss": 1.0, "val_loss": 2.0}

    def fill_up():
        for _ in range(500):
            folder.log([record] * 10)

    with pytest.raises(OSError, match=r"No space left on device: .*logs"):
        fill_up()
    with suppress(OSError):
        folder.close()
    folder.close()


@contextmanager
def largest_file(size):
    """No file may grow beyond this: a quota that needs no rights."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_the_file_that_has_no_room_is_named(rows, tmp_path, capsys):
    with largest_file(20_000):
        assert train(rows, tmp_path / "run") == 2
    said = capsys.readouterr().err
    assert "fclf_best.pt" in said
    assert "The disk is full" in said
    assert not list(tmp_path.rglob("*.pt"))
    assert not list(tmp_path.rglob("*.part"))


def test_a_result_that_nobody_can_read_is_an_error(rows, tmp_path, capsys, monkeypatch):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr("sys.stdout", full)
        code = train(rows, tmp_path / "run", "--json")
        monkeypatch.undo()
        with pytest.raises(OSError, match="No space"):
            full.close()
    assert code == 2
    assert "No space left on device" in capsys.readouterr().err
    assert Checkpoint.load(tmp_path / "run").epoch  # the run itself is done


def test_a_folder_that_cannot_be_written_to_is_named(rows, small, tmp_path, capsys):
    assert train(rows, small / "run") == 0
    before = readable(small)
    subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
    for folder, options in (("new", []), ("run", ["--resume"]), ("run", ["--overwrite"])):
        capsys.readouterr()
        assert train(rows, small / folder, *options) == 2
        said = capsys.readouterr().err
        assert f"--output-dir {small / folder} cannot be written to (Read-only file system)" in said
    assert readable(small) == before
    typed = ["edit", "--checkpoint", str(small / "run"), "--embeddings", str(rows), "--flip", "Smiling"]
    assert main([*typed, "--output", str(small / "x.npz")]) == 2
    assert "Read-only file system" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", ["npz", "parquet", "pt"])
def test_an_input_that_vanishes_after_it_was_looked_for_is_said_to(tmp_path, monkeypatch, suffix):
    path = tmp_path / f"rows.{suffix}"
    made = planted(120, 6)[0]
    if suffix == "pt":
        torch.save(torch.from_numpy(made.embeddings), path)
    else:
        made.save(path)
    exists = fclf.files.existing_file

    def vanish(path, what):
        found = exists(path, what)
        path.unlink()
        return found

    for module in ("fclf.files", "fclf.data.formats", "fclf.data.formats.parquet", "fclf.data.formats.tensors"):
        monkeypatch.setattr(f"{module}.existing_file", vanish, raising=False)
    with pytest.raises((InputError, OSError)) as caught:
        fclf.data.embeddings.EmbeddingSet.load(path)
    assert "No such file" in str(caught.value) or "there is no file" in str(caught.value)
    assert str(path) in str(caught.value)
    assert "truncated" not in str(caught.value)


def test_a_checkpoint_that_vanishes_is_not_called_damaged(rows, tmp_path, monkeypatch):
    path = tmp_path / "a.pt"
    path.touch()
    monkeypatch.setattr("fclf.checkpoint._find", lambda path: path.unlink() or path)
    with pytest.raises(InputError, match=r"a\.pt cannot be read \(No such file or directory\)"):
        Checkpoint.load(path)


def test_a_run_folder_that_vanishes_while_it_is_written_is_made_again(tmp_path, rows, monkeypatch):
    """Whoever removed it finds the rest of the run; nothing is unreadable."""
    import shutil  # noqa: PLC0415

    import fclf.run_folder  # noqa: PLC0415

    save = fclf.run_folder.RunFolder.save

    def vanish(self, checkpoint, **more):
        if checkpoint.epoch == 2:
            shutil.rmtree(self.path)
        save(self, checkpoint, **more)

    monkeypatch.setattr("fclf.run_folder.RunFolder.save", vanish)
    assert train(rows, tmp_path / "run") == 0
    assert Checkpoint.load(tmp_path / "run" / "checkpoints" / "fclf_latest.pt").epoch == 4
    readable(tmp_path)
