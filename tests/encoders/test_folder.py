import json
import os
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from fclf.autoencoder import embed, load_encoder
from fclf.cli.app import main
from fclf.config import load_config
from fclf.data.embeddings import EmbeddingSet
from fclf.data.planted import planted
from fclf.data.portraits import draw, sitters
from fclf.encoders import folder as folders
from fclf.encoders import open_encoder
from fclf.errors import EncoderWarning
from fclf.train import train

SHARED = Path(os.environ.get("FCLF_SHARED", "../shared"))
PEOPLE = 7


@pytest.fixture
def portraits(tmp_path):
    """Pictures of people, two of them in a folder below."""
    drawn = draw(sitters(PEOPLE, per_person=1, seed=0))
    place = tmp_path / "pictures"
    (place / "below").mkdir(parents=True)
    for number, pixels in enumerate(drawn):
        Image.fromarray(pixels).save((place / "below" if number < 2 else place) / f"p{number}.png")
    return place, drawn


def run(place, output, *options):
    arguments = ["--images", str(place), "--encoder", "portraits", "--output", str(output), *options]
    return main(["embed", *arguments])


@pytest.mark.parametrize("suffix", ["npz", "parquet"])
def test_a_folder_becomes_a_file_of_embeddings_named_by_the_pictures(portraits, tmp_path, suffix):
    place, drawn = portraits
    output = tmp_path / f"out.{suffix}"
    assert run(place, output, "--batch-size", "3") == 0
    data = EmbeddingSet.load(output)
    assert data.ids.tolist() == ["below/p0.png", "below/p1.png", *(f"p{i}.png" for i in range(2, PEOPLE))]
    np.testing.assert_allclose(data.embeddings, embed(drawn, load_encoder()), atol=1e-6)
    assert data.encoder == open_encoder("portraits").fingerprint
    assert not folders.work_folder(output).exists()


def test_labels_are_joined_by_file_name_and_those_without_are_counted(portraits, tmp_path, capsys):
    place, _ = portraits
    table = tmp_path / "labels.csv"
    rows = [
        f"p{i}.png,{i % 2},{'yes' if i > 3 else ''},{i // 2},{'train' if i < 4 else 'test'}" for i in range(PEOPLE - 1)
    ]
    table.write_text("filename,Smiling,Young,identity,split\n" + "\n".join(rows) + "\nother.png,1,no,9,test\n")
    assert run(place, tmp_path / "out.npz", "--table", str(table), "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["rows"], result["without_labels"]) == (PEOPLE, 1)
    data = EmbeddingSet.load(tmp_path / "out.npz", labels="missing")
    assert data.attribute_names == ("Smiling", "Young")
    assert data.attributes.tolist() == [[0, -1], [1, -1], [0, -1], [1, -1], [0, 1], [1, 1], [-1, -1]]
    assert data.split.tolist() == ["train"] * 4 + ["test"] * 2 + ["train"]
    assert data.identities[0] == data.identities[1] != data.identities[2]


def test_what_is_no_picture_is_listed_and_left_out(portraits, tmp_path, capsys):
    place, drawn = portraits
    (place / "text.jpg").write_text("hello")
    (place / "empty.png").touch()
    whole = (place / "p3.png").read_bytes()
    (place / "cut.png").write_bytes(whole[: len(whole) // 2])
    (place / "notes.txt").write_text("not even called a picture")
    assert run(place, tmp_path / "out.npz", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["rows"] == PEOPLE
    assert {bad["name"] for bad in result["unreadable"]} == {"text.jpg", "empty.png", "cut.png"}
    assert all(bad["reason"] and str(place) not in bad["reason"] for bad in result["unreadable"])
    np.testing.assert_allclose(
        EmbeddingSet.load(tmp_path / "out.npz").embeddings, embed(drawn, load_encoder()), atol=1e-6
    )


def test_pictures_of_every_kind_are_read(portraits, tmp_path):
    place, _ = portraits
    grey = Image.new("L", (80, 64), 120)
    grey.save(place / "a_grey.png")
    Image.new("CMYK", (70, 64)).save(place / "b_cmyk.jpg")
    Image.new("RGBA", (64, 64), (255, 0, 0, 0)).save(place / "c_clear.png")
    Image.new("RGB", (64, 64), "white").save(place / "c_white.png")
    Image.new("RGB", (1, 1)).save(place / "d_one.png")
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
    frames[0].save(place / "e_moving.gif", save_all=True, append_images=frames[1:])
    frames[0].save(place / "e_red.png")
    tall = Image.open(place / "p2.png")
    exif = tall.getexif()
    exif[0x0112] = 6  # turned by a quarter when it is shown
    tall.rotate(90).save(place / "f_turned.png", exif=exif)
    assert run(place, tmp_path / "out.npz") == 0
    data = EmbeddingSet.load(tmp_path / "out.npz")
    z = dict(zip(data.ids.tolist(), data.embeddings, strict=True))
    assert len(z) == PEOPLE + 8
    np.testing.assert_array_equal(z["c_clear.png"], z["c_white.png"])
    assert z["e_moving.gif"] @ z["e_red.png"] > 0.99
    np.testing.assert_allclose(z["f_turned.png"], z["p2.png"], atol=1e-5)


def test_a_picture_that_claims_too_many_pixels_is_left_out(portraits, tmp_path, monkeypatch, capsys):
    place, _ = portraits
    Image.new("L", (200, 200)).save(place / "vast.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 30_000)
    assert run(place, tmp_path / "out.npz") == 0
    assert "Left out: vast.png (Image size (40000 pixels) exceeds limit" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda place: place / "absent", "does not exist; name a folder of pictures"),
        (lambda place: place / "p3.png", "is a file; name a folder"),
        (lambda place: (place / "none", (place / "none").mkdir())[0], "no file in it, nor below it, ends in"),
    ],
)
def test_a_folder_without_pictures_is_refused(portraits, tmp_path, capsys, make, message):
    assert run(make(portraits[0]), tmp_path / "out.npz") == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out.npz").exists()
    assert not (tmp_path / "out.npz.parts").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,A\np0,1\np0,0\n", "names 1 pictures twice"),
        ("file,A\nq9,1\n", "None of the 7 pictures"),
        ("file,A\np0,maybe\n", "column 'A' holds 'maybe' in row 0"),
        ("file\np0\n", "no column of labels"),
        ("file,A,A\np0,1,1\n", "two columns of one name"),
        ("file,A\np0,1,3\n", "cannot be read as a table"),
        ("file,A,split\np0,1,tomorrow\n", "tomorrow"),
    ],
)
def test_tables_that_do_not_fit_are_refused(portraits, tmp_path, capsys, text, message):
    (tmp_path / "labels.csv").write_text(text)
    assert run(portraits[0], tmp_path / "out.npz", "--table", str(tmp_path / "labels.csv")) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out.npz").exists()


def test_nothing_is_written_over_or_continued_by_accident(portraits, tmp_path, capsys):
    place, output = portraits[0], tmp_path / "out.npz"
    assert run(place, output) == 0
    assert run(place, output) == 2
    assert "is there already; type --overwrite" in capsys.readouterr().err
    output.unlink()
    folders.work_folder(output).mkdir()
    assert run(place, output) == 2
    assert "continue it with --resume, or start anew with --overwrite" in capsys.readouterr().err
    assert run(place, output, "--overwrite") == 0
    output.unlink()
    encoder = open_encoder("portraits")
    folders.embed_folder(place, encoder, folders.work_folder(output), batch_size=2)
    assert run(place, output, "--resume") == 2  # of other batches
    assert "was begun with other batch_size" in capsys.readouterr().err
    Image.new("RGB", (64, 64)).save(place / "new.png")
    assert run(place, output, "--resume", "--batch-size", "2") == 2
    assert "was begun with other files" in capsys.readouterr().err


KILLED = """
import sys
from fclf.cli.app import main
from fclf.encoders import folder
folder.SHARD = 2
sys.exit(main(sys.argv[1:]))
"""


def test_a_killed_run_continues_to_the_bits_of_one_that_was_not(portraits, tmp_path):
    place, output = portraits[0], tmp_path / "out.npz"
    arguments = ["embed", "--images", str(place), "--encoder", "portraits", "--output"]

    def start(output, *options):
        command = [sys.executable, "-c", KILLED, *arguments, str(output), *options]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    assert start(tmp_path / "whole.npz").wait() == 0
    process, shard = start(output), folders.work_folder(output) / "000001.npz"
    while not shard.exists() and process.poll() is None:
        time.sleep(0.0005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    shards = {path.name: path.stat().st_mtime_ns for path in folders.work_folder(output).glob("*.npz")}
    assert start(output, "--resume").wait() == 0
    assert (tmp_path / "whole.npz").read_bytes() == output.read_bytes()
    assert shards or process.returncode == 0


@pytest.mark.skipif(
    not (SHARED / "models" / "mobilefacenet.onnx").is_file(), reason="no FCLF_SHARED with a face network"
)
def test_a_real_network_tells_people_apart_on_real_pictures(tmp_path):
    """AUC of pairs of the same person against pairs of two, on crops of 57 x 57 pixels."""
    celeba, place = SHARED / "data" / "celeba", tmp_path / "pictures"
    place.mkdir()
    for number in range(1, 801):
        name = f"{number:06d}.jpg"
        (place / name).symlink_to((celeba / "img_align_celeba" / name).resolve())
    network = f"onnx:{SHARED / 'models' / 'mobilefacenet.onnx'}"
    options = ["--crop", "0.18,0.275,0.82,0.8", "--labels-from", str(celeba)]
    output = tmp_path / "faces.npz"
    assert main(["embed", "--images", str(place), "--encoder", network, "--output", str(output), *options]) == 0
    data = EmbeddingSet.load(output)
    assert data.embeddings.shape == (800, 128)
    first, second = np.triu_indices(len(data), 1)
    same = data.identities[first] == data.identities[second]
    assert same.sum() > 20
    assert roc_auc_score(same, np.einsum("nd,nd->n", data.embeddings[first], data.embeddings[second])) > 0.9


def test_another_encoders_embeddings_are_warned_of_though_the_width_fits(tmp_path, capsys):
    data = planted(400, 8)[0]
    mine, other = replace(data, encoder="onnx:1234"), replace(data, encoder="clip:5678")
    model = train(mine, load_config("edit", ["model.start=shift"]), tmp_path / "run")
    assert model.encoder == "onnx:1234"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.edit(mine, {"Smiling": 1})
        model.edit(data, {"Smiling": 1})  # nobody knows whose these are
    with pytest.warns(EncoderWarning, match="made by clip:5678, but the checkpoint was trained on onnx:1234"):
        model.edit(other, {"Smiling": 1})
    for suffix in ("npz", "parquet"):
        other.save(tmp_path / f"other.{suffix}")
        assert EmbeddingSet.load(tmp_path / f"other.{suffix}").take(np.arange(3)).encoder == "clip:5678"
    files = ["--checkpoint", str(tmp_path / "run"), "--embeddings", str(tmp_path / "other.npz")]
    assert main(["edit", *files, "--set", "Smiling=1", "--output", str(tmp_path / "out.npz")]) == 0
    error = capsys.readouterr().err
    assert error.count("Warning: These embeddings were made by clip:5678") == 1
    assert EmbeddingSet.load(tmp_path / "out.npz").encoder == "clip:5678"
