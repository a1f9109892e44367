"""Bad input of every kind, made by the thousand, and what came of it.

`python -m tests.faults.inputs --cases 600` tries 600 of each kind: a file that is changed in its bytes or its structure
is given to the command or function that reads it, which must use it or refuse it in words (`contract`). Every case is
made of its seed, kind and number alone, so `--kind npz --number 17` tries one again. Cases run in a process that may
end itself, hang or take gigabytes, each of which is a failure too.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from . import trial


def main() -> int:
    """Try, print a table, and exit with 1 if anything failed."""
    parser = argparse.ArgumentParser(
        prog="tests.faults.inputs", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=600, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", action="append", choices=sorted(trial.KINDS), help="this one; repeatable")
    parser.add_argument("--number", type=int, help="this case only")
    parser.add_argument("--keep", type=Path, help="folder in which files that failed are kept")
    asked = parser.parse_args()
    every: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        for kind in asked.kind or trial.KINDS:
            numbers = range(asked.cases) if asked.number is None else [asked.number]
            begun = time.perf_counter()
            counts, failures = trial.in_a_process(kind, numbers, asked.seed, Path(name), asked.keep)
            every += counts
            _say(kind, counts, f", {time.perf_counter() - begun:.0f} s")
            for number, text in failures[:20]:
                sys.stdout.write(f"  --kind '{kind}' --number {number} --seed {asked.seed}: {text}\n")
            sys.stdout.flush()
    _say("all", every, "")
    return 1 if every["failed"] else 0


def _say(kind: str, counts: Counter[str], more: str) -> None:
    sys.stdout.write(
        f"{kind:20s} {counts.total():6d} cases: {counts['read']:6d} read, {counts['refused']:6d} refused, "
        f"{counts['failed']:4d} failed{more}\n"
    )


if __name__ == "__main__":
    sys.exit(main())
