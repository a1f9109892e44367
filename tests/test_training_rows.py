"""Batches of shards: every row once, in an order that all processes know, with its own embedding and labels."""

import json
import subprocess
import sys
from itertools import chain, pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from data.shards.test_shard_index import NAMES, write_shards
from fclf import training_rows
from fclf.checkpoint import Checkpoint
from fclf.cli import main
from fclf.data.shards.index import ShardIndex
from fclf.data.shards.order import EpochOrder, Piece
from fclf.errors import InputError
from fclf.ranks import ALONE, Ranks
from fclf.training_rows import ShardRows

CPU = torch.device("cpu")


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=8),
    batch=st.integers(1, 30),
    lanes=st.integers(1, 5),
    window=st.integers(1, 50),
    seed=st.integers(0, 99),
)
def test_lanes_visit_different_rows_and_all_have_as_many_batches(sizes, batch, lanes, window, seed):
    rng = np.random.default_rng(seed)
    wanted = rng.random(sum(sizes)) < 0.7
    starts = np.cumsum([0, *sizes])
    pieces = [Piece(a, b, int(wanted[a:b].sum())) for a, b in pairwise(starts)]
    pieces = [piece for piece in pieces if piece.wanted]
    order = EpochOrder.draw(pieces, batch, lanes, (seed,))
    assert order.batches == wanted.sum() // batch
    visited = []
    for number, lane in enumerate(order.lanes):
        windows = list(lane.windows(wanted, window))
        rows = np.concatenate([w.read[w.order] for w in windows]) if windows else np.empty(0, int)
        assert len(rows) == order.batches * len(range(number, batch, lanes))
        assert all(len(w.read) == window for w in windows[:-1])
        runs = list(lane.runs(wanted))
        read = [w.read for w in windows]
        assert np.array_equal(np.concatenate(runs), np.concatenate(read)) if runs else not read
        visited += rows.tolist()
    assert len(set(visited)) == len(visited) == order.batches * batch
    assert wanted[visited].all()


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=8),
    batch=st.integers(1, 30),
    lanes=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_lanes_visit_every_row_but_the_rest_of_a_batch(sizes, batch, lanes, seed):
    """Lane after lane, rows are those of the shuffled pieces from the first on, and none between is left out."""
    starts = np.cumsum([0, *sizes])
    pieces = [Piece(a, b, b - a) for a, b in pairwise(starts)]
    order = EpochOrder.draw(pieces, batch, lanes, (seed,))
    shuffled = [pieces[place] for place in np.random.default_rng((seed,)).permutation(len(pieces))]
    whole = np.concatenate([np.arange(piece.start, piece.stop) for piece in shuffled])
    read = [run for lane in order.lanes for run in lane.runs(np.ones(sum(sizes), dtype=bool))]
    kept = sum(sizes) // batch * batch
    np.testing.assert_array_equal(np.concatenate([np.empty(0, int), *read]), whole[:kept])


def batches_of(rows, size, seed, ranks=ALONE):
    return list(rows.batches(size, torch.Generator().manual_seed(seed), ranks))


@pytest.mark.parametrize("kind", ["npy", "parquet"])
@pytest.mark.parametrize("window", [5, 1000])
def test_an_epoch_visits_train_rows_once_with_their_own_labels(tmp_path, monkeypatch, kind, window):
    z, y = write_shards(tmp_path, (40, 3, 90, 17), kind=kind, dtype=np.float16)
    monkeypatch.setattr(training_rows, "BUFFER", window * 12)
    index = ShardIndex.read(str(tmp_path), NAMES)
    rows = ShardRows(index, "train", CPU)
    found = batches_of(rows, 8, 0)
    unit = z.astype(np.float32) / np.linalg.norm(z.astype(np.float32), axis=1, keepdims=True)
    train = np.flatnonzero(index.usable("train"))
    assert len(found) == len(train) // 8
    at = [int(np.abs(unit - row.numpy()).sum(1).argmin()) for batch in found for row in batch.z]
    assert len(set(at)) == len(at) == 8 * len(found)
    assert set(at) <= set(train.tolist())
    np.testing.assert_allclose(torch.cat([b.z for b in found]).numpy(), unit[at], atol=1e-6)
    np.testing.assert_array_equal(torch.cat([b.y for b in found]).numpy(), y[at])
    again, other = batches_of(rows, 8, 0), batches_of(rows, 8, 1)
    assert all(torch.equal(a.z, b.z) for a, b in zip(found, again, strict=True))
    assert not all(torch.equal(a.z, b.z) for a, b in zip(found, other, strict=True))


def test_processes_have_their_own_rows_and_all_labels_of_the_same_batches(tmp_path):
    write_shards(tmp_path, (50, 1, 70))
    rows = ShardRows(ShardIndex.read(str(tmp_path), NAMES), "train", CPU)
    parts = [batches_of(rows, 7, 0, Ranks(rank, 3)) for rank in range(3)]
    for batch in zip(*parts, strict=True):
        assert all(torch.equal(part.y, batch[0].y) for part in batch)
        assert [len(part.z) for part in batch] == [3, 2, 2]
    every = torch.cat([part.z for part in chain(*parts)])
    assert len(torch.unique(every, dim=0)) == len(every)


def test_neighbours_are_not_visited_together(tmp_path):
    """The shuffle reaches across shards where the buffer does, and over pieces of them where it does not."""
    write_shards(tmp_path, (3000, 3000), d=4)
    index = ShardIndex.read(str(tmp_path), NAMES)
    rows = ShardRows(index, "train", CPU)
    order = EpochOrder.draw(rows._pieces, 10, 1, (0,))
    (lane,) = order.lanes
    visited = np.concatenate([w.read[w.order] for w in lane.windows(index.usable("train"), 10_000)])
    first = visited[: len(visited) // 2]
    assert 0.45 < (first < 3000).mean() < 0.55


def test_a_row_that_is_not_of_unit_length_stops_training_with_its_shard(tmp_path):
    z, _ = write_shards(tmp_path, (30, 30))
    index = ShardIndex.read(str(tmp_path), NAMES)
    rows = ShardRows(index, "train", CPU)
    bad = z[30:].copy()
    bad[11] = np.nan
    np.save(tmp_path / "img_emb_1.npy", bad)
    with pytest.raises(InputError, match=r"img_emb_1.npy.*row 11"):
        batches_of(rows, 4, 0)


def train_on(folder, output, *options, processes=0):
    command = ["train", "--embeddings", str(folder), "--config", "fclf_config", "--attributes", ",".join(NAMES)]
    command += ["--output-dir", str(output), "--set", "training.num_epochs=2", "--set", "training.batch_size=16"]
    command += ["--set", "model.hidden_dim=16", *options]
    if not processes:
        return main(command)
    launcher = [sys.executable, "-m", "torch.distributed.run", f"--nproc_per_node={processes}", "--standalone"]
    found = subprocess.run([*launcher, "-m", "fclf", *command], capture_output=True, text=True, timeout=100)
    assert found.returncode == 0, found.stderr
    return 0


def test_a_field_is_trained_on_shards_resumed_and_says_how_many_rows_it_read(tmp_path, capsys):
    write_shards(tmp_path / "shards", (200, 5, 300), d=8)
    assert train_on(tmp_path / "shards", tmp_path / "whole") == 0
    assert "505 rows of width 8 in 3 shards" in capsys.readouterr().err
    run = json.loads((tmp_path / "whole" / "run.json").read_text())
    counts = np.bincount(ShardIndex.read(str(tmp_path / "shards"), NAMES).split)
    assert run["rows"] == {"train": counts[0], "val": counts[1], "train_sample": counts[0], "val_sample": counts[1]}
    assert train_on(tmp_path / "shards", tmp_path / "part", "--set", "training.checkpoint_every=1") == 0
    part = tmp_path / "part" / "checkpoints"
    (part / "fclf_epoch_1.pt").replace(part / "fclf_latest.pt")
    assert train_on(tmp_path / "shards", tmp_path / "part", "--resume", "--set", "training.checkpoint_every=1") == 0
    one, two = (Checkpoint.load(tmp_path / name / "checkpoints" / "fclf_latest.pt") for name in ("whole", "part"))
    assert all(torch.equal(value, two.weights[name]) for name, value in one.weights.items())


def test_uneven_shards_do_not_hang_several_processes(tmp_path):
    """Of shards of 1 to 150 rows both processes have the same number of batches, whatever lies on whose side."""
    write_shards(tmp_path / "shards", (150, 1, 2, 60, 7), d=8)
    train_on(tmp_path / "shards", tmp_path / "two", processes=2)
    assert Checkpoint.load(tmp_path / "two").epoch == 2


def test_other_shards_are_not_resumed(tmp_path, capsys):
    z, _ = write_shards(tmp_path / "shards", (100, 100), d=8)
    assert train_on(tmp_path / "shards", tmp_path / "run") == 0
    np.save(tmp_path / "shards" / "img_emb_1.npy", -z[100:])
    assert train_on(tmp_path / "shards", tmp_path / "run", "--resume") == 2
    assert "trained on other data" in capsys.readouterr().err


def test_the_recipe_of_edits_is_fitted_on_a_sample_of_shards(tmp_path, capsys):
    write_shards(tmp_path / "shards", (300, 200), d=8, kind="parquet")
    code = main(["train", "--embeddings", str(tmp_path / "shards"), "--output-dir", str(tmp_path / "run"), "--json"])
    assert code == 0
    assert json.loads(capsys.readouterr().out)["attributes"] == list(NAMES)
