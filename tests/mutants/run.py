"""Make each mistake of `mutants.py` in a copy of the sources and see whether its tests notice it.

`make mutants`, or `python tests/mutants/run.py [WORDS OF A NAME ...]`. The tests are run on the sources as they are
first: a test that fails anyway notices nothing. Exits 1 if a mutant survives, or if its tests could not be run.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable
from multiprocessing import get_context
from pathlib import Path

import pytest
import scipy.stats  # noqa: F401  (these three are imported once, and not by every mutant's tests anew)
import sklearn.linear_model  # noqa: F401
import torch  # noqa: F401

from mutants import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parents[2]
MOST_SECONDS = 300
"""For the tests of one mutant; on the sources as they are, all of them are run at once."""
FAILED = 1
"""pytest's exit code where tests have failed; 2 to 5 are mistakes of its own use, and notice nothing."""


def run(source: Path, tests: Iterable[str], seconds: float = MOST_SECONDS) -> tuple[int | None, str]:
    """Run tests on a copy of the sources; return pytest's exit code, None if it took too long, and what it printed."""
    paths = [f"tests/{test}" for test in tests]
    with tempfile.NamedTemporaryFile(mode="r", encoding="utf-8") as log:
        process = get_context("fork").Process(target=_pytest, args=(source, paths, log.name))
        process.start()
        process.join(seconds)
        if process.is_alive():
            process.kill()
            process.join()
            return None, f"more than {seconds} seconds"
        return process.exitcode, log.read()


def _pytest(source: Path, paths: list[str], log: str) -> None:
    """In a process of its own, which has imported all but `fclf` and so starts at once."""
    out = os.open(log, os.O_WRONLY)
    os.dup2(out, 1)
    os.dup2(out, 2)
    sys.path.insert(0, str(source))
    sys.dont_write_bytecode = True  # a mutant may be as long and as old as what it replaces
    os.environ |= {"PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"}
    os.chdir(ROOT)
    code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--hypothesis-profile=mutants", *paths])
    sys.stdout.flush()
    os._exit(code)


def outcome(mutant: Mutant, source: Path) -> str:
    """Whether the tests notice the mutant, which is made and taken back."""
    path = source / "fclf" / mutant.file
    text = path.read_text(encoding="utf-8")
    if text.count(mutant.original) != 1:
        return "does not apply"
    path.write_text(text.replace(mutant.original, mutant.replacement), encoding="utf-8")
    try:
        code, text_of_tests = run(source, mutant.tests)
    finally:
        path.write_text(text, encoding="utf-8")
    if code == 0:
        return "SURVIVED"
    return "caught" if code == FAILED else f"not run:\n{text_of_tests[-3000:]}"


def main(words: list[str]) -> int:
    """Print a table; 0 if all were caught."""
    chosen = [m for m in MUTANTS if not words or any(word.lower() in m.name.lower() for word in words)]
    if not chosen:
        print(f"No mutant is called so: {', '.join(words)}.")
        return 2
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "src"
        shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        code, text = run(
            source, sorted({test for mutant in chosen for test in mutant.tests}), MOST_SECONDS * len(chosen)
        )
        if code != 0:
            print(f"The tests fail on the sources as they are:\n{text[-4000:]}")
            return 1
        missed = 0
        print("| mutant | file | outcome | seconds |\n|---|---|---|---|", flush=True)
        for mutant in chosen:
            started = time.monotonic()
            found = outcome(mutant, source)
            missed += found != "caught"
            print(f"| {mutant.name} | {mutant.file} | {found} | {time.monotonic() - started:.0f} |", flush=True)
    print(f"\n{len(chosen) - missed} of {len(chosen)} caught.")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
