"""`fclf report` and `fclf compare` as a user types them, of evaluations that are saved already."""

import json
from dataclasses import replace

import pytest
from pages import INTERVALS, Elements, whole

from fclf.cli import main
from fclf.cli.compare_command import names
from fclf.errors import InputError
from fclf.evaluation.results import Report
from fclf.report.comparison import Difference, differences, differing
from fclf.report.html import page


@pytest.fixture
def runs(tmp_path):
    """Two run folders whose evaluations are of the same edits."""
    for name, collapsed in (("edit", False), ("spec", True)):
        whole(collapsed=collapsed).save(tmp_path / name / "evaluation")
    return tmp_path / "edit", tmp_path / "spec"


@pytest.mark.parametrize("below", ["", "evaluation"])
def test_report_draws_the_page_and_the_figures_again_from_what_is_saved(runs, below, capsys):
    folder = runs[0] / "evaluation"
    assert main(["report", str(runs[0] / below)]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0] == "Verdict: HEALTHY"
    assert out.splitlines()[-1] == f"Report: {folder / 'report.html'}"
    written = (folder / "report.html").read_text(encoding="utf-8")
    assert written == page([("flow", Report.load(folder))])
    assert (folder / "figures" / "leakage.png").is_file()


def test_report_writes_where_it_is_told_and_says_where_for_a_script(runs, tmp_path, capsys):
    path = tmp_path / "elsewhere" / "mine.html"
    assert main(["report", str(runs[1]), "--output", str(path), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["report"] == str(path)
    assert all(figure.startswith(str(path.parent / "figures")) for figure in said["figures"])
    assert "COLLAPSED" in path.read_text(encoding="utf-8")
    assert not (runs[1] / "evaluation" / "report.html").exists()


def test_report_says_what_to_type_where_there_is_no_evaluation(tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 2
    assert f"fclf evaluate --checkpoint {tmp_path} --embeddings FILE" in capsys.readouterr().err
    assert main(["report", str(tmp_path / "nowhere")]) == 2
    assert "does not exist" in capsys.readouterr().err
    (tmp_path / "transfer_metrics.json").write_text("{}")
    assert main(["report", str(tmp_path)]) == 2
    assert "Evaluate again" in capsys.readouterr().err


def test_the_only_evaluation_below_a_folder_is_found_and_one_of_several_is_not_guessed(tmp_path, capsys):
    whole().save(tmp_path / "runs" / "a" / "evaluation")
    assert main(["report", str(tmp_path)]) == 0
    assert (tmp_path / "runs" / "a" / "evaluation" / "report.html").is_file()
    for number in range(7):
        whole().save(tmp_path / "runs" / f"b{number}")
    capsys.readouterr()
    assert main(["report", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "holds 8 evaluations; name one of them: " in said
    assert str(tmp_path / "runs" / "a" / "evaluation") in said
    assert "and 3 more" in said
    assert not (tmp_path / "runs" / "b0" / "report.html").exists()


def test_compare_prints_a_row_for_each_flow_and_differences_with_intervals(runs, tmp_path, capsys):
    path = tmp_path / "compare.html"
    assert main(["compare", *map(str, runs), "--output", str(path)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith("edit: HEALTHY. ")
    assert "spec: COLLAPSED. " in out
    assert "Ahead of edit, or behind it" in out
    assert "-14.800 ±" in out
    assert out.splitlines()[-1] == f"Report: {path}"
    assert Elements(path.read_text(encoding="utf-8")).wrong == []


def test_compare_gives_a_script_the_rows_and_the_differences(runs, tmp_path, capsys):
    assert main(["compare", *map(str, runs), "--output", str(tmp_path / "c.html"), "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)["flows"]
    assert (first["name"], first["verdict"], first["ahead_of_first"]) == ("edit", "HEALTHY", {})
    ahead = second["ahead_of_first"]["gap_closed"]
    assert ahead["value"] == pytest.approx(-14.8)
    assert ahead["low"] < -14.8 < ahead["high"]
    assert second["flow"]["gap_closed"] == -14.0
    assert second["differs_from_first_in"] == []


def test_compare_warns_and_gives_no_difference_where_the_edits_are_not_the_same(runs, tmp_path, capsys):
    made = whole()
    other = replace(made, metrics=made.metrics.model_copy(update={"data_fingerprint": "1", "mode": "single"}))
    other.save(tmp_path / "other")
    base = ["compare", str(runs[0]), str(tmp_path / "other"), "--output", str(tmp_path / "c.html")]
    assert main(base) == 0
    out, err = capsys.readouterr()
    assert err.startswith("Warning: other was evaluated with other data, mode than edit")
    assert "Ahead of" not in out
    assert main([*base, "--json"]) == 0
    flow = json.loads(capsys.readouterr().out)["flows"][1]
    assert (flow["differs_from_first_in"], flow["ahead_of_first"]) == (["data", "mode"], {})


def test_compare_needs_two_different_evaluations(runs, capsys):
    assert main(["compare", str(runs[0])]) == 2
    assert f"fclf report {runs[0]}" in capsys.readouterr().err
    assert main(["compare", str(runs[0]), str(runs[0] / "evaluation")]) == 2
    assert "named twice" in capsys.readouterr().err


def test_flows_are_named_by_the_shortest_end_of_their_path_that_tells_them_apart(tmp_path):
    paths = [tmp_path / part for part in ("a/run/evaluation", "b/run", "c/evaluation")]
    assert names(paths) == ["a/run", "b/run", f"{tmp_path.name}/c"]
    assert names(paths[1:]) == ["run", "c"]
    with pytest.raises(InputError, match="named twice"):
        names([paths[0], tmp_path / "a/run"])


@pytest.mark.parametrize("key", ["data_fingerprint", "split", "mode", "seed", "attributes", "rows"])
def test_each_thing_that_keeps_reports_from_being_compared_is_found(key):
    one = whole().metrics
    other = {"seed": 1, "attributes": ["x"], "rows": {**one.rows, "evaluated": 1}}.get(key, "other")
    assert differing(one, one) == []
    assert len(differing(one, one.model_copy(update={key: other}))) == 1


def test_differences_are_those_of_the_rows_and_certain_where_the_interval_leaves_out_0():
    one, other = whole().metrics.table[:2]
    found = differences(one, other)
    assert found["gap_closed"].value == one.gap_closed - other.gap_closed
    assert (found["gap_closed"].low, found["gap_closed"].high) == one.ahead_of(other, "gap_closed")[1]
    assert set(INTERVALS) <= set(found)
    assert differences(one, other.model_copy(update={"rank1": None})).keys() == found.keys() - {"rank1"}
    cases = [Difference(1, 0.5, 1.5), Difference(-1, -1.5, -0.5), Difference(0.1, -0.1, 0.3), Difference(1, None, None)]
    assert [case.certain for case in cases] == [True, True, False, False]
    assert [case.text for case in cases] == ["+1.000 ±.500 *", "-1.000 ±.500 *", "+.100 ±.200", "+1.000"]
