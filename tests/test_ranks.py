"""Training on several processes: the gradient, the run and the files are those of one."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import multiprocessing as mp

from fclf.checkpoint import Checkpoint
from fclf.cli import main
from fclf.config import load_config
from fclf.data.planted import planted
from fclf.data.targets import flip_attributes
from fclf.field import SharedPass, TargetField
from fclf.flow import step
from fclf.losses.objective import Objective, Rollout
from fclf.ranks import ALONE, Ranks

RECIPES = ("fclf_config", "before", "negative_sampling", "soft_positives")
SHARES = (1.0, 0.3)
ROWS, DIM, K = 11, 6, 3


def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def objective_of(recipe, share, temperature):
    change = {"jacobian_share": share, "lambda_curl": 0.05, "lambda_smoothness": 0.1, "temperature": temperature}
    return Objective(load_config(recipe).loss.model_copy(update=change))


def gradient(recipe, share, ranks, unknown, temperature=0.5):
    """Of the whole objective for every parameter, and its values, in float64."""
    generator = torch.Generator().manual_seed(0)
    z = torch.nn.functional.normalize(torch.randn(ROWS, DIM, generator=generator, dtype=torch.float64), dim=1)
    y = torch.randint(0, 2, (ROWS, K), generator=generator).double()
    if unknown:
        y[slice(1, None) if unknown == "all but one" else slice(None, None, 4), 1] = -1
    targets = flip_attributes(y, generator)
    complete = (targets >= 0).all(1) if unknown else None
    field = TargetField(DIM, K, hidden_dim=8).double()
    with torch.no_grad():
        field.last.weight.mul_(100)
    shared = SharedPass(field)

    def carry(x, wanted):
        return step(shared, x, wanted, 0.5)

    rollout = Rollout(ranks.mine(z), targets, shared, carry, generator, True, complete, (), ranks)
    losses = objective_of(recipe, share, temperature)(rollout)
    losses.total.backward()
    ranks.sum_(p.grad for p in field.parameters())
    return losses.values(), [p.grad for p in field.parameters()]


def cases():
    """The last are so cold that positives are lost beside nearer rows, and are compared with one another."""
    return [
        *((recipe, share, unknown) for recipe in RECIPES for share in SHARES for unknown in (False, True)),
        *((recipe, 1.0, unknown, 1e-4) for recipe in RECIPES for unknown in (False, True)),
        *((recipe, 1.0, "all but one") for recipe in RECIPES),
    ]


def work(rank, count, address, folder):
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(count), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(address))
    torch.set_num_threads(1)
    ranks = Ranks.join(torch.device("cpu"))
    assert (ranks.rank, ranks.count) == (rank, count)
    found = [gradient(recipe, share, ranks, *more) for recipe, share, *more in cases()]
    assert ranks.from_first({"rank": rank}) == {"rank": 0}
    torch.save(found, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("count", [2, 3])
def test_the_gradient_of_several_processes_is_that_of_one_with_all_rows(tmp_path, count):
    """Eleven rows: shares are uneven, and of the four that are probed one process of three has two."""
    mp.spawn(work, (count, port(), str(tmp_path)), nprocs=count)
    alone = [gradient(recipe, share, ALONE, *more) for recipe, share, *more in cases()]
    for rank in range(count):
        together = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for (values, grads), (their_values, their_grads), case in zip(alone, together, cases(), strict=True):
            assert their_values == pytest.approx(values, rel=1e-5), case
            for one, other in zip(grads, their_grads, strict=True):
                torch.testing.assert_close(other, one, atol=1e-10, rtol=1e-10, msg=str(case))
            assert max(g.abs().max() for g in grads) > 1e-4


def train_command(folder, *options):
    command = ["train", "--config", "fclf_config", "--embeddings", str(folder / "rows.npz"), "--device", "cpu"]
    command += ["--attributes", "Smiling,Young,Male", "--set", "training.batch_size=64", "--set", "model.hidden_dim=16"]
    return [*command, *options]


def torchrun(folder, *options, restarts=0):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", f"--master_port={port()}"]
    command += [f"--max_restarts={restarts}", "-m", "fclf", *train_command(folder, *options)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    planted(501, 12)[0].save(folder / "rows.npz")
    return folder


def test_torchrun_trains_the_weights_of_one_process_and_the_first_alone_writes(rows, tmp_path):
    epochs = ["--set", "training.num_epochs=2"]
    running = torchrun(rows, *epochs, "--output-dir", str(tmp_path / "two"), "--json")
    out, err = running.communicate(timeout=300)
    assert running.returncode == 0, err
    assert len([line for line in out.splitlines() if line.startswith("{")]) == 1
    assert main(train_command(rows, *epochs, "--output-dir", str(tmp_path / "one"))) == 0
    both = [Checkpoint.load(tmp_path / name) for name in ("one", "two")]
    for name, weight in both[0].weights.items():
        torch.testing.assert_close(both[1].weights[name], weight, atol=1e-5, rtol=1e-4)
    assert both[1].history[-1] == pytest.approx(both[0].history[-1], rel=1e-3, abs=1e-6)
    files = [sorted(str(p.relative_to(tmp_path / n)) for p in (tmp_path / n).rglob("*.pt")) for n in ("one", "two")]
    assert files[0] == files[1]


def test_a_killed_worker_starts_the_job_again_from_the_last_checkpoint(rows, tmp_path):
    epochs = ["--set", "training.num_epochs=15", "--output-dir", str(tmp_path / "run")]
    running = torchrun(rows, *epochs, restarts=1)
    log = tmp_path / "run" / "logs" / "metrics.jsonl"
    while not (log.is_file() and len(log.read_text().splitlines()) > 2) and running.poll() is None:
        time.sleep(0.01)
    workers = [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit() and _parent(p) == running.pid]
    os.kill(max(workers), signal.SIGKILL)
    _, err = running.communicate(timeout=300)
    assert running.returncode == 0, err
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (record["state"], record["epochs"]) == ("finished", 15)
    whole = torchrun(rows, "--set", "training.num_epochs=15", "--output-dir", str(tmp_path / "whole"))
    whole.communicate(timeout=300)
    assert whole.returncode == 0
    for name, weight in Checkpoint.load(tmp_path / "whole").weights.items():
        assert torch.equal(Checkpoint.load(tmp_path / "run").weights[name], weight)


def few_rows(folder, train, val):
    data = planted(40, 12, seed=3)[0]
    labels = data.attributes.copy()
    labels[::2], labels[1::2] = 0, 1
    splits = np.array(["train"] * train + ["val"] * val + ["judge"] * (40 - train - val))
    replace(data, attributes=labels, identities=None, split=splits).save(folder / "rows.npz")


@pytest.mark.parametrize(("train", "val", "batch"), [(2, 3, 64), (8, 2, 64), (8, 8, 2)])
def test_more_processes_than_rows_of_a_batch_are_refused_before_anything_is_begun(
    tmp_path, capsys, monkeypatch, train, val, batch
):
    few_rows(tmp_path, train, val)
    monkeypatch.setattr(Ranks, "join", lambda device: Ranks(0, 3))
    assert (
        main(train_command(tmp_path, "--set", f"training.batch_size={batch}", "--output-dir", f"{tmp_path}/run")) == 2
    )
    err = capsys.readouterr().err
    assert f"3 processes came for {train} train rows and {val} val rows in batches of {batch}" in err
    assert "torchrun --nproc_per_node=2" in err
    assert not (tmp_path / "run").exists()


def test_as_many_processes_as_rows_train(tmp_path):
    few_rows(tmp_path, 3, 2)
    running = torchrun(tmp_path, "--set", "training.num_epochs=1", "--output-dir", str(tmp_path / "run"))
    _, err = running.communicate(timeout=300)
    assert running.returncode == 0, err


def _parent(process):
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError):
        return 0
