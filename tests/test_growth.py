"""What a training step does, whatever the machine: its passes through the field, its operations and its matrices."""

import math
import tracemalloc
from collections import Counter

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fclf.closed.probe import Standardiser
from fclf.config import load_config
from fclf.data.embeddings import EmbeddingSet
from fclf.field import TargetField
from fclf.provenance import Provenance
from fclf.run_folder import RunFolder
from fclf.training_run import TrainingRun

D, K, HIDDEN = 16, 3, 8
REGULARISERS = ("loss.lambda_curl=0", "loss.lambda_div=0")


def run_of(folder, rows, *overrides, attributes=K):
    rng = np.random.default_rng(0)
    z = rng.normal(size=(rows, D))
    names = [f"attribute {k}" for k in range(attributes)]
    data = EmbeddingSet.from_arrays(
        {
            "embeddings": z / np.linalg.norm(z, axis=1, keepdims=True),
            "attributes": rng.integers(0, 2, (rows, attributes)),
            "attribute_names": np.array(names),
        }
    )
    overrides = (f"data.attributes={','.join(names)}", f"training.batch_size={rows}", *overrides)
    config = load_config("fclf_config", [f"model.hidden_dim={HIDDEN}", *overrides])
    seen = Provenance.of(data, data, data)
    return TrainingRun(config, config.model, seen, data, data, RunFolder(folder), torch.device("cpu")), data


class Watched(TorchDispatchMode):
    """Counts operations and notes the shapes of what they make."""

    def __init__(self):
        super().__init__()
        self.operations, self.shapes = Counter(), Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.operations[str(func)] += 1
        self.shapes.update(tuple(leaf.shape) for leaf in tree_leaves(out) if isinstance(leaf, torch.Tensor))
        return out


def watch_step(folder, rows, *overrides):
    run, _ = run_of(folder, rows, *overrides)
    with Watched() as watched:
        run._train_epoch(1)  # one batch
    return watched


@pytest.mark.parametrize(
    ("overrides", "together", "alone"),
    [
        ((), 1, 0),
        (("loss.jacobian_share=0.25",), 1, 0),
        (REGULARISERS, 0, 1),
        (("training.rollout_steps=3",), 1, 2),
        (("loss.lambda_separation=0.1",), 1, 1),
        (("loss.lambda_magnitude=0.1", "loss.lambda_smoothness=0.1"), 1, 0),
    ],
)
def test_passes_through_the_field_in_a_step(tmp_path, monkeypatch, overrides, together, alone):
    """The reference takes 1,064 with curl and divergence at d = 512."""
    calls = Counter()
    for name in ("with_products", "forward"):
        method = getattr(TargetField, name)
        counted = lambda *a, name=name, method=method: calls.update([name]) or method(*a)  # noqa: E731
        monkeypatch.setattr(TargetField, name, counted)
    run_of(tmp_path, 32, *overrides)[0]._train_epoch(1)
    assert (calls["with_products"], calls["forward"]) == (together, alone)


@pytest.mark.parametrize("overrides", [(), REGULARISERS, ("loss.jacobian_share=0.125",)])
def test_no_operation_is_repeated_for_rows(tmp_path, overrides):
    few, many = (watch_step(tmp_path, rows, *overrides).operations for rows in (32, 320))
    assert few == many
    assert sum(few.values()) > 100


def test_no_operation_is_repeated_for_attributes(tmp_path):
    found = []
    for attributes in (3, 8):  # some rows share a combination in either
        run, _ = run_of(tmp_path, 64, attributes=attributes)
        with Watched() as watched:
            run._train_epoch(1)
        found.append(sum(watched.operations.values()))
    assert found[0] == found[1]


def test_only_the_pairwise_loss_has_a_matrix_of_pairs(tmp_path):
    rows = 333
    without = ("loss.contrastive.pairwise_weight=0",)
    assert watch_step(tmp_path, rows).shapes[rows, rows] > 0
    assert watch_step(tmp_path, rows, *without).shapes[rows, rows] == 0


def test_what_a_step_makes_grows_with_its_rows(tmp_path):
    without = ("loss.contrastive.pairwise_weight=0",)
    made = [
        sum(math.prod(shape) * count for shape, count in watch_step(tmp_path, rows, *without).shapes.items())
        for rows in (320, 3200)
    ]
    assert 5 < made[1] / made[0] < 10.5


@pytest.mark.parametrize(("share", "probed"), [(1.0, 32), (0.25, 8), (0.001, 1)])
def test_only_the_share_of_the_rows_is_probed_in_training_and_all_in_validation(tmp_path, monkeypatch, share, probed):
    seen, method = [], TargetField.with_products

    def noted(self, z, y, directions):
        seen.append(directions.shape[1])
        return method(self, z, y, directions)

    monkeypatch.setattr(TargetField, "with_products", noted)
    run, _ = run_of(tmp_path, 32, f"loss.jacobian_share={share}")
    run._train_epoch(1)
    run._validate()
    assert seen == [probed, 32]


def test_a_run_reads_the_rows_where_they_are(tmp_path):
    run, data = run_of(tmp_path, 64)
    assert run.train_rows.z.data_ptr() == data.embeddings.ctypes.data


def test_standardising_many_rows_takes_no_more_than_its_result():
    z = np.random.default_rng(0).normal(size=(60_000, 32)).astype(np.float32)
    tracemalloc.start()
    try:
        scaled = Standardiser.fit(z).in_float32(z)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 * scaled.nbytes  # in float64 and all at once it was five times
    exact = z.astype(np.float64)
    np.testing.assert_allclose(scaled, (exact - exact.mean(0)) / exact.std(0).mean(), rtol=1e-5, atol=1e-6)
