"""What the diagnostic figures show: the numbers of the report, one scale, and no panel for what was not recorded."""

import numpy as np
import pytest
from hand_made import HISTORY, report, row

from fclf.config import Config
from fclf.evaluation.results import Report
from fclf.report import figures
from fclf.report.curves import loss_curves, path_curve
from fclf.report.matrices import combinations, leakage


def titles(figure):
    return [axis.get_title() for axis in figure.axes if axis.get_title()]


def panel(figure, title):
    return next(axis for axis in figure.axes if axis.get_title() == title)


def texts(axis):
    return [text.get_text() for text in axis.get_legend().get_texts()]


def with_table(rows, attributes=("a", "b")):
    base = report(attributes=attributes)
    return Report(base.metrics.model_copy(update={"table": rows}), base.points)


def test_every_axis_of_every_figure_is_labelled():
    found = report()
    for figure in (loss_curves(found.metrics), path_curve(found), combinations(found)):
        for axis in figure.axes:
            assert axis.get_xlabel()
            assert axis.get_ylabel() or axis.get_yticklabels()
    heat = leakage(found)
    assert [axis.get_xlabel() for axis in heat.axes[:1]] == ["judged attribute"]
    assert heat.axes[0].get_ylabel() == "edited attribute"
    assert "standard deviations" in heat.axes[-1].get_ylabel()


def test_loss_curves_have_a_panel_for_what_was_recorded_only():
    assert titles(loss_curves(report().metrics)) == [
        "Loss",
        "Contrastive loss",
        "Terms as weighted in the loss",
        "Target combinations in a batch",
        "Spread of flowed val rows",
    ]
    bare = report(history=[{"epoch": 1.0, "loss": 1.0}])
    assert titles(loss_curves(bare.metrics)) == ["Loss"]


def test_losses_are_drawn_at_their_epochs_and_gaps_are_left_out():
    axis = panel(loss_curves(report().metrics), "Loss")
    train, val = axis.lines
    assert (list(train.get_xdata()), list(train.get_ydata())) == ([1, 2], [2.0, 0.5])
    assert (list(val.get_xdata()), list(val.get_ydata())) == ([1], [2.1])


def test_terms_are_drawn_as_weighted():
    axis = panel(loss_curves(report().metrics), "Terms as weighted in the loss")
    drawn = {line.get_label(): list(line.get_ydata()) for line in axis.lines}
    assert drawn == {"contrastive": [2.0, 0.5], "identity": pytest.approx([0.05 * 0.5, 0.05 * 0.6])}
    assert axis.get_yscale() == "log"


def test_the_specs_values_are_drawn_for_its_own_loss_only():
    assert "the spec: from 2.0" in texts(panel(loss_curves(report().metrics), "Contrastive loss"))
    other = Config.model_validate({"loss": {"contrastive": {"kind": "pairwise_mse"}}}).model_dump(mode="json")
    metrics = report().metrics.model_copy(update={"config": other})
    assert texts(panel(loss_curves(metrics), "Contrastive loss")) == ["train"]


def test_prototypes_are_drawn_below_what_is_possible():
    axis = panel(loss_curves(report().metrics), "Target combinations in a batch")
    assert texts(axis) == ["mean of an epoch", "possible: 2"]
    assert axis.get_ylim()[1] > 2


def test_a_run_without_a_history_has_no_loss_curves(tmp_path):
    drawn = figures.draw(report(history=[]), tmp_path)
    assert "loss_curves" not in [path.stem for path in drawn]
    assert sorted(path.stem for path in tmp_path.iterdir()) == sorted(path.stem for path in drawn)


def test_leakage_compares_the_flow_with_the_shift_on_one_scale_around_zero():
    shift = row("shift x1").model_copy(update={"leakage": [[3.0, 0.0], [0.0, -4.0]]})
    figure = leakage(with_table([row(), row("do nothing"), shift]))
    left, right = figure.axes[:2]
    assert (left.get_title(), right.get_title()) == ("flow", "shift x1")
    assert left.images[0].get_clim() == right.images[0].get_clim() == (-4, 4)
    np.testing.assert_array_equal(right.images[0].get_array(), [[3.0, 0.0], [0.0, -4.0]])
    assert [text.get_text() for text in left.texts] == ["+1.50", "-0.25", "-", "-"]
    assert left.texts[1].get_position() == (1, 0)  # a edited, b judged: first row, second column
    assert [tick.get_text() for tick in left.get_xticklabels()] == ["a", "b"]


def test_leakage_that_is_nowhere_defined_is_drawn_as_dashes():
    empty = row().model_copy(update={"leakage": [[None, None], [None, None]]})
    assert {text.get_text() for text in leakage(with_table([empty])).axes[0].texts} == {"-"}


def test_the_path_curve_is_the_reports():
    axis = path_curve(report()).axes[0]
    assert list(axis.lines[0].get_xdata()) == [0, 0.5, 1]
    assert list(axis.lines[0].get_ydata()) == [0.1, 0.6, 0.9]
    assert "AUC 0.550, monotone 0.800, efficiency 0.950" in axis.get_title()


def test_combinations_are_counted_from_the_plotted_edits():
    found = report()
    axis = combinations(found).axes[0]
    names = [tick.get_text() for tick in axis.get_yticklabels()]
    before, after = ([bar.get_width() for bar in bars] for bars in axis.containers)
    assert sum(before) == sum(after) == 20
    for name, old, new in zip(names, before, after, strict=True):
        code = found.points.code_names.tolist().index(name)
        assert (old, new) == (
            (found.points.original_codes == code).sum(),
            (found.points.target_codes == code).sum(),
        )
    assert names[0] == max(names, key=lambda name: before[names.index(name)] + after[names.index(name)])


@pytest.mark.parametrize(("projection", "label"), [("pca", "principal axis 1"), ("umap", "UMAP 1")])
def test_the_maps_name_their_axes(projection, label):
    found = report(projection=projection)
    for figure in (figures._destinations(found), figures._trajectories(found)):
        named = [axis.get_xlabel() for axis in figure.axes if axis.get_xlabel()]
        assert len(named) == 2
        assert all(label in text for text in named)
        assert all(("%" in text) is (projection == "pca") for text in named)


def test_history_is_not_changed_by_drawing():
    before = [dict(record) for record in HISTORY]
    loss_curves(report().metrics)
    assert before == HISTORY
