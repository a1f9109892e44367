"""Drawing a report: files that open, limits that pair, a table that says what a collapse is."""

import matplotlib.pyplot as plt
import pytest
from hand_made import report, row

from fclf.evaluation.results import Report
from fclf.report import figures
from fclf.report.table import COLUMNS, cells, markdown


def test_figures_are_drawn_with_the_same_bytes_each_time(tmp_path):
    one, two = (figures.draw(report(), tmp_path / name) for name in ("one", "two"))
    names = ["destinations", "trajectories", "leakage", "paths", "combinations", "loss_curves"]
    assert [p.stem for p in one] == names
    for a, b in zip(one, two, strict=True):
        assert a.read_bytes() == b.read_bytes()
        pixels = plt.imread(a)
        assert min(pixels.shape[:2]) > 350
        assert pixels[..., :3].std() > 0.02  # something is drawn


def test_paired_scatter_plots_share_their_limits():
    axes = figures._destinations(report()).axes
    assert len({(a.get_xlim(), a.get_ylim()) for a in axes}) == 1
    assert len(axes) == 4


@pytest.mark.parametrize(("collapsed", "said"), [(["all destinations are one point"], True), ([], False)])
def test_a_collapse_is_said_and_only_then(collapsed, said):
    found = report(collapsed)
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
