from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fclf.applications.search import describe, find_row, nearest, rows_left_out
from fclf.data.embeddings import EmbeddingSet
from fclf.errors import InputError


def unit(n: int, d: int, seed: int) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(n, d))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("faiss", [False, True])
@pytest.mark.parametrize("chunk", [7, 1000])
def test_the_nearest_rows_are_those_of_a_full_sort(monkeypatch, faiss, chunk):
    monkeypatch.setattr("fclf.applications.search.CHUNK", chunk)
    gallery, query = unit(50, 6, 0), unit(1, 6, 1)[0].astype(np.float64)
    cosines = gallery.astype(np.float64) @ query
    left_out = np.argsort(-cosines)[[0, 3]]
    expected = [row for row in np.argsort(-cosines) if row not in left_out][:10]
    rows, found = nearest(query, gallery, 10, left_out, faiss=faiss)
    assert rows.tolist() == expected
    np.testing.assert_allclose(found, cosines[expected], atol=1e-12)


def test_equal_rows_come_in_the_order_of_the_file_and_never_more_than_there_are():
    gallery = np.repeat(unit(1, 4, 0), 5, axis=0)
    rows, _ = nearest(gallery[0].astype(np.float64), gallery, 10, np.array([2]))
    assert rows.tolist() == [0, 1, 3, 4]


def test_a_query_is_found_by_id_or_stem_and_an_ambiguous_one_is_refused():
    rows = EmbeddingSet(unit(3, 4, 0), ids=np.array(["a/1.jpg", "b/1.jpg", "c/2.jpg"]))
    assert find_row(rows, "b/1.jpg", "--query") == 1
    assert find_row(rows, "2", "--query") == 2
    with pytest.raises(InputError, match=r"2 rows have that name \(a/1.jpg, b/1.jpg\)"):
        find_row(rows, "1", "--query")
    with pytest.raises(InputError, match=r"no row is called so.*3 rows"):
        find_row(rows, "9", "--query")


def test_the_query_is_left_out_by_id_and_by_content():
    gallery = EmbeddingSet(unit(3, 4, 0), ids=np.array(["a", "b", "c"]))
    elsewhere = replace(gallery.take(np.array([1])), ids=np.array(["z"]))
    assert rows_left_out(elsewhere, gallery, False).tolist() == [1]
    same_id = replace(gallery.take(np.array([1])), embeddings=unit(1, 4, 9), ids=np.array(["c"]))
    assert rows_left_out(same_id, gallery, False).tolist() == [2]
    numbered = replace(same_id, ids=np.array(["c"]), has_ids=False)
    assert rows_left_out(numbered, gallery, False).tolist() == []


def test_what_is_not_known_of_a_row_is_not_made_up():
    gallery = EmbeddingSet(
        unit(2, 4, 0),
        attributes=np.array([[1], [-1]], dtype=np.int8),
        attribute_names=("Smiling",),
        ids=np.array(["a", "b"]),
        identities=np.array([7, 8]),
    )
    one, other = describe(np.array([0, 1]), np.array([0.5, 0.4]), gallery, ("Smiling", "Male"), 7)
    assert (one.labels, one.same_person, one.rank) == ({"Smiling": 1, "Male": None}, True, 1)
    assert (other.labels, other.same_person) == ({"Smiling": None, "Male": None}, False)
    (nobody,) = describe(np.array([0]), np.array([0.5]), replace(gallery, identities=None), ("Smiling",), 7)
    assert nobody.same_person is None
