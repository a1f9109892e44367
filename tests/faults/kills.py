"""SIGKILL at random moments: what is left is readable, and a run that goes on ends at the bits of one never killed.

`python tests/faults/kills.py --times 100 --seed 0` kills training runs of the recipe `fclf_config`, `--kind edit` those
of the recipe `edit`, and `--kind embed` a folder of pictures that is embedded. A third of the moments are drawn over
the time that a command takes, a third over the batches of training, and a third over the steps of writing: after every
piece of a file, and before and after it is flushed and moved to its name. Commands run in forks of one interpreter that
has imported everything.
"""

from __future__ import annotations

import argparse
import importlib
import json
import mmap
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

import fclf.files
import fclf.training_run
from fclf.checkpoint import Checkpoint
from fclf.cli import main
from fclf.config import load_config
from fclf.data.planted import planted
from fclf.encoders import folder, open_encoder
from fclf.files import PART

PIECE = 1 << 14
"""Bytes of a file that are written at once, so that a kill finds half a file."""
NEVER = ("write", -1)
LONGEST = 120.0
"""Seconds that one command may take: what hangs is a failure."""
STEPS = ("write", "batch")
"""What moments are drawn over, besides time."""
PHASES = ("start-up", "training", "inside a writing")
"""Where a command was killed."""


class Watch:
    """What a fork and the one that kills it both see: how far its writing is, and its training."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 8 * (1 + len(STEPS)))

    def reset(self) -> None:
        self._memory[:] = bytes(len(self._memory))

    def _number(self, place: int) -> int:
        return int.from_bytes(self._memory[8 * place : 8 * place + 8], "little")

    @property
    def phase(self) -> str:
        """Where the fork is."""
        return PHASES[self._number(0)]

    def steps(self, kind: str) -> int:
        """How many steps of a kind there have been."""
        return self._number(1 + STEPS.index(kind))

    def step(self, kind: str, phase: str, fatal: tuple[str, int]) -> None:
        """One more step; the one that is fatal ends the process at once."""
        count = self.steps(kind) + 1
        for place, value in ((0, PHASES.index(phase)), (1 + STEPS.index(kind), count)):
            self._memory[8 * place : 8 * place + 8] = value.to_bytes(8, "little")
        if fatal == (kind, count):
            os.kill(os.getpid(), signal.SIGKILL)


class Slowed:
    """A file that is written a piece at a time."""

    def __init__(self, file: Any, step: Callable[[str], None]) -> None:
        self._file, self._step = file, step

    def write(self, content: Any) -> int:
        view = content if isinstance(content, str) else memoryview(content).cast("B")
        for first in range(0, len(view), PIECE):
            self._file.write(view[first : first + PIECE])
            self._file.flush()
            self._step(PHASES[2])
        return len(view)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __enter__(self) -> Slowed:
        self._file.__enter__()
        return self

    def __exit__(self, *error: Any) -> Any:
        return self._file.__exit__(*error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class Steps:
    """`os` as `fclf.files` sees it in a fork: whatever touches the disk is a step before it and one after it."""

    def __init__(self, step: Callable[[str], None]) -> None:
        self._step = step

    def fdopen(self, *args: Any, **more: Any) -> Slowed:
        self._step(PHASES[2])
        return Slowed(os.fdopen(*args, **more), self._step)

    def replace(self, source: Any, target: Any) -> None:
        self._step(PHASES[2])
        os.replace(source, target)
        self._step(PHASES[1])

    def __getattr__(self, name: str) -> Any:
        found = getattr(os, name)
        if name not in ("fsync", "chmod"):
            return found

        def stepped(*args: Any) -> Any:
            self._step(PHASES[2])
            return found(*args)

        return stepped


def launch(
    arguments: list[str],
    watch: Watch,
    after: float | None = None,
    fatal: tuple[str, int] = NEVER,
    fresh: Path | None = None,
) -> tuple[int, float]:
    """Run a command in a fork; its exit code (-9 if it was killed) and seconds.

    Args:
        arguments: of `fclf`.
        watch: what its writing is told to.
        after: seconds until it is killed.
        fatal: the step at which it is killed: its kind, and the how manieth.
        fresh: gets the names of the modules that were imported.
    """
    watch.reset()
    started = time.perf_counter()
    child = os.fork()
    if child == 0:
        code = 70
        try:
            quiet = os.open(os.devnull, os.O_WRONLY)
            os.dup2(quiet, 1)
            fclf.files.os = Steps(lambda phase: watch.step("write", phase, fatal))  # type: ignore[attr-defined]
            rollout = fclf.training_run.TrainingRun._rollout

            def stepped(*args: Any) -> Any:
                watch.step("batch", PHASES[1], fatal)
                return rollout(*args)

            fclf.training_run.TrainingRun._rollout = stepped  # type: ignore[method-assign]
            code = main(arguments)
            if fresh is not None:
                fresh.write_text("\n".join(sys.modules))
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    limit = LONGEST if after is None else after
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        seconds = time.perf_counter() - started
        if done:
            return os.waitstatus_to_exitcode(status), seconds
        if seconds > limit:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            if after is None:
                raise TimeoutError(f"It hangs: {arguments}")
            return -signal.SIGKILL, seconds
        time.sleep(0.002)


def import_all(names: list[str]) -> None:
    """Import what a fork had to import, so that the next ones need not."""
    for name in names:
        if name not in sys.modules:
            with suppress(Exception):  # some are made and not imported
                importlib.import_module(name)


def check_readable(place: Path) -> int:
    """Read every file that has its final name, as whoever finds it would; how many there are."""
    count = 0
    for path in sorted(place.rglob("*")):
        if not path.is_file() or path.name.endswith(PART) or path.name == ".lock":
            continue
        count += 1
        if path.suffix == ".pt":
            Checkpoint.load(path)
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".jsonl":
            [json.loads(line) for line in path.read_text().splitlines()]
        elif path.suffix == ".yaml":
            load_config(path)
        elif path.suffix == ".npz":
            with np.load(path) as arrays:
                [arrays[name] for name in arrays.files]
        elif "tfevents" in path.name:
            list(EventFileLoader(str(path)).Load())
        else:
            raise AssertionError(f"What is {path}?")
    return count


def same(one: Any, other: Any) -> bool:
    """Whether two contents are the same bit for bit, but for the seconds that they took."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        keys = one.keys() - {"seconds"}
        return keys == other.keys() - {"seconds"} and all(same(one[key], other[key]) for key in keys)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


def check_same(place: Path, whole: Path) -> None:
    """The files are those of a run never killed, with the same content; nothing else is left."""
    names = [
        sorted(str(p.relative_to(top)) for p in top.rglob("*") if p.is_file() and "tfevents" not in p.name)
        for top in (place, whole)
    ]
    assert names[0] == names[1], f"{names[0]} instead of {names[1]}"
    for name in names[0]:
        one, other = place / name, whole / name
        if one.suffix == ".pt":
            assert same(Checkpoint.load(one).content(), Checkpoint.load(other).content()), f"{name} differs"
        elif one.suffix == ".json":
            assert same(json.loads(one.read_text()), json.loads(other.read_text())), f"{name} differs"
        else:
            assert one.read_bytes() == other.read_bytes(), f"{name} differs"


def commands(kind: str, scratch: Path) -> Callable[[Path], list[str]]:
    """What is typed to write into a folder; its input is made."""
    if kind == "embed":
        pictures, draw = scratch / "pictures", np.random.default_rng(0)
        pictures.mkdir()
        for number in range(24):
            Image.fromarray(draw.integers(0, 256, (64, 64, 3), np.uint8)).save(pictures / f"{number:02d}.png")
        folder.SHARD = 3
        open_encoder("portraits")
        base = ["embed", "--images", str(pictures), "--encoder", "portraits", "--batch-size", "1"]
        return lambda place: [*base, "--output", str(place / "out.npz")]
    planted(160, 8)[0].save(scratch / "rows.npz")
    base = ["train", "--embeddings", str(scratch / "rows.npz"), "--attributes", "Smiling,Young,Male", "--device", "cpu"]
    if kind == "train":
        settings = ("num_epochs=5", "batch_size=16", "checkpoint_every=2", "evaluate_every=3")
        base += ["--config", "fclf_config", "--set", "model.hidden_dim=24"]
        base += [part for setting in settings for part in ("--set", f"training.{setting}")]
    return lambda place: [*base, "--output-dir", str(place)]


def begun(kind: str, place: Path) -> bool:
    """Whether there is anything that `--resume` could go on from: a kill before that leaves nothing to resume."""
    if kind == "embed":
        return (place / "out.npz.parts").exists()
    return (place / "run.json").is_file()


def over(kind: str, place: Path) -> bool:
    """Whether a command was killed when nothing was left to do, so that typing it again is refused."""
    return kind == "embed" and (place / "out.npz").is_file() and not (place / "out.npz.parts").exists()


def kill(kind: str, times: int, seed: int, log: Callable[[str], object]) -> dict[str, Any]:
    """Kill commands so many times; counts of what happened. A failure is an `AssertionError`."""
    draw, watch = random.Random(seed), Watch()
    where: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        typed = commands(kind, scratch)
        whole = scratch / "whole"
        launch(typed(scratch / "first"), watch, fresh=scratch / "modules")
        import_all((scratch / "modules").read_text().split("\n"))
        code, seconds = launch(typed(whole), watch)
        assert code == 0, f"A run that nobody kills ends with {code}"
        steps, killed = {kind: watch.steps(kind) for kind in STEPS if watch.steps(kind)}, 0
        while killed < times:
            place = scratch / f"run{counts['runs']}"
            counts["runs"] += 1
            left = 1.0  # share of the work, about
            for _ in range(min(draw.randint(1, 4), times - killed)):  # kills of this run, which goes on after each
                options = ["--resume"] if begun(kind, place) else []
                moment = draw.choice(("time", *steps))
                if moment == "time":
                    code, _ = launch([*typed(place), *options], watch, after=draw.uniform(0, left * seconds))
                else:
                    fatal = (moment, draw.randint(1, round(left * steps[moment])))
                    code, _ = launch([*typed(place), *options], watch, fatal=fatal)
                left = max(0.3, left - 0.25)
                if code == 0:
                    break  # it ended before its moment
                assert code == -signal.SIGKILL, f"It ends with {code}"
                killed += 1
                where[watch.phase] += 1
                counts["files read after kills"] += check_readable(place)
                counts["leftovers"] += sum(1 for p in place.rglob(f"*{PART}") if p.is_file())
                if over(kind, place):
                    break
            if not over(kind, place):
                code, _ = launch([*typed(place), *(["--resume"] if begun(kind, place) else [])], watch)
                assert code == 0, f"It does not go on, but ends with {code}"
            check_readable(place)
            check_same(place, whole)
            log(f"{killed} kills, {counts['runs']} runs that end as the one never killed")
    return {"kind": kind, "kills": killed, **counts, "where": dict(where), "seconds of a run": round(seconds, 2)}


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=("train", "edit", "embed"), default="train")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = kill(options.kind, options.times, options.seed, lambda text: sys.stderr.write(f"{text}\n"))
    sys.stdout.write(f"{json.dumps(found)}\n")


if __name__ == "__main__":
    run()
