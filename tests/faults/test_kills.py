"""Runs that are killed at random moments; `make kills` kills more of them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

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
