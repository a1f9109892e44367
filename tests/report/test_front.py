"""The front of hand-made methods: intervals become error bars, and a row's own interval is not mistaken for seeds'."""

import numpy as np
import pytest
from hand_made import row
from matplotlib.container import ErrorbarContainer

from fclf.ablation import MEASURES, Ablation, _method
from fclf.report import front
from fclf.report.ablation import COLUMNS, cells

INTERVALS = {"linear.kept": (0.85, 0.97), "gap_closed": (0.7, 0.9)}


def edits(name, kept=0.9, gap=0.8, **more):
    return row(name, kept=kept).model_copy(update={"gap_closed": gap, **more})


def story(*methods):
    return Ablation(
        fclf_version="0",
        data_fingerprint="0",
        attributes=["a"],
        rows={"groups": 1},
        epochs=1,
        seeds=1,
        seed=0,
        methods=list(methods),
    )


def test_an_interval_over_people_is_kept_and_drawn():
    method = _method("one", "cure", [edits("one", intervals=INTERVALS)])
    assert method.interval == "people"
    assert (method.measures["gap_closed"].low, method.measures["gap_closed"].high) == (0.7, 0.9)
    assert cells(method)[1 + list(COLUMNS).index("kept")] == ".900 ±.060"
    axis = front.figure(story(method)).axes[0]
    (bars,) = [c for c in axis.containers if isinstance(c, ErrorbarContainer)]
    ends = np.concatenate([lines.get_segments()[0] for lines in bars.lines[2]])
    np.testing.assert_allclose(np.sort(ends.ravel()), sorted([0.85, 0.97, 0.8, 0.8, 0.9, 0.9, 0.7, 0.9]))


def test_seeds_have_their_range_and_not_the_interval_of_one_of_them():
    rows = [edits("one", kept=kept, intervals=INTERVALS) for kept in (0.8, 0.9, 0.85)]
    method = _method("one", "specification", rows, "before")
    assert (method.interval, method.seeds, method.command) == ("seeds", 3, "fclf train --config before")
    kept = method.measures["linear.kept"]
    assert (kept.low, kept.high) == (0.8, 0.9)
    assert kept.value == pytest.approx(0.85)


def test_without_an_interval_there_is_none():
    method = _method("one", "closed form", [edits("one")])
    assert method.interval is None
    assert all(method.measures[name].low is None for name in MEASURES)
    assert "±" not in " ".join(cells(method))


def test_one_collapsed_seed_of_three_is_counted():
    rows = [edits("one"), edits("one", collapsed=["all destinations are one point"]), edits("one")]
    method = _method("one", "specification", rows, "before")
    assert method.collapsed
    assert method.signs == ["all destinations are one point"]
    assert cells(method)[-1] == "1 of 3"


def test_crowded_points_keep_their_labels_apart_and_the_frame_is_where_the_zoom_looks():
    crowd = [_method(f"method {i}", "leave one out", [edits("x", 0.9 + i / 1e4, 0.8 - i / 1e4)]) for i in range(12)]
    far = _method("far away", "specification", [edits("x", 0.7, -20.0)])
    figure = front.figure(story(*crowd, far))
    left, right = figure.axes
    names = [text.get_text() for text in right.texts if text.get_text()]
    assert len(names) == 12
    boxes = [text.get_window_extent() for text in right.texts if text.get_text()]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert [text.get_text() for text in left.texts if text.get_text()] == ["far away .80"]
    (frame,) = left.patches
    assert (frame.get_x(), frame.get_x() + frame.get_width()) == pytest.approx(right.get_xlim())
    assert (frame.get_y(), frame.get_y() + frame.get_height()) == pytest.approx(right.get_ylim())
