"""Out of memory: a message that says what to lower, and what was trained stays."""

import resource
from pathlib import Path

import numpy as np
import pytest
import torch

import fclf.training_run
from fclf.checkpoint import Checkpoint
from fclf.cli import main
from fclf.cli.memory import ran_out_of_memory, what_to_lower
from fclf.data.planted import planted

HUGE = 1 << 58


def numpy_runs_out():
    np.empty(HUGE)


def torch_runs_out():
    torch.empty(HUGE)


def python_runs_out():
    raise MemoryError


def gpu_runs_out():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore of it.")


def other_error():
    raise RuntimeError("mat1 and mat2 shapes cannot be multiplied (3x4 and 5x6)")


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / "rows.npz"
    planted(150, 6)[0].save(path)
    return path


def train(rows, folder, *options):
    typed = ["train", "--config", "fclf_config", "--embeddings", str(rows), "--attributes", "Smiling"]
    typed += ["--set", "training.num_epochs=3", "--set", "model.hidden_dim=8", "--set", "training.evaluate_every=0"]
    return main([*typed, "--output-dir", str(folder), *options])


@pytest.mark.parametrize("run_out", [numpy_runs_out, torch_runs_out, python_runs_out, gpu_runs_out])
def test_training_says_what_to_lower_and_keeps_its_checkpoint(rows, tmp_path, monkeypatch, capsys, run_out):
    validate = fclf.training_run.TrainingRun._validate

    def second(self):
        if len(self.history) == 1:
            run_out()
        return validate(self)

    monkeypatch.setattr(fclf.training_run.TrainingRun, "_validate", second)
    assert train(rows, tmp_path / "run") == 2
    said = capsys.readouterr().err
    assert said.startswith("Error: memory ran out (")
    assert "--set training.batch_size=64" in said
    assert "shards" in said
    assert said.count("\n") == 1
    assert Checkpoint.load(tmp_path / "run").epoch == 1
    assert '"failed"' in (tmp_path / "run" / "run.json").read_text()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="how much there is, is read from /proc")
def test_a_batch_that_does_not_fit_is_told_from_other_errors(tmp_path, capsys):
    """Of 5,000 rows all pairs are compared: 100 MB a matrix, with 150 MB to be had."""
    rows = tmp_path / "rows.npz"
    planted(9000, 6)[0].save(rows)
    assert train(rows, tmp_path / "small", "--set", "training.batch_size=1000") == 0  # whatever is loaded once
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + 150_000_000, before[1]))
    try:
        code = train(rows, tmp_path / "run", "--set", "training.batch_size=5000")
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    said = capsys.readouterr().err
    assert code == 2, said
    assert "memory ran out" in said
    assert "Lower training.batch_size" in said


def test_other_errors_stay_errors(rows, tmp_path, monkeypatch):
    monkeypatch.setattr(fclf.training_run.TrainingRun, "_validate", lambda _: other_error())
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        train(rows, tmp_path / "run")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("x"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"), True),
        (RuntimeError("Failed to allocate memory for requested buffer of size 4096"), True),  # onnxruntime
        (RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("CUDA error: device-side assert triggered"), False),
        (ValueError("memory"), False),
    ],
)
def test_errors_of_memory(error, expected):
    assert ran_out_of_memory(error) is expected


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["edit"], "a block at a time"),
        (["embed"], "--batch-size"),
        (["decoder", "train"], "--size 64"),
        (["serve"], "--workers"),
        (["evaluate"], "fewer rows"),
        (["train", "--threads", "4"], "Fewer --threads"),
        ([], "fewer rows"),
    ],
)
def test_every_command_has_something_to_lower(typed, said):
    assert said in what_to_lower(typed)
