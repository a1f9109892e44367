"""The monitor flags a collapse during training and passes flows that keep the spread."""

import numpy as np
import pytest
import torch

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
