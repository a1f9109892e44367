"""`fclf serve` as a user types it: what it says, how it stops, and what it refuses."""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace

import httpx
import numpy as np
import pytest

from fclf.cli import main
from fclf.errors import InputError
from fclf.serve.guards import LOOPBACK, is_loopback
from fclf.serve.running import address, listen, make_token


@pytest.fixture(scope="module")
def file(run, tmp_path_factory):
    path = tmp_path_factory.mktemp("file") / "data.npz"
    run[1].save(path)
    return path


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved")
    run[0].save(path / "checkpoints" / "fclf_best.pt")
    return path


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_is_in_one_line_and_stops_when_it_is_asked_to(folder, file, by):
    command = [sys.executable, "-m", "fclf", "serve", str(folder), "--embeddings", str(file), "--port", "0"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    ) as process:
        line = process.stdout.readline()
        assert line.startswith("fclf serve: http://127.0.0.1:")
        where = line.split()[2]
        assert httpx.get(f"{where}healthz").json() == {"status": "ok"}
        assert httpx.get(f"{where}api/v1/about").json()["judge"]["kind"] == "judge"
        process.send_signal(by)
        out, err = process.communicate(timeout=20)
        assert (process.returncode, out, err) == (0, "", "Stopped.\n")


def refused(capsys, *arguments):
    assert main(["serve", *map(str, arguments)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("Error: ")
    assert err.count("\n") == 1
    return err


def test_what_cannot_be_served_is_refused_with_what_to_type(folder, file, run, tmp_path, capsys):
    assert "there is no" in refused(capsys, tmp_path / "none", "--embeddings", file)
    assert "neither a checkpoint" in refused(capsys, tmp_path, "--embeddings", file)
    assert "no file" in refused(capsys, folder, "--embeddings", tmp_path / "none.npz", "--port", "0")
    wide = tmp_path / "wide.npz"
    replace(run[1], embeddings=np.pad(run[1].embeddings, ((0, 0), (0, 3)))).save(wide)
    assert "width 19" in refused(capsys, folder, "--embeddings", wide, "--port", "0")
    said = refused(capsys, folder, "--embeddings", file, "--port", "0", "--decoder", "portraits")
    assert "--decoder: it draws embeddings of width 128" in said
    (tmp_path / "images").mkdir()
    assert "no image" in refused(capsys, folder, "--embeddings", file, "--port", "0", "--images", tmp_path / "images")
    assert "--encoder nonsense" in refused(capsys, folder, "--embeddings", file, "--port", "0", "--encoder", "nonsense")
    assert "--token" in refused(capsys, folder, "--embeddings", file, "--token", "short")


def test_a_port_in_use_is_refused(folder, file, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"--port {port}: cannot listen" in refused(capsys, folder, "--embeddings", file, "--port", port)
    assert "no such address" in refused(capsys, folder, "--embeddings", file, "--host", "no.such.host.invalid")


def test_a_missing_extra_is_named(folder, file, capsys, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "uvicorn" else find(name))
    assert "pip install 'fclf[serve]'" in refused(capsys, folder, "--embeddings", file)


def test_a_token_is_made_where_others_can_reach_the_server_and_only_there():
    for host in LOOPBACK:
        assert is_loopback(host)
        assert make_token(host, None) is None
    tokens = {make_token("0.0.0.0", None) for _ in range(5)}
    assert len(tokens) == 5
    assert min(map(len, tokens)) >= 24
    assert make_token("127.0.0.1", "sixteen-of-ascii") == "sixteen-of-ascii"
    for wrong in ("short", "with a space in the middle", "ünicode-is-no-header-text"):
        with pytest.raises(InputError, match="--token"):
            make_token("127.0.0.1", wrong)
    assert address("::1", 8000, None) == "http://[::1]:8000/"
    assert address("0.0.0.0", 1, "t") == "http://0.0.0.0:1/#token=t"


def test_any_free_port_can_be_had():
    with listen("127.0.0.1", 0) as found:
        assert found.getsockname()[1] > 0
