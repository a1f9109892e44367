"""Killed at any moment, a run goes on where it was when the same command is typed again, and workers may die."""

import faulthandler
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from sharding import edit, leftovers, npy_folder, outputs, parquet_folder, record, times

from fclf.checkpoint import Checkpoint
from fclf.data.shards import output as output_module
from fclf.data.shards.output import OutputFolder
from fclf.scale import manifest, processes, work

SMILE = ("--set", "Smiling=1", "--flip", "Male")
SPAWN = multiprocessing.get_context
WIDTH = 24
"""Bytes of an event in the log: the place of one tells its number, whichever process it is of."""


def forked(arguments, said, patch=None):
    """Run `fclf edit` in a fork of this process, which has imported all of it, and workers in forks of that.

    What takes a command seconds takes a tenth of one. Returns the process id, which is that of its group too.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        os.setsid()
        faulthandler.disable()  # one of these tests is of a segmentation fault
        handle = os.open(said, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        sys.stdout, sys.stderr = (os.fdopen(n, "w", closefd=False) for n in (1, 2))
        multiprocessing.get_context = lambda method: SPAWN("fork")
        if patch is not None:
            patch()
        code = edit(*arguments)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def ended(pid):
    """Wait for a run and all of its group; its exit code, negative if a signal ended it."""
    _, status = os.waitpid(pid, 0)
    until = time.monotonic() + 10
    while alive(pid):
        assert time.monotonic() < until, "workers outlive their run"
        time.sleep(0.02)
    return os.waitstatus_to_exitcode(status)


def alive(group):
    """Processes of a group that still run."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[2]) == group and fields[0] not in "ZX":
                found.append(stat.parent.name)
    return found


# Twenty moments


def log_events(log, kill_at=None, target=None, signal_=signal.SIGKILL):
    """Write down what a run does, and end it, or one of its processes, at one of these moments."""
    handle = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    parent = os.getpid()

    def event(name):
        os.write(handle, name[: WIDTH - 1].ljust(WIDTH - 1).encode() + b"\n")
        if os.lseek(handle, 0, os.SEEK_CUR) // WIDTH - 1 == kill_at:
            victims = {"run": parent, "group": 0, "self": os.getpid()}
            (os.killpg if target == "group" else os.kill)(victims[target], signal_)
            time.sleep(5)  # of another's death this process shall not be quicker to act than the system

    def around(owner, name, label=None):
        function, text = getattr(owner, name), label or name.strip("_")

        def logged(*args, **more):
            event(f"before {text}")
            result = function(*args, **more)
            event(f"after {text}")
            return result

        setattr(owner, name, logged)

    around(work.ShardEditor, "__init__", "load")  # start-up
    around(processes._Worker, "__init__", "worker")
    around(manifest.Manifest, "begin")
    around(work, "fingerprint")  # reading
    around(Checkpoint, "edit")
    around(tempfile, "mkstemp")  # writing
    around(output_module._Counted, "write")
    around(os, "fsync")
    around(os, "replace")
    around(manifest.Manifest, "write", "record")  # the manifest
    around(OutputFolder, "clean")


def events(log):
    return [line.strip() for line in Path(log).read_text().splitlines()] if Path(log).exists() else []


@pytest.fixture(scope="module")
def shards(few, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kills")
    return {"npy": npy_folder(folder / "npy", few, 5), "parquet": parquet_folder(folder / "parquet", few, 5)}


@pytest.fixture(scope="module")
def unkilled(run, shards, tmp_path_factory):
    """Outputs of runs that nobody killed, and what they did."""
    folder, found = tmp_path_factory.mktemp("unkilled"), {}
    for layout, source in shards.items():
        out, log = folder / layout, folder / f"{layout}.log"
        pid = forked((run, source, out, *SMILE, "--workers", "2"), folder / "said", lambda log=log: log_events(log))
        assert ended(pid) == 0, (folder / "said").read_text()
        found[layout] = outputs(out), events(log)
    return found


KILLS = 20
TARGETS = ("run", "group", "self")


@pytest.mark.parametrize("number", range(KILLS))
def test_a_run_that_is_killed_at_any_moment_goes_on_and_ends_as_one_that_was_not(
    run, shards, unkilled, tmp_path, number
):
    layout, target = ("npy", "parquet")[number % 2], TARGETS[number % 3]
    whole, happened = unkilled[layout]
    rng = np.random.default_rng(number)
    moment = int((number + rng.random()) / KILLS * len(happened))  # one in every twentieth of a run
    source, out, log, said = shards[layout], tmp_path / "out", tmp_path / "log", tmp_path / "said"
    arguments = (run, source, out, *SMILE, "--workers", "2")
    code = ended(forked(arguments, said, lambda: log_events(log, moment, target)))
    assert len(events(log)) > moment
    assert code in ((-signal.SIGKILL, 0) if target == "self" else (-signal.SIGKILL,)), said.read_text()
    # Whatever has a name of its own is whole, be it in the manifest or not.
    there = outputs(out) if out.exists() else {}
    named = {place: content for place, content in there.items() if not place.endswith(".part")}
    assert {place for place, content in named.items() if content != whole[place]} == set()
    finished = {path.stem for path in (out / "_manifest" / "shards").glob("[!.]*.json")}
    kept = {written["place"] for name in finished for written in record(out, name)["outputs"]}
    when = {place: written for place, written in times(out).items() if place in kept} if kept else {}
    assert set(when) == kept
    again = tmp_path / "again"
    assert ended(forked(arguments, said, lambda: log_events(again))) == 0, said.read_text()
    assert outputs(out) == whole
    assert {place: written for place, written in times(out).items() if place in when} == when
    assert leftovers(out) == []
    assert (f"{len(finished)} of them by an earlier run" in said.read_text()) == bool(finished)
    assert events(again).count("before record") == 5 - len(finished)


def test_the_moments_are_of_every_kind(unkilled):
    """Start-up, reading, writing, renaming and the manifest are each a good part of what may be hit."""
    for _, happened in unkilled.values():
        kinds = {name.split(" ", 1)[1] for name in happened}
        assert kinds >= {"load", "worker", "begin", "fingerprint", "edit", "mkstemp", "write", "fsync", "replace"}
        assert {"record", "clean"} <= kinds
        assert 100 < len(happened) < 1000


# Workers that die


def dies(name, times=9, signal_=signal.SIGKILL):
    """Patch: workers die of a shard, so many times."""

    def patch():
        original = work.ShardEditor._record
        handle, log = tempfile.mkstemp()
        os.close(handle)

        def record(self, shard, on_rows):
            if shard.name == name and Path(log).stat().st_size < times:
                with open(log, "a") as file:
                    file.write(".")
                os.kill(os.getpid(), signal_)
            return original(self, shard, on_rows)

        work.ShardEditor._record = record

    return patch


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_worker_that_dies_once_costs_nothing(run, shards, unkilled, tmp_path, workers):
    out, said = tmp_path / "out", tmp_path / "said"
    code = ended(forked((run, shards["npy"], out, *SMILE, "--workers", workers), said, dies("img_emb_2", 1)))
    assert code == 0, said.read_text()
    assert outputs(out) == unkilled["npy"][0]
    assert leftovers(out) == []


@pytest.mark.parametrize(("signal_", "name"), [(signal.SIGKILL, "SIGKILL, as where memory ran out"), (11, "SIGSEGV")])
def test_a_shard_that_workers_die_of_is_quarantined(run, shards, unkilled, tmp_path, signal_, name):
    out, said = tmp_path / "out", tmp_path / "said"
    arguments = (run, shards["npy"], out, *SMILE, "--workers", "2", "--json")
    assert ended(forked(arguments, said, dies("img_emb_2", signal_=signal_))) == 1
    result = json.loads(next(line for line in said.read_text().splitlines() if line.startswith("{")))
    (bad,) = result["quarantined"]
    assert bad["error"] == f"2 workers died of it in turn ({name})."
    assert record(out, "img_emb_2")["error"] == bad["error"]
    assert outputs(out) == {place: content for place, content in unkilled["npy"][0].items() if "_2." not in place}
    assert leftovers(out) == []
    assert ended(forked(arguments, said)) == 0
    assert outputs(out) == unkilled["npy"][0]


def test_workers_that_cannot_begin_end_the_run(run, shards, tmp_path):
    def patch():
        editor = processes.ShardEditor

        def die(*args):
            os.kill(os.getpid(), signal.SIGKILL)

        processes.ShardEditor = die
        assert editor is not die

    said = tmp_path / "said"
    assert ended(forked((run, shards["npy"], tmp_path / "out", *SMILE, "--workers", "2"), said, patch)) == 2
    assert "Workers end before their first shard (SIGKILL" in said.read_text()
    assert "Traceback" not in said.read_text()


def test_a_full_disk_ends_the_run_and_is_no_fault_of_the_shards(run, shards, unkilled, tmp_path):
    def patch():
        begin = output_module._Counted.__init__

        class Full:
            def __init__(self, file):
                self.write_through, self.left = file.write, 3000

            def write(self, data):
                self.left -= len(data)
                if self.left < 0:
                    raise OSError(28, os.strerror(28))
                return self.write_through(data)

        output_module._Counted.__init__ = lambda self, file, place: begin(self, Full(file), place)

    out, said = tmp_path / "out", tmp_path / "said"
    arguments = (run, shards["npy"], out, *SMILE, "--workers", "2")
    assert ended(forked(arguments, said, patch)) == 2
    assert "cannot be written: No space left on device" in said.read_text()
    assert "Traceback" not in said.read_text()
    assert leftovers(out) == []
    assert not [path for path in (out / "_manifest" / "shards").glob("*") if json.loads(path.read_text())["error"]]
    assert ended(forked(arguments, said)) == 0
    assert outputs(out) == unkilled["npy"][0]


# The command itself, with workers that are no forks


def command(run, source, out, *more):
    arguments = ["--checkpoint", str(run), "--embeddings", str(source), "--output", str(out), *SMILE]
    return [sys.executable, "-m", "fclf", "edit", *arguments, "--workers", "2", *more]


def started(*arguments):
    return subprocess.Popen(
        command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def until_workers(process):
    """Wait until the workers are there, which are all but the run and Python's tracker of resources."""
    until = time.monotonic() + 60
    while len(alive(process.pid)) < 4:
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.02)


def test_an_interrupt_ends_all_of_it_and_leaves_nothing_half_written(run, shards, tmp_path):
    """While the workers import what they need; below, while they write."""
    out = tmp_path / "out"
    process = started(run, shards["npy"], out)
    until_workers(process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    begun = time.monotonic()
    _, err = process.communicate(timeout=30)
    assert time.monotonic() - begun < 5
    assert process.returncode == 130
    assert err.strip().splitlines()[-1].startswith("Interrupted. Nothing is half-written")
    assert "Traceback" not in err
    until = begun + 5  # Python's tracker of resources ends last, after the run itself
    while alive(process.pid):
        assert time.monotonic() < until
        time.sleep(0.02)
    assert leftovers(out) == []
    assert outputs(out) == {}


@pytest.mark.parametrize("kind", ["before write", "after replace", "before record"])
def test_an_interrupt_while_shards_are_written_leaves_whole_ones_only(run, shards, unkilled, tmp_path, kind):
    whole, happened = unkilled["npy"]
    moment = [number for number, name in enumerate(happened) if name == kind][4]
    out, said, log = tmp_path / "out", tmp_path / "said", tmp_path / "log"
    pid = forked(
        (run, shards["npy"], out, *SMILE, "--workers", "2"),
        said,
        lambda: log_events(log, moment, "group", signal.SIGINT),
    )
    assert ended(pid) == 130, said.read_text()
    assert "Interrupted. Nothing is half-written" in said.read_text()
    assert leftovers(out) == []
    assert {place for place, content in outputs(out).items() if content != whole[place]} == set()


def test_the_command_is_killed_and_typed_again(run, unkilled, shards, tmp_path):
    out = tmp_path / "out"
    process = started(run, shards["npy"], out)
    until_workers(process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    until = time.monotonic() + 20
    while alive(process.pid):  # workers notice, be it while they import
        assert time.monotonic() < until
        time.sleep(0.02)
    done = subprocess.run(command(run, shards["npy"], out), capture_output=True, text=True, check=True)
    assert "Edited 5 shards with 1,200 rows" in done.stdout
    assert outputs(out) == unkilled["npy"][0]
    assert leftovers(out) == []
