"""Data at the ends of what is allowed: it is learned from, or refused with what to do, and no number is not finite."""

import numpy as np
import pytest

from fclf.checkpoint import Checkpoint
from fclf.closed import candidates
from fclf.config import load_config
from fclf.data.embeddings import EmbeddingSet
from fclf.errors import InputError
from fclf.evaluation import evaluate
from fclf.train import train

SPLITS = np.array(["train", "train", "val", "judge", "test"])
QUICK = ["training.num_epochs=2", "training.evaluate_every=0", "model.hidden_dim=8"]


def rows(n, k, d, change=None):
    """Rows whose attributes move them, as many of each split as there are."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (n, k)).astype(np.int8)
    labels[: len(labels) // 2], labels[len(labels) // 2 :] = 0, 1
    labels ^= rng.random((n, k)) < 0.3
    if change is not None:
        change(labels)
    z = rng.normal(size=(n, d)) + labels @ rng.normal(size=(k, d))
    names = np.array([f"a{number}" for number in range(k)])
    arrays = {"embeddings": z, "attributes": labels, "attribute_names": names, "split": SPLITS[np.arange(n) % 5]}
    return EmbeddingSet.from_arrays(arrays, normalize=True)


def alone(labels):
    """One train row has both attributes, and no other row has."""
    labels[labels[:, 0] == 1, 1] = 0
    labels[5] = 1


def learn(recipe, data, folder, *settings):
    names = f"data.attributes=[{','.join(data.attribute_names)}]"
    train(data, load_config(recipe, [names, *settings]), folder)
    model = Checkpoint.load(folder)
    edited = model.edit(data, flip=[data.attribute_names[0]]).embeddings
    np.testing.assert_allclose(np.linalg.norm(edited, axis=1), 1, atol=1e-4)
    assert all(np.isfinite(list(epoch.values())).all() for epoch in model.history)
    return model


@pytest.mark.parametrize("recipe", ["edit", "fclf_config", "before", "negative_sampling"])
@pytest.mark.parametrize(
    ("n", "k", "d", "change"),
    [
        pytest.param(10, 1, 8, None, id="ten rows"),
        pytest.param(60, 1, 2, None, id="one attribute, d = 2"),
        pytest.param(200, 40, 16, None, id="forty attributes"),
        pytest.param(60, 1, 4096, None, id="d = 4,096"),
        pytest.param(100, 2, 8, alone, id="a combination with one row"),
    ],
)
def test_it_is_learned_and_edited(recipe, n, k, d, change, tmp_path):
    start = ["model.start=transport"] if recipe == "edit" else [*QUICK, "training.batch_size=16"]
    learn(recipe, rows(n, k, d, change), tmp_path / "run", *start)


@pytest.mark.parametrize("recipe", ["fclf_config", "before", "negative_sampling", "soft_positives"])
@pytest.mark.parametrize("batch", [2, 3])
def test_an_attribute_that_is_constant_in_a_batch(recipe, batch, tmp_path):
    learn(recipe, rows(30, 2, 8), tmp_path / "run", *QUICK, f"training.batch_size={batch}")


def test_an_attribute_that_is_constant_in_all_rows_is_refused_with_what_to_type(tmp_path):
    with pytest.raises(InputError, match=r"'a0' is 1 in all 24\. Leave them out with --attributes"):
        learn("edit", rows(60, 2, 8, lambda labels: labels[:, 0].fill(1)), tmp_path / "run")


def test_few_rows_are_evaluated_or_refused_in_words(tmp_path):
    ten, more = rows(10, 2, 8), rows(120, 2, 8)
    with pytest.raises(InputError, match="at least 10 are needed"):
        evaluate(learn("edit", ten, tmp_path / "ten", "model.start=shift"), ten)
    found = evaluate(learn("edit", more, tmp_path / "more", "model.start=shift"), more).metrics
    assert np.isfinite([row.movement for row in found.table if row.movement is not None]).all()
    assert found.table[0].movement is not None


def test_an_affine_form_of_a_great_width_is_fitted_only_if_it_alone_is_asked_for(monkeypatch):
    data = rows(100, 2, 8)
    z, y = data.embeddings.astype(np.float64), np.asarray(data.attributes)
    assert "affine" in candidates.closed_forms(z, y)
    monkeypatch.setattr(candidates, "LARGEST", 2 * 8 * 8)
    assert "affine" not in candidates.closed_forms(z, y)
    assert "affine" not in candidates.closed_forms(z, y, names=candidates.BASELINES)
    assert list(candidates.closed_forms(z, y, names={"affine"})) == ["affine"]
