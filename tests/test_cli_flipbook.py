"""`fclf flipbook` and `fclf evaluate --images` as a user types them."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from fclf.cli import main
from fclf.data.embeddings import EmbeddingSet
from fclf.data.images import load_images
from fclf.data.planted import planted
from fclf.decoder import Decoder, ImageDecoder
from fclf.evaluation.results import Report


@pytest.fixture(scope="module")
def data():
    return planted(900, 16, per_person=20)[0]


@pytest.fixture(scope="module")
def embeddings(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "planted.npz"
    data.save(path)
    return path


@pytest.fixture(scope="module")
def images(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for number, name in enumerate(data.ids):
        Image.new("RGB", (20, 20), (number % 256, number // 256 * 60, 90)).save(folder / f"{name}.png")
    return folder


@pytest.fixture(scope="module")
def run_dir(embeddings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    settings = ["--set", "model.start=shift"]
    assert main(["train", "--embeddings", str(embeddings), "--output-dir", str(folder), *settings]) == 0
    return folder


@pytest.fixture
def book(run_dir, embeddings, tmp_path):
    def draw(*more, output="book.png"):
        base = ["flipbook", "--checkpoint", str(run_dir), "--embeddings", str(embeddings)]
        return main([*base, "--output", str(tmp_path / output), *map(str, more)])

    return draw


@pytest.fixture(scope="module")
def decoder(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("decoder") / "decoder.safetensors"
    Decoder(ImageDecoder(16, width=8)).save(path)
    return path


def test_a_sheet_and_an_animation_are_written(book, images, tmp_path, capsys):
    assert book("--images", images, "--gif", tmp_path / "book.gif") == 0
    out = capsys.readouterr().out
    assert "8 edits" in out
    assert str(tmp_path / "book.png") in out
    with Image.open(tmp_path / "book.png") as sheet:
        assert sheet.size[0] > 6 * 128
        assert sheet.size[1] > 8 * 128
    with Image.open(tmp_path / "book.gif") as gif:
        assert gif.n_frames == 10


def test_json_says_what_is_shown(book, images, data, capsys):
    assert book("--images", images, "--flip", "Eyeglasses", "--people", 5, "--steps", 11, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["times"] == pytest.approx(np.linspace(0, 1, 11))
    assert len(found["people"]) == 5
    assert {person["change"] for person in found["people"]} == {"+Eyeglasses", "-Eyeglasses"}
    row_of = {name: row for row, name in enumerate(data.ids.tolist())}
    shown = [row_of[person["id"]] for person in found["people"]]
    assert len(set(data.identities[shown].tolist())) == 5
    assert (data.split[shown] == "test").all()
    column = data.attribute_names.index("Eyeglasses")
    for person, row in zip(found["people"], shown, strict=True):
        assert len(person["nearest"]) == len(person["distances"]) == 11
        assert person["nearest"][0] == person["id"]
        assert (person["change"][0] == "+") == (data.attributes[row, column] == 0)


def test_named_rows_are_shown(book, images, data, capsys):
    two = data.ids[data.split == "test"][[9, 4]].tolist()
    assert book("--images", images, "--flip", "Young", "--rows", two[0], "--rows", two[1], "--json") == 0
    assert [person["id"] for person in json.loads(capsys.readouterr().out)["people"]] == two


def test_only_rows_that_change_are_shown(book, images, capsys):
    assert book("--images", images, "--set", "Smiling=1", "--json") == 0
    assert {person["change"] for person in json.loads(capsys.readouterr().out)["people"]} == {"+Smiling"}


def test_the_same_seed_draws_the_same_bytes(book, images, tmp_path):
    for name, seed in (("one", 0), ("two", 0), ("other", 1)):
        assert book("--images", images, "--seed", seed, "--gif", tmp_path / f"{name}.gif", output=f"{name}.png") == 0
    for suffix in ("png", "gif"):
        one, two, other = ((tmp_path / f"{name}.{suffix}").read_bytes() for name in ("one", "two", "other"))
        assert one == two
        assert one != other


def test_a_strength_of_nothing_stays_at_the_sources(book, images, capsys):
    assert book("--images", images, "--strength", 0, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["unique"] == [1] * 6
    assert all(person["nearest"] == [person["id"]] * 6 for person in found["people"])


def test_a_decoder_alone_is_enough(book, decoder, data, tmp_path, capsys):
    assert book("--decoder", decoder, "--json") == 0
    first = json.loads(capsys.readouterr().out)["people"][0]["id"]
    (source,) = Decoder.load(decoder).decode(data.embeddings[data.ids == first])
    sheet = np.asarray(Image.open(tmp_path / "book.png"))
    starts = np.argwhere((sheet[..., :3] == source[0, 0]).all(axis=2))
    assert any(np.array_equal(sheet[y : y + 64, x : x + 64], source) for y, x in starts)


def test_a_decoder_and_images_are_two_strips(book, decoder, images, tmp_path):
    sizes = {}
    for name, more in (("one", []), ("two", ["--images", images])):
        assert book("--decoder", decoder, *more, output=f"{name}.png") == 0
        with Image.open(tmp_path / f"{name}.png") as sheet:
            sizes[name] = sheet.size
    assert sizes["two"][1] - sizes["one"][1] > 8 * 64


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([], "A flipbook needs pictures: type --images DIR"),
        (["--images", "IMAGES", "--gif", "book.png"], "name it book.gif"),
        (["--images", "IMAGES", "--set", "Smilin=1"], "did you mean 'Smiling'?"),
        (["--images", "IMAGES", "--set", "Smiling"], "type NAME=0 or NAME=1"),
        (["--images", "IMAGES", "--set", "Smiling=1", "--flip", "Smiling"], "cannot be both set and flipped"),
        (["--images", "IMAGES", "--rows", "nobody"], "not the name of one row"),
        (["--images", "IMAGES", "--split", "tset"], "There is no split 'tset'"),
        (["--images", "IMAGES", "--keep", "0.5"], "no operating point"),
        (["--images", "nowhere"], "Images: nowhere does not exist"),
        (["--decoder", "nowhere"], "Decoder: there is no file nowhere"),
        (["--images", "EMPTY"], "has no image of any of the"),
    ],
)
def test_what_cannot_be_drawn_is_refused(book, images, tmp_path, capsys, more, said):
    (tmp_path / "empty").mkdir()
    folders = {"IMAGES": images, "EMPTY": tmp_path / "empty"}
    assert book(*(folders.get(part, part) for part in more)) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "book.png").exists()


def test_a_sheet_is_a_png(book, images, capsys):
    assert book("--images", images, output="book.jpg") == 2
    assert "book.png" in capsys.readouterr().err


def test_a_decoder_for_another_width_is_refused(book, tmp_path, capsys):
    Decoder(ImageDecoder(128, width=8)).save(tmp_path / "wide.safetensors")
    assert book("--decoder", tmp_path / "wide.safetensors") == 2
    assert "width 128, but these have width 16" in capsys.readouterr().err
    assert not (tmp_path / "book.png").exists()


def test_rows_that_have_the_target_already_are_refused(run_dir, data, images, tmp_path, capsys):
    smiling = data.take(data.attributes[:, data.attribute_names.index("Smiling")] == 1)
    smiling.save(tmp_path / "smiling.npz")
    base = ["flipbook", "--checkpoint", str(run_dir), "--embeddings", str(tmp_path / "smiling.npz")]
    base += ["--images", str(images), "--output", str(tmp_path / "book.png")]
    assert main([*base, "--set", "Smiling=1"]) == 2
    assert "have Smiling=1 already" in capsys.readouterr().err


def test_an_evaluation_keeps_the_pictures(run_dir, embeddings, images, decoder, tmp_path):
    base = ["evaluate", "--checkpoint", str(run_dir), "--embeddings", str(embeddings), "--projection", "pca"]
    assert main([*base, "--images", str(images), "--decoder", str(decoder), "--output-dir", str(tmp_path)]) == 0
    points = Report.load(tmp_path).points
    assert points.flipbook_images.shape == points.flipbook_decoded.shape == (8, 6, 64, 64, 3)
    assert points.flipbook_found.all()
    data = EmbeddingSet.load(embeddings)
    expected = load_images(images, points.flipbook_ids, 64)[0]
    np.testing.assert_array_equal(points.flipbook_images[:, 0], expected)
    rows = [int(np.flatnonzero(data.ids == name)[0]) for name in points.flipbook_ids]
    np.testing.assert_array_equal(points.flipbook_decoded[:, 0], Decoder.load(decoder).decode(data.embeddings[rows]))
    assert (tmp_path / "figures" / "flipbook.png").is_file()
    assert (tmp_path / "points.npz").stat().st_size < 3_000_000


def test_an_evaluation_of_a_wrong_folder_is_refused(run_dir, embeddings, tmp_path, capsys):
    base = ["evaluate", "--checkpoint", str(run_dir), "--embeddings", str(embeddings), "--projection", "pca"]
    assert main([*base, "--images", str(tmp_path), "--output-dir", str(tmp_path / "out")]) == 2
    assert "has no image of any of the" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
