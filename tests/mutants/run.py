"""Make each mistake of `mutants.py` in a copy of the sources and see whether its tests notice it.

`make mutants`, or `python tests/mutants/run.py [WORDS OF A NAME ...]`. The tests are run on the sources as they are
first: a test that fails anyway notices nothing. Exits 1 if a mutant survives, or if its tests could not be run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from mutants import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parents[2]
MOST_SECONDS = 300
"""For the tests of one mutant; on the sources as they are, all of them are run at once."""
FAILED = 1
"""pytest's exit code where tests have failed; 2 to 5 are mistakes of its own use, and notice nothing."""


def run(source: Path, tests: Iterable[str], seconds: int = MOST_SECONDS) -> subprocess.CompletedProcess[str]:
    """Run tests on a copy of the sources; -B, as a mutant may be as long and as old as what it replaces."""
    paths = [f"tests/{test}" for test in tests]
    command = [sys.executable, "-B", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--durations=0", *paths]
    environment = os.environ | {"PYTHONPATH": str(source), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        return subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, -1, f"more than {seconds} seconds", "")


def outcome(mutant: Mutant, source: Path) -> str:
    """Whether the tests notice the mutant, which is made and taken back."""
    path = source / "fclf" / mutant.file
    text = path.read_text(encoding="utf-8")
    if text.count(mutant.original) != 1:
        return "does not apply"
    path.write_text(text.replace(mutant.original, mutant.replacement), encoding="utf-8")
    try:
        found = run(source, mutant.tests)
    finally:
        path.write_text(text, encoding="utf-8")
    if found.returncode == 0:
        return "SURVIVED"
    return "caught" if found.returncode == FAILED else f"not run:\n{found.stdout[-2000:]}{found.stderr[-2000:]}"


def main(words: list[str]) -> int:
    """Print a table; 0 if all were caught."""
    chosen = [m for m in MUTANTS if not words or any(word.lower() in m.name.lower() for word in words)]
    if not chosen:
        print(f"No mutant is called so: {', '.join(words)}.")
        return 2
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "src"
        shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        before = run(source, sorted({test for mutant in chosen for test in mutant.tests}), MOST_SECONDS * len(chosen))
        if before.returncode:
            print(f"The tests fail on the sources as they are:\n{before.stdout[-4000:]}{before.stderr[-2000:]}")
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
