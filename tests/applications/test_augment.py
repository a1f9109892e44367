from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from fclf.ablation import ablate
from fclf.applications.augment import augment, group_numbers, plan_filling
from fclf.applications.augment_benchmark import augment_benchmark
from fclf.config import load_config
from fclf.data.embeddings import SYNTHETIC, EmbeddingSet
from fclf.errors import InputError
from fclf.evaluation.protocol import evaluate
from fclf.train import train


@pytest.fixture(scope="module")
def filled(model, faces):
    return augment(model, faces, ["Eyeglasses", "Male"])


def test_every_seen_group_is_filled_from_the_rows_nearest_to_it_each_at_most_once():
    y = np.array([[0, 0, 0]] * 6 + [[0, 1, 0]] * 3 + [[1, 0, 1]] * 2, dtype=np.int8)
    plan = plan_filling(y, (0, 1), None, 0)
    number, groups = group_numbers(y, (0, 1))
    assert groups.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    have, added = np.bincount(number, minlength=4), np.bincount(plan.group, minlength=4)
    assert have.tolist() == [6, 3, 2, 0]
    assert added.tolist() == [0, 3, 4, 0]  # nothing says that there are rows of the last one
    for g in range(4):
        assert max(Counter(plan.source[plan.group == g].tolist()).values(), default=0) <= 1
    assert all((y[plan.source[plan.group == 2]][:, :2] == [0, 0]).all(axis=1))  # one attribute apart, before two
    np.testing.assert_array_equal(plan.target[:, 2], y[plan.source, 2])


def test_no_person_comes_into_two_splits_and_real_rows_stay(faces, filled, tmp_path):
    data, n = filled.data, len(faces)
    marks = data.extras[SYNTHETIC]
    assert marks[:n].sum() == 0
    assert marks[n:].all()
    np.testing.assert_array_equal(data.embeddings[:n], faces.embeddings)
    np.testing.assert_array_equal(data.attributes[:n], faces.attributes)
    assert set(data.split[n:]) == {"train"}
    path = tmp_path / "filled.parquet"
    data.save(path)
    again = EmbeddingSet.load(path)  # refuses people in two splits, and ids that are there twice
    np.testing.assert_array_equal(again.extras[SYNTHETIC], marks)
    origin = {name: row for row, name in enumerate(faces.ids.tolist())}
    for row in range(n, len(data)):
        name, change = str(data.ids[row]).split("~")
        source = origin[name]
        assert data.identities[row] == faces.identities[source]
        wanted = np.asarray(faces.attributes)[source].copy()
        for part in change.split("+"):
            attribute, value = part.split("=")
            k = faces.attribute_names.index(attribute)
            assert wanted[k] != int(value)
            wanted[k] = int(value)
        np.testing.assert_array_equal(data.attributes[row], wanted)


def test_edited_rows_are_the_edits_of_their_sources(model, faces, filled):
    n = len(faces)
    rows = np.arange(n, n + 20)
    source = [faces.ids.tolist().index(str(name).split("~")[0]) for name in filled.data.ids[rows]]
    one = faces.take(np.array(source[:1]))
    change = dict(part.split("=") for part in str(filled.data.ids[n]).split("~")[1].split("+"))
    expected = model.edit(one, {name: int(value) for name, value in change.items()}).embeddings[0]
    np.testing.assert_allclose(filled.data.embeddings[n], expected, atol=1e-6)


def test_the_same_seed_gives_the_same_rows_and_another_one_others(model, faces, filled):
    again, other = augment(model, faces, ["Eyeglasses", "Male"]), augment(model, faces, ["Eyeglasses", "Male"], seed=1)
    np.testing.assert_array_equal(again.data.embeddings, filled.data.embeddings)
    assert again.data.ids.tolist() == filled.data.ids.tolist() != other.data.ids.tolist()


class Nobody:
    def score(self, z, y):
        return np.full(len(z), 0.001)


def test_refused_edits_are_left_out_and_counted(model, faces):
    holding = replace(model, support=Nobody())
    found = augment(holding, faces, ["Eyeglasses", "Male"])
    assert len(found.data) == len(faces)
    assert sum(group["refused"] for group in found.groups) > 100


def test_a_filled_file_is_not_filled_again(model, filled):
    with pytest.raises(InputError, match="column `synthetic` already"):
        augment(model, filled.data)


@pytest.mark.parametrize("place", ["train", "evaluate", "ablate"])
def test_nothing_is_learned_from_edits_nor_judged_by_them(model, faces, filled, tmp_path, monkeypatch, place):
    """Of the rows that are not edits, with the column still there, the same is begun."""
    runs = {
        "train": lambda data: train(data, load_config("edit"), tmp_path / "run"),
        "evaluate": lambda data: evaluate(model, data),
        "ablate": ablate,
    }
    count = int(filled.data.extras[SYNTHETIC].sum())
    with pytest.raises(InputError, match=f"{count} of {len(filled.data)} rows are edited ones"):
        runs[place](filled.data)
    assert not (tmp_path / "run").exists()

    def stop(self, seed=0):
        raise InterruptedError

    monkeypatch.setattr(EmbeddingSet, "with_split", stop)
    with pytest.raises(InterruptedError):
        runs[place](filled.data.take(filled.data.extras[SYNTHETIC] == 0))


def test_a_column_of_that_name_with_something_else_is_no_hindrance(faces):
    for values in (np.array(["yes"] * len(faces)), np.zeros(len(faces)), np.float64(1)):
        replace(faces, extras={SYNTHETIC: values}).check_real()


def test_the_benchmark_names_groups_that_it_cannot_score(model, faces):
    found = augment_benchmark(model, faces, "Mustache", "Male")
    assert [name for name, count in found.test.items() if count < 20] == found.not_scored
    assert found.not_scored
    rows = {row.name: row for row in found.table}
    plain = rows["as they are"]
    assert plain.against == 0
    assert plain.worst == pytest.approx(min(plain.groups.values()))
    assert set(plain.groups) == set(found.test) - set(found.not_scored)
    assert rows["reweighting"].against_interval[0] > 0  # a rare group, so balance must help
    assert rows["flow"].against_interval[0] > 0


def test_the_benchmark_measures_nobody_the_edits_have_seen(model, faces):
    with pytest.raises(InputError, match="fitted on these people"):
        augment_benchmark(model, faces, "Mustache", "Male", split="val")
