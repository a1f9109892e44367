"""`fclf decoder train` as a user types it."""

import json
import os
import shlex
import signal

import numpy as np
import pytest
from PIL import Image

from fclf.cli import main
from fclf.cli.decoder_command import train as train_command
from fclf.data.embeddings import EmbeddingSet
from fclf.decoder import Decoder, training


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Embeddings that name a colour, and pictures of it; two rows have none."""
    folder = tmp_path_factory.mktemp("made")
    rng = np.random.default_rng(0)
    z = rng.normal(size=(90, 3)).astype(np.float32)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    ids = [f"{k:03d}.png" for k in range(90)]
    (folder / "images").mkdir()
    for name, row in list(zip(ids, z, strict=True))[:88]:
        picture = np.full((20, 16, 3), 128 + 120 * row, dtype=np.uint8)
        picture[:, :8] //= 2
        Image.fromarray(picture).save(folder / "images" / name)
    EmbeddingSet.from_arrays({"embeddings": z, "ids": np.array(ids)}).save(folder / "z.npz")
    return folder


def run(made, output, *more, images="images", embeddings="z.npz"):
    files = ["--embeddings", str(made / embeddings), "--images", str(made / images), "--output-dir", str(output)]
    return main(["decoder", "train", *files, "--epochs", "1", *more])


@pytest.fixture(scope="module")
def run_dir(made, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "decoder"
    assert run(made, folder) == 0
    return folder


def test_a_run_leaves_a_decoder_figures_and_samples(run_dir, made, capsys):
    report = json.loads((run_dir / "decoder.json").read_text())
    assert sum(report["rows"].values()) + report["rows_without_image"] < 90  # judge rows are not read
    assert set(report["held_out"]["decoded"]) == {"mae", "psnr", "gradient_error", "sharpness"}
    assert report["versions"]["fclf"]
    with Image.open(run_dir / "samples.png") as sheet:
        assert sheet.height == 3 * 64
    assert Decoder.load(run_dir).about["data_fingerprint"] == report["data_fingerprint"]
    before = (run_dir / "decoder.safetensors").read_bytes()
    assert run(made, run_dir, "--overwrite", "--json") == 0
    assert json.loads(capsys.readouterr().out)["held_out"] == report["held_out"]
    assert (run_dir / "decoder.safetensors").read_bytes() == before


def test_rows_without_an_image_are_counted(made, tmp_path, capsys):
    for path in sorted((made / "images").iterdir())[::2]:
        (tmp_path / "half").mkdir(exist_ok=True)
        (tmp_path / "half" / path.name).write_bytes(path.read_bytes())
    assert run(made, tmp_path / "out", images=tmp_path / "half") == 0
    skipped = json.loads((tmp_path / "out" / "decoder.json").read_text())["rows_without_image"]
    assert skipped > 10
    assert f"{skipped} of " in capsys.readouterr().err


def test_bad_input_exits_with_2_and_says_what_to_type(made, run_dir, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    z = EmbeddingSet.load(made / "z.npz").embeddings
    EmbeddingSet.from_arrays({"embeddings": z}).save(tmp_path / "no_ids.npz")
    for said, arguments in {
        "named as the id '000.png'": {"images": tmp_path / "empty"},
        "does not exist": {"images": "nowhere"},
        "have no ids": {"embeddings": tmp_path / "no_ids.npz"},
    }.items():
        assert run(made, tmp_path / "out", **arguments) == 2
        assert said in capsys.readouterr().err
    assert run(made, run_dir, images="nowhere") == 2  # before any image is looked for
    assert "holds a run already" in capsys.readouterr().err
    assert run(made, run_dir, "--resume", "--overwrite") == 2
    assert run(made, tmp_path / "out", "--size", "65") == 2
    assert run(made, tmp_path / "out", "--resume") == 2
    assert not (tmp_path / "out").exists()


def test_an_interrupt_exits_with_130_and_the_run_resumes(made, run_dir, tmp_path, monkeypatch, capsys):
    epoch = training._Run._train_epoch

    def stop(self, number):
        os.kill(os.getpid(), signal.SIGINT)
        return epoch(self, number)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a shell starts behind itself
    try:
        with monkeypatch.context() as patch:
            patch.setattr(training._Run, "_train_epoch", stop)
            assert run(made, tmp_path) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert "--resume" in capsys.readouterr().err
    assert run(made, tmp_path, "--resume") == 0
    assert (tmp_path / "decoder.safetensors").read_bytes() == (run_dir / "decoder.safetensors").read_bytes()


def test_the_help_has_an_example_that_parses(capsys):
    example = next(line for line in train_command.__doc__.splitlines() if "Example:" in line).partition("fclf ")[2]
    assert main(["decoder", "train", "--help"]) == 0
    assert "--images" in capsys.readouterr().out
    assert main(shlex.split(example)) == 2  # every option is known: it is the file that is not there
    assert "there is no file celeba.npz" in capsys.readouterr().err
