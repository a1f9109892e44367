"""The monitor flags a collapse during training and passes flows that keep the spread."""

import numpy as np
import pytest
import torch

from fclf.closed.linear import DoNothing, Shift, TargetMean, least_squares_effects
from fclf.closed.quantile import QuantileShift
from fclf.data.planted import planted
from fclf.evaluation.monitor import SpreadMonitor
from fclf.flow import Flow


@pytest.fixture(scope="module")
def monitor():
    data, _ = planted(4000, 8)
    return SpreadMonitor(data.part("train"), data.part("val"))


def to_point(_z, y):
    """Everybody of a target to one point, far faster than the sphere can keep apart."""
    return 1e6 * torch.cat([y - 0.5, torch.ones(len(y), 3)], dim=1)


def along(field):
    """The edit of a field on the target, as training gives it to the monitor."""
    flow = Flow(field, steps=2)
    return lambda z, _labels, target: flow.edit(z, target)


def test_a_flow_to_one_point_per_target_has_no_variance_and_full_silhouette(monitor):
    found = monitor(along(to_point))
    assert found["variance_ratio"] < 1e-6
    assert found["silhouette_by_target"] > 0.99


def test_a_flow_that_stays_keeps_the_spread(monitor):
    found = monitor(along(lambda z, _y: torch.zeros_like(z)))
    assert found["variance_ratio"] == pytest.approx(1, abs=0.2)  # val and train rows differ a little
    assert found["silhouette_by_target"] < 0.1


def test_few_rows_leave_out_what_is_not_defined():
    data, _ = planted(100, 8)
    found = SpreadMonitor(data.part("train"), data.part("val"))(along(to_point))
    assert "variance_ratio" not in found


def test_the_number_of_edits_is_bounded_whatever_the_number_of_attributes(monkeypatch):
    monkeypatch.setattr("fclf.evaluation.monitor.MAX_EDITS", 50)
    data, _ = planted(900, 8)
    bounded = SpreadMonitor(data.part("train"), data.part("val"))
    assert len(bounded.plan) == 50
    assert len(np.unique(bounded.plan.source)) == 10


def closed(form):
    """A closed form as training gives an edit to the monitor."""
    return lambda z, y, target: torch.from_numpy(
        form(z.double().numpy(), y.numpy().astype(np.int8), target.numpy().astype(np.int8))
    )


@pytest.mark.parametrize("geometry", ["centred", "middle", "cone"])
def test_the_reading_is_the_verdict_of_the_known_edits(geometry):
    data, _ = planted(3000, 48, geometry=geometry)
    train = data.part("train")
    watch = SpreadMonitor(train, data.part("val"))
    z, y = train.embeddings.astype(np.float64), np.asarray(train.attributes)
    effects = least_squares_effects(z, y)[1]
    shuffled = least_squares_effects(z, y[np.random.default_rng(0).permutation(len(y))])[1]
    known = {
        "HEALTHY": [Shift(effects), Shift(effects, 1.3), QuantileShift.fit(z, y, train.identities)],
        "COLLAPSED": [TargetMean.fit(z, y)],
        "UNDER-MOVED": [DoNothing(), Shift(shuffled)],
        "OFF-DISTRIBUTION": [Shift(effects, 2.0)],
    }
    scores = {}
    for name, forms in known.items():
        for form in forms:
            found = watch(closed(form))
            assert watch.verdict(watch.measure(closed(form))).name == name, form
            flags = (found["collapsed"], found["under_moved"], found["healthy"])
            assert flags == tuple(float(name == n) for n in ("COLLAPSED", "UNDER-MOVED", "HEALTHY"))
            scores.setdefault(name, []).append(found["score"])
    assert min(scores["HEALTHY"]) > max(max(scores[name]) for name in ("COLLAPSED", "UNDER-MOVED", "OFF-DISTRIBUTION"))


def test_only_train_and_val_rows_are_asked_for():
    data, _ = planted(3000, 16)
    few = data.take(np.isin(data.split, ("train", "val")))
    same = [SpreadMonitor(d.part("train"), d.part("val"))(closed(DoNothing())) for d in (data, few)]
    assert same[0] == same[1]
