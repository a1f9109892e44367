"""Tables of labels: which row belongs to which picture, and what its cells mean."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from fclf.data.embeddings import EmbeddingSet
from fclf.data.table import LabelTable
from fclf.errors import InputError


def pictures(*names):
    z = np.eye(max(len(names), 2), dtype=np.float32)[: len(names)]
    return EmbeddingSet.from_arrays({"embeddings": z, "ids": np.array(names)})


def table(tmp_path, text, labels="binary", name="labels.csv"):
    (tmp_path / name).write_text(text, encoding="utf-8")
    return LabelTable.read(tmp_path / name, labels)


def joined(tmp_path, text, *names, **options):
    return table(tmp_path, text, **options).join(pictures(*names))


@pytest.mark.parametrize(
    ("written", "names", "labels"),
    [
        (["000001", "000002"], ["000001.jpg", "000002.jpg"], [1, 0]),  # not the numbers 1 and 2
        (["a/1.png", "b/1.png"], ["b/1.png", "a/1.png"], [0, 1]),
        (["a/1", "b/1"], ["b/1.png", "a/1.png"], [0, 1]),
        (["face.1.png", "face.2.png"], ["face.2.png", "face.1.png"], [0, 1]),
        (["face.1.png", "x.png"], ["face.1.png", "face.2.png"], [1, -1]),
        (["face.1", "face.2"], ["face.2.png", "face.1.png"], [0, 1]),
        (["set/a/1.png", "set/b/1.png"], ["b/1.png", "a/1.png"], [0, 1]),
        (["1.png", "2.png"], ["a/2.png", "b/1.png"], [0, 1]),
        (["a\\1.png", "./b/1.png"], ["b/1.png", "a/1.png"], [0, 1]),
        (["a/1.png", "2.png"], ["a/1.png", "b/1.png"], [1, -1]),  # b's picture is nobody's
        (["a.png", "a.jpg"], ["a.jpg", "a.png"], [0, 1]),
        (["a.png", "b.png"], ["a.jpg", "c.jpg"], [1, -1]),
        (["a/1.png", "1.png"], ["1.png", "a/1.png"], [0, 1]),
    ],
)
def test_a_row_goes_to_the_picture_that_it_names(tmp_path, written, names, labels):
    text = "file,Smiling\n" + "".join(f"{name},{label}\n" for name, label in zip(written, (1, 0), strict=True))
    data, unnamed = joined(tmp_path, text, *names)
    assert data.attributes[:, 0].tolist() == labels
    assert unnamed == labels.count(-1)


@pytest.mark.parametrize(
    ("written", "names"),
    [
        (["1.png", "x.png"], ["a/1.png", "b/1.png"]),
        (["a/1.png", "b/1.png"], ["1.png", "2.png"]),
        (["1", "x"], ["1.png", "1.jpg"]),
        (["1.bmp", "1.gif"], ["1.png", "2.png"]),
    ],
)
def test_a_name_that_may_mean_two_is_refused_and_not_guessed(tmp_path, written, names):
    with pytest.raises(InputError, match=r"may (both )?be the picture .* Write paths below the folder"):
        joined(tmp_path, "file,Smiling\n" + "".join(f"{name},1\n" for name in written), *names)


@given(st.permutations(range(6)), st.booleans(), st.booleans())
def test_the_order_and_the_form_of_names_change_nothing(tmp_path_factory, order, folders, extensions):
    names = [f"{'ab'[k % 2]}/{k:03d}.{k % 3}.png" for k in range(6)]
    written = [names[k] if folders else names[k].partition("/")[2] for k in order]
    written = [name if extensions else name.removesuffix(".png") for name in written]
    text = "file,A,B\n" + "".join(f"{w},{k % 2},{k // 3}\n" for w, k in zip(written, order, strict=True))
    data, unnamed = joined(tmp_path_factory.mktemp("table"), text, *names)
    assert unnamed == 0
    assert data.attributes.tolist() == [[k % 2, k // 3] for k in range(6)]


def test_minus_one_means_what_is_typed(tmp_path):
    text = "file,A,B\np,1,-1\nq,-1,1\n"
    for labels, meant in (("signed", 0), ("missing", -1)):
        data, _ = joined(tmp_path, text, "p.png", "q.png", labels=labels)
        assert data.attributes.tolist() == [[1, meant], [meant, 1]]
    with pytest.raises(InputError, match=r"column 'B' holds '-1' in row 0.*--labels signed; .*--labels missing"):
        table(tmp_path, "file,A,B\np,1,-1\nq,0,1\n")
    with pytest.raises(InputError, match="column 'A' holds '0' in row 1; a label is -1 or 1"):
        table(tmp_path, "file,A\np,1\nq,0\n", labels="signed")


def test_people_who_are_not_named_are_nobody_else(tmp_path):
    text = "file,A,identity\np,1,2880\nq,0,\nr,1,\ns,0,7\n"
    found = joined(tmp_path, text, "p.png", "q.png", "r.png", "s.png", "t.png")[0].identities.tolist()
    assert (found[0], found[3]) == (2880, 7)
    assert len(set(found)) == 5
    names = joined(
        tmp_path, "file,A,identity\np,1,Ann\nq,0,Bob\nr,1,Ann\ns,0,nan\n", "p.png", "q.png", "r.png", "s.png"
    )
    first, second, third, fourth = names[0].identities.tolist()
    assert first == third
    assert len({first, second, fourth}) == 3
    floats = joined(tmp_path, "file,A,identity\np,1,7.0\nq,0,\n", "p.png", "q.png")[0].identities.tolist()
    assert floats[0] == 7 != floats[1]


def test_people_and_splits_come_without_attributes_too(tmp_path):
    data, _ = joined(tmp_path, "file,Identity,SPLIT\np,1,train\nq,2,test\n", "p.png", "q.png")
    assert data.attributes is None
    assert (data.identities.tolist(), data.split.tolist()) == ([1, 2], ["train", "test"])


def test_every_kind_of_file_says_the_same(tmp_path):
    rows = {"file": ["001", "002"], "A": [True, None], "B": [0.0, 1.0], "identity": [5, None]}
    parquet.write_table(pa.table(rows), tmp_path / "t.parquet")
    tables = [
        LabelTable.read(tmp_path / "t.parquet"),
        table(tmp_path, "\ufefffile,A,B,identity\n001,yes,0,5\n002,,1,\n"),  # as spreadsheets write it
        table(tmp_path, "file\tA\tB\tidentity\r\n001\tTRUE\tno\t5\r\n002\t \t1.0\t\r\n", name="t.tsv"),
    ]
    for found in tables:
        data, _ = found.join(pictures("002.png", "001.png"))
        assert data.attributes.tolist() == [[-1, 1], [1, 0]]
        assert data.identities[1] == 5


def test_a_split_that_there_is_not_is_named_with_its_row_of_the_table(tmp_path):
    with pytest.raises(InputError, match="row 1 is 'tomorrow'"):
        table(tmp_path, "file,A,split\np,1,train\nq,1,tomorrow\n")
    with pytest.raises(InputError, match="more than one split"):
        joined(tmp_path, "file,A,identity,split\np,1,3,train\nq,1,3,test\n", "p.png", "q.png")
