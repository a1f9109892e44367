"""What is known of all rows of shards: labels as one number, splits by a hash, samples of every combination."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_np
from pyarrow import parquet

from fclf.data.embeddings import EmbeddingSet
from fclf.data.sampling import stratified
from fclf.data.shards.combinations import codes_of, labels_of
from fclf.data.shards.index import ShardIndex, attributes_of
from fclf.data.shards.splits import hashed_splits
from fclf.data.splits import SHARES, SPLITS
from fclf.errors import InputError
from fclf.labels import UNKNOWN

NAMES = ("Smiling", "Male")


def write_shards(folder, sizes, d=6, seed=0, kind="npy", dtype=np.float32, people=True, **columns):
    """Shards of random unit rows; gives all rows and labels."""
    rng = np.random.default_rng(seed)
    every, labels, first = [], [], 0
    folder.mkdir(parents=True, exist_ok=True)
    for number, n in enumerate(sizes):
        z = rng.standard_normal((n, d))
        z = (z / np.linalg.norm(z, axis=1, keepdims=True)).astype(dtype)
        y = rng.integers(0, 2, (n, len(NAMES)))
        table = {name: y[:, k] for k, name in enumerate(NAMES)}
        if people:
            table |= {"id": [f"r{first + i}" for i in range(n)], "identity": (first + np.arange(n)) // 3}
        table |= {name: values[first : first + n] for name, values in columns.items()}
        if kind == "npy":
            np.save(folder / f"img_emb_{number}.npy", z)
            parquet.write_table(pa.table(table), folder / f"metadata_{number}.parquet")
        else:
            lists = pa.FixedSizeListArray.from_arrays(pa.array(z.ravel()), d)
            named = pa.table({"embedding": lists, **table}).replace_schema_metadata(
                {"fclf.attributes": '["Smiling", "Male"]'}
            )
            parquet.write_table(named, folder / f"p{number}.parquet", row_group_size=11)
        every.append(z)
        labels.append(y)
        first += n
    return np.concatenate(every), np.concatenate(labels)


@given(st_np.arrays(np.int8, st.tuples(st.integers(0, 20), st.integers(1, 40)), elements=st.integers(-1, 1)))
def test_a_number_of_at_most_8_bytes_holds_all_labels(labels):
    codes = codes_of(labels)
    assert codes.dtype.itemsize <= 8
    np.testing.assert_array_equal(labels_of(codes, labels.shape[1]), labels)


def test_a_few_attributes_take_a_byte():
    sizes = {5: 1, 10: 2, 20: 4, 40: 8}
    assert {k: codes_of(np.zeros((1, k), np.int8)).dtype.itemsize for k in sizes} == sizes


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12), min_size=1, unique=True))
def test_the_split_of_a_text_does_not_depend_on_other_texts(texts):
    alone = [hashed_splits(np.array([text]), 3)[0] for text in texts]
    np.testing.assert_array_equal(hashed_splits(np.array([*texts, "x" * 30]), 3)[:-1], alone)


@pytest.mark.parametrize("keys", [np.arange(200_000), np.arange(200_000).astype(str)])
def test_splits_have_their_shares_and_another_seed_splits_in_another_way(keys):
    found, other = hashed_splits(keys, 0), hashed_splits(keys, 1)
    np.testing.assert_allclose(np.bincount(found) / len(keys), SHARES, atol=0.005)
    together = np.bincount(4 * found + other, minlength=16).reshape(4, 4) / len(keys)
    np.testing.assert_allclose(together, np.outer(SHARES, SHARES), atol=0.005)


@given(
    st_np.arrays(np.uint8, st.integers(1, 300), elements=st.integers(0, 5)), st.integers(1, 300), st.integers(0, 999)
)
def test_every_combination_has_its_share_of_a_sample(codes, most, seed):
    rows = stratified(codes, most, seed)
    assert len(rows) == min(most, len(codes)) == len(set(rows.tolist()))
    assert (np.diff(rows) > 0).all()
    for code in np.unique(codes):
        share = (codes == code).sum() * len(rows) / len(codes)
        assert np.floor(share) <= (codes[rows] == code).sum() <= np.ceil(share)


def test_every_row_has_the_same_chance():
    codes = np.repeat([0, 1, 2], [7, 2, 1])
    counts = np.bincount(np.concatenate([stratified(codes, 4, seed) for seed in range(4000)]), minlength=10)
    np.testing.assert_allclose(counts / 4000, 0.4, atol=0.03)


@pytest.mark.parametrize("kind", ["npy", "parquet"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_rows_and_labels_are_those_of_the_files(tmp_path, kind, dtype):
    z, y = write_shards(tmp_path, (30, 0, 7, 45), kind=kind, dtype=dtype)
    index = ShardIndex.read(str(tmp_path), NAMES if kind == "npy" else None)
    assert (len(index), index.dim, index.split_key) == (82, 6, "identity")
    np.testing.assert_array_equal(index.labels(slice(None)), y)
    expected = EmbeddingSet.from_arrays({"embeddings": z}).embeddings
    for rows in (np.arange(82), np.array([0, 29, 30, 36, 37, 81]), np.array([80])):
        taken = index.take(rows)
        np.testing.assert_array_equal(taken.embeddings, expected[rows])
        np.testing.assert_array_equal(taken.attributes, y[rows])
        assert taken.ids.tolist() == [f"r{row}" for row in rows]
        np.testing.assert_array_equal(taken.identities, rows // 3)
        np.testing.assert_array_equal(taken.split, np.array(SPLITS)[index.split[rows]])
    for person in range(28):
        assert len(set(index.split[3 * person : 3 * person + 3].tolist())) == 1


def test_far_rows_of_a_large_array_are_read_alone(tmp_path):
    z, _ = write_shards(tmp_path, (5000,))
    rows = np.array([0, 1, 40, 900, 4096, 4999])
    np.testing.assert_array_equal(ShardIndex.read(str(tmp_path), NAMES).take(rows).embeddings, z[rows])


def test_the_index_is_the_same_wherever_rows_are_cut_and_a_new_shard_moves_nobody(tmp_path):
    write_shards(tmp_path / "a", (40, 20))
    write_shards(tmp_path / "b", (40, 20, 9))
    a, b = (ShardIndex.read(str(tmp_path / name), NAMES) for name in "ab")
    np.testing.assert_array_equal(a.split, b.split[:60])
    assert a.fingerprint != b.fingerprint
    assert a.fingerprint == ShardIndex.read(str(tmp_path / "a"), NAMES).fingerprint


def test_a_split_of_their_own_and_unknown_labels_are_kept(tmp_path):
    split = np.array(["train", "val", "judge", "test", "train"])
    known = np.array([0, -1, 1, -1, -1])
    write_shards(tmp_path, (3, 2), people=False, split=split, Hat=known)
    index = ShardIndex.read(str(tmp_path), ["Hat"], labels="missing")
    assert np.array(SPLITS)[index.split].tolist() == split.tolist()
    np.testing.assert_array_equal(index.labels(slice(None))[:, 0], known)
    assert index.usable("train").tolist() == [True, False, False, False, False]
    with pytest.raises(InputError, match="no row of the split 'val'"):
        index.usable("val")
    with pytest.raises(InputError, match="--labels missing"):
        ShardIndex.read(str(tmp_path), ["Hat"])


def label_shards(folder, columns):
    """Parquet shards whose column `Hat` holds these values."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, values in enumerate(columns):
        rows = pa.FixedSizeListArray.from_arrays(pa.array(np.tile(np.float32([0.6, 0.8]), len(values))), 2)
        parquet.write_table(pa.table({"embedding": rows, "Hat": values}), folder / f"p{number}.parquet")


@pytest.mark.parametrize("kind", [pa.int8(), pa.float64()])
def test_a_null_is_unknown_in_every_coding_and_makes_nothing_else_so(tmp_path, kind):
    """What -1 means is said by the coding alone, whether the shard has a null or not."""
    meaning = {"binary": {0: 0, 1: 1}, "signed": {-1: 0, 1: 1}, "missing": {0: 0, 1: 1, -1: UNKNOWN}}
    for coding, of in meaning.items():
        for number, values in enumerate(([0, 1, None], [-1, 1, None], [-1, None], [None, None], [0, 1])):
            folder = tmp_path / f"{coding}{number}"
            label_shards(folder, [pa.array([1], kind), pa.array(values, kind)])
            if {*values} - {*of, None}:
                with pytest.raises(InputError, match=r"p1\.parquet.*--labels signed" if coding == "binary" else r"p1"):
                    ShardIndex.read(str(folder), ["Hat"], labels=coding)
                continue
            found = ShardIndex.read(str(folder), ["Hat"], labels=coding).labels(slice(None))[1:, 0]
            assert found.tolist() == [of.get(value, UNKNOWN) for value in values]


def test_signed_labels_with_nulls_are_the_same_in_shards_and_in_a_file(tmp_path):
    label_shards(tmp_path, [pa.array([-1, None, 1], pa.int8())])
    path = tmp_path / "p0.parquet"
    table = parquet.read_table(path)
    parquet.write_table(table.replace_schema_metadata({"fclf.attributes": '["Hat"]'}), path)
    whole = EmbeddingSet.load(path, labels="signed").attributes
    assert whole[:, 0].tolist() == [0, UNKNOWN, 1]
    np.testing.assert_array_equal(ShardIndex.read(str(tmp_path), labels="signed").labels(slice(None)), whole)


@pytest.mark.parametrize("empty", [[0], [0, 1], [1]])
def test_shards_without_rows_do_not_decide_which_columns_are_attributes(tmp_path, empty):
    _, y = write_shards(tmp_path, [0 if number in empty else 5 for number in range(3)], kind="parquet")
    for number in empty:
        path = tmp_path / f"p{number}.parquet"
        parquet.write_table(parquet.read_table(path).replace_schema_metadata(None), path)
    assert attributes_of(str(tmp_path)) == NAMES
    np.testing.assert_array_equal(ShardIndex.read(str(tmp_path)).labels(slice(None)), y)


def test_what_does_not_fit_is_refused_with_the_shard(tmp_path):
    def refused(message, attributes=NAMES, **what):
        with pytest.raises(InputError, match=message):
            ShardIndex.read(str(tmp_path), attributes, **what)

    z, _ = write_shards(tmp_path, (20, 20))
    refused("Did you mean|did you mean 'Smiling'", ("Smilng",))
    refused(
        r"do not say which columns are attributes. Type --attributes A,B,..., or have the shards say it\. Name", None
    )
    assert attributes_of(str(tmp_path)) == ()
    table = parquet.read_table(tmp_path / "metadata_1.parquet")
    parquet.write_table(table.drop_columns(["identity"]), tmp_path / "metadata_1.parquet")
    with pytest.raises(InputError) as said:
        ShardIndex.read(str(tmp_path), NAMES)
    one, other = (f"file://{tmp_path}/img_emb_{number}.npy" for number in range(2))
    assert f"{one} has a column `identity`, and {other} has not. All shards need it, or none" in str(said.value)
    assert "table.drop_columns(['identity'])" in str(said.value)
    parquet.write_table(
        table.drop_columns(["identity"]).append_column("split", [["train"] * 20]), tmp_path / "metadata_1.parquet"
    )
    refused(f"{one} has a column `identity`, and {other} has not; {other} has a column `split`, and {one} has not")
    parquet.write_table(table.drop_columns(["Male"]), tmp_path / "metadata_1.parquet")
    refused(r"metadata_1\.parquet: Unknown attribute 'Male'.*write it into this one.*: --attributes Smiling\.$")
    parquet.write_table(table, tmp_path / "metadata_1.parquet")
    np.save(tmp_path / "img_emb_1.npy", z[:20, :4])
    refused("img_emb_1.npy has embeddings of width 4")
    bad = z[20:].copy()
    bad[7] *= 2
    np.save(tmp_path / "img_emb_1.npy", bad)
    index = ShardIndex.read(str(tmp_path), NAMES)
    with pytest.raises(InputError, match=r"img_emb_1.npy.*first: row 7"):
        index.take(np.arange(40))
    split = np.array(["train"] * 39 + ["test"])
    write_shards(tmp_path, (20, 20), split=split)
    parquet.write_table(
        parquet.read_table(tmp_path / "metadata_1.parquet").set_column(3, "identity", pa.array(np.zeros(20, np.int64))),
        tmp_path / "metadata_1.parquet",
    )
    refused("identities stand in more than one split")
    write_shards(tmp_path, (4,), **{f"a{k}": np.zeros(4, int) for k in range(41)})
    (tmp_path / "img_emb_1.npy").unlink()
    refused("at most 40", [f"a{k}" for k in range(41)])
