"""The tutorial is run as it stands: every block of shell and Python, in order, in an empty folder."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TUTORIAL = ROOT / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
NUMBER = re.compile(r"\d[\d,]*\.?\d*")
TOLERANCE = 0.1


@dataclass
class Block:
    kind: str
    text: str
    line: int


def blocks(markdown):
    return [Block(m["kind"], m["text"], markdown.count("\n", 0, m.start()) + 1) for m in BLOCK.finditer(markdown)]


def said(line, output):
    """Whether the output has the line, which may go on after it, with numbers within the tolerance."""
    wanted = [float(number.replace(",", "")) for number in NUMBER.findall(line)]
    parts = [r"\s+".join(map(re.escape, part.split())) for part in NUMBER.split(line)]
    pattern = rf"\s*({NUMBER.pattern})\s*".join(parts)
    for found in re.finditer(pattern, output):
        numbers = [float(number.replace(",", "")) for number in found.groups()]
        if all(abs(a - b) <= TOLERANCE * abs(b) for a, b in zip(numbers, wanted, strict=True)):
            return True
    return False


WORKER = """
import contextlib, io, json, sys, traceback
names, answers = {"__name__": "__main__"}, sys.stdout
for line in sys.stdin:
    told, failed = io.StringIO(), False
    with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
        try:
            exec(compile(json.loads(line), "block", "exec"), names)
        except BaseException:
            failed = True
            traceback.print_exc()
    print(json.dumps([int(failed), told.getvalue()]), file=answers, flush=True)
"""


def environment():
    return {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "PYTHONPATH": str(ROOT / "src"),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "COLUMNS": "200",
    }


def run(markdown, folder):
    """Run the blocks; raise AssertionError at the first that fails or does not say what is shown after it."""
    told = ""
    command = [sys.executable, "-c", WORKER]
    with subprocess.Popen(
        command, cwd=folder, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as python:
        for block in blocks(markdown):
            if block.kind == "text":
                for line in block.text.splitlines():
                    assert said(line, told), f"line {block.line}: {line!r} was not said, but:\n{told}"
            elif block.kind == "python":
                python.stdin.write(json.dumps(block.text) + "\n")
                python.stdin.flush()
                failed, told = json.loads(python.stdout.readline())
                assert not failed, f"line {block.line}:\n{told}"
            elif block.kind == "sh":
                done = subprocess.run(
                    ["bash", "-euo", "pipefail", "-c", block.text],
                    cwd=folder, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                )  # fmt: skip
                told = done.stdout + done.stderr
                assert done.returncode == 0, f"line {block.line} ended with {done.returncode}:\n{told}"
        python.stdin.close()


def test_every_block_of_the_tutorial_runs_and_says_what_is_shown(tmp_path):
    markdown = TUTORIAL.read_text(encoding="utf-8")
    assert {"sh", "python", "text"} <= {block.kind for block in blocks(markdown)}
    run(markdown, tmp_path)
    for name in ("labels.csv", "faces.npz", "run/evaluation/report.html", "glasses.npz", "book.gif", "search.png"):
        assert (tmp_path / name).stat().st_size, name


@pytest.mark.parametrize(
    "markdown",
    [
        "```sh\nfalse\ntrue\n```\n",
        "```sh\nfalse | true\n```\n",
        "```sh\nfclf no-such-command\n```\n",
        "```python\na = 1\n```\n\n```python\nassert a == 2\n```\n",
        "```python\nprint('share 0.90')\n```\n\n```text\nshare 0.50\n```\n",
        "```sh\necho Verdict: COLLAPSED\n```\n\n```text\nVerdict: HEALTHY\n```\n",
    ],
)
def test_a_block_that_fails_or_says_something_else_fails_the_tutorial(markdown, tmp_path):
    with pytest.raises(AssertionError, match="line "):
        run(markdown, tmp_path)


def test_names_last_from_block_to_block_and_numbers_may_differ_a_little(tmp_path):
    run("```python\na = 0.93\n```\n\n```python\nprint('share', a)\n```\n\n```text\nshare 0.90\n```\n", tmp_path)
