from functools import partial

import pytest

from fclf import demo
from fclf.cli import main
from fclf.data.planted import planted
from fclf.evaluation.results import Report


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "EPOCHS", 30)
        patch.setattr(demo, "planted", partial(planted, 3000))
        run_demo = demo.run_demo
        patch.setattr(demo, "run_demo", lambda *a, **k: found.append(run_demo(*a, **k)) or found[0])
        assert main(["demo", "--output-dir", str(folder)]) == 0
    return folder, found[0]


def test_the_prototype_recipe_collapses_and_the_controls_do_not(result):
    table = {row.name: row for row in result[1].reports["fclf_config"].metrics.table}
    assert table["flow"].collapsed
    assert table["flow"].variance_ratio < 0.05
    assert table["flow"].recall < 0.05
    assert table["target mean"].collapsed
    for name in ("do nothing", "shift x1", "held-out real"):
        assert not table[name].collapsed


def test_the_verdicts_tell_the_recipes_apart(result):
    verdicts = {name: report.metrics.verdict.name for name, report in result[1].reports.items()}
    assert verdicts["fclf_config"] == "COLLAPSED"
    assert verdicts["edit"] == "HEALTHY"


def test_the_edit_succeeds_more_often_than_the_shift_and_keeps_more(result):
    table = {row.name: row for row in result[1].reports["edit"].metrics.table}
    assert table["flow"].linear.success > table["shift x1"].linear.success + 0.03
    assert table["flow"].linear.kept > table["shift x1"].linear.kept + 0.01
    assert result[1].angles["edit"] < 1.25 * result[1].angles["shift x1"]  # the truth here is a shift


def test_the_truth_ranks_shift_and_affine_first_and_a_collapse_below_doing_nothing(result):
    angles = result[1].angles
    assert min(angles, key=angles.get) in ("shift x1", "affine")  # both know what was planted
    assert angles["shift x1"] < 1.1 * min(angles.values())
    assert angles["fclf_config"] > angles["do nothing"] > 2 * angles["shift x1"]


def test_everything_is_written_where_it_says(result):
    folder, found = result
    assert all(path.is_file() for path in found.figures)
    assert Report.load(folder / "before" / "evaluation").metrics == found.reports["before"].metrics
    assert (folder / "planted.npz").is_file()
    page = found.page.read_text(encoding="utf-8")
    assert found.page == folder / "report.html"
    assert "HEALTHY" in page
    assert "COLLAPSED" in page
