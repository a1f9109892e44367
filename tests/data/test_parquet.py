"""Parquet: the promised columns, what else a table holds, and what is refused."""

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from fclf.data import formats
from fclf.data.embeddings import EmbeddingSet
from fclf.errors import InputError

N, D = 6, 4
NAMES = ["Smiling", "Young"]


def unit_rows(n=N, d=D, seed=0, dtype=np.float32):
    x = np.random.default_rng(seed).normal(size=(n, d))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(dtype)


def fixed(x):
    return pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), x.shape[1])


def columns(**changes):
    good = {
        "embedding": fixed(unit_rows()),
        "Young": pa.array([1, 0, 1, 0, 1, 0], pa.int8()),
        "Smiling": pa.array([False, True, True, False, False, True]),
        "id": pa.array([f"img{i}" for i in range(N)]),
        "identity": pa.array([7, 7, 8, 9, 10, 10]),
        "split": pa.array(["train", "train", "val", "judge", "test", "test"]).dictionary_encode(),
    }
    return {key: value for key, value in (good | changes).items() if value is not None}


def write(path, metadata=NAMES, **changes):
    table = pa.table(columns(**changes))
    if metadata is not None:
        text = metadata if isinstance(metadata, str) else json.dumps(metadata)
        table = table.replace_schema_metadata({"fclf.attributes": text})
    parquet.write_table(table, path)
    return path


def refusal(path):
    with pytest.raises(InputError) as caught:
        EmbeddingSet.load(path)
    return str(caught.value)


# Reading.


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_table_made_elsewhere_is_read_column_by_column(dtype, tmp_path):
    x = unit_rows(dtype=dtype)
    got = EmbeddingSet.load(write(tmp_path / "faces.parquet", embedding=fixed(x), url=pa.array(list("abcdef"))))
    np.testing.assert_allclose(got.embeddings, x, atol=2e-3 if dtype is np.float16 else 1e-6)
    assert got.attribute_names == ("Smiling", "Young")  # the order of the metadata, not of the columns
    assert got.attributes.tolist() == [[0, 1], [1, 0], [1, 1], [0, 0], [0, 1], [1, 0]]
    assert got.ids.tolist() == [f"img{i}" for i in range(N)]
    assert got.identities.tolist() == [7, 7, 8, 9, 10, 10]
    assert got.split.tolist() == ["train", "train", "val", "judge", "test", "test"]
    assert got.extras["url"].tolist() == list("abcdef")
    assert formats.read(tmp_path / "faces.parquet", "Embeddings")["embeddings"].dtype == dtype


def test_lists_of_equal_length_as_pandas_writes_them_are_read(tmp_path):
    x = unit_rows(dtype=np.float64)
    path = write(tmp_path / "faces.parquet", embedding=pa.array(x.tolist()))
    np.testing.assert_allclose(EmbeddingSet.load(path).embeddings, x, atol=1e-6)
    ragged = [*x.tolist()[:-1], [1.0, 0.0]]
    message = refusal(write(path, embedding=pa.array(ragged)))
    assert "row 0 has 4 numbers and row 5 has 2" in message


def test_a_file_of_several_row_groups_is_read_whole(tmp_path):
    x = unit_rows(1000)
    parquet.write_table(pa.table({"embedding": fixed(x)}), tmp_path / "x.parquet", row_group_size=64)
    np.testing.assert_allclose(EmbeddingSet.load(tmp_path / "x.parquet").embeddings, x, atol=1e-6)


def test_without_metadata_no_column_is_an_attribute_and_the_message_says_what_to_add(tmp_path):
    got = EmbeddingSet.load(write(tmp_path / "faces.parquet", metadata=None, age=pa.array(range(N))))
    assert got.attributes is None
    assert set(got.extras) == {"Young", "Smiling", "age"}
    for use in (lambda: got.select(["Smiling"]), got.labelled):
        with pytest.raises(InputError, match=r"columns Young, Smiling hold 0 and 1.*fclf\.attributes"):
            use()


def test_a_null_label_is_unknown_where_that_is_said_and_refused_otherwise(tmp_path):
    labels = pa.array([1, 0, None, 0, 1, 0], pa.int8())
    path = write(tmp_path / "faces.parquet", Young=labels, Smiling=pa.array([True, None, True, False, False, True]))
    assert EmbeddingSet.load(path, labels="missing").attributes.tolist() == [
        [1, 1], [-1, 0], [1, -1], [0, 0], [0, 1], [1, 0]
    ]  # fmt: skip
    assert "--labels missing" in refusal(path)


# There and back.


@pytest.fixture
def full():
    other = {
        "caption": np.array(["", "é", "c", "d", "e", "f"]),
        "caption:null": np.arange(N) == 0,
        "score": np.linspace(0, 1, N, dtype=np.float16),
        "views": np.arange(N * 3).reshape(N, 3),
        "when": np.arange(N).astype("M8[ns]"),
        "cube": np.arange(N * 8).reshape(N, 2, 4),
        "encoder": np.array("clip"),
        "code": np.arange(N) * 1j,
        "file": np.arange(3),
    }
    arrays = {
        "embeddings": unit_rows(),
        "attributes": np.array([[0, 1], [1, 0], [1, 1], [0, 0], [0, 1], [1, 0]]),
        "attribute_names": np.array(NAMES),
        "ids": np.array([f"img{i}" for i in range(N)]),
        "identities": np.array([7, 7, 8, 9, 10, 10]),
        "split": np.array(["train", "train", "val", "judge", "test", "test"]),
    }
    return EmbeddingSet.from_arrays(arrays | other)


def assert_equal(a, b):
    left, right = a.to_arrays(), b.to_arrays()
    assert left.keys() == right.keys()
    for key, value in left.items():
        assert value.dtype == right[key].dtype or value.dtype.kind == right[key].dtype.kind == "U", key
        np.testing.assert_array_equal(value, right[key], err_msg=key)


def test_everything_that_npz_keeps_parquet_keeps(full, tmp_path):
    full.save(tmp_path / "a.parquet")
    once = EmbeddingSet.load(tmp_path / "a.parquet")
    assert_equal(once, full)
    assert once.fingerprint() == full.fingerprint()
    once.save(tmp_path / "b.npz")
    EmbeddingSet.load(tmp_path / "b.npz").save(tmp_path / "c.parquet")
    assert (tmp_path / "c.parquet").read_bytes() == (tmp_path / "a.parquet").read_bytes()


def test_the_written_table_is_the_promised_one(full, tmp_path):
    full.save(tmp_path / "a.parquet")
    table = parquet.read_table(tmp_path / "a.parquet")
    assert table.schema.field("embedding").type.equals(pa.list_(pa.float32(), D), check_metadata=False)
    assert json.loads(table.schema.metadata[b"fclf.attributes"]) == NAMES
    assert table["Smiling"].to_pylist() == [0, 1, 1, 0, 0, 1]
    assert {"id", "identity", "split", "caption", "views", "when"} < set(table.column_names)
    assert table["caption"].to_pylist() == [None, "é", "c", "d", "e", "f"]


def test_absent_columns_stay_absent(tmp_path):
    EmbeddingSet.from_arrays({"embeddings": unit_rows()}).save(tmp_path / "bare.parquet")
    got = EmbeddingSet.load(tmp_path / "bare.parquet")
    assert set(got.to_arrays()) == {"embeddings"}
    assert parquet.read_table(tmp_path / "bare.parquet").column_names == ["embedding"]


@given(n=st.integers(1, 40), d=st.integers(2, 9), seed=st.integers(0, 99), data=st.data())
def test_chosen_rows_keep_their_nulls_and_their_bits(n, d, seed, data, tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / "x.parquet"
    values = data.draw(st.lists(st.one_of(st.none(), st.integers(-5, 5)), min_size=n, max_size=n))
    table = pa.table({"embedding": fixed(unit_rows(n, d, seed)), "score": pa.array(values, pa.int16())})
    parquet.write_table(table, path)
    once = EmbeddingSet.load(path)
    rows = np.random.default_rng(seed).permutation(n)[: max(1, n // 2)]
    once.take(rows).save(path)
    assert parquet.read_table(path)["score"].to_pylist() == [values[row] for row in rows]
    assert EmbeddingSet.load(path).row_digests() == once.take(rows).row_digests()


def test_two_columns_of_one_name_are_not_written(tmp_path):
    arrays = {"embeddings": unit_rows(), "attributes": np.zeros((N, 2)), "attribute_names": np.array(["id", "Young"])}
    data = EmbeddingSet.from_arrays({**arrays, "ids": np.array(list("abcdef"))})
    with pytest.raises(InputError, match=r"would be called 'id'.*\.npz"):
        data.save(tmp_path / "x.parquet")
    assert not list(tmp_path.iterdir())


# What is refused.

REFUSED = {
    "no embedding": ({"embedding": None}, ["no column `embedding`", "Young, Smiling", "rename_columns"]),
    "another name": (
        {"embedding": None, "embeddings": fixed(unit_rows())},
        ["column `embeddings`", "called embedding"],
    ),
    "numbers": ({"embedding": pa.array(range(N))}, ["type int64", "fixed_size_list<float>"]),
    "whole numbers": ({"embedding": fixed(np.ones((N, D), np.int32))}, ["fixed_size_list<float>"]),
    "a null row": (
        {"embedding": pa.array([None, *unit_rows().tolist()[1:]], pa.list_(pa.float32(), D))},
        ["null in 1 of 6 rows", "row 0"],
    ),
    "a null number": (
        {"embedding": pa.array([[None, 0, 0, 1], *unit_rows().tolist()[1:]], pa.list_(pa.float32(), D))},
        ["row 0, norm nan"],
    ),
    "text attribute": ({"Young": pa.array(["yes"] * N)}, ["'Young' has type string", "0 or 1"]),
    "label 2": ({"Young": pa.array([0, 0, 2, 0, 0, 0])}, ["row 2, 'Young' is 2"]),
    "a null id": ({"id": pa.array(["a", "b", None, "d", "e", "f"])}, ["`id` is null in 1 of 6 rows", "row 2"]),
    "an id twice": ({"id": pa.array(["a", "b", "a", "d", "e", "f"])}, ["'a'", "unique"]),
    "fractions as people": ({"identity": pa.array(np.linspace(0, 1, N))}, ["`identities`", "integers"]),
    "another split": ({"split": pa.array(["dev"] * N)}, ["row 0 is 'dev'"]),
    "nested": ({"boxes": pa.array([[1, 2]] * N)}, ["'boxes' has type list", "drop_columns(['boxes'])"]),
    "ids": ({"ids": pa.array(range(N))}, ["column `ids`", "called id"]),
}


@pytest.mark.parametrize(("changes", "parts"), [pytest.param(*case, id=name) for name, case in REFUSED.items()])
def test_a_column_that_is_not_what_it_should_be_is_refused(changes, parts, tmp_path):
    message = refusal(write(tmp_path / "faces.parquet", **changes))
    assert all(part in message for part in ["faces.parquet", *parts]), message


@pytest.mark.parametrize(
    ("metadata", "parts"),
    [
        ("Smiling, Young", ["JSON list"]),
        ('{"Smiling": 1}', ["JSON list"]),
        ("[1, 2]", ["JSON list"]),
        (["Smilng"], ["names 'Smilng'", "Did you mean 'Smiling'?"]),
        (["split"], ["names 'split'"]),
        (["Young", "Young"], ["distinct"]),
    ],
)
def test_metadata_that_names_no_columns_is_refused(metadata, parts, tmp_path):
    message = refusal(write(tmp_path / "faces.parquet", metadata=metadata))
    assert all(part in message for part in parts), message


def test_a_column_twice_is_refused(tmp_path):
    table = pa.Table.from_arrays([fixed(unit_rows()), pa.array(range(N)), pa.array(range(N))], ["embedding", "a", "a"])
    parquet.write_table(table, tmp_path / "x.parquet")
    assert "more than one column 'a'" in refusal(tmp_path / "x.parquet")


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.99])
def test_a_truncated_file_is_refused(full, share, tmp_path):
    path = tmp_path / "faces.parquet"
    full.save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert "cannot be read as .parquet" in refusal(path)


def test_a_flipped_bit_of_an_embedding_is_noticed_by_its_checksum(tmp_path):
    path, x = tmp_path / "x.parquet", unit_rows(200, 16)
    EmbeddingSet.from_arrays({"embeddings": x}).save(path)
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 3] ^= 1
    path.write_bytes(damaged)
    assert "cannot be read as .parquet" in refusal(path)


def test_a_failed_save_keeps_the_old_file(full, tmp_path, monkeypatch):
    path = tmp_path / "faces.parquet"
    full.save(path)
    before = path.read_bytes()

    def broken(table, file, **_):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(parquet, "write_table", broken)
    with pytest.raises(OSError, match="disk full"):
        full.save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["faces.parquet"]
