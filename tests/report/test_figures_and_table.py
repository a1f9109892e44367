"""Drawing a report: files that open, limits that pair, a table that says what a collapse is."""

import io
import itertools
from dataclasses import replace
from types import SimpleNamespace

import matplotlib.legend
import matplotlib.pyplot as plt
import numpy as np
import pytest
from hand_made import report, row
from matplotlib.figure import Figure
from rich.console import Console

from fclf.evaluation.results import MEASURES, Report
from fclf.report import figures
from fclf.report.matrices import combinations
from fclf.report.table import COLUMNS, MORE_COLUMNS, cells, details, markdown, more_cells, summary, terminal


def test_figures_are_drawn_with_the_same_bytes_each_time(tmp_path):
    one, two = (figures.draw(report(), tmp_path / name) for name in ("one", "two"))
    names = ["destinations", "trajectories", "leakage", "paths", "combinations", "loss_curves"]
    assert [p.stem for p in one] == names
    for a, b in zip(one, two, strict=True):
        assert a.read_bytes() == b.read_bytes()
        pixels = plt.imread(a)
        assert min(pixels.shape[:2]) > 350
        assert pixels[..., :3].std() > 0.02  # something is drawn


def test_no_legend_complains_on_a_slow_machine(tmp_path, monkeypatch):
    """Where a legend looks for its place unasked and for over a second, matplotlib warns: here an error, for users a
    line on their terminal."""
    monkeypatch.setattr(matplotlib.legend, "time", SimpleNamespace(perf_counter=itertools.count(step=2).__next__))
    with pytest.warns(UserWarning, match="can be slow"):
        legend_without_a_place().savefig(io.BytesIO())
    figures.draw(report(), tmp_path)


def legend_without_a_place():
    drawn = Figure()
    axis = drawn.subplots()
    axis.plot([0, 1], label="a line")
    axis.legend()
    return drawn


def test_paired_scatter_plots_share_their_limits():
    axes = figures._destinations(report()).axes
    assert len({(a.get_xlim(), a.get_ylim()) for a in axes}) == 1
    assert len(axes) == 4


def many_combinations():
    """Nearly each point has a combination of its own, with a name that is wider than the figure."""
    found = report()
    size = len(found.points.original_codes)
    names = np.array([f"{'Attribute_with_a_long_name+' * 9}{i}" for i in range(2 * size)])
    codes = {"original_codes": np.arange(size), "target_codes": size + np.arange(size), "code_names": names}
    return replace(found, points=replace(found.points, **codes))


def test_combinations_get_colours_where_they_are_many_of_the_points_and_only_there():
    few, many = report(), many_combinations()
    assert len(figures.frequent(few.points)) > 0
    assert len(figures.frequent(many.points)) == 0
    for found, coloured in ((few, True), (many, False)):
        drawn = figures._destinations(found)
        shown = [text.get_text() for text in drawn.legends[0].get_texts()]
        assert (figures.UNCOLOURED in shown) is not coloured
        assert all(("coloured by" in axis.get_title()) is coloured for axis in drawn.axes)


def test_names_that_are_wider_than_the_figure_leave_room_for_what_is_drawn(tmp_path):
    figures.draw(many_combinations(), tmp_path)  # a warning that axes have no size would be an error here
    drawn = combinations(many_combinations())
    drawn.savefig(io.BytesIO())
    (axis,) = drawn.axes
    assert axis.get_position().width > 0.4
    assert all(text.get_text().startswith("…") for text in axis.get_yticklabels())
    box = drawn.get_tightbbox()
    assert box.x0 >= -0.1
    assert box.width <= drawn.get_figwidth() + 0.2


@pytest.mark.parametrize(("collapsed", "said"), [(["all destinations are one point"], True), ([], False)])
def test_a_collapse_is_said_and_only_then(collapsed, said):
    found = report(collapsed)
    assert ("COLLAPSE" in figures._title(found)) is said


def organised(flow, real=-0.04, shift=True):
    """Lines about organisation below the table of a flow with this silhouette, beside real rows with that one."""
    metrics = report().metrics
    table = [row().model_copy(update={"silhouettes": {"flowed_by_target": flow}, "variance_ratio": 0.12})]
    table += [row("shift x1").model_copy(update={"recall": 0.914})] if shift else []
    table += [row("held-out real").model_copy(update={"silhouettes": {"flowed_by_target": real}})]
    return [line for line in summary(metrics.model_copy(update={"table": table})) if line.startswith("Organised")]


def test_the_price_of_organised_space_is_one_line_beside_the_shift():
    assert organised(0.45) == [
        "Organised: silhouette by target .450 (in the specification's 0.35 to 0.55; real rows -.040) costs "
        "variance .120 (shift x1 .500), recall .250 (shift x1 .914), rank 1 1.000 (shift x1 1.000)."
    ]
    (alone,) = organised(0.35, shift=False)
    assert alone.endswith("costs variance .120, recall .250, rank 1 1.000.")


@pytest.mark.parametrize(("flow", "real"), [(0.34, -0.04), (0.56, -0.04), (None, -0.04), (0.45, 0.4)])
def test_nothing_is_said_outside_of_the_band_nor_where_real_rows_are_in_it(flow, real):
    assert organised(flow, real) == []


def test_a_row_has_a_cell_for_each_column_and_a_dash_for_what_is_not_measured():
    texts, more = cells(row(kept=None)), more_cells(row(kept=None))
    assert len(texts) == len(COLUMNS)
    assert len(more) == len(MORE_COLUMNS)
    assert texts[COLUMNS.index("L kept")] == texts[COLUMNS.index("gap closed")] == "-"
    assert more[MORE_COLUMNS.index("M\nkept")] == "-"
    assert texts[COLUMNS.index("L worst")] == ".300"


def test_a_value_stands_beside_half_of_its_interval():
    intervals = {"linear.success": (0.788, 0.812), "rank1": (1.0, 1.0), "gap_closed": (-16.0, -13.5)}
    texts = cells(row().model_copy(update={"intervals": intervals, "gap_closed": -14.75}))
    assert texts[COLUMNS.index("L success")] == ".800 ±.012"
    assert texts[COLUMNS.index("rank 1")] == "1.000 ±.000"
    assert texts[COLUMNS.index("gap closed")] == "-14.750 ±1.250"
    assert texts[COLUMNS.index("variance")] == ".500"


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, ".000"), (-0.0421, "-.042"), (0.9996, "1.000"), (10.5, "10.500"), (-0.9999, "-1.000")]
)
def test_numbers_have_three_decimals_and_no_zero_before_them(value, text):
    assert cells(row().model_copy(update={"recall": value}))[COLUMNS.index("recall")] == text


def printed(table):
    console = Console(width=150, record=True, file=io.StringIO())
    console.print(table)
    return console.export_text()


@pytest.mark.parametrize("table", [lambda rows: terminal("a title", rows), details])
def test_tables_fit_into_150_columns_without_breaking_a_row(table):
    wide = {m: (-10.0, 20.0) for m in MEASURES}
    rows = [row("quantile shift, half controlled").model_copy(update={"intervals": wide, "gap_closed": -14.775})]
    text = printed(table([(r.name, r) for r in rows]))
    line = next(line for line in text.splitlines() if "quantile shift, half controlled" in line)
    assert len(line.rstrip()) <= 150
    assert "…" not in text
    assert "1.500" in line if table is details else "-14.775 ±15.000" in line


def test_thresholds_are_printed_with_the_table():
    text = " ".join(printed(terminal("", [("one", row())])).split())
    for part in ("40 edits and 60 real rows", "the verdict's rule", "5 neighbours", "95 % interval"):
        assert part in text


def test_the_markdown_table_is_rectangular():
    lines = markdown([("one", row()), ("two", row())]).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert len(lines) == 4


def test_a_report_draws_again_from_its_files(tmp_path):
    report().save(tmp_path)
    again = figures.draw(Report.load(tmp_path), tmp_path / "again")
    first = figures.draw(report(), tmp_path / "first")
    assert [p.read_bytes() for p in again] == [p.read_bytes() for p in first]
