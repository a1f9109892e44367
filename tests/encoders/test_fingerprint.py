"""Who made the embeddings: kept by files and checkpoints, and warned of wherever a checkpoint meets another's."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from pyarrow import parquet

from fclf.checkpoint import Checkpoint
from fclf.cli.app import main
from fclf.config import load_config
from fclf.data.embeddings import EmbeddingSet
from fclf.data.planted import planted
from fclf.errors import EncoderWarning
from fclf.train import train

MINE, OTHER = "onnx:1234", "clip:5678"


@pytest.fixture(scope="module")
def rows():
    return planted(400, 8)[0]


@pytest.fixture(scope="module")
def run(rows, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    train(replace(rows, encoder=MINE), load_config("edit", ["model.start=shift"]), folder)
    return folder


@pytest.mark.parametrize("suffix", ["npz", "parquet"])
def test_files_keep_the_encoder_through_every_choice_of_rows(rows, tmp_path, suffix):
    replace(rows, encoder=OTHER).save(tmp_path / f"out.{suffix}")
    data = EmbeddingSet.load(tmp_path / f"out.{suffix}")
    assert data.encoder == OTHER
    assert data.take(np.arange(3)).encoder == data.select(["Smiling"]).encoder == data.with_split().encoder == OTHER
    rows.save(tmp_path / f"none.{suffix}")
    assert EmbeddingSet.load(tmp_path / f"none.{suffix}").encoder is None


def test_a_table_names_its_encoder_where_others_can_read_it(rows, tmp_path):
    replace(rows, encoder=OTHER).save(tmp_path / "out.parquet")
    assert parquet.read_schema(tmp_path / "out.parquet").metadata[b"fclf.encoder"] == OTHER.encode()


def test_checkpoints_keep_the_encoder_and_older_ones_know_none(run, tmp_path):
    path = run / "checkpoints" / "fclf_best.pt"
    assert Checkpoint.load(run).encoder == MINE
    content = torch.load(path, weights_only=True)
    del content["encoder"]
    torch.save(content, tmp_path / "older.pt")
    assert Checkpoint.load(tmp_path / "older.pt").encoder is None


def test_only_another_encoder_is_warned_of(rows, run):
    model = Checkpoint.load(run)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for same in (MINE, None):  # nobody knows whose rows without a name are
            model.edit(replace(rows, encoder=same), {"Smiling": 1})
            replace(model, encoder=None).edit(replace(rows, encoder=OTHER), {"Smiling": 1})
    with pytest.warns(EncoderWarning, match=f"made by {OTHER}, but the checkpoint was trained on {MINE}"):
        model.edit(replace(rows, encoder=OTHER), {"Smiling": 1})


EDIT, TABLE = ["--set", "Smiling=1", "--output", "OUT.npz"], ["--set", "Smiling=1", "--output", "OUT.parquet"]
BOOK = ["--images", "PICTURES", "--people", "2", "--output", "OUT.png"]
EVALUATE = ["--output-dir", "OUT", "--projection", "pca"]


@pytest.mark.parametrize(
    ("command", "suffix", "options", "encoder"),
    [
        *[("edit", "npz", EDIT, encoder) for encoder in (MINE, OTHER)],
        *[("edit", "parquet", TABLE, encoder) for encoder in (MINE, OTHER)],  # streamed
        *[("flipbook", "npz", BOOK, encoder) for encoder in (MINE, OTHER)],
        ("evaluate", "npz", EVALUATE, OTHER),  # takes seconds
    ],
)
def test_commands_say_so_in_one_line(rows, run, tmp_path, capsys, command, suffix, options, encoder):
    (tmp_path / "PICTURES").mkdir()
    for name in rows.ids.tolist():
        Image.new("RGB", (8, 8)).save(tmp_path / "PICTURES" / f"{name}.png")
    replace(rows, encoder=encoder).save(tmp_path / f"rows.{suffix}")
    typed = [str(tmp_path / word) if word.startswith(("OUT", "PICTURES")) else word for word in options]
    files = ["--checkpoint", str(run), "--embeddings", str(tmp_path / f"rows.{suffix}")]
    assert main([command, *files, *typed]) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "were made by" in line]
    assert len(said) == (encoder == OTHER)
    assert all(line.startswith(f"Warning: These embeddings were made by {OTHER}, but") for line in said)
    if command == "edit":
        assert EmbeddingSet.load(tmp_path / f"OUT.{suffix}").encoder == encoder
