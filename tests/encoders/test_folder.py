import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from fclf.autoencoder import embed, load_encoder
from fclf.cli.app import main
from fclf.data.embeddings import EmbeddingSet
from fclf.data.portraits import draw, sitters
from fclf.encoders import folder as folders
from fclf.encoders import open_encoder
from fclf.encoders.encoder import NoDirection, unit

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


def test_tables_are_read_before_pictures_are(portraits, tmp_path, capsys):
    """Embedding may take hours, and what is wrong with a table is known at once."""
    for options in (["--table", str(tmp_path / "absent.csv")], ["--labels-from", str(tmp_path)]):
        assert run(portraits[0], tmp_path / "out.npz", *options) == 2
        assert not folders.work_folder(tmp_path / "out.npz").exists()
    assert run(portraits[0], tmp_path / "out.npz", "--labels", "signed") == 2
    assert "add --table FILE" in capsys.readouterr().err


def test_the_command_that_is_proposed_next_works(portraits, tmp_path, capsys):
    (tmp_path / "labels.csv").write_text("file,Smiling\np1,1\np2,0\n")
    assert run(portraits[0], tmp_path / "out.npz", "--table", str(tmp_path / "labels.csv")) == 0
    captured = capsys.readouterr()
    assert "5 pictures are not in" in captured.err
    proposed = captured.out.partition("Next: fclf ")[2].split()
    assert main(proposed) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,A\np0,1\np0,0\n", "names 1 pictures twice"),
        ("file,A\nq9,1\n", "None of the 7 pictures"),
        ("file,A\np0,maybe\n", "column 'A' holds 'maybe' in row 0"),
        ("file\np0\n", "no column of labels"),
        ("file,A\np0,1\np1,-1\n", "If -1 means no, type --labels signed; if it means unknown, type --labels missing"),
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
import os, signal, sys
from fclf.cli.app import main
from fclf.encoders import folder, portraits

folder.SHARD, calls = 2, 0
encode, last = portraits.PortraitEncoder.encode, int(sys.argv.pop(1))

def some(self, pictures):
    global calls
    calls += 1
    if calls == last:
        os.kill(os.getpid(), signal.SIGKILL)
    return encode(self, pictures)

portraits.PortraitEncoder.encode = some
sys.exit(main(sys.argv[1:]))
"""


def test_killed_runs_continue_to_the_bits_of_one_that_was_not(portraits, tmp_path):
    """Killed once in the third shard, and again in the fourth."""
    place, output = portraits[0], tmp_path / "out.npz"
    (place / "p4b.png").write_text("unreadable")

    def start(output, last, *options):
        typed = ["--images", str(place), "--encoder", "portraits", "--output", str(output), "--json", *options]
        command = [sys.executable, "-c", KILLED, str(last), "embed", "--batch-size", "1", *typed]
        return subprocess.run(command, capture_output=True, text=True)

    whole = start(tmp_path / "whole.npz", -1)
    assert json.loads(whole.stdout)["resumed"] == 0
    for last, options, shards in ((6, [], 2), (3, ["--resume"], 3)):
        killed = start(output, last, *options)
        assert killed.returncode == -signal.SIGKILL
        assert not output.exists()
        assert len(list(folders.work_folder(output).glob("0*.npz"))) == shards
    continued = json.loads(start(output, -1, "--resume").stdout)
    assert continued["resumed"] == 6  # files of three shards, which were not embedded again
    assert continued["unreadable"] == json.loads(whole.stdout)["unreadable"]
    assert (tmp_path / "whole.npz").read_bytes() == output.read_bytes()
    assert not folders.work_folder(output).exists()


def test_a_damaged_manifest_and_other_shards_are_refused(portraits, tmp_path, monkeypatch, capsys):
    place, output = portraits[0], tmp_path / "out.npz"
    work = folders.work_folder(output)
    folders.embed_folder(place, open_encoder("portraits"), work)
    monkeypatch.setattr(folders, "SHARD", 3)
    assert run(place, output, "--resume") == 2
    assert "was begun with other shard" in capsys.readouterr().err
    (work / "manifest.json").write_text("{")
    assert run(place, output, "--resume") == 2
    assert "is damaged. Start anew with --overwrite" in capsys.readouterr().err
    assert run(place, output, "--overwrite") == 0


@pytest.mark.parametrize("option", ["--resume", "--overwrite"])
def test_a_folder_of_somebody_else_is_never_removed(portraits, tmp_path, capsys, option):
    output = tmp_path / "out.npz"
    theirs = folders.work_folder(output) / "theirs.txt"
    theirs.parent.mkdir()
    theirs.write_text("precious")
    assert run(portraits[0], output, option) == 2
    assert "is there already and of something else" in capsys.readouterr().err
    assert theirs.read_text() == "precious"


def test_progress_is_told_batch_by_batch_and_knows_what_an_earlier_run_did(portraits, tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "SHARD", 4)
    encoder, told = open_encoder("portraits"), []
    folders.embed_folder(
        portraits[0], encoder, tmp_path / "work", batch_size=3, on_pictures=lambda *told_: told.append(told_)
    )
    assert told == [(0, 0, 7), (3, 0, 7), (4, 0, 7), (7, 0, 7)]
    (tmp_path / "work" / "000000.npz").unlink()
    told.clear()
    folders.embed_folder(
        portraits[0], encoder, tmp_path / "work", batch_size=3, resume=True, on_pictures=lambda *t: told.append(t)
    )
    assert told == [(3, 3, 7), (6, 3, 7), (7, 3, 7)]


class Fickle:
    """Zero for black pictures, as a network that ends in a rectifier may give."""

    dim, fingerprint = 2, "fickle"

    def encode(self, pictures):
        values = np.array([[np.asarray(picture).mean(), 0] for picture in pictures], np.float32).reshape(-1, 2)
        return unit(values, "fickle")


def test_a_picture_without_an_embedding_is_left_out_and_named(tmp_path):
    for number, grey in enumerate((10, 0, 30)):
        Image.new("RGB", (4, 4), (grey,) * 3).save(tmp_path / f"{number}.png")
    found = folders.embed_folder(tmp_path, Fickle(), tmp_path / "work", batch_size=3)
    assert found.ids.tolist() == ["0.png", "2.png"]
    assert [(bad.name, bad.reason) for bad in found.unreadable] == [("1.png", "its embedding is zero or not finite")]
    for number in (0, 2):
        Image.new("RGB", (4, 4)).save(tmp_path / f"{number}.png")
    with pytest.raises(NoDirection, match="3 of 3"):  # it is the network then
        folders.embed_folder(tmp_path, Fickle(), tmp_path / "work2", batch_size=3)


def test_a_name_that_is_no_text_is_left_out_and_said(portraits, tmp_path, capsys):
    place, _ = portraits
    try:
        Path(os.fsdecode(os.fsencode(place) + b"/\xff.png")).write_bytes((place / "p3.png").read_bytes())
    except OSError:
        pytest.skip("this file system has no such names")
    assert run(place, tmp_path / "out.parquet", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["rows"] == PEOPLE
    assert result["unreadable"] == [{"name": "\ufffd.png", "reason": "its name is not UTF-8; rename it"}]


def test_a_real_network_tells_people_apart_on_real_pictures(shared, tmp_path):
    """AUC of pairs of the same person against pairs of two, on the middle of the picture and on all of it."""
    celeba, place = shared / "data" / "celeba", tmp_path / "pictures"
    place.mkdir()
    for number in range(1, 601):
        name = f"{number:06d}.jpg"
        (place / name).symlink_to((celeba / "img_align_celeba" / name).resolve())

    def auc(output, *crop):
        network = f"onnx:{shared / 'models' / 'mobilefacenet.onnx'}"
        options = ["--encoder", network, "--labels-from", str(celeba), "--output", str(output), *crop]
        assert main(["embed", "--images", str(place), *options]) == 0
        data = EmbeddingSet.load(output)
        assert data.embeddings.shape == (600, 128)
        first, second = np.triu_indices(len(data), 1)
        same = data.identities[first] == data.identities[second]
        assert same.sum() > 20
        return roc_auc_score(same, np.einsum("nd,nd->n", data.embeddings[first], data.embeddings[second]))

    middle = auc(tmp_path / "middle.npz", "--crop", "0.18,0.275,0.82,0.8")
    assert middle > 0.9
    assert middle > auc(tmp_path / "whole.npz") + 0.05
