"""Edits of folders of shards: the rows that one file would have had, in the layout that came."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from sharding import (
    bits,
    edit,
    leftovers,
    npy_folder,
    outputs,
    parquet_folder,
    parts,
    raw_embeddings,
    record,
    times,
)

from fclf.checkpoint import Checkpoint
from fclf.data.embeddings import EmbeddingSet
from fclf.data.planted import planted
from fclf.data.shards.output import OutputFolder
from fclf.scale.manifest import Manifest

pytestmark = pytest.mark.usefixtures("inline")
SMILE = ("--set", "Smiling=1", "--flip", "Male")


def expected(run, data, **more):
    return Checkpoint.load(run).edit(data, {"Smiling": 1}, ["Male"], **more)


# The rows


def test_parquet_shards_have_the_bits_of_their_rows_edited_together(run, many, tmp_path):
    source, out = parquet_folder(tmp_path / "in", many), tmp_path / "out"
    assert edit(run, source, out, *SMILE) == 0
    whole = expected(run, many)
    assert np.abs(whole.embeddings - many.embeddings).max() > 0.01
    assert list(outputs(out)) == [f"part-{k}.parquet" for k in range(4)]
    for part, place in zip(parts(many, 4), outputs(out), strict=True):
        assert raw_embeddings(out / place).tobytes() == bits(expected(run, part))
    found = [EmbeddingSet.load(out / place) for place in outputs(out)]
    np.testing.assert_allclose(np.concatenate([part.embeddings for part in found]), whole.embeddings, atol=1e-6)
    np.testing.assert_array_equal(np.concatenate([part.attributes for part in found]), whole.attributes)
    np.testing.assert_array_equal(np.concatenate([part.ids for part in found]), many.ids)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4"])
@pytest.mark.parametrize("named", [True, False])
def test_arrays_keep_their_type_and_metadata_get_the_targets(run, many, tmp_path, dtype, named):
    source, out = npy_folder(tmp_path / "in", many, dtype=dtype, named=named), tmp_path / "out"
    assert edit(run, source, out, "--set", "Smiling=1") == 0
    whole = []
    for number, part in enumerate(parts(many, 4)):
        stored = np.load(source / "img_emb" / f"img_emb_{number}.npy")
        found = np.load(out / "img_emb" / f"img_emb_{number}.npy")
        read = replace(part, embeddings=EmbeddingSet.from_arrays({"embeddings": stored}).embeddings)
        ends = Checkpoint.load(run).edit(read, {"Smiling": 1})
        still = part.attributes[:, 0] == 1
        assert found.dtype == np.dtype(dtype).newbyteorder("=")
        assert 0.1 < still.mean() < 0.9
        np.testing.assert_array_equal(found[still], stored[still])
        np.testing.assert_array_equal(found[~still], ends.embeddings.astype(found.dtype)[~still])
        assert (np.abs(found[~still].astype(float) - stored[~still]).max(axis=1) > 1e-3).all()
        before, after = (parquet.read_table(f / "metadata" / f"metadata_{number}.parquet") for f in (source, out))
        assert after.column_names == before.column_names
        assert after["image_path"].equals(before["image_path"])
        assert after["Smiling"].to_pylist() == [1] * len(part)
        assert after["Male"].to_pylist() == before["Male"].to_pylist()
        assert after.schema.metadata[b"theirs"] == b"kept"
        assert json.loads(after.schema.metadata[b"fclf.attributes"]) == list(many.attribute_names)
        whole.append(found)
    assert len(np.concatenate(whole)) == len(many)


def test_parquet_that_names_no_attributes_has_those_of_the_checkpoint(run, few, tmp_path, capsys):
    """As metadata of arrays have; what a shard says itself counts, and a column of another name is no label."""
    named, bare, other = (parquet_folder(tmp_path / name, few) for name in ("named", "bare", "other"))
    for path in sorted(bare.iterdir()):
        table = parquet.read_table(path)
        parquet.write_table(table.replace_schema_metadata({"theirs": "kept"}), path)
        said = table.replace_schema_metadata({"fclf.attributes": '["Smiling"]'})
        parquet.write_table(said, other / path.name)
    assert edit(run, named, tmp_path / "from_named", *SMILE) == 0
    assert edit(run, bare, tmp_path / "from_bare", *SMILE) == 0
    for place in outputs(tmp_path / "from_named"):
        expected, found = (parquet.read_table(tmp_path / name / place) for name in ("from_named", "from_bare"))
        assert found.schema.metadata[b"theirs"] == b"kept"
        assert json.loads(found.schema.metadata[b"fclf.attributes"]) == list(few.attribute_names)
        assert found.equals(expected)
    capsys.readouterr()
    assert edit(run, other, tmp_path / "from_other", *SMILE) == 2
    assert "no label for" in capsys.readouterr().err


@pytest.mark.parametrize("blocks", [2048, 6144])
def test_the_size_of_a_block_changes_no_byte(run, many, tmp_path, monkeypatch, blocks):
    source = npy_folder(tmp_path / "in", many, dtype="float32")
    assert edit(run, source, tmp_path / "a", *SMILE) == 0
    monkeypatch.setattr("fclf.streaming.NUMBERS", blocks * 8)
    assert edit(run, source, tmp_path / "b", *SMILE) == 0
    one, other = (
        {place: content for place, content in outputs(tmp_path / name).items() if place.endswith(".npy")}
        for name in "ab"
    )
    assert one == other
    tables = [[parquet.read_table(path) for path in sorted((tmp_path / n).rglob("*.parquet"))] for n in "ab"]
    assert all(a.equals(b) for a, b in zip(*tables, strict=True))


def test_float16_costs_an_edit_less_than_the_bound_that_the_guide_names(run, many):
    """Half the spacing of float16 at the size of a unit vector's numbers, and far less than any edit moves."""
    ends = expected(run, many).embeddings
    rounded = ends.astype(np.float16).astype(np.float64)
    cosine = np.einsum("nd,nd->n", rounded, ends) / np.linalg.norm(rounded, axis=1)
    assert np.degrees(np.arccos(np.clip(cosine, -1, 1))).max() < 0.03


# The layout


def test_layouts_are_kept(run, few, tmp_path):
    nested, flat = npy_folder(tmp_path / "nested", few), npy_folder(tmp_path / "flat", few, nested=False)
    both = {f"img_emb/img_emb_{k}.npy" for k in range(4)} | {f"metadata/metadata_{k}.parquet" for k in range(4)}
    cases = {
        str(nested): both,
        str(nested / "img_emb"): both,
        f"{nested}/img_emb/img_emb_*.npy": both,
        f"file://{nested}": both,
        f"{nested}/img_emb/img_emb_[13].npy": None,
        str(flat): {place.split("/")[1] for place in both},
        f"{flat}/img_emb_2.npy": {"img_emb_2.npy", "metadata_2.parquet"},
    }
    for number, (address, places) in enumerate(cases.items()):
        out = tmp_path / f"out{number}"
        code = edit(run, address, out, *SMILE)
        assert (code, set(outputs(out))) == ((0, places) if places else (2, set())), address


def test_the_index_builder_of_clip_retrieval_finds_what_it_looks_for(run, few, tmp_path):
    """It takes the .npy files of FOLDER/img_emb as float16 or float32 (rows, width), and copies FOLDER/metadata."""
    source, out = npy_folder(tmp_path / "in", few), tmp_path / "out"
    assert edit(run, source, out, *SMILE) == 0
    assert sorted(path.name for path in out.iterdir() if not path.name.startswith("_")) == ["img_emb", "metadata"]
    for path in (out / "img_emb").iterdir():
        array = np.load(path, mmap_mode="r")
        assert (array.dtype, array.shape[1], array.flags.c_contiguous) == (np.float16, 8, True)
        assert len(array) == parquet.read_metadata(out / "metadata" / f"metadata_{path.stem[8:]}.parquet").num_rows


def test_the_output_is_a_folder_of_shards_again(run, other_run, few, tmp_path):
    """The manifest is no shard, and what was edited once can be edited again."""
    for name, source in (("p", parquet_folder(tmp_path / "p", few)), ("n", npy_folder(tmp_path / "n", few))):
        assert edit(run, source, tmp_path / f"{name}1", *SMILE) == 0
        assert edit(other_run, tmp_path / f"{name}1", tmp_path / f"{name}2", "--set", "Young=0") == 0
        assert set(outputs(tmp_path / f"{name}2")) == set(outputs(tmp_path / f"{name}1"))


# Options


@pytest.mark.parametrize("layout", ["parquet", "npy"])
@pytest.mark.parametrize(
    "more",
    [("--strength", "0.5"), ("--keep", "0.1"), ("--infer-labels",), ("--set", "Young=@want"), ("--normalize",)],
)
def test_options_do_what_they_do_to_a_file(run, few, tmp_path, layout, more):
    scale = np.float32(3.0 if "--normalize" in more else 1.0)
    want = np.where(np.arange(len(few)) % 3 == 2, -1, np.arange(len(few)) % 3)
    gaps = few.attributes.copy()
    gaps[::7, 0] = -1 if "--infer-labels" in more else gaps[::7, 0]
    data = replace(few, embeddings=few.embeddings * scale, attributes=gaps, extras={"want": want})
    data.save(tmp_path / "whole.npz")
    more = (*more, "--labels", "missing", "--flip", "Male")
    assert edit(run, tmp_path / "whole.npz", tmp_path / "whole_out.npz", *more) == 0
    whole = EmbeddingSet.load(tmp_path / "whole_out.npz")
    whole = replace(whole, embeddings=np.load(tmp_path / "whole_out.npz")["embeddings"])  # not projected once more
    source, out = tmp_path / "in", tmp_path / "out"
    if layout == "parquet":
        parquet_folder(source, data, 1)
    else:
        npy_folder(source, data, 1, dtype="float32", more={"want": want})
    assert edit(run, source, out, *more) == 0
    if layout == "parquet":
        assert raw_embeddings(out / "part-0.parquet").tobytes() == bits(whole)
    else:
        assert np.load(out / "img_emb" / "img_emb_0.npy").tobytes() == bits(whole)
    (table,) = [parquet.read_table(path) for path in out.rglob("*.parquet")]
    for k, name in enumerate(whole.attribute_names):
        assert table[name].to_pylist() == whole.attributes[:, k].tolist()


@pytest.mark.parametrize("layout", ["parquet", "npy"])
def test_a_split_is_taken_of_shards_that_have_some_of_it(run, few, tmp_path, layout, capsys):
    first = parts(few, 3)[0]
    split = few.split.copy()
    split[: len(first)] = "train"  # by row here, whoever is shown
    data = replace(few, split=split, identities=None)
    source, out = tmp_path / "in", tmp_path / "out"
    if layout == "parquet":
        parquet_folder(source, data, 3)
    else:
        npy_folder(source, data, 3)
        for number, part in enumerate(parts(data, 3)):
            path = source / "metadata" / f"metadata_{number}.parquet"
            parquet.write_table(parquet.read_table(path).append_column("split", pa.array(part.split)), path)
    assert edit(run, source, out, *SMILE, "--split", "test", "--json") == 0
    chosen = [part.take(part.split == "test") for part in parts(data, 3)]
    assert json.loads(capsys.readouterr().out)["rows"] == sum(map(len, chosen))
    assert not [place for place in outputs(out) if "0." in place]  # of no row there is no file
    assert record(out, "part-0" if layout == "parquet" else "img_emb_0")["rows"] == 0
    if layout == "parquet":
        for number in (1, 2):
            assert raw_embeddings(out / f"part-{number}.parquet").tobytes() == bits(expected(run, chosen[number]))
    else:
        assert [len(np.load(path)) for path in sorted((out / "img_emb").iterdir())] == list(map(len, chosen[1:]))
    assert edit(run, source, out, *SMILE, "--split", "test") == 0  # and a shard without rows is finished
    assert "3 shards with" in capsys.readouterr().out


def test_arrays_without_metadata_have_their_labels_inferred(run, few, tmp_path, capsys):
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for number, part in enumerate(parts(few, 2)):
        np.save(source / f"emb_{number}.npy", part.embeddings)
    assert edit(run, source, out, *SMILE) == 2
    assert "--infer-labels" in capsys.readouterr().err
    assert not out.exists()
    assert edit(run, source, out, *SMILE, "--infer-labels") == 0
    assert f"for {len(few):,} of {len(few):,} rows" in capsys.readouterr().err
    assert list(outputs(out)) == ["emb_0.npy", "emb_1.npy"]


def test_embeddings_of_another_encoder_are_warned_of_once(run, few, tmp_path, capsys, monkeypatch):
    parquet_folder(tmp_path / "in", replace(few, encoder="another"))
    loaded = Checkpoint.load
    monkeypatch.setattr(Checkpoint, "load", lambda path: replace(loaded(path), encoder="one"))
    assert edit(run, tmp_path / "in", tmp_path / "out", *SMILE) == 0
    assert capsys.readouterr().err.count("made by another") == 1


# Refusals, before anything is written


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--flip", "Mael"), "did you mean 'Male'"),
        (("--flip", "Male", "--split", "holdout"), "There is no split 'holdout'"),
        (("--flip", "Male", "--split", "test"), "has no column `split`"),
        (("--flip", "Male", "--labels-from", "celeba"), "--labels-from joins labels to the rows of one file"),
        (("--flip", "Male", "--partition", "train"), "--partition joins labels"),
        (("--set", "Smiling=@wnat"), "there is no column 'wnat'"),
        (("--set", "Smiling=2"), "NAME=0 or NAME=1"),
        (("--flip", "Male", "--strength", "inf"), "number of 0 or more"),
        ((), "Nothing to edit"),
    ],
)
def test_what_cannot_be_done_is_refused_and_leaves_nothing(run, few, tmp_path, capsys, more, says):
    source, out = npy_folder(tmp_path / "in", few), tmp_path / "out"
    assert edit(run, source, out, *more) == 2
    assert says in capsys.readouterr().err
    assert not out.exists()


def test_an_address_with_nothing_to_edit_is_named(run, few, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    cases = {
        str(tmp_path / "nowhere*.npy"): "holds no shards",
        str(tmp_path / "empty"): "holds no shards",
        "nonsense://a/b": "Protocol not known",
    }
    for address, says in cases.items():
        assert edit(run, address, tmp_path / "out", *SMILE) == 2
        assert says in capsys.readouterr().err
    source = parquet_folder(tmp_path / "in", few)
    assert edit(run, source, "nonsense://a/b", *SMILE) == 2
    assert "--output nonsense://a/b" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["out.parquet", "out.npz", "a_file"])
def test_the_output_of_shards_is_a_folder(run, few, tmp_path, capsys, name):
    source = parquet_folder(tmp_path / "in", few)
    (tmp_path / "a_file").write_text("something")
    assert edit(run, source, tmp_path / name, *SMILE) == 2
    assert "name a folder" in capsys.readouterr().err


@pytest.mark.parametrize("option", [("--workers", "2"), ("--ray", "local"), ("--verify",), ("--overwrite",)])
def test_options_for_shards_are_refused_for_a_file(run, few, tmp_path, capsys, option):
    few.save(tmp_path / "one.parquet")
    assert edit(run, tmp_path / "one.parquet", tmp_path / "out.parquet", *SMILE, *option) == 2
    assert f"{option[0]} is for folders of shards" in capsys.readouterr().err


def test_inputs_and_outputs_do_not_lie_in_each_other(run, few, tmp_path, capsys):
    flat = parquet_folder(tmp_path / "in", few)
    nested = npy_folder(tmp_path / "nested", few)
    (tmp_path / "link").symlink_to(flat)
    for source, out in (
        (flat, flat),
        (flat, flat / "edited"),
        (f"{flat}/*.parquet", flat),
        (flat, tmp_path / "link"),
        (flat, tmp_path),
        (nested, nested / "img_emb"),
        (f"{nested}/img_emb/*.npy", nested / "edited"),
    ):
        assert edit(run, source, out, *SMILE) == 2
        assert "lie in each other" in capsys.readouterr().err
    assert edit(run, f"{flat}/*.parquet", flat / "edited", *SMILE) == 0  # which the pattern does not find


def test_a_file_that_is_named_lets_its_edit_lie_beside_it(run, few, tmp_path, capsys):
    """Nothing else is read as rows, unless it is an array, whose metadata are looked for around it."""
    folder = parquet_folder(tmp_path / "in", few)
    arrays = npy_folder(tmp_path / "arrays", few, nested=False)
    file = f"file://{folder}/part-1.parquet"
    for source, out in ((file, folder), (f"file://{arrays}/img_emb_1.npy", arrays / "edited")):
        assert edit(run, source, out, *SMILE) == 2
        assert "lie in each other" in capsys.readouterr().err
    for _ in range(2):
        assert edit(run, file, folder / "edited", *SMILE) == 0
    assert "1 of them by an earlier run" in capsys.readouterr().out
    assert list(outputs(folder / "edited")) == ["part-1.parquet"]


def test_a_folder_of_something_else_is_left_alone(run, few, tmp_path, capsys):
    source, out = parquet_folder(tmp_path / "in", few), tmp_path / "out"
    out.mkdir()
    (out / "part-0.parquet").write_text("mine")
    for more in ((), ("--overwrite",)):
        assert edit(run, source, out, *SMILE, *more) == 2
        assert "1 files that are not of fclf edit (first: part-0.parquet)" in capsys.readouterr().err
    assert outputs(out) == {"part-0.parquet": b"mine"}


def test_two_runs_do_not_write_into_one_folder(run, few, tmp_path, capsys):
    source, out = parquet_folder(tmp_path / "in", few), tmp_path / "out"
    with Manifest(OutputFolder(str(out))).alone():
        assert edit(run, source, out, *SMILE) == 2
    assert "is being written by another run" in capsys.readouterr().err
    assert edit(run, source, out, *SMILE) == 0


# Again


def test_finished_shards_are_left_alone_and_what_is_gone_or_damaged_is_made_again(run, few, tmp_path, capsys):
    source, out = npy_folder(tmp_path / "in", few), tmp_path / "out"
    assert edit(run, source, out, *SMILE) == 0
    first, when = outputs(out), times(out)
    assert edit(run, source, out, *SMILE) == 0
    assert "4 shards with 1,200 rows, 4 of them by an earlier run" in capsys.readouterr().out
    assert times(out) == when
    (out / "metadata" / "metadata_1.parquet").unlink()
    array = out / "img_emb" / "img_emb_2.npy"
    array.write_bytes(array.read_bytes()[:-1])
    assert edit(run, source, out, *SMILE) == 0
    said = capsys.readouterr()
    assert "The output of 2 shards (first: img_emb_1) is gone or damaged" in said.err
    assert "2 of them by an earlier run" in said.out
    assert outputs(out) == first
    again = times(out)
    assert {place for place in when if when[place] != again[place]} == {
        f"{folder}_{k}.{suffix}"
        for folder, suffix in (("img_emb/img_emb", "npy"), ("metadata/metadata", "parquet"))
        for k in (1, 2)
    }


def test_only_verify_sees_a_damage_that_leaves_the_size(run, few, tmp_path, capsys):
    source, out = parquet_folder(tmp_path / "in", few), tmp_path / "out"
    assert edit(run, source, out, *SMILE) == 0
    first = outputs(out)
    content = bytearray(first["part-1.parquet"])
    content[len(content) // 2] ^= 1
    (out / "part-1.parquet").write_bytes(content)
    assert edit(run, source, out, *SMILE) == 0
    assert outputs(out) != first
    assert edit(run, source, out, *SMILE, "--verify") == 0
    assert "The output of part-1 is gone or damaged" in capsys.readouterr().err
    assert outputs(out) == first


@pytest.mark.parametrize("what", ["rows", "size", "time"])
def test_changed_shards_alone_are_edited_anew(run, few, tmp_path, capsys, what):
    source, out = parquet_folder(tmp_path / "in", few), tmp_path / "out"
    assert edit(run, source, out, *SMILE) == 0
    first, when = outputs(out), times(out)
    path = source / "part-2.parquet"
    part, stat = EmbeddingSet.load(path), path.stat()
    if what == "rows":  # the same size and time, which a copy with its times kept may have
        content = bytearray(path.read_bytes())
        place = content.index(b"PAR1", 8) if b"PAR1" in content[8:-4] else len(content) // 2
        path.write_bytes(content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :])
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    elif what == "size":
        part.take(np.arange(len(part) - 1)).save(path)
    else:
        os.utime(path, ns=(stat.st_atime_ns, time.time_ns()))
    code = edit(run, source, out, *SMILE)
    assert "The input of part-2 has changed since an earlier run" in capsys.readouterr().err
    again = times(out)
    assert {place for place in when if when[place] != again.get(place)} == {"part-2.parquet"}
    if what == "rows":  # damaged by that, and quarantined
        assert (code, set(first) - set(again)) == (1, {"part-2.parquet"})
    else:
        assert code == 0
        assert (outputs(out) == first) == (what == "time")


def test_more_shards_may_come_later_and_others_go(run, few, tmp_path, capsys):
    source, out = parquet_folder(tmp_path / "in", few), tmp_path / "out"
    assert edit(run, f"{source}/part-1.parquet*", out, *SMILE) == 0
    when = times(out)
    capsys.readouterr()
    assert edit(run, source, out, *SMILE) == 0
    assert times(out)["part-1.parquet"] == when["part-1.parquet"]
    assert len(outputs(out)) == 4
    (source / "part-0.parquet").unlink()
    assert edit(run, source, out, *SMILE) == 0
    assert "holds 1 more shards of earlier runs (first: part-0); they stay" in capsys.readouterr().err
    assert len(outputs(out)) == 4


def test_another_model_or_other_options_are_refused_and_replace_all_of_it_on_request(
    run, other_run, few, tmp_path, capsys, monkeypatch
):
    source, out = parquet_folder(tmp_path / "in", few), tmp_path / "out"
    assert edit(run, source, out, *SMILE) == 0
    when = times(out)
    for model, more, says in (
        (other_run, SMILE, "of another model (or --keep)"),
        (run, (*SMILE, "--keep", "0.3"), "of another model (or --keep)"),
        (run, (*SMILE, "--strength", "0.5"), "other options (strength 1.0 -> 0.5)"),
        (run, ("--flip", "Male"), "other options (set {'Smiling': 1} -> {})"),
    ):
        assert edit(model, source, out, *more) == 2
        err = capsys.readouterr().err
        assert says in err
        assert "--overwrite" in err
    with monkeypatch.context() as later:
        later.setattr("fclf.scale.work.__version__", "9.9")
        assert edit(run, source, out, *SMILE) == 2
    assert "another version of fclf (0.1.0 -> 9.9)" in capsys.readouterr().err
    assert times(out) == when
    with monkeypatch.context() as killed:  # when the old edits were gone and the first new one was not there
        killed.setattr("fclf.scale.bulk.edit_in_processes", lambda *a: (one for one in ()))
        with pytest.raises(KeyError):
            edit(run, source, out, "--flip", "Male", "--overwrite")
    assert outputs(out) == {}
    assert edit(run, source, out, "--flip", "Male") == 0
    assert len(outputs(out)) == 4


def test_overwrite_goes_on_with_its_own_run(run, few, tmp_path):
    """The same command again resumes, whatever it is."""
    source, out = parquet_folder(tmp_path / "in", few), tmp_path / "out"
    assert edit(run, source, out, *SMILE) == 0
    before = outputs(out)
    assert edit(run, source, out, "--flip", "Male", "--overwrite") == 0
    when = times(out)
    assert outputs(out) != before
    assert edit(run, source, out, "--flip", "Male", "--overwrite") == 0
    assert times(out) == when
    assert edit(run, source, tmp_path / "direct", "--flip", "Male") == 0
    assert outputs(out) == outputs(tmp_path / "direct")


def test_shards_of_another_folder_do_not_take_the_place_of_these(run, few, many, tmp_path, capsys):
    one, two, out = parquet_folder(tmp_path / "1", few), parquet_folder(tmp_path / "2", many), tmp_path / "out"
    assert edit(run, one, out, *SMILE) == 0
    first = outputs(out)
    assert edit(run, two, out, *SMILE) == 2
    err = capsys.readouterr().err
    assert "under the name of" in err
    assert "--overwrite" in err
    assert outputs(out) == first
    one.rename(tmp_path / "moved")
    assert edit(run, tmp_path / "moved", out, *SMILE) == 0  # the same files elsewhere are the same shards
    assert "4 of them by an earlier run" in capsys.readouterr().out
    assert edit(run, two, out, *SMILE, "--overwrite") == 0
    assert edit(run, two, tmp_path / "direct", *SMILE) == 0
    assert outputs(out) == outputs(tmp_path / "direct")


@pytest.mark.parametrize("content", ["", "{", "[]", "{}"])
def test_a_damaged_manifest_is_noticed(run, few, tmp_path, capsys, content):
    source, out = parquet_folder(tmp_path / "in", few), tmp_path / "out"
    assert edit(run, source, out, *SMILE) == 0
    first = outputs(out)
    (out / "_manifest" / "shards" / "part-1.json").write_text(content)
    assert edit(run, source, out, *SMILE) == 0
    assert "3 of them by an earlier run" in capsys.readouterr().out
    assert outputs(out) == first
    (out / "_manifest" / "run.json").write_text(content)
    assert edit(run, source, out, *SMILE) == 2
    assert ("is damaged" in capsys.readouterr().err) == (content != "{}")


def test_a_manifest_that_names_files_elsewhere_is_not_believed(run, few, tmp_path):
    source, out = parquet_folder(tmp_path / "in", few), tmp_path / "out"
    mine = tmp_path / "mine.parquet"
    mine.write_text("not yours")
    place = out / "_manifest" / "shards" / "part-1.json"
    for elsewhere in ("../mine.parquet", str(mine), "x/../../mine.parquet", "..", "", "a\0b", "\ud800"):
        assert edit(run, source, out, *SMILE, "--overwrite") == 0
        content = json.loads(place.read_text())
        content["outputs"][0]["place"] = elsewhere
        place.write_text(json.dumps(content))
        assert edit(run, source, out, "--flip", "Male", "--overwrite") == 0
        assert mine.read_text() == "not yours"
    assert edit(run, source, tmp_path / "direct", "--flip", "Male") == 0
    assert outputs(out) == outputs(tmp_path / "direct")


def test_nothing_is_removed_behind_a_link(run, few, tmp_path, capsys):
    source, out, mine = parquet_folder(tmp_path / "in", few), tmp_path / "out", tmp_path / "mine"
    mine.mkdir()
    (mine / "part-1.parquet").write_text("not yours")
    assert edit(run, source, out, *SMILE) == 0
    place = out / "_manifest" / "shards" / "part-1.json"
    content = json.loads(place.read_text())
    content["outputs"][0]["place"] = "link/part-1.parquet"
    place.write_text(json.dumps(content))
    (out / "link").symlink_to(mine)
    assert edit(run, source, out, "--flip", "Male", "--overwrite") == 2
    assert "behind a link" in capsys.readouterr().err
    assert (mine / "part-1.parquet").read_text() == "not yours"


def test_leftovers_of_a_killed_run_are_removed(run, few, tmp_path):
    source, out = npy_folder(tmp_path / "in", few), tmp_path / "out"
    for place in ("_manifest/.run.json.x.part", "img_emb/.img_emb_0.npy.y.part", "_manifest/shards/.a.json.z.part"):
        (out / place).parent.mkdir(parents=True, exist_ok=True)
        (out / place).write_text("half")
    assert edit(run, source, out, *SMILE) == 0
    assert leftovers(out) == []
    assert len(outputs(out)) == 8


# Shards that cannot be read


def spoil(source, kind):
    """Spoil shard 2 of an .npy folder."""
    array, table = source / "img_emb" / "img_emb_2.npy", source / "metadata" / "metadata_2.parquet"
    rows = np.load(array)
    if kind == "truncated":
        array.write_bytes(array.read_bytes()[:-7])
    elif kind == "empty":
        array.write_bytes(b"")
    elif kind == "nan":
        rows[-1] = np.nan
        np.save(array, rows)
    elif kind == "width":
        np.save(array, np.concatenate([rows, rows], axis=1) / np.float16(2**0.5))
    elif kind == "missing":
        table.unlink()
    elif kind == "short":
        parquet.write_table(parquet.read_table(table).slice(1), table)
    elif kind == "labels":
        parquet.write_table(parquet.read_table(table).drop_columns(["Smiling", "Male", "Young"]), table)
    elif kind == "garbage":
        table.write_bytes(b"PAR1 no, it is not")
    elif kind == "pickled":
        np.save(array, np.array([{"a": 1}] * len(rows)))


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("truncated", "is damaged: its header promises"),
        ("empty", "cannot be read as .npy"),
        ("nan", "norm nan"),
        ("width", "width 8, but these have width 16"),
        ("missing", "has no metadata"),
        ("short", "has 298 rows"),
        ("labels", "have no label for"),
        ("garbage", "cannot be read as .parquet"),
        ("pickled", "holds object"),
    ],
)
def test_a_shard_that_cannot_be_read_is_quarantined_and_the_others_finish(run, few, tmp_path, capsys, kind, says):
    source, out = npy_folder(tmp_path / "in", few), tmp_path / "out"
    assert edit(run, source, tmp_path / "whole", *SMILE) == 0
    kept = {name: (source / name).read_bytes() for name in ("img_emb/img_emb_2.npy", "metadata/metadata_2.parquet")}
    spoil(source, kind)
    capsys.readouterr()
    assert edit(run, source, out, *SMILE, "--json") == 1
    said = capsys.readouterr()
    result = json.loads(said.out)
    (bad,) = result["quarantined"]
    assert (result["shards"], result["output"]) == (4, str(out))
    assert bad["shard"].endswith("/img_emb_2.npy")
    assert says in bad["error"]
    assert says in said.err
    assert "1 of 4 shards could not be edited" in said.err
    assert "Traceback" not in said.err
    assert record(out, "img_emb_2")["error"] == bad["error"]
    whole = outputs(tmp_path / "whole")
    assert outputs(out) == {place: content for place, content in whole.items() if "_2." not in place}
    assert leftovers(out) == []
    when = times(out)
    for name, content in kept.items():
        (source / name).write_bytes(content)
    assert edit(run, source, out, *SMILE) == 0
    assert "4 shards with 1,200 rows, 3 of them by an earlier run" in capsys.readouterr().out
    assert outputs(out) == whole
    assert {place: times(out)[place] for place in when} == when
    assert record(out, "img_emb_2")["error"] == ""


def test_a_shard_that_is_spoiled_later_loses_its_output(run, few, tmp_path):
    source, out = npy_folder(tmp_path / "in", few), tmp_path / "out"
    assert edit(run, source, out, *SMILE) == 0
    spoil(source, "nan")
    assert edit(run, source, out, *SMILE) == 1
    assert not [place for place in outputs(out) if "_2." in place]
    assert record(out, "img_emb_2")["outputs"] == []


def test_where_no_shard_can_be_edited_nothing_is_written(run, few, tmp_path, capsys):
    source, out = parquet_folder(tmp_path / "in", few), tmp_path / "out"
    for path in source.iterdir():
        path.write_bytes(path.read_bytes()[:-9])
    assert edit(run, source, out, *SMILE) == 2
    err = capsys.readouterr().err
    assert "cannot be read as .parquet" in err
    assert "said of 3 others" in err
    assert not out.exists()


def test_many_quarantined_shards_are_not_all_listed(run, few, tmp_path, capsys):
    source, out = parquet_folder(tmp_path / "in", few, 16), tmp_path / "out"
    for number in range(1, 15):
        (source / f"part-{number}.parquet").write_bytes(b"")
    assert edit(run, source, out, *SMILE) == 1
    err = capsys.readouterr().err
    assert err.count("cannot be read as .parquet") == 10
    assert "and 4 more, named in the manifest" in err


def test_an_input_that_changes_while_it_is_read_is_not_taken(run, few, tmp_path, monkeypatch, capsys):
    source, out = parquet_folder(tmp_path / "in", few), tmp_path / "out"
    edited = Checkpoint.edit

    def slowly(self, data, *args, **more):
        if len(data) > 64 and (data.embeddings[0] == few.embeddings[0]).all():
            os.utime(source / "part-0.parquet", ns=(1, 1))
        return edited(self, data, *args, **more)

    monkeypatch.setattr(Checkpoint, "edit", slowly)
    assert edit(run, source, out, *SMILE) == 1
    assert "was changed while it was read" in capsys.readouterr().err
    assert "part-0.parquet" not in outputs(out)


def test_an_empty_shard_has_no_output_and_is_no_fault(run, few, tmp_path):
    source, out = npy_folder(tmp_path / "in", few), tmp_path / "out"
    np.save(source / "img_emb" / "img_emb_1.npy", np.empty((0, 8), np.float16))
    path = source / "metadata" / "metadata_1.parquet"
    parquet.write_table(parquet.read_table(path).slice(0, 0), path)
    assert edit(run, source, out, *SMILE) == 0
    assert len(outputs(out)) == 6


MEASURE = """
import sys
from pathlib import Path
import fclf.streaming
from fclf.checkpoint import Checkpoint
from fclf.data.shards.folder import find_shards
from fclf.scale.work import BulkEdit, ShardEditor
fclf.streaming.NUMBERS = 4096 * 8
run, source, out = sys.argv[1:]
editor = ShardEditor(BulkEdit.of(Checkpoint.load(run), {}, {}, flip=("Male",)), out)
for shard in find_shards(source):
    record = editor(shard)
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    print(record.rows, peak.split()[1], record.error)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peaks are read from /proc")
def test_memory_does_not_grow_with_the_rows_of_a_shard(run, many, tmp_path):
    """300,000 rows, 18 MiB of embeddings and 10 of texts more, once what libraries keep is there."""
    source = tmp_path / "in"
    source.mkdir()
    for number, copies in enumerate((5, 20)):
        np.save(source / f"emb_{number}.npy", np.tile(many.embeddings.astype(np.float64), (copies, 1)))
        labels = {name: np.tile(many.attributes[:, k], copies) for k, name in enumerate(many.attribute_names)}
        texts = [f"what is written below picture {row}" for row in range(len(many) * copies)]
        parquet.write_table(pa.table({"text": texts, **labels}), source / f"metadata_{number}.parquet")
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(run), str(source), str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=True,
    )
    (rows, one), (more, other) = (map(int, line.split()) for line in done.stdout.splitlines())
    assert (rows, more) == (100_000, 400_000)
    assert other - one < 10 * 1024, done.stdout


def test_planted_rows_differ_between_the_two_sizes():
    """`few` and `many` are other rows, so that exchanging them is noticed."""
    assert not np.array_equal(planted(10, 8, seed=5)[0].embeddings, planted(10, 8, seed=6)[0].embeddings)
