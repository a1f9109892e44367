"""Data on the command line: every format, labels from a folder, `fclf inspect`, and every bad file."""

import json
import pickle

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from pyarrow import parquet

from fclf.cli import main
from fclf.data import formats
from fclf.data.embeddings import EmbeddingSet
from fclf.data.planted import planted

SMALL = ("--set", "training.num_epochs=1", "--set", "model.hidden_dim=8")
NAMES = "Smiling,Young,Male"


@pytest.fixture(scope="module")
def data():
    return planted(720, 12)[0]


@pytest.fixture(scope="module")
def files(data, tmp_path_factory):
    """A folder with the same rows in every format, and the CelebA folder that knows their labels."""
    folder = tmp_path_factory.mktemp("files")
    data.save(folder / "all.npz")
    data.save(folder / "all.parquet")
    ids = np.array([f"{row + 1:06d}" for row in range(720)])
    EmbeddingSet.from_arrays({"embeddings": data.embeddings, "ids": ids}).save(folder / "ids.parquet")
    torch.save(torch.from_numpy(data.embeddings[:600]).half(), folder / "train_embeddings.pt")
    torch.save(torch.from_numpy(3 * data.embeddings[:600]), folder / "train_long.pt")
    celeba = folder / "celeba"
    celeba.mkdir()
    lines = ["720", " ".join(data.attribute_names)]
    signs = np.where(data.attributes == 1, 1, -1)
    lines += [f"{name}.jpg " + " ".join(map(str, row)) for name, row in zip(ids, signs, strict=True)]
    (celeba / "list_attr_celeba.txt").write_text("\r\n".join([*lines, ""]), newline="")
    parts = np.repeat([0, 1, 2], [600, 60, 60])
    for file, values in (("list_eval_partition.txt", parts), ("identity_CelebA.txt", data.identities)):
        (celeba / file).write_text("".join(f"{i}.jpg {v}\n" for i, v in zip(ids, values, strict=True)))
    (celeba / "img_align_celeba").mkdir()
    for name in ids[:4]:
        Image.new("RGB", (8, 8)).save(celeba / "img_align_celeba" / f"{name}.jpg")
    for name in ("000002.jpg", "000700.jpg"):
        (celeba / "img_align_celeba" / name).write_bytes(b"nothing")
    return folder


@pytest.fixture(scope="module")
def run_dir(files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert train(files / "all.npz", folder) == 0
    return folder


def train(path, folder, *more):
    return main(
        [
            "train",
            "--config",
            "fclf_config",
            "--embeddings",
            str(path),
            "--output-dir",
            str(folder),
            *SMALL,
            "--attributes",
            NAMES,
            *more,
        ]
    )


def losses(folder):
    return [json.loads(line)["loss"] for line in (folder / "logs" / "metrics.jsonl").read_text().splitlines()]


def test_parquet_trains_evaluates_and_edits_as_npz_does(files, run_dir, tmp_path, capsys):
    assert train(files / "all.parquet", tmp_path / "run") == 0
    assert losses(tmp_path / "run") == losses(run_dir)
    base = ["--checkpoint", str(run_dir), "--embeddings", str(files / "all.parquet")]
    assert (
        main(["evaluate", *base, "--output-dir", str(tmp_path / "eval"), "--mode", "single", "--projection", "pca"])
        == 0
    )
    for suffix in ("npz", "parquet"):
        assert main(["edit", *base, "--flip", "Male", "--output", str(tmp_path / f"out.{suffix}")]) == 0
    one, other = (EmbeddingSet.load(tmp_path / f"out.{suffix}") for suffix in ("npz", "parquet"))
    assert one.fingerprint() == other.fingerprint()


def test_labels_from_a_folder_train_evaluate_and_edit(files, tmp_path, capsys):
    labels = ["--labels-from", str(files / "celeba")]
    assert train(files / "ids.parquet", tmp_path / "run", *labels) == 0
    out, err = capsys.readouterr()
    assert "5 attributes for 720 of 720 rows, joined by id" in err
    assert "judge rows, which it has not, are drawn by identity with seed 0" in err
    assert f"--labels-from {files / 'celeba'}" in out
    base = ["--checkpoint", str(tmp_path / "run"), "--embeddings", str(files / "ids.parquet"), *labels]
    assert (
        main(["evaluate", *base, "--output-dir", str(tmp_path / "eval"), "--mode", "single", "--projection", "pca"])
        == 0
    )
    assert main(["edit", *base, "--flip", "Male", "--split", "test", "--output", str(tmp_path / "o.parquet")]) == 0
    edited = EmbeddingSet.load(tmp_path / "o.parquet")
    assert edited.ids.tolist() == [f"{row:06d}" for row in range(661, 721)]


def test_the_references_tensor_trains_with_labels_joined_by_order(files, tmp_path, capsys):
    path, labels = files / "train_embeddings.pt", ["--labels-from", str(files / "celeba")]
    assert train(path, tmp_path / "no") == 2
    assert "--labels-from CELEBA_FOLDER" in capsys.readouterr().err
    assert train(path, tmp_path / "run", *labels) == 0
    err = capsys.readouterr().err
    assert "600 of 600 rows, joined by order with the official train part" in err
    assert "split 56/8/16/20 by identity" in err
    assert train(files / "train_long.pt", tmp_path / "no", *labels) == 2
    assert "600 of 600 rows are not" in capsys.readouterr().err
    assert train(files / "train_long.pt", tmp_path / "long", *labels, "--normalize") == 0
    assert train(path, tmp_path / "no", *labels, "--partition", "val") == 2
    assert "official val part has 60" in capsys.readouterr().err
    assert train(path, tmp_path / "no", "--partition", "val") == 2
    assert "--labels-from FOLDER only" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


# Inspect.


def inspect(*arguments):
    return main(["inspect", *map(str, arguments)])


def test_inspect_shows_figures_counts_and_problems(files, capsys):
    assert inspect(files / "all.parquet") == 0
    out = capsys.readouterr().out
    for part in ("720 x 12", "mean cosine", "effective rank", "(from the file)", "240, at most 3", "of 32 possible"):
        assert part in out
    assert "Mustache" in out
    assert inspect(files / "ids.parquet") == 0
    out = capsys.readouterr().out
    assert "- there are no attributes" in out
    assert "Type: --labels-from CELEBA_FOLDER" in out


def test_inspect_as_json_with_labels_from_a_folder(files, capsys):
    arguments = ("--labels-from", files / "celeba", "--attributes", "Male,Young", "--images", "--json")
    assert inspect(files / "train_embeddings.pt", *arguments) == 0
    got = json.loads(capsys.readouterr().out)
    assert (got["rows"], got["norms"]["dtype"]) == (600, "float16")
    assert [count["name"] for count in got["attributes"]] == ["Male", "Young"]
    assert got["combinations"]["possible"] == 4
    assert [image["name"] for image in got["broken_images"]] == ["000002.jpg"]
    assert inspect(files / "ids.parquet", "--labels-from", files / "celeba", "--json") == 0
    got = json.loads(capsys.readouterr().out)
    assert (got["splits"]["val"], got["splits"]["test"]) == (60, 60)
    assert "CelebA's partition" in got["split_origin"]


def test_inspect_of_the_folder_itself(files, capsys):
    assert inspect(files / "celeba") == 0
    out = capsys.readouterr().out
    assert "all          720 images listed,         5 there" in out
    assert "Broken" not in out
    assert inspect(files / "celeba", "--images") == 0
    assert "Broken images: 2\n- 000002.jpg: cannot identify" in capsys.readouterr().out
    assert inspect(files / "celeba", "--images", "--json") == 0
    got = json.loads(capsys.readouterr().out)
    assert got["listed"] == {"all": 720, "train": 600, "val": 60, "test": 60}
    assert got["present"] == {"all": 5, "train": 4, "val": 0, "test": 1}
    assert (got["people"], len(got["attributes"]), len(got["broken_images"])) == (240, 5, 2)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere.npz"], "no file nowhere.npz"),
        (["{}"], "has no list_attr_celeba.txt"),
        (["{}/celeba", "--normalize"], "is a folder"),
        (["{}/all.npz", "--images"], "--labels-from"),
        (["{}/all.npz", "--attributes", "Smilin"], "did you mean 'Smiling'"),
        (["{}/all.npz", "--labels-from", "{}"], "has no list_attr_celeba.txt"),
        (["{}/all.npz", "--labels-from", "nowhere"], "There is no folder nowhere"),
        (["{}/all.npz", "--labels-from", "{}/celeba"], "None of the 720 ids"),
    ],
)
def test_a_bad_inspection_exits_2_with_one_message(arguments, says, files, capsys):
    assert inspect(*(text.format(files) for text in arguments)) == 2
    out, err = capsys.readouterr()
    assert says in err
    assert err.count("Error") == 1
    assert out == ""


# Every bad input, in every format that can hold it.


def spoilt(data, **changes):
    """The arrays of a good file with some replaced; None leaves one out."""
    arrays = {**data.to_arrays(), **changes}
    return {key: value for key, value in arrays.items() if value is not None}


def edited(array, row, value):
    array = array.copy()
    array[row] = value
    return array


BAD = {
    "one axis": (lambda d: {"embeddings": d.embeddings[:, 0]}, "shape (720,)"),
    "other rows": (lambda d: {"attributes": d.attributes[:5]}, "shape (5, 5)"),
    "NaN": (lambda d: {"embeddings": edited(d.embeddings, (3, 1), np.nan)}, "row 3, norm nan"),
    "infinity": (lambda d: {"embeddings": edited(d.embeddings, (3, 1), np.inf)}, "row 3, norm inf"),
    "not unit norm": (lambda d: {"embeddings": 2 * d.embeddings}, "type --normalize"),
    "label -1": (lambda d: {"attributes": edited(d.attributes, (4, 2), -1)}, "row 4, 'Male' is -1"),
    "label 2": (lambda d: {"attributes": edited(d.attributes, (4, 2), 2)}, "row 4, 'Male' is 2"),
    "another name": (
        lambda d: {"attribute_names": np.array(["Smilling", *d.attribute_names[1:]])},
        "'Smiling' (did you mean 'Smilling'?)",
    ),
    "an id twice": (lambda d: {"ids": edited(d.ids, 1, d.ids[0])}, "`ids` must be unique"),
    "constant": (lambda d: {"attributes": edited(d.attributes, (slice(None), 2), 1)}, "Male"),
    "empty split": (lambda d: {"split": np.where(d.split == "val", "test", d.split)}, "'val' is empty"),
    "a torn person": (
        lambda d: {"split": edited(d.split, 0, "val" if d.split[0] != "val" else "test")},
        "1 identities stand in more than one split",
    ),
}
IN_A_TABLE = [name for name in BAD if name not in ("one axis", "other rows")]
CASES = [(name, ".npz") for name in BAD] + [(name, ".parquet") for name in IN_A_TABLE]


@pytest.mark.parametrize(("name", "suffix"), CASES)
def test_bad_values_exit_2_with_one_message_and_nothing_written(name, suffix, data, tmp_path, capsys):
    change, says = BAD[name]
    path = tmp_path / f"bad{suffix}"
    formats.write(path, spoilt(data, **change(data)))
    assert train(path, tmp_path / "run") == 2
    out, err = capsys.readouterr()
    assert says in err
    assert err.count("Error:") == 1
    assert "Traceback" not in err
    assert out == ""
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_table_of_other_shapes_exits_2(data, tmp_path, capsys):
    parquet.write_table(pa.table({"embedding": pa.array(range(5))}), tmp_path / "bad.parquet")
    assert train(tmp_path / "bad.parquet", tmp_path / "run") == 2
    assert "fixed_size_list<float>" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["train", "evaluate", "edit", "inspect"])
@pytest.mark.parametrize("kind", ["truncated", "pickled", "empty"])
@pytest.mark.parametrize("suffix", [".npz", ".parquet", ".pt"])
def test_damaged_and_pickled_files_exit_2_in_every_command(suffix, kind, command, files, run_dir, tmp_path, capsys):
    source = {".npz": "all.npz", ".parquet": "all.parquet", ".pt": "train_embeddings.pt"}[suffix]
    whole = (files / source).read_bytes()
    content = {"truncated": whole[: len(whole) * 2 // 3], "pickled": pickle.dumps({"a": print}), "empty": b""}[kind]
    path = tmp_path / f"bad{suffix}"
    path.write_bytes(content)
    out = tmp_path / "out"
    given = {
        "train": ["--embeddings", path, "--output-dir", out],
        "evaluate": ["--checkpoint", run_dir, "--embeddings", path, "--output-dir", out],
        "edit": ["--checkpoint", run_dir, "--embeddings", path, "--set", "Male=1", "--output", tmp_path / "out.npz"],
        "inspect": [path],
    }[command]
    assert main([command, *map(str, given)]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"Error: Embeddings: {path} cannot be read as")
    assert err.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["out.pt", "out.csv", "out"])
def test_an_output_that_cannot_hold_the_edit_is_refused_before_any_work(name, files, tmp_path, capsys):
    base = ["edit", "--checkpoint", "nowhere", "--embeddings", str(files / "all.npz"), "--flip", "Male"]
    assert main([*base, "--output", str(tmp_path / name)]) == 2
    assert ".npz or .parquet" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
