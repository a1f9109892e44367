"""Runs cases in a process that may end itself, hang or take gigabytes, and says which did."""

from __future__ import annotations

import faulthandler
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn
from zlib import crc32

import numpy as np
import torch
from numpy.random import Generator

from . import embeddings, pictures, texts, weights
from .contract import Attempt, outcome
from .material import Material

__all__ = ["KINDS", "in_a_process"]

KINDS: dict[str, Callable[[Material, Path, Generator, Path], Attempt]] = {
    **embeddings.KINDS,
    **texts.KINDS,
    **weights.KINDS,
    **pictures.KINDS,
}
"""By name: makes a bad file in a folder, and says how it is tried; a plant in it would make the last path a folder."""
HANGS = 60
"""Seconds after which a case is ended."""
MOST = 2 << 30
"""Bytes by which the process may grow over its cases; what is refused should take none."""


def one(kind: str, number: int, seed: int, material: Material, folder: Path) -> str:
    """What comes of one case, in an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rng = np.random.default_rng([seed, crc32(kind.encode()), number])
    sign = folder / "executed"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        attempt = KINDS[kind](material, folder, rng, sign)
        return outcome(attempt, sign)


def _child(kind: str, numbers: list[int], seed: int, folder: Path, keep: Path | None, pipe: int) -> None:
    """Write a line of JSON before and after every case."""
    with os.fdopen(pipe, "w") as said:

        def tell(*what: object) -> None:
            said.write(json.dumps(what) + "\n")
            said.flush()

        torch.set_num_threads(1)
        material = Material(Path(tempfile.mkdtemp(dir=folder)))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for number in numbers:
            tell("begin", number, "")
            signal.alarm(HANGS)
            try:
                tell(one(kind, number, seed, material, folder / "case"), number, "")
            except Exception as error:
                where = traceback.extract_tb(error.__traceback__)[-1]
                text = f"{type(error).__name__}: {str(error)[:300]} ({Path(where.filename).name}:{where.lineno})"
                tell("failed", number, text)
                if keep is not None:
                    shutil.copytree(
                        folder / "case", keep / f"{kind.replace(' ', '_')}-{seed}-{number}", dirs_exist_ok=True
                    )
            grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
            if grown > MOST:
                tell("failed", number, f"the process has grown by {grown >> 20} MiB")
                break
            signal.alarm(0)


def in_a_process(
    kind: str, numbers: Sequence[int], seed: int, folder: Path, keep: Path | None = None
) -> tuple[Counter[str], list[tuple[int, str]]]:
    """Try cases of a kind.

    Returns:
        how many were `read`, `refused` or `failed`; and number and reason of each that failed.
    """
    results: dict[int, tuple[str, str]] = {}
    while left := [number for number in numbers if number not in results]:
        reading, writing = os.pipe()
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            os.close(reading)
            _child_and_end(kind, left, seed, folder, keep, writing)
        os.close(writing)
        at = None
        with os.fdopen(reading) as heard:
            for line in heard:
                what, at, text = json.loads(line)
                if what != "begin":
                    results[at] = what, text
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code < 0 and at is not None:
            name = signal.Signals(-code).name
            reason = f"no answer within {HANGS} s" if name == "SIGALRM" else f"the process ended itself ({name})"
            results[at] = "failed", reason
        elif code != 0:
            raise RuntimeError(f"cases of '{kind}' could not be made; see above")
    failures = [(number, text) for number, (what, text) in results.items() if what == "failed"]
    return Counter(what for what, _ in results.values()), failures


def _child_and_end(kind: str, numbers: list[int], seed: int, folder: Path, keep: Path | None, pipe: int) -> NoReturn:
    code = 1
    try:
        faulthandler.disable()
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        _child(kind, numbers, seed, folder, keep, pipe)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)
