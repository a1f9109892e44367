"""Drawing a report: files that open, limits that pair, a table that says what a collapse is."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from fclf.evaluation.results import JudgeScores, Metrics, PlotPoints, Report, Row
from fclf.report import figures
from fclf.report.table import COLUMNS, cells, markdown, summary


def row(name="flow", collapsed=(), kept=0.9):
    judged = JudgeScores(success=0.8, worst=0.3, worst_cell="a=1", kept=kept, cells={"a=1": 0.3, "a=0": 0.9})
    return Row(
        name=name,
        linear=judged,
        mlp=judged,
        rank1=1.0,
        gap_closed=None,
        variance_ratio=0.5,
        smallest_variance_ratio=0.4,
        recall=0.25,
        movement=1.5,
        step_distance=0.15,
        silhouettes={"flowed_by_target": 0.99},
        purity={"10": 0.5, "combinations": 0.75},
        distinct_destinations=3,
        sampled=20,
        collapsed=list(collapsed),
        groups=[],
    )


def report(collapsed=()):
    rng = np.random.default_rng(0)
    points = PlotPoints(
        original=rng.normal(size=(20, 2)),
        flowed=np.zeros((20, 2)),
        paths=rng.normal(size=(4, 6, 2)),
        original_codes=rng.integers(0, 9, 20),
        target_codes=rng.integers(0, 9, 20),
        code_names=np.array([f"combination {i}" for i in range(9)]),
        explained=np.array([0.2, 0.1]),
    )
    metrics = Metrics(
        fclf_version="0",
        mode="each",
        split="test",
        seed=0,
        attributes=["a"],
        rows={"evaluated": 20, "judge": 10, "edits": 20, "groups": 0},
        data_fingerprint="0",
        trained_on_this_data=True,
        epoch=1,
        config={},
        table=[row(collapsed=collapsed), row("do nothing", kept=None)],
        notes=["a note"],
    )
    return Report(metrics, points)


def test_figures_are_drawn_with_the_same_bytes_each_time(tmp_path):
    one, two = (figures.draw(report(), tmp_path / name) for name in ("one", "two"))
    assert [p.name for p in one] == ["destinations.png", "trajectories.png"]
    for a, b in zip(one, two, strict=True):
        assert a.read_bytes() == b.read_bytes()
        pixels = plt.imread(a)
        assert min(pixels.shape[:2]) > 500
        assert pixels[..., :3].std() > 0.02  # something is drawn


def test_paired_scatter_plots_share_their_limits():
    axes = figures._destinations(report()).axes
    assert len({(a.get_xlim(), a.get_ylim()) for a in axes}) == 1
    assert len(axes) == 4


@pytest.mark.parametrize(("collapsed", "said"), [(["all destinations are one point"], True), ([], False)])
def test_a_collapse_is_said_and_only_then(collapsed, said):
    found = report(collapsed)
    assert any("COLLAPSE" in line for line in summary(found.metrics)) is said
    assert ("COLLAPSE" in figures._title(found)) is said


def test_a_row_has_a_cell_for_each_column_and_a_dash_for_what_is_not_measured():
    texts = cells(row(kept=None))
    assert len(texts) == len(COLUMNS)
    assert texts[COLUMNS.index("L kept")] == texts[COLUMNS.index("gap closed")] == "-"
    assert texts[COLUMNS.index("L success / worst")] == "0.800 / 0.300"


def test_the_markdown_table_is_rectangular():
    lines = markdown([("one", row()), ("two", row())]).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert len(lines) == 4


def test_a_report_draws_again_from_its_files(tmp_path):
    report().save(tmp_path)
    again = figures.draw(Report.load(tmp_path), tmp_path / "again")
    first = figures.draw(report(), tmp_path / "first")
    assert [p.read_bytes() for p in again] == [p.read_bytes() for p in first]
