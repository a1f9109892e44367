"""Reports come back as they were saved, and a damaged one is refused."""

import json
from importlib import resources

import numpy as np
import pytest

from fclf.config import Config
from fclf.errors import InputError
from fclf.evaluation.bands import read_bands
from fclf.evaluation.checks import check_run
from fclf.evaluation.readings import FieldScores, PathScores
from fclf.evaluation.results import MEASURES, CellScores, GroupScores, JudgeScores, Metrics, PlotPoints, Report, Row
from fclf.evaluation.verdict import judge_table

COMBINATIONS = {"possible": 4, "train": 4, "evaluated": 3, "targets": 4}


def row(name):
    scores = JudgeScores(success=0.7, worst=0.1, worst_cell="a=1", kept=None, cells={"a=1": 0.1, "a=0": 1.0})
    group = GroupScores(
        change=["a"],
        target={"a": 1, "b": 0},
        edits=40,
        real=60,
        energy_source=0.3,
        energy_edited=-0.01,
        mmd_source=0.1,
        mmd_edited=-0.001,
        variance_ratio=0.9,
        spread_kept=0.9,
        recall=0.8,
        density=1.1,
        vendi_ratio=0.9,
        unique_ratio=0.95,
    )
    cell = CellScores(
        attribute="a",
        to=1,
        edits=40,
        compared=0,
        effective_real=3.5,
        energy_source=None,
        energy_edited=None,
        variance_ratio=None,
        spread_kept=0.9,
    )
    return Row(
        name=name,
        linear=scores,
        mlp=scores,
        rank1=None,
        gap_closed=1 / 3,
        variance_ratio=0.9,
        smallest_variance_ratio=0.9,
        spread_kept=0.9,
        recall=0.8,
        movement=0.123456789012345,
        step_distance=None,
        silhouettes={"flowed_by_target": None},
        purity={"10": 0.5},
        distinct_destinations=7,
        sampled=40,
        collapsed=["für Täler"],
        groups=[group],
        mmd_closed=0.25,
        retrieval_map=0.1,
        retrieval_queries=12,
        pooled=[cell],
        intervals={"recall": (0.7, 0.9)},
        replicates={"recall": [0.75, 0.8, 0.123456789012345]},
        leakage=[[1.5, None], [-0.25, 0.0]],
    )


@pytest.fixture
def report():
    rng = np.random.default_rng(0)
    metrics = Metrics(
        fclf_version="0.1.0",
        mode="each",
        split="test",
        seed=0,
        attributes=["a", "b"],
        rows={"evaluated": 40, "edits": 80, "groups": 2},
        data_fingerprint="0f",
        trained_on_this_data=True,
        epoch=3,
        config={"loss": {"temperature": 0.07}},
        history=[{"epoch": 1.0, "loss": 0.123456789012345, "gradient_norm": None}],
        combinations=COMBINATIONS,
        verdict=judge_table([row("flow"), row("do nothing")]),
        table=[row("flow"), row("do nothing")],
        paths=PathScores(
            edits=5,
            times=[0.0, 1.0],
            target_share=[0.1, 0.9],
            auc=0.5,
            auc_by_attribute={"a": 0.5},
            monotone=1.0,
            tolerance=0.01,
            efficiency=0.9,
        ),
        field=FieldScores(
            rows=2, divergence_mean=-1.0, divergence_rms=1.5, curl_mean=0.5, curl_rms=0.6, jacobian_rms=2.0
        ),
        bands=read_bands(row("flow"), 3),
        checks=check_run([], Config(), COMBINATIONS),
        projection="pca",
        notes=["few rows"],
    )
    points = PlotPoints(
        original=rng.normal(size=(5, 2)),
        flowed=rng.normal(size=(5, 2)),
        paths=rng.normal(size=(11, 3, 2)),
        original_codes=np.arange(5),
        target_codes=np.arange(5)[::-1].copy(),
        code_names=np.array(["none", "a", "b", "a+b", "Bart"]),
        explained=np.array([0.5, 0.2]),
        flipbook_edits=np.arange(2),
        flipbook_source=np.array([4, 9]),
        flipbook_rows=np.array([[4, 9], [1, 1]]),
        flipbook_distances=np.array([[0.0, 0.0], [0.25, 0.5]]),
        flipbook_unique=np.array([1.0, 0.5]),
    )
    return Report(metrics, points)


@pytest.fixture
def folder(report, tmp_path):
    report.save(tmp_path / "new" / "folder")
    return tmp_path / "new" / "folder"


def test_a_report_comes_back_as_it_was_saved(report, folder):
    back = Report.load(str(folder))
    assert back.metrics == report.metrics
    for name, value in vars(report.points).items():
        loaded = getattr(back.points, name)
        assert loaded.dtype == value.dtype
        np.testing.assert_array_equal(loaded, value)


def test_saving_leaves_two_files_and_no_others(folder):
    assert sorted(path.name for path in folder.iterdir()) == ["points.npz", "transfer_metrics.json"]


def test_the_flow_is_the_first_row(report):
    assert report.flow.name == "flow"


def test_metrics_are_plain_json_with_a_schema_version(folder):
    content = json.loads((folder / "transfer_metrics.json").read_text(encoding="utf-8"))
    assert content["schema_version"] == 2
    assert [r["name"] for r in content["table"]] == ["flow", "do nothing"]


def test_nan_is_not_written(report, tmp_path):
    bad = report.metrics.model_copy(update={"table": [row("flow").model_copy(update={"rank1": float("nan")})]})
    with pytest.raises(ValueError, match="nan"):
        Report(bad, report.points).save(tmp_path)
    assert not (tmp_path / "transfer_metrics.json").exists()


@pytest.mark.parametrize("name", ["transfer_metrics.json", "points.npz"])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00 neither", b"[]", b'{"schema_version": 1}', "half"])
def test_a_damaged_report_is_refused(folder, name, content):
    path = folder / name
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content == "half" else content)
    with pytest.raises(InputError):
        Report.load(folder)


@pytest.mark.parametrize("name", ["transfer_metrics.json", "points.npz"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(InputError, match=name):
        Report.load(folder)


@pytest.mark.parametrize(
    "change", [{"schema_version": 1}, {"surprise": 1}, {"table": "none"}, {"epoch": None}, {"table": [{"name": "x"}]}]
)
def test_a_report_of_another_form_is_refused(folder, change):
    path = folder / "transfer_metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | change), encoding="utf-8")
    with pytest.raises(InputError, match="Evaluate again"):
        Report.load(folder)


def test_points_that_miss_an_array_or_hold_objects_are_refused(folder, report):
    arrays = dict(vars(report.points))
    np.savez(folder / "points.npz", **{k: v for k, v in arrays.items() if k != "paths"})
    with pytest.raises(InputError, match="paths"):
        Report.load(folder)
    np.savez(folder / "points.npz", **(arrays | {"paths": np.array([{}], dtype=object)}))
    with pytest.raises(InputError, match="allow_pickle"):
        Report.load(folder)


def test_a_difference_of_rows_has_the_interval_of_the_paired_difference():
    common = np.random.default_rng(0).normal(size=20)
    ours, theirs = 0.8 + 0.01 * common, 0.7 + 0.01 * common
    one = row("flow").model_copy(update={"recall": 0.8, "replicates": {"recall": (ours + 0.001).tolist()}})
    other = row("shift").model_copy(update={"recall": 0.7, "replicates": {"recall": theirs.tolist()}})
    value, (low, high) = one.ahead_of(other, "recall")
    assert value == pytest.approx(0.1)
    assert low == pytest.approx(0.1)  # what the rows share cancels
    assert high == pytest.approx(0.1)
    shuffled = other.model_copy(update={"replicates": {"recall": theirs[::-1].tolist()}})
    low, high = one.ahead_of(shuffled, "recall")[1]
    assert high - low > 0.1


def test_a_difference_of_what_is_not_measured_is_none_and_of_other_blocks_has_no_interval():
    one, other = row("flow"), row("shift").model_copy(update={"replicates": {"recall": [0.5, 0.5]}})
    assert one.ahead_of(other, "rank1") is None
    assert one.ahead_of(other, "recall") == (0, None)


def test_every_measure_can_be_read_from_a_row():
    assert {m: row("flow").value(m) for m in ("linear.success", "rank1", "mmd_closed")} == {
        "linear.success": 0.7,
        "rank1": None,
        "mmd_closed": 0.25,
    }
    assert all(value is None or isinstance(value, float) for value in map(row("flow").value, MEASURES))


def test_the_published_schema_is_that_of_the_metrics():
    published = json.loads((resources.files("fclf.evaluation") / "transfer_metrics.schema.json").read_text())
    assert published == Metrics.model_json_schema(), (
        "write Metrics.model_json_schema() to the file, and raise the version"
    )
