"""Edits of files larger than memory: the same bits as in memory, the same refusals, and memory that stays flat."""

import resource
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from fclf.checkpoint import Checkpoint
from fclf.cli import main
from fclf.config import load_config
from fclf.data.embeddings import EmbeddingSet
from fclf.data.formats.parquet_blocks import write_blocks
from fclf.data.planted import planted
from fclf.data.stream import EmbeddingStream
from fclf.streaming import edit_stream
from fclf.train import train

CONFIGS = {
    "transport": ("edit", ["model.start=transport"]),
    "shift": ("edit", ["model.start=shift"]),
    "target": ("fclf_config", ["training.num_epochs=1", "model.hidden_dim=8"]),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder, data = tmp_path_factory.mktemp("runs"), planted(900, 12)[0]
    for name, (recipe, overrides) in CONFIGS.items():
        train(data, load_config(recipe, overrides), folder / name)
    return folder


@pytest.fixture(scope="module")
def many():
    """5,000 rows: two blocks and a half of the smallest size."""
    return planted(5000, 12, seed=5)[0]


@pytest.fixture(scope="module")
def file(many, tmp_path_factory):
    """The rows with more columns than embeddings, in row groups that end nowhere near a block."""
    path = tmp_path_factory.mktemp("files") / "many.parquet"
    many.save(tmp_path_factory.mktemp("whole") / "many.parquet")
    want = np.where(np.arange(5000) % 3 == 2, -1, np.arange(5000) % 3)
    extras = {"note": np.array([f"row {i}" for i in range(5000)]), "want": want}
    replace(many, extras=extras).save(path)
    table = parquet.read_table(path).replace_schema_metadata({**parquet.read_schema(path).metadata, b"theirs": b"kept"})
    table = table.append_column("nested", pa.array([[{"a": i}] for i in range(5000)]))
    table = table.set_column(table.schema.get_field_index("id"), "id", table["id"].dictionary_encode())
    parquet.write_table(table, path, row_group_size=777)
    return path


def edit(run, source, output, *more):
    return main(["edit", "--checkpoint", str(run), "--embeddings", str(source), "--output", str(output), *more])


def columns(path):
    """Every column that a file written from memory has, as plain values (the embedding as its bits)."""
    table = parquet.read_table(path)
    flat = table["embedding"].combine_chunks().flatten().to_numpy().tobytes()
    return {"embedding": flat, **{name: table[name].to_pylist() for name in table.column_names if name != "embedding"}}


@pytest.mark.parametrize("block_rows", [1, 2048, 4097, None])
@pytest.mark.parametrize("name", CONFIGS)
def test_any_block_gives_the_bits_of_all_rows_at_once(runs, many, file, name, block_rows, tmp_path):
    model, out = Checkpoint.load(runs / name), tmp_path / "out.parquet"
    with EmbeddingStream(file) as stream, write_blocks(out) as writer:
        done = edit_stream(model, stream, writer, {"Smiling": 1}, ["Male"], block_rows=block_rows)
    expected = model.edit(many, {"Smiling": 1}, ["Male"])
    assert done.rows == 5000
    assert np.abs(expected.embeddings - many.embeddings).max() > 0.01  # something is done
    expected.save(tmp_path / "expected.parquet")
    found, wanted = columns(out), columns(tmp_path / "expected.parquet")
    assert {name: found[name] for name in wanted} == wanted
    assert set(found) - set(wanted) == {"note", "want", "nested"}


def test_every_column_and_the_metadata_stay(runs, file, tmp_path):
    out = tmp_path / "out.parquet"
    assert edit(runs / "shift", file, out, "--flip", "Male") == 0
    before, after = parquet.read_table(file), parquet.read_table(out)
    assert after.column_names == before.column_names
    assert after.schema.metadata == before.schema.metadata
    assert after.schema.field("embedding").type == pa.list_(pa.float32(), 12)
    changed = [name for name in before.column_names if after[name].to_pylist() != before[name].to_pylist()]
    assert changed == ["embedding", "Male"]
    assert parquet.ParquetFile(out).metadata.num_row_groups == 1


@pytest.mark.parametrize(
    "more",
    [
        ("--split", "test"),
        ("--split", "val", "--infer-labels"),
        ("--strength", "0.5"),
        ("--keep", "0.1"),
        ("--set", "Young=@want", "--split", "judge"),
    ],
)
def test_options_do_what_they_do_in_memory(runs, many, file, more, tmp_path):
    """The same rows from an .npz file, which is edited in memory."""
    whole, out = tmp_path / "whole.npz", tmp_path / "out.parquet"
    replace(many, extras={"want": np.asarray(parquet.read_table(file)["want"])}).save(whole)
    assert edit(runs / "transport", file, out, "--flip", "Male", *more) == 0
    assert edit(runs / "transport", whole, tmp_path / "expected.parquet", "--flip", "Male", *more) == 0
    found, wanted = columns(out), columns(tmp_path / "expected.parquet")
    assert len(wanted["id"]) in (5000, (many.split == more[1]).sum(), (many.split == more[-1]).sum())
    assert {name: found[name] for name in wanted} == wanted


def test_a_split_of_our_own_is_that_of_all_rows(runs, many, tmp_path, capsys):
    source, out = tmp_path / "source.parquet", tmp_path / "out.parquet"
    bare = replace(many, split=None)
    bare.save(source)
    assert edit(runs / "shift", source, out, "--flip", "Male", "--split", "test") == 0
    assert "rows are split 56/8/16/20 by identity" in capsys.readouterr().err
    assert EmbeddingSet.load(out).ids.tolist() == bare.with_split(0).part("test").ids.tolist()
    assert set(EmbeddingSet.load(out).split) == {"test"}


@pytest.mark.parametrize("named", [True, False], ids=["people", "nobody"])
@pytest.mark.parametrize("normalize", [True, False])
def test_a_split_of_our_own_keeps_copies_together_however_far_apart(runs, many, tmp_path, named, normalize):
    z = many.embeddings.copy()
    z[-60:] = z[:60]
    bare = replace(many, embeddings=z, split=None, identities=many.identities if named else None)
    source, out = tmp_path / "in.parquet", tmp_path / "out.parquet"
    bare.save(source)
    if normalize:  # copies in what is edited, which are not in what is stored
        table = parquet.read_table(source)
        longer = (z * np.linspace(1, 2, len(z))[:, None]).astype(np.float64)
        column = pa.FixedSizeListArray.from_arrays(longer.ravel(), z.shape[1])
        parquet.write_table(table.set_column(table.schema.get_field_index("embedding"), "embedding", column), source)
        bare = EmbeddingSet.load(source, normalize=True)
        assert len(set(bare.row_digests())) < len(bare)
    more = ["--normalize"] if normalize else []
    assert edit(runs / "shift", source, out, "--flip", "Male", "--split", "test", *more) == 0
    assert EmbeddingSet.load(out).ids.tolist() == bare.with_split(0).part("test").ids.tolist()


# Checks of whole files, a block at a time


def spoiled(file, path, column, rows, value):
    table = parquet.read_table(file)
    values = table[column].to_pylist()
    for row in rows:
        values[row] = value
    kind = table.schema.field(column).type
    if value is None or column == "id":
        kind = pa.string() if column == "id" else kind
    place = table.schema.get_field_index(column)
    parquet.write_table(table.set_column(place, column, pa.array(values, kind)), path, row_group_size=777)


@pytest.mark.parametrize(
    ("column", "rows", "value", "says"),
    [
        ("embedding", [4321], [0.5] * 12, "first: row 4321, norm 1.732"),
        ("embedding", [4999], [float("nan")] * 12, "first: row 4999, norm nan"),
        ("embedding", [3000], None, "`embedding` is null in 1 of"),
        ("Young", [2500], 7, "row 2500, 'Young' is 7"),
        ("Young", [2500], -1, "--labels missing"),
        ("split", [4100], "dev", "row 4100 is 'dev'"),
        ("identity", [4100], None, "(first: row 4100)"),
        ("id", [4000], "planted-000003", "`ids` must be unique, but 1 occur twice or more (first: 'planted-000003')"),
        ("id", [4000, 10], "ab", "1 occur twice or more (first: 'ab')"),
        ("want", [4998], 3, "column 'want' must be 0, 1, or -1 or NaN"),
    ],
)
def test_a_bad_row_is_named_by_its_number_in_the_file(runs, file, tmp_path, capsys, column, rows, value, says):
    bad, out = tmp_path / "bad.parquet", tmp_path / "out.parquet"
    spoiled(file, bad, column, rows, value)
    more = ("--set", "Smiling=@want", "--flip", "Male")
    assert edit(runs / "shift", bad, out, *more) == 2
    err = capsys.readouterr().err
    assert says in err
    if column == "want":
        assert "row 4998 is 3" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.parquet"]


@pytest.mark.parametrize("same_split", [True, False])
def test_nobody_stands_in_two_splits_however_far_apart(runs, many, tmp_path, capsys, same_split):
    first = many.split[0]
    people, split = many.identities.copy(), many.split.copy()
    people[-1] = people[0]
    split[-1] = first if same_split else next(name for name in ("train", "test") if name != first)
    source = tmp_path / "people.parquet"
    replace(many, identities=people, split=split).save(source)
    code = edit(runs / "shift", source, tmp_path / "out.parquet", "--flip", "Male")
    if same_split:
        assert code == 0
    else:
        assert code == 2
        assert f"1 identities stand in more than one split (first: {people[0]}" in capsys.readouterr().err


def test_a_hash_that_two_ids_share_is_no_repetition(runs, file, tmp_path, monkeypatch):
    monkeypatch.setattr("fclf.data.stream.hash", len, raising=False)  # nearly all ids agree
    assert edit(runs / "shift", file, tmp_path / "out.parquet", "--flip", "Male") == 0


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--flip", "Mael"), "did you mean 'Male'"),
        (("--flip", "Male", "--split", "holdout"), "There is no split 'holdout'"),
        (("--flip", "Male", "--partition", "train"), "--labels-from FOLDER only"),
        (("--set", "Smiling=@wnat"), "there is no column 'wnat' to read targets from. Did you mean 'want'?"),
        (("--set", "Smiling=@note"), "column 'note' has type"),
        (("--set", "Smiling=@"), "NAME=0 or NAME=1"),
        (("--set", "Smiling=@want", "--set", "Smiling=1"), "both 1 and @want"),
        (("--set", "Smiling=@want", "--flip", "Smiling"), "both set and flipped"),
        ((), "Nothing to edit"),
    ],
)
def test_what_cannot_be_done_is_refused_and_leaves_nothing(runs, file, tmp_path, capsys, more, says):
    assert edit(runs / "shift", file, tmp_path / "out.parquet", *more) == 2
    assert says in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_empty_split_and_a_width_that_does_not_fit(runs, many, tmp_path, capsys):
    few, wide, out = (tmp_path / f"{name}.parquet" for name in ("few", "wide", "out"))
    many.take(many.split == "train").save(few)
    planted(20, 16)[0].save(wide)
    assert edit(runs / "shift", few, out, "--flip", "Male", "--split", "val") == 2
    assert "The split 'val' is empty" in capsys.readouterr().err
    assert edit(runs / "shift", wide, out, "--flip", "Male") == 2
    assert "width 12, but these have width 16" in capsys.readouterr().err


@pytest.mark.parametrize("rows", [0, 1])
def test_no_row_is_refused_and_one_is_edited(runs, file, tmp_path, capsys, rows):
    source, out = tmp_path / "few.parquet", tmp_path / "out.parquet"
    parquet.write_table(parquet.read_table(file).slice(0, rows), source)
    assert edit(runs / "shift", source, out, "--flip", "Male") == (0 if rows else 2)
    if rows:
        assert parquet.read_table(out).num_rows == 1
    else:
        assert "shape (0, 12)" in capsys.readouterr().err
        assert not out.exists()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_file_is_refused(runs, file, tmp_path, capsys, share):
    source, whole = tmp_path / "cut.parquet", file.read_bytes()
    source.write_bytes(whole[: int(share * len(whole))])
    assert edit(runs / "shift", source, tmp_path / "out.parquet", "--flip", "Male") == 2
    assert "It may be truncated" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["cut.parquet"]


def test_a_damaged_page_far_into_the_file_leaves_nothing(runs, many, tmp_path, capsys):
    source = tmp_path / "damaged.parquet"
    parquet.write_table(
        parquet.read_table(_saved(many, tmp_path)), source, row_group_size=1000, write_page_checksum=True
    )
    content = bytearray(source.read_bytes())
    place = parquet.ParquetFile(source).metadata.row_group(4).column(0).data_page_offset + 200
    content[place] ^= 0xFF
    source.write_bytes(content)
    assert edit(runs / "shift", source, tmp_path / "out.parquet", "--flip", "Male") == 2
    assert "cannot be read as .parquet" in capsys.readouterr().err
    assert not (tmp_path / "out.parquet").exists()


def _saved(data, folder):
    data.save(folder / "whole.parquet")
    return folder / "whole.parquet"


@pytest.mark.parametrize("link", [False, True])
def test_the_input_is_never_the_output(runs, file, tmp_path, capsys, link):
    output = tmp_path / "link.parquet" if link else file
    if link:
        output.symlink_to(file)
    before = file.read_bytes()
    assert edit(runs / "shift", file, output, "--flip", "Male") == 2
    assert "is the input file" in capsys.readouterr().err
    assert file.read_bytes() == before


def test_a_column_that_is_called_as_an_attribute_is_refused(runs, many, tmp_path, capsys):
    source = tmp_path / "clash.parquet"
    replace(many.select(["Young"]), extras={"Male": np.zeros(5000, np.int8)}, attribute_names=("Young",)).save(source)
    more = [part for name in many.attribute_names for part in ("--set", f"{name}=1")]
    assert edit(runs / "target", source, tmp_path / "out.parquet", *more) == 2
    assert "two columns of this table would be called 'Male'" in capsys.readouterr().err


def test_labels_are_read_as_they_are_written(runs, many, tmp_path):
    signed, plain = tmp_path / "signed.parquet", tmp_path / "plain.parquet"
    many.save(plain)
    table = parquet.read_table(plain)
    for name in many.attribute_names:
        place = table.schema.get_field_index(name)
        table = table.set_column(place, name, pa.array(2.0 * np.asarray(table[name]) - 1))
    parquet.write_table(table, signed)
    assert edit(runs / "shift", signed, tmp_path / "a.parquet", "--flip", "Male", "--labels", "signed") == 0
    assert edit(runs / "shift", plain, tmp_path / "b.parquet", "--flip", "Male") == 0
    assert columns(tmp_path / "a.parquet") == columns(tmp_path / "b.parquet")


@pytest.mark.parametrize("scale", [3.0, 1e-3])
def test_rows_of_any_length_are_projected_on_request(runs, many, tmp_path, scale):
    source, out = tmp_path / "long.parquet", tmp_path / "out.parquet"
    replace(many, embeddings=many.embeddings * np.float32(scale)).save(source)
    assert edit(runs / "shift", source, out, "--flip", "Male") == 2
    assert edit(runs / "shift", source, out, "--flip", "Male", "--normalize") == 0
    expected = Checkpoint.load(runs / "shift").edit(EmbeddingSet.load(source, normalize=True), flip=["Male"])
    expected.save(tmp_path / "expected.parquet")
    assert columns(out) == columns(tmp_path / "expected.parquet")


def test_missing_labels_are_inferred_and_counted(runs, many, tmp_path, capsys):
    labels = many.attributes.copy()
    labels[::7, 0] = -1
    source, whole = tmp_path / "gaps.parquet", tmp_path / "gaps.npz"
    for path in (source, whole):
        replace(many, attributes=labels).save(path)
    more = ("--flip", "Male", "--labels", "missing")
    assert edit(runs / "shift", source, tmp_path / "no.parquet", *more) == 2
    assert "type --infer-labels" in capsys.readouterr().err
    for path, out in ((source, "a.parquet"), (whole, "b.parquet")):
        assert edit(runs / "shift", path, tmp_path / out, *more, "--infer-labels") == 0
        assert "for 715 of 5,000 rows" in capsys.readouterr().err
    assert columns(tmp_path / "a.parquet") == columns(tmp_path / "b.parquet")


# Interrupted, and out of space


def command(run, source, out, *more):
    arguments = ["edit", "--checkpoint", str(run), "--embeddings", str(source), "--output", str(out), "--flip", "Male"]
    return [sys.executable, "-m", "fclf", *arguments, *more]


def test_a_full_disk_is_an_error_and_leaves_nothing(runs, file, tmp_path):
    out = tmp_path / "out.parquet"
    out.write_bytes(b"an older file")
    limit = 150_000
    done = subprocess.run(
        command(runs / "shift", file, out),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert out.read_bytes() == b"an older file"
    assert [path.name for path in tmp_path.iterdir()] == ["out.parquet"]


SLOW = """
import sys, time
from fclf.checkpoint import Checkpoint
edit = Checkpoint.edit
def slow(*args, **more):
    print("editing", flush=True)
    time.sleep(1)
    return edit(*args, **more)
Checkpoint.edit = slow
from fclf.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_an_interrupted_edit_leaves_nothing(runs, file, tmp_path):
    out = tmp_path / "out.parquet"
    arguments = command(runs / "shift", file, out)[3:]
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "editing\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Nothing is half-written" in err
    assert list(tmp_path.iterdir()) == []


MEASURE = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from fclf.checkpoint import Checkpoint
from fclf.data.formats.parquet_blocks import write_blocks
from fclf.data.stream import EmbeddingStream
from fclf.streaming import edit_stream
run, source, out = map(Path, sys.argv[1:])
model = Checkpoint.load(run)
with EmbeddingStream(source) as stream, write_blocks(out) as writer:
    edit_stream(model, stream, writer, flip=["Male"], block_rows=4096)
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
print(peak.split()[1])  # not getrusage, whose peak a process inherits from the one that started it
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peaks are read from /proc")
def test_memory_does_not_grow_with_the_rows(runs, many, tmp_path):
    """8 times the rows, 14 MiB of embeddings more, and no row group to hold on to."""
    peaks = []
    for times in (10, 80):
        source = tmp_path / f"{times}.parquet"
        table = parquet.read_table(_saved(many, tmp_path))
        table = pa.concat_tables(
            [
                table.set_column(table.schema.get_field_index("id"), "id", pa.array([f"{k}-{i}" for i in range(5000)]))
                for k in range(times)
            ]
        )
        parquet.write_table(table, source, row_group_size=10**7, use_dictionary=["split"])
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, str(runs / "shift"), str(source), str(tmp_path / "out.parquet")],
            capture_output=True,
            text=True,
            check=True,
        )
        peaks.append(int(done.stdout) / 1024)
        assert parquet.read_metadata(tmp_path / "out.parquet").num_rows == 5000 * times
    assert peaks[1] - peaks[0] < 15, peaks


# Targets of every row, and labels from a folder


def test_null_in_a_column_of_targets_leaves_a_row_as_it_is(runs, many, tmp_path):
    """Null in Parquet, null that memory holds as a mask, -1 and NaN are the same."""
    want = np.arange(5000) % 3
    held = [None if value == 2 else int(value) for value in want]
    many.save(tmp_path / "plain.parquet")
    table = parquet.read_table(tmp_path / "plain.parquet")
    parquet.write_table(table.append_column("want", pa.array(held, pa.int8())), tmp_path / "null.parquet")
    replace(many, extras={"want": np.where(want == 2, np.nan, want)}).save(tmp_path / "nan.npz")
    outs = {"null.parquet": ("a.parquet", "b.npz"), "nan.npz": ("c.parquet",)}
    expected = Checkpoint.load(runs / "shift").edit(many, {"Smiling": np.where(want == 2, -1, want)})
    assert expected.attributes[:, 0].tolist() == np.where(want == 2, many.attributes[:, 0], want).tolist()
    np.testing.assert_array_equal(expected.embeddings[want == 2], many.embeddings[want == 2])
    assert (expected.embeddings[want != 2] != many.embeddings[want != 2]).any()
    for source, names in outs.items():
        for name in names:
            assert edit(runs / "shift", tmp_path / source, tmp_path / name, "--set", "Smiling=@want") == 0
            found = EmbeddingSet.load(tmp_path / name)
            np.testing.assert_allclose(found.embeddings, expected.embeddings, atol=1e-6)  # projected again when read
            np.testing.assert_array_equal(found.attributes, expected.attributes)


def test_an_attribute_is_a_column_of_targets_too(runs, many, file, tmp_path):
    assert edit(runs / "shift", file, tmp_path / "out.parquet", "--set", "Smiling=@Male") == 0
    table = parquet.read_table(tmp_path / "out.parquet")
    assert table["Smiling"].to_pylist() == table["Male"].to_pylist() == many.attributes[:, 2].tolist()


@pytest.mark.parametrize("joined_by", ["id", "order"])
def test_labels_of_a_folder_are_joined_to_all_rows(runs, many, tmp_path, capsys, joined_by):
    names = [f"{row + 1:06d}.jpg" for row in range(5000)]
    signs = np.where(many.attributes == 1, 1, -1).tolist()
    lines = ["5000", " ".join(many.attribute_names)]
    lines += [f"{name} {' '.join(map(str, row))}" for name, row in zip(names, signs, strict=True)]
    folder = tmp_path / "celeba"
    folder.mkdir()
    (folder / "list_attr_celeba.txt").write_text("\n".join([*lines, ""]))
    rows = np.arange(5000)
    for name, values in (("list_eval_partition", rows // 2500), ("identity_CelebA", rows // 5)):
        text = "".join(f"{image} {value}\n" for image, value in zip(names, values, strict=True))
        (folder / f"{name}.txt").write_text(text)
    ids = {"ids": np.array(names)} if joined_by == "id" else {}
    rows = EmbeddingSet.from_arrays({"embeddings": many.embeddings, "extra": np.arange(5000), **ids})
    rows.save(tmp_path / "rows.parquet")
    rows.save(tmp_path / "rows.npz")
    more = ("--flip", "Male", "--labels-from", str(folder), "--split", "val")
    said = []
    for suffix in ("parquet", "npz"):
        assert edit(runs / "shift", tmp_path / f"rows.{suffix}", tmp_path / f"{suffix}.parquet", *more) == 0
        said.append(capsys.readouterr().err)
    assert said[0] == said[1]
    assert f"joined by {joined_by}" in said[0]
    assert columns(tmp_path / "parquet.parquet") == columns(tmp_path / "npz.parquet")
