"""Ctrl-C, and a scheduler or a closing terminal that stops a training."""

import importlib
import json
import shlex
import signal
import subprocess
import sys
import time

import pytest

from fclf.checkpoint import Checkpoint
from fclf.cli import main
from fclf.cli.common import continuing
from fclf.data.planted import planted

app = importlib.import_module("fclf.cli.app")  # the package has an `app` of its own
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """By signal: the folder of a run that got it after its second epoch, its exit code and what it said."""
    place = tmp_path_factory.mktemp("stopped")
    planted(150, 8)[0].save(place / "rows.npz")
    typed = [
        "train",
        "--config",
        "fclf_config",
        "--embeddings",
        str(place / "rows.npz"),
        "--attributes",
        "Smiling,Male",
    ]
    typed += ["--set", "training.num_epochs=300", "--set", "model.hidden_dim=8", "--set", "training.evaluate_every=0"]
    running = {}
    for number in CODES:
        command = [sys.executable, "-m", "fclf", *typed, "--output-dir", str(place / number.name), "--overwrite"]
        running[number] = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # a shell's & ignores it
        )
    found = {}
    for number, process in running.items():
        log = place / number.name / "logs" / "metrics.jsonl"
        while process.poll() is None and not (log.is_file() and len(log.read_text().splitlines()) >= 2):
            time.sleep(0.005)
        process.send_signal(number)
    for number, process in running.items():
        _, said = process.communicate(timeout=60)
        found[number] = (place / number.name, process.returncode, said)
    return found


@pytest.mark.parametrize("number", CODES)
def test_the_checkpoint_of_the_last_whole_epoch_is_there(stopped, number):
    folder, code, said = stopped[number]
    assert code == CODES[number], said
    record = json.loads((folder / "run.json").read_text())
    assert record["state"] == "interrupted"
    assert 1 <= Checkpoint.load(folder / "checkpoints" / "fclf_latest.pt").epoch < 300
    assert Checkpoint.load(folder / "checkpoints" / "fclf_latest.pt").epoch in (record["epochs"], record["epochs"] - 1)
    assert not [path.name for path in folder.rglob("*") if path.name.startswith(".")]


@pytest.mark.parametrize("number", CODES)
def test_what_is_typed_to_go_on_is_said_and_works(stopped, number):
    folder, _, said = stopped[number]
    assert said.count("Interrupted. Nothing is half-written") == 1
    assert "Traceback" not in said
    line = shlex.split(said.strip().splitlines()[-1])
    assert line[:2] == ["fclf", "train"]
    assert "--overwrite" not in line
    assert main(line[1:]) == 0
    assert json.loads((folder / "run.json").read_text())["state"] == "finished"


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["train", "--output-dir", "a b", "--overwrite"], "fclf train --output-dir 'a b' --resume"),
        (["train", "--warm-start", "old", "--seed", "1"], "fclf train --seed 1 --resume"),
        (["train", "--warm-start=old", "--resume"], "fclf train --resume"),
        (["embed", "--output", "x.npz"], "fclf embed --output x.npz --resume"),
        (["decoder", "train"], "fclf decoder train --resume"),
        (["decoder", "draw"], "."),
        (["edit", "--output", "x.npz"], "; edits of shards go on with the same command."),
        ([], "."),
    ],
)
def test_only_commands_that_can_go_on_are_named(typed, said):
    assert continuing(typed).splitlines()[-1] == said


def handlers(monkeypatch):
    """Those of the signals while a command runs."""
    found = {}
    monkeypatch.setattr(app, "main", lambda: found.update({n: signal.getsignal(n) for n in app.STOPPED}) or 0)
    before = {number: signal.getsignal(number) for number in app.STOPPED}
    try:
        for number in app.STOPPED:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        with pytest.raises(SystemExit):
            app.run()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return found


def test_what_nohup_ignores_stays_ignored(monkeypatch):
    assert handlers(monkeypatch) == {signal.SIGTERM: app._stop, signal.SIGHUP: signal.SIG_IGN}
    assert app.STOPPED == {signal.SIGTERM: 143, signal.SIGHUP: 129}


def test_one_process_of_several_ends_at_once(monkeypatch):
    """It may wait for another one inside a call that hears of no signal, and torchrun waits for it."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert handlers(monkeypatch)[signal.SIGTERM] == signal.SIG_DFL
