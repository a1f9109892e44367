import io
import pickle
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fclf.data.embeddings import UNKNOWN, EmbeddingSet, attribute_positions
from fclf.data.splits import SPLITS
from fclf.errors import InputError
from tests.faults.inputs.contract import Plant

N, D = 6, 4
NAMES = ("Smiling", "Young")


def unit_rows(n=N, d=D, seed=0, dtype=np.float32):
    x = np.random.default_rng(seed).normal(size=(n, d))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(dtype)


def arrays(**changes):
    """A file's arrays, all correct; a change to None leaves the key out."""
    good = {
        "embeddings": unit_rows(),
        "attributes": np.array([[0, 1], [1, 0], [1, 1], [0, 0], [0, 1], [1, 0]]),
        "attribute_names": np.array(NAMES),
        "ids": np.array([f"img{i}" for i in range(N)]),
        "identities": np.array([7, 7, 8, 9, 10, 10]),
        "split": np.array(["train", "train", "val", "judge", "test", "test"]),
    }
    return {key: value for key, value in (good | changes).items() if value is not None}


def changed(key, index, value, dtype=None):
    """One correct array with one entry replaced."""
    array = arrays()[key]
    array = array.astype(dtype or array.dtype)
    array[index] = value
    return {key: array}


def scaled(norm, row=2, dtype=np.float32):
    x = unit_rows(dtype=np.float64)
    x[row] *= norm
    return {"embeddings": x.astype(dtype)}


def refusal(given, **options):
    with pytest.raises(InputError) as caught:
        EmbeddingSet.from_arrays(given, source="faces.npz", **options)
    return str(caught.value)


def assert_equal_sets(a, b):
    for key in ("embeddings", "attributes", "ids", "identities", "split"):
        left, right = getattr(a, key), getattr(b, key)
        assert (left is None) == (right is None), key
        if left is not None:
            assert left.dtype.kind == right.dtype.kind, key
            np.testing.assert_array_equal(left, right, err_msg=key)
    assert (a.attribute_names, a.has_ids, a.encoder) == (b.attribute_names, b.has_ids, b.encoder)
    assert a.extras.keys() == b.extras.keys()
    for key, value in a.extras.items():
        np.testing.assert_array_equal(value, b.extras[key], err_msg=key)


# What is accepted.


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_every_float_type_becomes_unit_float32(dtype):
    x = unit_rows(40, 512, dtype=dtype)
    got = EmbeddingSet.from_arrays({"embeddings": x})
    assert got.embeddings.dtype == np.float32
    assert got.embeddings.flags.c_contiguous
    np.testing.assert_allclose(np.linalg.norm(got.embeddings.astype(np.float64), axis=1), 1, atol=2e-7)
    np.testing.assert_allclose(got.embeddings, x, atol=2e-3 if dtype is np.float16 else 1e-6)


def test_rows_within_the_tolerance_are_projected():
    got = EmbeddingSet.from_arrays(scaled(1.0009))
    np.testing.assert_allclose(got.embeddings, unit_rows(), atol=1e-6)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float16, np.float64])
def test_attributes_of_every_number_type_become_zeros_and_ones(dtype):
    raw = arrays()["attributes"]
    got = EmbeddingSet.from_arrays(arrays(attributes=raw.astype(dtype)))
    assert got.attributes.dtype == np.int8
    np.testing.assert_array_equal(got.attributes, raw)


@pytest.mark.parametrize("dtype", [np.int8, np.float32])
def test_signed_coding_reads_minus_one_as_no(dtype):
    raw = arrays()["attributes"]
    got = EmbeddingSet.from_arrays(arrays(attributes=(2 * raw - 1).astype(dtype)), labels="signed")
    np.testing.assert_array_equal(got.attributes, raw)


@pytest.mark.parametrize("unknown", [-1, np.nan])
def test_missing_coding_reads_minus_one_and_nan_as_unknown(unknown):
    got = EmbeddingSet.from_arrays(arrays(**changed("attributes", (3, 1), unknown, np.float32)), labels="missing")
    expected = arrays()["attributes"]
    expected[3, 1] = UNKNOWN
    np.testing.assert_array_equal(got.attributes, expected)


def test_only_embeddings_are_required():
    got = EmbeddingSet.from_arrays({"embeddings": unit_rows()})
    assert (len(got), got.dim, got.attribute_names) == (N, D, ())
    assert got.attributes is got.identities is got.split is None
    assert not got.has_ids
    assert got.ids.tolist() == ["0", "1", "2", "3", "4", "5"]


def test_whole_number_ids_become_texts():
    got = EmbeddingSet.from_arrays(arrays(ids=np.arange(10, 10 + N)))
    assert got.has_ids
    assert got.ids.tolist() == ["10", "11", "12", "13", "14", "15"]


# What is refused. Each message names the source, what came, the first bad row, and what to do.

SHAPES = {
    "no embeddings": ({"embeddings": None}, ["no array `embeddings`", "attribute_names, attributes"]),
    "one axis": ({"embeddings": unit_rows()[0]}, ["shape (4,)", "(rows, width)"]),
    "three axes": ({"embeddings": unit_rows()[None]}, ["shape (1, 6, 4)"]),
    "no rows": ({"embeddings": unit_rows()[:0]}, ["shape (0, 4)"]),
    "width 1": ({"embeddings": np.ones((N, 1), np.float32)}, ["shape (6, 1)", "width >= 2"]),
    "attributes of other rows": ({"attributes": np.zeros((5, 2))}, ["`attributes`", "(5, 2)", "(6, K)"]),
    "attributes in one axis": ({"attributes": np.zeros(N)}, ["`attributes`", "(6,)", "(6, K)"]),
    "attributes without columns": ({"attributes": np.zeros((N, 0))}, ["`attributes`", "(6, 0)"]),
    "attributes without names": ({"attribute_names": None}, ["`attribute_names` must be 2 texts", "nothing"]),
    "names without attributes": ({"attributes": None}, ["`attribute_names` but no `attributes`"]),
    "too many names": ({"attribute_names": np.array(["a", "b", "c"])}, ["2 texts", "(3,)"]),
    "ids of other rows": ({"ids": np.array(["a", "b"])}, ["`ids` must be 6 texts", "(2,)"]),
    "identities of other rows": ({"identities": np.arange(5)}, ["`identities` must be 6 integers", "(5,)"]),
    "split of other rows": ({"split": np.array(["train"])}, ["`split` must be 6 texts", "(1,)"]),
}

TYPES = {
    "int64": (
        {"embeddings": np.eye(N, D, dtype=np.int64) + 0},
        ["type int64", "float16, float32 or float64"],
    ),
    "complex": ({"embeddings": unit_rows().astype(complex)}, ["type complex128"]),
    "text": ({"embeddings": unit_rows().astype(str)}, ["`embeddings`", "type <U"]),
    "text attributes": ({"attributes": np.full((N, 2), "yes")}, ["`attributes`", "type <U3", "0 or 1"]),
    "byte names": ({"attribute_names": np.array([b"a", b"b"])}, ["`attribute_names`", "type |S1"]),
    "float ids": ({"ids": np.arange(6.0)}, ["`ids`", "type float64"]),
    "float identities": ({"identities": np.arange(6.0)}, ["`identities`", "integers", "type float64"]),
    "numeric split": ({"split": np.zeros(N, int)}, ["`split`", "texts", "type int64"]),
}

VALUES = {
    "zero row": (scaled(0.0), ["1 of 6 rows", "row 2", "norm 0,", "Divide each row by its norm"]),
    "NaN": (changed("embeddings", (4, 1), np.nan), ["1 of 6 rows", "row 4", "norm nan"]),
    "inf": (changed("embeddings", (1, 0), -np.inf), ["row 1", "norm inf"]),
    "first of many": ({"embeddings": 2 * unit_rows()}, ["6 of 6 rows", "row 0", "norm 2,"]),
    "label 2": (changed("attributes", (5, 0), 2), ["0 or 1", "row 5, 'Smiling' is 2"]),
    "label a half": (changed("attributes", (0, 1), 0.5, float), ["row 0, 'Young' is 0.5"]),
    "label inf": (changed("attributes", (0, 1), np.inf, float), ["row 0, 'Young' is inf"]),
    "label 255": (changed("attributes", (2, 1), 255, np.uint8), ["row 2, 'Young' is 255"]),
    "label -1": (
        changed("attributes", (3, 1), -1),
        ["row 3, 'Young' is -1", "(1 such values)", "--labels signed", "--labels missing"],
    ),
    "label NaN": (
        changed("attributes", (3, 0), np.nan, float),
        ["row 3, 'Smiling' is nan", "--labels missing"],
    ),
    "a name twice": ({"attribute_names": np.array(["Young", "Young"])}, ["distinct", "Young"]),
    "an empty name": ({"attribute_names": np.array(["Young", ""])}, ["not empty"]),
    "an id twice": (changed("ids", 4, "img1"), ["`ids` must be unique", "1 occur twice", "'img1'"]),
    "strange split": (changed("split", 3, "dev"), ["row 3 is 'dev'", ", ".join(SPLITS)]),
    "split in capitals": (changed("split", 0, "Train", "U9"), ["row 0 is 'Train'"]),
    "split cut to a name": (changed("split", 0, "trainer", "U9"), ["row 0 is 'trainer'"]),
    "one person in two splits": (
        {"identities": np.array([7, 7, 8, 9, 10, 7])},
        ["1 identities", "first: 7, in test, train", "one split"],
    ),
}


@pytest.mark.parametrize(("change", "parts"), [pytest.param(*case, id=name) for name, case in SHAPES.items()])
def test_wrong_shapes_are_refused(change, parts):
    message = refusal(arrays(**change))
    assert all(part in message for part in ["faces.npz", *parts]), message


@pytest.mark.parametrize(("change", "parts"), [pytest.param(*case, id=name) for name, case in TYPES.items()])
def test_wrong_types_are_refused(change, parts):
    message = refusal(arrays(**change))
    assert all(part in message for part in ["faces.npz", *parts]), message


@pytest.mark.parametrize(("change", "parts"), [pytest.param(*case, id=name) for name, case in VALUES.items()])
def test_wrong_values_are_refused_with_the_first_bad_row(change, parts):
    message = refusal(arrays(**change))
    assert all(part in message for part in ["faces.npz", *parts]), message


@pytest.mark.parametrize(
    ("dtype", "inside", "outside", "tolerance"),
    [
        (np.float16, 4e-3, 7e-3, "0.005"),
        (np.float32, 9e-4, 1.2e-3, "0.001"),
        (np.float64, 9e-4, 1.2e-3, "0.001"),
    ],
)
@pytest.mark.parametrize("sign", [-1, 1])
def test_norm_tolerance_depends_on_the_type(dtype, inside, outside, tolerance, sign):
    axes = np.eye(N, 8)[:, ::-1].copy()

    def file(off):
        axes[3, :] = np.eye(N, 8)[3, ::-1] * (1 + sign * off)
        return {"embeddings": axes.astype(dtype)}

    EmbeddingSet.from_arrays(file(inside))
    message = refusal(file(outside))
    assert "row 3" in message
    assert f"tolerance {tolerance})" in message


@pytest.mark.parametrize(
    ("coding", "value", "meant"),
    [("signed", 0, "-1, 1, or NaN"), ("signed", np.inf, "-1, 1, or NaN"), ("missing", 2, "unknown")],
)
def test_other_codings_refuse_what_they_do_not_know(coding, value, meant):
    signed = (2 * arrays()["attributes"] - 1).astype(float)
    labels = signed if coding == "signed" else np.abs(signed)
    labels[4, 1] = value
    message = refusal(arrays(attributes=labels), labels=coding)
    assert "row 4, 'Young'" in message
    assert meant in message
    assert "--labels" not in message  # the hint would name the flag that was typed already


def test_nan_is_unknown_of_signed_labels_which_no_other_coding_could_read():
    labels = (2 * arrays()["attributes"] - 1).astype(float)
    labels[4, 1] = np.nan
    found = EmbeddingSet.from_arrays(arrays(attributes=labels), labels="signed").attributes
    np.testing.assert_array_equal(found, np.where(np.isnan(labels), UNKNOWN, labels == 1))
    assert "--labels signed" in refusal(arrays(attributes=labels))


def test_unsigned_labels_never_read_as_minus_one():
    labels = {"attributes": np.where(np.arange(2 * N).reshape(N, 2) == 6, 255, 1).astype(np.uint8)}
    for coding in ("signed", "missing"):
        assert "row 3, 'Smiling' is 255" in refusal(arrays(**labels), labels=coding)


def test_same_person_within_one_split_is_accepted_and_no_split_needs_no_people():
    everyone = np.array([1, 1, 1, 1, 1, 1])
    EmbeddingSet.from_arrays(arrays(identities=everyone, split=np.array(["test"] * N)))
    EmbeddingSet.from_arrays(arrays(identities=everyone, split=None))


# Files.


@pytest.fixture
def full():
    extra = {
        "caption": np.array(list("abcdef")),
        "views": np.arange(N * 3).reshape(N, 3),
        "encoder": np.array("onnx:1234"),
        "licence": np.array("x"),
    }
    return EmbeddingSet.from_arrays(arrays(**extra))


def test_save_and_load_keep_everything(full, tmp_path):
    full.save(tmp_path / "faces.npz")
    assert_equal_sets(EmbeddingSet.load(tmp_path / "faces.npz"), full)
    assert set(full.extras) == {"caption", "views", "licence"}
    assert [path.name for path in tmp_path.iterdir()] == ["faces.npz"]


def test_save_and_load_keep_what_is_absent(tmp_path):
    bare = EmbeddingSet.from_arrays({"embeddings": unit_rows()})
    bare.save(tmp_path / "bare.npz")
    assert_equal_sets(EmbeddingSet.load(tmp_path / "bare.npz"), bare)


def test_unknown_labels_survive_a_round_trip(tmp_path):
    unknown = changed("attributes", (3, 1), -1)
    some = EmbeddingSet.from_arrays(arrays(**unknown), labels="missing")
    some.save(tmp_path / "some.npz")
    assert_equal_sets(EmbeddingSet.load(tmp_path / "some.npz", labels="missing"), some)


def test_a_round_trip_keeps_every_bit_and_the_fingerprint(tmp_path):
    """Projection must be idempotent: rows are found again in another file by their digest."""
    once = EmbeddingSet.from_arrays({"embeddings": unit_rows(4000, 3)})
    once.save(tmp_path / "once.npz")
    again = EmbeddingSet.load(tmp_path / "once.npz")
    assert again.row_digests() == once.row_digests()
    assert again.fingerprint() == once.fingerprint()


@pytest.mark.parametrize("key", ["file", "allow_pickle", "self"])
def test_extras_may_have_any_name(key, tmp_path):
    data = EmbeddingSet.from_arrays(arrays(**{key: np.arange(N)}))
    data.save(tmp_path / "faces.npz")
    np.testing.assert_array_equal(EmbeddingSet.load(tmp_path / "faces.npz").extras[key], np.arange(N))


def test_whatever_can_be_saved_can_be_loaded(tmp_path):
    path = tmp_path / "faces.npz"
    try:
        EmbeddingSet.from_arrays(arrays(extra=np.array([{}] * N))).save(path)
    except InputError:
        assert not path.exists()
    else:
        EmbeddingSet.load(path)


def test_a_failed_save_keeps_the_old_file(full, tmp_path, monkeypatch):
    path = tmp_path / "faces.npz"
    full.save(path)
    before = path.read_bytes()

    def broken(file, *args, **kwargs):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", broken)
    monkeypatch.setattr(np.lib.format, "write_array", broken)
    with pytest.raises(OSError, match="disk full"):
        full.save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["faces.npz"]


def test_save_asks_for_npz(full, tmp_path):
    with pytest.raises(InputError, match=r"ends in '.pt'.*\.npz"):
        full.save(tmp_path / "faces.pt")
    assert not list(tmp_path.iterdir())


def test_missing_file_names_what_lies_nearby(full, tmp_path):
    full.save(tmp_path / "faces.npz")
    with pytest.raises(InputError, match=r"no file .*face\.npz.*faces\.npz"):
        EmbeddingSet.load(tmp_path / "face.npz")


def test_folder_is_refused(tmp_path):
    (tmp_path / "faces.npz").mkdir()
    with pytest.raises(InputError, match="is a folder, a file was expected"):
        EmbeddingSet.load(tmp_path / "faces.npz")


def test_other_suffix_is_refused(tmp_path):
    (tmp_path / "faces.csv").write_text("1,2")
    with pytest.raises(InputError, match=r"ends in '\.csv'"):
        EmbeddingSet.load(tmp_path / "faces.csv")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not a zip at all", pickle.dumps({"embeddings": [1.0]})])
def test_files_that_are_not_npz_are_refused(content, tmp_path):
    path = tmp_path / "faces.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"cannot be read as \.npz"):
        EmbeddingSet.load(path)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.99])
def test_truncated_file_is_refused(full, share, tmp_path):
    path = tmp_path / "faces.npz"
    full.save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=r"cannot be read as \.npz"):
        EmbeddingSet.load(path)


def test_renamed_npy_is_refused(tmp_path):
    with (tmp_path / "faces.npz").open("wb") as file:
        np.save(file, unit_rows())
    with pytest.raises(InputError, match=r"faces\.npz"):
        EmbeddingSet.load(tmp_path / "faces.npz")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_damaged_bytes_never_escape_as_another_error(save, tmp_path):
    path, random = tmp_path / "faces.npz", np.random.default_rng(0)
    save(path, **arrays())
    whole, refused = path.read_bytes(), 0
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[random.integers(len(whole))] = random.integers(256)
        path.write_bytes(damaged)
        try:
            EmbeddingSet.load(path)
        except InputError:
            refused += 1
    assert refused > 100


def test_compressed_file_is_read(tmp_path):
    np.savez_compressed(tmp_path / "faces.npz", **arrays())
    assert_equal_sets(EmbeddingSet.load(tmp_path / "faces.npz"), EmbeddingSet.from_arrays(arrays()))


@pytest.mark.parametrize("key", ["embeddings", "ids", "note"])
def test_pickled_objects_are_refused_and_never_executed(key, tmp_path):
    sign, path = tmp_path / "executed", tmp_path / "faces.npz"
    planted = np.array([Plant(sign)] * N, dtype=object)
    np.savez(path, **arrays(**{key: planted}))
    with pytest.raises(InputError, match="pickle"):
        EmbeddingSet.load(path)
    assert not sign.exists()
    with np.load(path, allow_pickle=True) as file:
        file[key]
    assert sign.exists()  # the plant works


def test_a_bare_pickle_is_refused_and_never_executed(tmp_path):
    sign, path = tmp_path / "executed", tmp_path / "faces.npz"
    path.write_bytes(pickle.dumps(Plant(sign)))
    with pytest.raises(InputError):
        EmbeddingSet.load(path)
    assert not sign.exists()


def test_foreign_member_of_the_archive_does_not_disturb(tmp_path):
    path = tmp_path / "faces.npz"
    np.savez(path, **arrays())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("README.txt", "made by hand")
    assert len(EmbeddingSet.load(path)) == N


# Choosing rows and columns.


def test_select_chooses_columns_by_name_in_the_order_asked(full):
    got = full.select(["Young", "Smiling"])
    assert got.attribute_names == ("Young", "Smiling")
    np.testing.assert_array_equal(got.attributes, full.attributes[:, ::-1])
    assert full.select(["Young"]).attributes.shape == (N, 1)


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        (["Smilling"], ["'Smilling' (did you mean 'Smiling'?)", "There are 2: Smiling, Young"]),
        (["Smilling", "Yung"], ["'Smiling'", "'Young'"]),
        (["Zebra"], ["Unknown attribute 'Zebra'. "]),
        (["Young", "Young"], ["twice: Young"]),
    ],
)
def test_unknown_and_repeated_names_are_refused_all_at_once(full, names, parts):
    with pytest.raises(InputError) as caught:
        full.select(names)
    assert all(part in str(caught.value) for part in parts), str(caught.value)


def test_names_are_not_found_without_attributes():
    with pytest.raises(InputError, match="no attributes"):
        EmbeddingSet.from_arrays({"embeddings": unit_rows()}).select(["Smiling"])
    with pytest.raises(InputError, match="There are 0: none"):
        attribute_positions(["Smiling"], [])


@pytest.mark.parametrize("rows", [np.array([4, 0]), np.arange(N) % 2 == 0])
def test_take_keeps_rows_of_every_column_together(full, rows):
    got = full.take(rows)
    for key in ("embeddings", "attributes", "ids", "identities", "split"):
        np.testing.assert_array_equal(getattr(got, key), getattr(full, key)[rows], err_msg=key)
    for key in ("caption", "views"):
        np.testing.assert_array_equal(got.extras[key], full.extras[key][rows])
    assert got.extras["licence"] == "x"
    assert got.encoder == "onnx:1234"
    assert got.attribute_names == full.attribute_names


@pytest.mark.parametrize("split", SPLITS)
def test_part_holds_the_rows_of_one_split_and_no_other(full, split):
    got = full.part(split)
    assert set(got.split) == {split}
    assert got.ids.tolist() == [i for i, s in zip(full.ids.tolist(), full.split, strict=True) if s == split]


def test_empty_unknown_and_absent_splits_are_refused(full):
    with pytest.raises(InputError, match=r"'judge' is empty \(rows: train 2, val 1, judge 0, test 2\)"):
        full.take(full.split != "judge").part("judge")
    with pytest.raises(InputError, match=r"no split 'dev'; type one of train, val, judge, test"):
        full.part("dev")
    with pytest.raises(InputError, match="no split column"):
        EmbeddingSet.from_arrays(arrays(split=None)).part("train")


def test_own_split_is_kept_and_a_missing_one_is_drawn_by_person():
    own = EmbeddingSet.from_arrays(arrays())
    assert own.with_split(3) is own
    people = np.repeat(np.arange(100), 4)
    data = EmbeddingSet.from_arrays({"embeddings": unit_rows(400), "identities": people})
    split = data.with_split(0).split
    assert set(split) == set(SPLITS)
    assert all(len(set(split[people == who])) == 1 for who in range(100))
    np.testing.assert_array_equal(split, data.with_split(0).split)
    assert (split != data.with_split(1).split).any()


def test_rows_without_any_label_are_left_out_and_those_with_an_unknown_one_where_all_are_needed():
    labels = arrays()["attributes"]
    labels[1, 0] = labels[4, 1] = -1
    labels[2] = -1
    data = EmbeddingSet.from_arrays(arrays(attributes=labels), labels="missing")
    assert data.labelled().ids.tolist() == ["img0", "img1", "img3", "img4", "img5"]
    assert data.fully_labelled().ids.tolist() == ["img0", "img3", "img5"]


def test_an_attribute_is_constant_among_its_known_labels():
    labels = np.array([[1, 1, -1], [1, 0, -1], [-1, -1, -1], [1, 1, -1]])
    data = EmbeddingSet(unit_rows(4), labels.astype(np.int8), ("always", "varies", "nobody knows"))
    assert data.constant_attributes() == ["always", "nobody knows"]


def test_labelled_refuses_a_set_without_labels():
    with pytest.raises(InputError, match="no attributes; add `attributes` and `attribute_names`"):
        EmbeddingSet.from_arrays({"embeddings": unit_rows()}).labelled()
    nothing = EmbeddingSet.from_arrays(arrays(attributes=np.full((N, 2), -1)), labels="missing")
    with pytest.raises(InputError, match="No row has a label of any of Smiling, Young"):
        nothing.labelled()
    with pytest.raises(InputError, match="No row has all of Smiling, Young"):
        nothing.fully_labelled()


# Fingerprints.

CONTENT = {
    "embeddings": {"embeddings": unit_rows(seed=1)},
    "order of rows": {"embeddings": unit_rows()[::-1]},
    "a label": changed("attributes", (0, 0), 1),
    "a name": changed("attribute_names", 1, "Male"),
    "an id": changed("ids", 0, "img9"),
    "no labels": {"attributes": None, "attribute_names": None},
}


@pytest.mark.parametrize("change", [pytest.param(c, id=name) for name, c in CONTENT.items()])
def test_fingerprint_changes_with_the_content(change):
    before = EmbeddingSet.from_arrays(arrays()).fingerprint()
    assert EmbeddingSet.from_arrays(arrays(**change)).fingerprint() != before


def test_fingerprint_does_not_depend_on_how_the_arrays_were_written():
    before = EmbeddingSet.from_arrays(arrays()).fingerprint()
    other = arrays(
        embeddings=np.asfortranarray(unit_rows()),
        attributes=arrays()["attributes"].astype(bool),
        note=np.ones(2),
    )
    assert EmbeddingSet.from_arrays(other).fingerprint() == before
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays())
    buffer.seek(0)
    with np.load(buffer) as file:
        assert EmbeddingSet.from_arrays(dict(file)).fingerprint() == before


def test_row_digests_follow_the_embedding_and_not_its_place():
    whole = EmbeddingSet.from_arrays(arrays())
    assert len(set(whole.row_digests())) == N
    part = EmbeddingSet.from_arrays({"embeddings": unit_rows()[[5, 2]]})
    assert part.row_digests() == [whole.row_digests()[5], whole.row_digests()[2]]


@given(first=st.integers(0, 6), length=st.integers(0, 6), masked=st.booleans())
def test_rows_that_follow_each_other_are_taken_without_a_copy(first, length, masked):
    data = EmbeddingSet.from_arrays({"embeddings": unit_rows(12)})
    rows = np.arange(first, first + length)
    taken = data.take(np.isin(np.arange(12), rows) if masked else rows)
    assert np.array_equal(taken.embeddings, data.embeddings[rows])
    assert taken.ids.tolist() == data.ids[rows].tolist()
    assert np.shares_memory(taken.embeddings, data.embeddings) == (length > 0)


@pytest.mark.parametrize("rows", [[3, 1, 2], [2, 1, 0], [1, 1, 2], [-2, -1], [0, 2]])
def test_other_rows_are_taken_in_the_order_asked_for(rows):
    data = EmbeddingSet.from_arrays({"embeddings": unit_rows(5)})
    assert np.array_equal(data.take(np.array(rows)).embeddings, data.embeddings[rows])
