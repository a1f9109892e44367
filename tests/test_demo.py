import copy
import json
from functools import partial

import numpy as np
import pytest

import demo_table
from fclf import demo
from fclf.autoencoder import embed, load_encoder
from fclf.cli import main
from fclf.config import load_config
from fclf.data.planted import planted
from fclf.data.portraits import draw, sitters
from fclf.evaluation.controls import controls
from fclf.evaluation.edits import plan_edits
from fclf.evaluation.geometry import angles
from fclf.evaluation.results import Report
from fclf.train import train


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """The whole demo on fewer portraits."""
    folder = tmp_path_factory.mktemp("demo")
    found = []
    with pytest.MonkeyPatch.context() as patch:
        run_demo = demo.run_demo
        patch.setattr(demo, "run_demo", lambda *a, **k: found.append(run_demo(*a, **k)) or found[0])
        assert main(["demo", "--portraits", str(demo_table.PORTRAITS), "--output-dir", str(folder)]) == 0
    return folder, found[0]


def table_of(result, title):
    return {row.name: row for row in result.reports[title].metrics.table}


def test_the_verdicts_tell_the_cure_from_the_problem(result):
    verdicts = {name: report.metrics.verdict.name for name, report in result[1].reports.items()}
    assert verdicts == {"edit, learned": "HEALTHY", "spec, FIX 1-3": "COLLAPSED"}


def test_the_table_is_the_one_that_was_measured(result):
    """A quiet loss of quality fails; `python tests/demo_table.py` stores what a change is meant to change."""
    stored = json.loads(demo_table.STORED.read_text(encoding="utf-8"))
    assert demo_table.differences(demo_table.of(result[1].reports), stored) == []


def test_a_quiet_loss_of_quality_is_noticed(result):
    stored = json.loads(demo_table.STORED.read_text(encoding="utf-8"))
    found = demo_table.of(result[1].reports)
    for name in ("linear.success", "mlp.kept", "gap_closed", "recall", "counterfactual.angle"):
        worse = copy.deepcopy(found)
        value, tolerance = stored["table"]["edit, learned"][name]
        worse["edit, learned"][name] = value - 1.01 * tolerance
        assert [line.split(" is ")[0] for line in demo_table.differences(worse, stored)] == [f"edit, learned: {name}"]
        assert tolerance < 0.25 * max(1.0, abs(value)), "a tolerance that passes anything"
    assert demo_table.differences({}, stored)


def test_every_edit_is_beside_the_truth_and_real_rows_are_not_edits(result):
    rows = table_of(result[1], "edit, learned")
    unknown = {name for name, row in rows.items() if row.counterfactual is None}
    assert unknown == {"held-out real"}
    ahead, ends = rows["flow"].ahead_of(rows["do nothing"], "counterfactual.angle")
    assert ends[0] < ahead < ends[1] < 0, "nearer than doing nothing, and the interval leaves out 0"


def test_the_learned_edit_ends_nearer_to_the_truth_than_every_control(tmp_path):
    world = demo.portrait_world(6000)
    flow = train(world.data, load_config(world.cure), tmp_path / "run").flow()
    rows = world.data.part("test")
    plan = plan_edits(np.asarray(rows.attributes), rows.attribute_names, "each")
    chosen = np.random.default_rng(0).permutation(len(plan))[:1500]
    z, own, target = rows.embeddings[plan.source[chosen]], plan.original[chosen], plan.target[chosen]
    truth = world.truth(plan.source[chosen], target)
    edits = {"flow": flow.edit(*flow.inputs(z, own, target)).double().numpy()}
    z = z.astype(np.float64)
    edits |= {name: form(z, own, target) for name, form in controls(world.data.part("train")).items()}
    apart = {name: angles(ends, truth) for name, ends in edits.items()}
    for name, theirs in apart.items():
        if name != "flow":
            ahead = theirs - apart["flow"]
            assert ahead.mean() > 3 * ahead.std() / np.sqrt(len(ahead)), name


def test_a_collapse_is_further_from_the_truth_than_doing_nothing(result):
    rows = table_of(result[1], "spec, FIX 1-3")
    assert rows["flow"].collapsed
    assert rows["flow"].counterfactual.angle > 2 * rows["do nothing"].counterfactual.angle


def test_everything_is_written_where_it_says(result):
    folder, found = result
    assert all(path.is_file() for path in found.figures)
    saved = Report.load(folder / "fclf_config" / "evaluation")
    assert saved.metrics == found.reports["spec, FIX 1-3"].metrics
    assert (folder / "portraits.npz").is_file()
    page = found.page.read_text(encoding="utf-8")
    assert found.page == folder / "report.html"
    for words in ("HEALTHY", "COLLAPSED", "Beside the truth", "data:image/jpeg"):
        assert words in page
    assert all(report.points.flipbook_decoded.size for report in found.reports.values())
    assert found.page.stat().st_size < 5_000_000


def test_the_truth_about_portraits_is_the_drawing_itself():
    world = demo.portrait_world(1000, seed=3)
    test = np.flatnonzero(np.asarray(world.data.split) == "test")
    rows = np.array([5, 0])
    own = np.asarray(world.data.attributes)[test[rows]]
    np.testing.assert_allclose(world.truth(rows, own), world.data.embeddings[test[rows]], atol=0.02)
    changed = 1 - own
    expected = embed(draw(sitters(1000, seed=3).take(test[rows]).showing(changed)), load_encoder())
    np.testing.assert_allclose(world.truth(rows, changed), expected, atol=1e-6)


def test_planted_embeddings_know_shift_and_affine_as_the_truth(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "planted", partial(planted, 3000))
    monkeypatch.setattr(demo, "PROBLEM", "organise")  # the collapse is the other demo's
    monkeypatch.setitem(demo.TITLES, "organise", "organise")
    monkeypatch.setattr(demo, "EPOCHS", 1)
    world = demo.planted_world("centred")
    found = demo.run_demo(world, tmp_path)
    angles = {row.name: row.counterfactual.angle for row in found.reports["edit"].metrics.table if row.counterfactual}
    assert min(angles, key=angles.get) in ("shift x1", "affine"), "both know what was planted"
    assert angles["flow"] < 1.25 * angles["shift x1"]
    assert angles["do nothing"] > 2 * angles["shift x1"]
    assert found.reports["edit"].metrics.verdict.name == "HEALTHY"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--portraits", "10"], "at least 1000"),
        (["--portraits", "2000", "--geometry", "cone"], "leave one of them out"),
    ],
)
def test_what_cannot_be_shown_is_refused(arguments, words, tmp_path, capsys):
    assert main(["demo", *arguments, "--output-dir", str(tmp_path / "d")]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "d").exists()
