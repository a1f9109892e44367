"""Inspection: figures against naive loops, and every problem both found and not found."""

import json
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fclf.data.embeddings import EmbeddingSet
from fclf.data.inspection import Inspection, inspect
from fclf.data.planted import planted


def unit_rows(n, d, seed=0, mean=0.0):
    x = np.random.default_rng(seed).normal(size=(n, d)) + mean
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def bare(z, **more):
    return EmbeddingSet.from_arrays({"embeddings": z, **more})


@given(n=st.integers(2, 30), d=st.integers(2, 12), mean=st.sampled_from([0.0, 0.5, 3.0]), seed=st.integers(0, 99))
def test_geometry_is_that_of_naive_loops(n, d, mean, seed):
    z = bare(unit_rows(n, d, seed, mean)).embeddings
    got = inspect(bare(z)).geometry
    z = z.astype(np.float64)
    assert got.mean_cosine == pytest.approx(np.mean([a @ b for a, b in combinations(z, 2)]), abs=1e-6)
    centre = sum(z) / n
    assert got.spread == pytest.approx(np.sqrt(np.mean([(row - centre) @ (row - centre) for row in z])), abs=1e-5)
    values = np.linalg.svd(z - centre, compute_uv=False) ** 2
    p = values / values.sum()
    assert got.participation_ratio == pytest.approx(1 / (p @ p), rel=1e-4)
    p = p[p > 1e-14]
    assert got.effective_rank == pytest.approx(np.exp(-p @ np.log(p)), rel=1e-4)


def test_geometry_tells_a_cone_a_collapse_and_a_line_from_a_sphere():
    sphere = inspect(bare(unit_rows(4000, 16))).geometry
    assert abs(sphere.mean_cosine) < 0.01
    assert sphere.participation_ratio == pytest.approx(16, rel=0.03)
    cone = inspect(bare(unit_rows(4000, 16, mean=2))).geometry
    assert cone.mean_cosine > 0.7
    assert cone.spread < 0.6
    point = inspect(bare(np.tile(unit_rows(1, 16), (500, 1)))).geometry
    assert (point.mean_cosine, point.spread) == (pytest.approx(1), 0)
    assert point.participation_ratio == point.effective_rank == 0
    poles = np.tile([[1.0, 0.0], [-1.0, 0.0]], (50, 1))
    assert inspect(bare(poles)).geometry.effective_rank == pytest.approx(1)
    assert inspect(bare(unit_rows(1, 4))).geometry.mean_cosine is None


def test_more_rows_than_a_chunk_give_the_same_as_their_parts():
    z = unit_rows(40000, 3)
    got = inspect(bare(z)).geometry
    values = np.linalg.eigvalsh(np.cov(z.T))
    assert got.participation_ratio == pytest.approx(values.sum() ** 2 / (values @ values), rel=1e-5)


@pytest.fixture(scope="module")
def data():
    return planted(1200, 16)[0]


def test_counts_are_those_of_the_rows(data):
    got = inspect(data)
    assert (got.rows, got.width, got.norms) == (1200, 16, None)
    assert got.splits == {name: int((data.split == name).sum()) for name in ("train", "val", "judge", "test")}
    assert got.split_origin == "the file"
    assert (got.people.count, got.people.most_rows, got.people.with_one_row) == (400, 3, 0)
    for k, count in enumerate(got.attributes):
        assert count.name == data.attribute_names[k]
        assert count.share == pytest.approx(data.attributes[:, k].mean())
        for part, yes in count.yes.items():
            rows = data.attributes[data.split == part, k]
            assert (yes, count.no[part]) == ((rows == 1).sum(), (rows == 0).sum())
    kinds = {}
    for row in data.attributes:
        kind = tuple(name for name, value in zip(data.attribute_names, row, strict=True) if value)
        kinds[kind] = kinds.get(kind, 0) + 1
    assert (got.combinations.found, got.combinations.possible) == (len(kinds), 32)
    assert [c.rows for c in got.combinations.rarest] == sorted(kinds.values())[:5]
    assert all(kinds[c.present] == c.rows for c in got.combinations.rarest)


def test_a_clean_set_has_no_problem_and_the_result_is_json(data):
    got = inspect(data)
    assert [p.what for p in got.problems if "judged" not in p.what] == []  # Mustache is rare in 190 judge rows
    assert Inspection.model_validate_json(json.dumps(got.model_dump(mode="json"))) == got


def test_norms_are_those_of_the_file():
    raw = unit_rows(10, 4) * np.linspace(1, 2, 10)[:, None]
    got = inspect(EmbeddingSet.from_arrays({"embeddings": raw}, normalize=True), raw=raw.astype(np.float32))
    assert (got.norms.smallest, got.norms.mean, got.norms.largest) == pytest.approx((1, 1.5, 2))
    assert (got.norms.dtype, got.norms.off) == ("float32", 9)
    assert any("9 of 10 rows are not unit" in p.what and "--normalize" in p.type for p in got.problems)
    half = unit_rows(10, 4).astype(np.float16)  # within float16's own tolerance
    assert inspect(bare(half), raw=half).norms.off == 0


def arrays(n=40, **changes):
    good = {
        "embeddings": unit_rows(n, 6),
        "attributes": np.stack([np.arange(n) % 2, np.arange(n) // 2 % 2], axis=1),
        "attribute_names": np.array(["Smiling", "Young"]),
        "identities": np.arange(n) // 4,
        "split": np.repeat(["train", "val", "judge", "test"], n // 4) if n % 16 else None,
    }
    good["split"] = np.array(["train", "val", "judge", "test"])[np.arange(n) // 4 % 4]
    return {key: value for key, value in (good | changes).items() if value is not None}


def with_labels(column, rows, value):
    labels = arrays()["attributes"].copy()
    labels[rows, column] = value
    return labels


SPLIT = arrays()["split"]
COPY = arrays()["embeddings"].copy()
COPY[5] = COPY[0]  # row 0 is train, row 5 val


def twin():
    """The first attribute, the second, and what the first is not."""
    labels = arrays()["attributes"].astype(np.int8)
    labels = np.column_stack([labels, 1 - labels[:, 0]])
    labels[7, [0, 2]] = -1
    return labels


PROBLEMS = {
    "no labels": ({"attributes": None, "attribute_names": None}, ["no attributes"], ["--labels-from CELEBA_FOLDER"]),
    "unnamed labels": (
        {"attributes": None, "attribute_names": None, "Male": np.arange(40) % 2, "age": np.arange(40)},
        ["not named as attributes: Male"],
        ["fclf.attributes", '["Male"]'],
    ),
    "unknown": (
        {"attributes": with_labels(slice(None), [3, 4], -1)},
        ["2 of 40 rows have no label"],
        ["label the rows"],
    ),
    "constant": (
        {"attributes": with_labels(1, SPLIT == "train", 0)},
        ["constant in the train rows", "Young"],
        ["--attributes Smiling"],
    ),
    "unjudged": (
        {"attributes": with_labels(0, np.flatnonzero(SPLIT == "judge")[1:], 1)},
        ["fewer than 2 judge rows", "Smiling"],
        ["--attributes Young"],
    ),
    "one attribute twice": (
        {"attributes": arrays()["attributes"][:, [0, 1, 0]], "attribute_names": np.array(["Smiling", "b", "c,d"])},
        ["same labels", "Smiling = c,d"],
        ["--attributes Smiling,b"],
    ),
    "the opposite, unknown in the same rows": (
        {"attributes": twin(), "attribute_names": np.array(["a b", "Young", "d"])},
        ["exactly the opposite", "a b = d"],
        ["--attributes 'a b,Young'"],
    ),
    "a name with a comma": (
        {"attributes": with_labels(1, SPLIT == "train", 0), "attribute_names": np.array(["it's, really", "b"])},
        ["constant in the train rows", "b"],
        ["""--set 'data.attributes=["it'"'"'s, really"]'"""],
    ),
    "no val": ({"split": np.where(SPLIT == "val", "test", SPLIT)}, ["split val"], ["give rows the split val"]),
    "no people": ({"identities": None}, ["no identities"], ["`identities`"]),
    "a placeholder": (
        {"embeddings": np.where(SPLIT[:, None] == "train", COPY[SPLIT == "train"][-1], COPY)},
        ["12 of 40 rows hold the same embedding", "id '0'"],
        ["take them out of the file"],
    ),
    "copies": ({"embeddings": COPY}, ["2 rows", "more than one split", "id '0'"], ["take the copies out"]),
}


@pytest.mark.parametrize(
    ("changes", "what", "typed"), [pytest.param(*case, id=name) for name, case in PROBLEMS.items()]
)
def test_a_problem_is_found_with_what_to_type(changes, what, typed):
    assert inspect(EmbeddingSet.from_arrays(arrays())).problems == ()
    found = inspect(EmbeddingSet.from_arrays(arrays(**changes), labels="missing")).problems
    assert len(found) == 1, found
    assert all(part in found[0].what for part in what), found
    assert all(part in found[0].type for part in typed), found


def test_copies_are_counted_and_a_few_are_no_problem(data):
    assert inspect(data).copies is None
    z = data.embeddings.copy()
    z[20:24], z[30] = z[3], z[4]
    found = inspect(replace(data, embeddings=z, split=None))
    assert found.copies.model_dump() == {"rows": 5, "most": 5, "id": data.ids[3]}
    assert found.problems == ()


def test_an_empty_split_is_one_problem_and_not_a_constant_attribute_each():
    found = inspect(EmbeddingSet.from_arrays(arrays(split=np.full(40, "test")))).problems
    assert [p.what for p in found] == ["no row is in the split train, val, judge"]


def test_a_set_without_a_split_is_shown_with_the_one_it_would_get():
    data = EmbeddingSet.from_arrays(arrays(split=None))
    got = inspect(data, seed=3)
    split = data.with_split(3).split
    assert got.splits == {name: int((split == name).sum()) for name in got.splits}
    assert got.split_origin == "56/8/16/20 by identity, seed 3"
    assert "by row" in inspect(EmbeddingSet.from_arrays(arrays(split=None, identities=None))).split_origin
    assert inspect(data, split_origin="elsewhere").split_origin == "elsewhere"
